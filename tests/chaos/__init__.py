"""Chaos: real processes, real faults, an exact checker, and planted bugs that it must find."""
