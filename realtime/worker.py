"""Where the heavy work runs: every session has a seat, and every seat a thread of its own. Nobody waits for another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from realtime.metrics import SessionMetrics
from realtime.reenactor import ReenactorFactory
from realtime.seat import Listener, Seat

logger = logging.getLogger(__name__)

THREAD_NAME = "headcast-worker"
WATCH_NAME = "headcast-watch"
WATCH_EVERY_S = 0.1


class Worker:
    """The threads. `start()` once, `close()` as often as one likes.

    Args:
        factory: makes what the seats drive, each for one seat; called from their threads.
    """

    def __init__(self, factory: ReenactorFactory, clock: Callable[[], float] = time.monotonic) -> None:
        self._factory = factory
        self._clock = clock
        self._lock = threading.Lock()
        self._seats: dict[Seat, threading.Thread] = {}
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._run, name=WATCH_NAME, daemon=True)
        self.warm = False
        """Whether the first frame of a session will not have to wait for anything to load."""
        self.failure: Exception | None = None
        """Why warming up failed, if it did."""
        self.warmed = threading.Event()
        """Set once `warm` or `failure` says how it went."""

    @property
    def alive(self) -> bool:
        """Whether it works, or is still to be started: it has not ended."""
        return self._watch.is_alive() or self._watch.ident is None

    def start(self) -> None:
        self._watch.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Ends every thread after the piece of work at hand, or leaves it behind (a daemon) when that takes too long; what they drove is gone either way."""
        deadline = time.monotonic() + timeout_s
        self._closing.set()
        with self._lock:
            threads = tuple(self._seats.values())
            for seat in self._seats:
                seat.leave()
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._factory.close()
        self.warmed.set()
        if self._watch.is_alive():
            self._watch.join(max(0.0, deadline - time.monotonic()))

    def seat(self, avatar_id: str, listener: Listener, metrics: SessionMetrics) -> Seat:
        """A place for a new session; its avatar is made right away, once the worker is warm."""
        seat = Seat(self._factory, avatar_id, listener, metrics, self._clock)
        with self._lock:
            thread = threading.Thread(target=self._serve, args=(seat,), name=THREAD_NAME, daemon=True)
            self._seats[seat] = thread
        thread.start()
        return seat

    @property
    def busy(self) -> bool:
        """Whether there is any seat whose thread has not ended."""
        return bool(self._seats)

    def leave(self, seat: Seat) -> None:
        """Gives a place back; no work begins there any more, and its thread frees what it held."""
        seat.leave()

    def _serve(self, seat: Seat) -> None:
        self.warmed.wait()
        seat.serve()
        with self._lock:
            self._seats.pop(seat, None)

    def _run(self) -> None:
        """Warms up, and then watches over the seats."""
        try:
            self._factory.warm()
            self.warm = True
        except Exception as error:
            self.failure = error
        self.warmed.set()
        while not self._closing.wait(WATCH_EVERY_S):
            self._watch_all()

    def _watch_all(self) -> None:
        with self._lock:
            seats = tuple(self._seats)
        for seat in seats:
            try:
                seat.watch()
            except Exception:
                logger.exception("a listener failed")
