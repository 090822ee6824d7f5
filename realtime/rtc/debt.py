"""Which frames to leave out because those before were larger than the target allows. Pure: time is an argument.

An encoder takes half a second to follow a target that collapses, and what it sends meanwhile waits at the bottleneck before everything else. Frames left
out cost smoothness for a moment; frames in a queue cost delay for seconds.
"""

from __future__ import annotations

ALLOWED_S = 0.25
"""So much of the target may have been sent ahead of time: a keyframe is."""
LONGEST_S = 0.75
"""However much was sent, no longer gap is made."""


class Debt:
    """A leaky bucket of bytes: frames fill it, the target empties it."""

    def __init__(self) -> None:
        self._bytes = 0.0
        self._leaked_s: float | None = None

    def too_high(self, bitrate: int, now_s: float) -> bool:
        """Whether the frame that comes now is to be left out, at this target in bits a second."""
        passed_s = 0.0 if self._leaked_s is None else max(0.0, now_s - self._leaked_s)
        self._leaked_s = now_s
        a_second = bitrate / 8
        self._bytes = min(max(0.0, self._bytes - passed_s * a_second), (ALLOWED_S + LONGEST_S) * a_second)
        return self._bytes > ALLOWED_S * a_second

    def add(self, size: int) -> None:
        """A frame of `size` bytes was made."""
        self._bytes += size
