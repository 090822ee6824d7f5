"""The headers that every answer has, errors and files included: what a page may load, who may frame, embed and keep it (OWASP's secure headers)."""

from __future__ import annotations

from collections.abc import MutableMapping

from realtime.hosts import address_of, host_name

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob: mediastream:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Server": "Headcast",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
STRICT_TRANSPORT = "max-age=31536000"
EXPOSED = "ETag, Link, Location, Retry-After, WWW-Authenticate"


def add_security_headers(headers: MutableMapping[str, str], host: str, secure: bool, allowed_origin: str | None) -> None:
    """Completes an answer.

    Args:
        host: the request's `Host`.
        secure: whether it came encrypted.
        allowed_origin: the other site, on the list of those that may, whose page asked; None: no other site's.
    """
    headers.update(SECURITY_HEADERS)
    headers.setdefault("Cache-Control", "no-store")
    if secure and _is_public(host):
        headers["Strict-Transport-Security"] = STRICT_TRANSPORT
    if allowed_origin is not None:
        headers["Access-Control-Allow-Origin"] = allowed_origin
        headers["Access-Control-Expose-Headers"] = EXPOSED
        headers["Vary"] = "Origin"


def _is_public(host: str) -> bool:
    """Whether it is a name of the public kind. Others (localhost, an address, a name of the home network) stand for many servers, not all of them encrypted."""
    name = host_name(host) or ""
    return "." in name and address_of(name) is None and not name.endswith((".localhost", ".local", ".lan", ".internal", ".home.arpa"))
