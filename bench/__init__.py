"""Benchmarks: what one core of quickim does, against a server that they start themselves.

One question a script (``sends_http``, ``sends_ws``, ``deliveries_ws``, ``idle_memory``); ``python -m bench``
runs them.

Laws: the server has a core of its own and the load generator another; every figure is a median of several
rounds of one run, beside the CPU time of both sides; every round checks that nothing was lost, repeated or
out of order, and a run that finds such a thing ends with the finding instead of a figure. No figure is ever
asserted.
"""
