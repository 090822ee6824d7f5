"""Errors of training that a user can act on: the message says what was expected, what came, and what to do."""

from __future__ import annotations


class TrainingError(Exception):
    """A run that cannot go on: a clip that is of no use, a run folder in use or of another kind, a full disk. What was there before is intact."""


class MachineError(TrainingError):
    """Not the input's fault: a full disk, a run folder in use."""
