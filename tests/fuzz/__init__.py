"""Fuzzing of everything that reads what strangers send: `python -m tests.fuzz TARGET` (docs/fuzzing.md)."""
