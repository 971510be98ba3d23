"""Bugs and failpoints, put into a server process from outside: the product's code knows nothing of them."""
