"""Errors of the shared layer: a file or an array that is not what it claims to be."""

from __future__ import annotations


class ModelError(Exception):
    """Base of the tree."""


class BadFile(ModelError):
    """A head, avatar or FLAME file that cannot be used; the message says what was expected and what came."""


class MissingAsset(ModelError):
    """A weight or asset that is not on this machine; the message says how to get it."""
