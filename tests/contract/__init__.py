"""The wire contract, promise by promise, on real servers through real sockets."""
