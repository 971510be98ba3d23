"""Benchmarks: what quickim does, against a server, and where it is asked for a PostgreSQL and a Valkey, that they start
themselves.

One question a script; ``python -m bench`` runs them, ``python -m bench.plots`` draws what they found. The server has a
core of its own and the load generator another; where PostgreSQL and Valkey stand behind it, they share the server's
(``sends_*``, ``resume_storm`` and ``mixed_day`` measure both back ends, the others without workers the embedded
default). With several workers (``sends_postgres``, ``workers_idle``, ``workers_deliveries``) all share the machine.
``reads_postgres`` calls the product's functions without a server; ``client_library`` runs clients as apps have them,
in processes of their own.

Law: every figure is a median of several rounds of one run, beside the CPU time of all sides; every round under load
checks that nothing was lost, repeated or out of order, and a run that finds such a thing ends with the finding instead
of a figure. No figure is ever asserted.
"""
