"""The load generator: bare asyncio protocols on uvloop that write requests made beforehand and check every
answer.

Law: it must never be the bottleneck. So nothing here starts a task or a future per message; what is decoded
twice by 500 connections is decoded once; and what its own CPU time was stands beside every figure.
"""
