"""Other systems beside quickim, measured in the same run: each started by us from a package, on the server's core.

Law: what a peer is configured to do stands in its module's docstring; a peer that is not installed, or fails, gets a
row that says so and no figure.
"""
