"""From the worker's threads to a session's event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from realtime.packets import RenderedFrame


class LoopListener:
    """Carries what a seat tells over to the loop that it was made on.

    Args:
        show: takes a frame, and whether the webcam drove it.
        lost, back: what rendered is gone; it is there again.
        fail: there is no avatar.
    """

    def __init__(
        self, show: Callable[[RenderedFrame, bool], None], lost: Callable[[], None], back: Callable[[], None], fail: Callable[[Exception], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._show = show
        self._lost = lost
        self._back = back
        self._fail = fail

    def on_frame(self, frame: RenderedFrame) -> None:
        self.call(self._show, frame, True)

    def on_placeholder(self, frame: RenderedFrame) -> None:
        self.call(self._show, frame, False)

    def on_lost(self) -> None:
        self.call(self._lost)

    def on_back(self) -> None:
        self.call(self._back)

    def on_failure(self, error: Exception) -> None:
        self.call(self._fail, error)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """For callers on the loop."""
        self._loop.call_later(seconds, function)

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        """Has the loop call that soon; for any thread."""
        with contextlib.suppress(RuntimeError):  # the loop may have closed meanwhile: then nobody waits for this
            self._loop.call_soon_threadsafe(function, *arguments)
