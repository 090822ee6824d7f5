"""The data channel `control` of a session: what the peer says is read as far as it may say so much, and what it is told does not pile up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from aiortc import RTCDataChannel
from aiortc.exceptions import InvalidStateError

from realtime import control
from realtime.inflow import Inflow, Verdict

MAX_BUFFERED_BYTES = 256 * 1024
"""With so much that the peer has not taken yet, it is told nothing more."""


class ControlChannel:
    """Closed until a peer's channel is adopted.

    Args:
        heard: called for every message, whatever it holds.
        obey: gets what could be read.
        flooded: called where the peer does not stop sending too much.
        clock: seconds.
    """

    def __init__(self, heard: Callable[[], None], obey: Callable[[control.Request], None], flooded: Callable[[], None], clock: Callable[[], float]) -> None:
        self._heard = heard
        self._obey = obey
        self._flooded = flooded
        self._clock = clock
        self._inflow = Inflow(clock())
        self._channel: RTCDataChannel | None = None

    @property
    def open(self) -> bool:
        return self._channel is not None and self._channel.readyState == "open"

    def adopt(self, channel: RTCDataChannel, closed: Callable[[], None]) -> bool:
        """Takes the peer's channel. False: it is another one, or a second, and was closed.

        Args: `closed`: called when the peer closes it.
        """
        if channel.label != control.LABEL or self._channel is not None:
            channel.close()
            return False
        self._channel = channel
        channel.on("message", self.hear)
        channel.on("close", closed)
        return True

    def say(self, message: str) -> None:
        """Tells the peer, if it listens."""
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > MAX_BUFFERED_BYTES:
            return
        with contextlib.suppress(InvalidStateError, ConnectionError):
            channel.send(message)

    def hear(self, message: object) -> None:
        """A message of the peer's."""
        self._heard()
        verdict = self._inflow.judge(self._clock())
        if verdict is Verdict.READ:
            try:
                request = control.parse(message)
            except control.ControlError as error:
                self.say(control.error(str(error), error.of, error.id))
                return
            self._obey(request)
        elif verdict is Verdict.TELL:
            self.say(control.error("too many messages at once: these are not read; send fewer", None, None))
        elif verdict is Verdict.LEAVE:
            self._flooded()
