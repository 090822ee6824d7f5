"""Who may do what."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What somebody may do here; each may do what those after it may."""

    OWNER = "owner"
    """Everything."""
    PUPPETEER = "puppeteer"
    """Drive avatars, and make their own."""
    VIEWER = "viewer"
    """Watch."""
