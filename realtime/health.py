"""How a server is: loading, ok, degraded or in error, and why. Judged from counters that only rise, looked at once a second; time is an argument.

Reasons are of this program's own words and numbers: no path, no name, no address is ever in one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

RECENT_S = 60.0
"""What happened within so long still counts."""
LAG_WINDOW_S = 10.0
LAG_DEGRADED_S = 0.25
"""The event loop was held up for so long, which is eight frames: everybody on the server has seen it."""


class Health(StrEnum):
    """Of a whole server."""

    LOADING = "loading"
    """Sessions would have to wait for models to load and compile."""
    OK = "ok"
    DEGRADED = "degraded"
    """Something failed, and was mended or is done without."""
    ERROR = "error"
    """Nobody gets an avatar here; it has to be started anew."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What GET /healthz answers."""

    health: Health
    reasons: tuple[str, ...] = ()
    """Why it is not ok; empty where it is."""

    @property
    def status(self) -> int:
        """Of HTTP: 503 only where starting anew is the way out, for that is what supervisors do."""
        return 503 if self.health is Health.ERROR else 200


class Engine(Protocol):
    """What turns webcam frames into avatars (realtime.worker.Worker)."""

    @property
    def warm(self) -> bool:
        """Whether a session would not have to wait for anything to load."""

    @property
    def failure(self) -> Exception | None:
        """Why it never will be."""

    @property
    def alive(self) -> bool:
        """Whether it works, or is still to be started: it has not ended."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """One look at a server. The counters are of everything ever."""

    warm: bool = True
    failed: bool = False
    """Warming up failed."""
    alive: bool = True
    restarts: int = 0
    """Of renderers."""
    stalls: int = 0
    """Pieces of an avatar's work that took so long that the avatar rested meanwhile."""
    avatar_errors: int = 0
    """Pieces of an avatar's work that failed."""
    encoder_errors: int = 0
    """Frames that could not be encoded."""
    request_errors: int = 0
    """Requests that were answered with 500."""
    studio: tuple[str, ...] = field(default=())
    """What the studio does without; empty: nothing, or there is none."""


class History:
    """The looks of the last minute, and how long the event loop was held up meanwhile."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Vitals]] = deque()
        self._lags: deque[tuple[float, float]] = deque()

    def look(self, vitals: Vitals, now_s: float) -> None:
        self._looks.append((now_s, vitals))
        while now_s - self._looks[0][0] > RECENT_S:
            self._looks.popleft()

    def lag(self, seconds: float, now_s: float) -> None:
        """The event loop did something so much later than it was asked to."""
        self._lags.append((now_s, seconds))
        while now_s - self._lags[0][0] > LAG_WINDOW_S:
            self._lags.popleft()

    def worst_lag_s(self, now_s: float) -> float:
        """Of the last `LAG_WINDOW_S`."""
        return max((seconds for at, seconds in self._lags if now_s - at <= LAG_WINDOW_S), default=0.0)

    def judge(self, now: Vitals, now_s: float) -> Verdict:
        """What `now` and the minute before it come to."""
        if now.failed or not now.alive:
            return Verdict(Health.ERROR, ("the renderer could not be started" if now.failed else "the renderer has ended",))
        if not now.warm:
            return Verdict(Health.LOADING, ("models are loaded and compiled",))
        before = next((vitals for at, vitals in self._looks if now_s - at <= RECENT_S), now)
        counted = (
            (now.restarts - before.restarts, "renderers restarted"),
            (now.stalls - before.stalls, "renderers hung"),
            (now.avatar_errors - before.avatar_errors, "pieces of an avatar's work failed"),
            (now.encoder_errors - before.encoder_errors, "frames could not be encoded"),
            (now.request_errors - before.request_errors, "requests failed"),
        )
        reasons = [f"{what} in the last minute: {count}" for count, what in counted if count > 0]
        lag_s = self.worst_lag_s(now_s)
        if lag_s >= LAG_DEGRADED_S:
            reasons.append(f"the event loop was held up for {lag_s:.1f} s")
        reasons += now.studio
        return Verdict(Health.DEGRADED if reasons else Health.OK, tuple(reasons))
