"""When a keyframe that was asked for is made: at most every half second, and never forgotten. Pure: time is an argument.

A receiver that lost a picture asks with every frame it cannot decode (PLI, FIR: RFC 4585, section 6.3.1; RFC 5104, section 4.3.1). A keyframe for each would
fill the very path that lost the picture.
"""

from __future__ import annotations

KEYFRAME_EVERY_S = 0.5


class KeyframeGate:
    """`wish` may be called from any thread, the rest from the one that encodes."""

    def __init__(self, every_s: float = KEYFRAME_EVERY_S) -> None:
        self._every_s = every_s
        self._wished = False
        self._made_s: float | None = None

    def wish(self) -> None:
        """A keyframe is wanted, now or as soon as it may be."""
        self._wished = True

    def due(self, now_s: float) -> bool:
        """Whether the frame that is encoded now is to be a keyframe."""
        return self._wished and (self._made_s is None or now_s - self._made_s >= self._every_s)

    def made(self, now_s: float) -> None:
        """A keyframe was made: as `due` had said, or because an encoder began anew. Either grants every wish that came before it."""
        self._made_s = now_s
        self._wished = False
