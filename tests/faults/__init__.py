"""Fault injection: something breaks, and whoever has nothing to do with it goes on without a gap. `pytest -m faults` runs all of it."""
