"""The description of the HTTP interface: the OpenAPI 3.1 document, and its outline for the page ``/docs``."""
