"""What the database answers, and how fast: the product's own reading functions against PostgreSQL, loaded by COPY with
as many messages as asked for.

Law: one process for each size (``python -m bench.reads``), on an empty database of its own; the table ends with the
indexes and constraints that the migrations made, letter by letter.
"""
