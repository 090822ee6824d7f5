"""Errors of the shared layer: a file or an array that is not what it claims to be."""

from __future__ import annotations


class ModelError(Exception):
    """Base of the tree."""


class BadFile(ModelError):
    """A head, avatar or FLAME file that cannot be used; the message says what was expected and what came."""


class NotAgreed(BadFile):
    """An avatar that is not to be shown: nobody that is believed here says that its person agreed, or the agreement is over."""


class UnknownSigner(NotAgreed):
    """It is signed, and unchanged, by a key that nobody has accepted here yet."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class MissingAsset(ModelError):
    """A weight or asset that is not on this machine; the message says how to get it."""
