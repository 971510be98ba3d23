"""The three ways a connection is carried; each only translates between its protocol and gateway.connection."""
