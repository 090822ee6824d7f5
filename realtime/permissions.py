"""What each request needs: a role, and an allowance. Whatever is not listed is the owner's alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from realtime.access import Role
from realtime.rates import Allowance


class Cost(StrEnum):
    """What a client may do only so often."""

    OFFER = "offers"
    UPLOAD = "uploads"
    DRAWING = "QR codes"
    EXPORT = "exports"


ALLOWANCES = {
    Cost.OFFER: Allowance(burst=120, per_s=4.0),
    Cost.UPLOAD: Allowance(burst=30, per_s=0.1),
    Cost.DRAWING: Allowance(burst=60, per_s=5.0),
    Cost.EXPORT: Allowance(burst=20, per_s=0.2),
}
"""A page that waits for its session asks for it once a second, and so does each of its viewers; somebody who types an address has a QR code drawn a key."""

START_PAGE, VIEWERS_START_PAGE = "index.html", "viewer.html"
OPEN_PAGES = frozenset({"login.html"})
VIEWERS_PAGES = frozenset({VIEWERS_START_PAGE, "call.html", "obs.html", "watch.html"})


@dataclass(frozen=True, slots=True)
class Rule:
    """Of one kind of request."""

    role: Role | None
    """Who may; None: anybody, whether they say who they are or not."""
    cost: Cost | None = None
    near: bool = False
    """Programs of this machine may, too."""


_OPEN, _WATCH, _DRIVE, _OWN = Rule(None), Rule(Role.VIEWER), Rule(Role.PUPPETEER), Rule(Role.OWNER)
_RULES = {
    ("GET", "/healthz"): _OPEN,
    ("GET", "/readyz"): _OPEN,
    ("GET", "/metrics"): Rule(Role.OWNER, near=True),
    ("GET", "/login"): _OPEN,
    ("POST", "/login"): _OPEN,
    ("POST", "/logout"): _OPEN,
    ("GET", "/whoami"): _OPEN,
    ("GET", "/ice-servers"): _WATCH,
    ("GET", "/avatars"): _WATCH,
    ("GET", "/avatars/{id}/thumbnail"): _WATCH,
    ("GET", "/avatars/{id}/export"): Rule(Role.PUPPETEER, Cost.EXPORT),
    ("POST", "/credentials"): Rule(Role.PUPPETEER, Cost.EXPORT),
    ("GET", "/qr.svg"): Rule(Role.PUPPETEER, Cost.DRAWING),
    ("POST", "/offer"): Rule(Role.PUPPETEER, Cost.OFFER),
    ("POST", "/whip/{avatar}"): Rule(Role.PUPPETEER, Cost.OFFER),
    ("POST", "/whep/{session}"): Rule(Role.VIEWER, Cost.OFFER),
    ("GET", "/sessions/{id}/stats"): _WATCH,
    ("PATCH", "/sessions/{id}"): _DRIVE,
    ("DELETE", "/sessions/{id}"): _DRIVE,
    ("PATCH", "/sessions/{id}/viewers/{viewer}"): _WATCH,
    ("DELETE", "/sessions/{id}/viewers/{viewer}"): _WATCH,
    ("POST", "/studio/uploads"): Rule(Role.PUPPETEER, Cost.UPLOAD),
    ("POST", "/studio/jobs"): Rule(Role.PUPPETEER, Cost.UPLOAD),
    ("POST", "/studio/avatars"): Rule(Role.PUPPETEER, Cost.UPLOAD),
}
_PAGES = {"/": START_PAGE, "/obs/{session}": "obs.html", "/login": "login.html"}
_FILES = ("/static/{path}", "/{path}")


def page_of(method: str, path: str, file: str) -> str | None:
    """Name of the HTML page that a request asks for; None: it asks for something else.

    Args:
        path: as the route has it, `/obs/{session}`.
        file: what stands for `{path}` in it.
    """
    if method not in ("GET", "HEAD"):
        return None
    name = _PAGES.get(path, file if path in _FILES else "")
    return name if name.endswith(".html") else None


def rule_of(method: str, path: str, file: str = "") -> Rule:
    """What a request needs. Arguments as of `page_of`."""
    method = "GET" if method == "HEAD" else method
    page = page_of(method, path, file)
    if page is not None:
        return _OPEN if page in OPEN_PAGES else _WATCH if page in VIEWERS_PAGES else _DRIVE
    if (method, path) in _RULES:
        return _RULES[method, path]
    if method == "OPTIONS" or (method == "GET" and path in _FILES):
        return _OPEN  # what an endpoint takes; scripts and pictures of the pages, which hold nothing of anybody
    return _DRIVE if path.startswith("/studio/") else _OWN
