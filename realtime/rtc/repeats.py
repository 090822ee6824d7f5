"""Which lost packets are sent again. Pure: time is an argument.

A jammed path loses and delays; a receiver that asks again and again for what still waits in the queue would fill the path with copies until nothing else gets
through. So no packet is repeated within a round trip of its last copy, and copies get a share of the target only: what stays lost, a keyframe replaces.
"""

from __future__ import annotations

from collections.abc import Sequence

SHARE = 0.25
"""Of the target bitrate: enough for the copies, and the copies of copies, of every fifth packet."""
BURST_BYTES = 12 * 1300
_SHORTEST_S = 0.01
_REMEMBERED = 1024
_PACKET_BYTES = 1300


class RepeatGate:
    """Decides for one stream."""

    def __init__(self) -> None:
        self._repeated_s: dict[int, float] = {}
        self._tokens = float(BURST_BYTES)
        self._filled_s: float | None = None

    def admit(self, wanted: Sequence[int], bitrate: int, rtt_s: float | None, now_s: float) -> list[int]:
        """Those of the sequence numbers asked for that are to be sent again now.

        Args:
            bitrate: the target in bits a second.
            rtt_s: round trip time in seconds; None: not known yet.
        """
        passed_s = 0.0 if self._filled_s is None else max(0.0, now_s - self._filled_s)
        self._filled_s = now_s
        self._tokens = min(float(BURST_BYTES), self._tokens + passed_s * SHARE * bitrate / 8)
        apart_s = max(_SHORTEST_S, rtt_s or 0.0)
        admitted = []
        for number in wanted:
            last_s = self._repeated_s.get(number)
            if self._tokens < _PACKET_BYTES or (last_s is not None and 0.0 <= now_s - last_s < apart_s):
                continue
            self._tokens -= _PACKET_BYTES
            self._repeated_s.pop(number, None)
            self._repeated_s[number] = now_s
            admitted.append(number)
        while len(self._repeated_s) > _REMEMBERED:
            del self._repeated_s[next(iter(self._repeated_s))]
        return admitted
