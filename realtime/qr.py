"""Links as QR codes (ISO/IEC 18004), made here: nobody else is asked for a picture of an address that may hold a session's name."""

from __future__ import annotations

import io

import segno

from realtime.errors import BadRequest

LONGEST = 500
"""Characters; more would make squares too small for a phone's camera across a desk."""


def qr_svg(text: str) -> bytes:
    """An SVG picture, black on white with the quiet zone of four squares that readers need.

    Raises:
        BadRequest: there is nothing to show, or too much.
    """
    if not text or len(text) > LONGEST:
        raise BadRequest(f"text: expected 1 to {LONGEST} characters")
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(out, kind="svg", border=4, dark="#000", light="#fff", xmldecl=False, omitsize=True)
    return out.getvalue()
