"""The project's tests: one folder an app, the wire contract in ``contract``, seen from outside only."""
