"""A reenactor that lives in another process. To its session it looks like any other, but that it may be lost."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from models.errors import BadFile
from realtime.errors import NotFound, RendererLost
from realtime.packets import Calibration, DriveMode, GainGroup, PuppetPose, RenderedFrame, Unit, VideoPacket
from realtime.reenactor import MotionOutput
from realtime.renderers.messages import Call, Failed, Request, Rest, Shown, Step, Wear, Worn
from realtime.renderers.nursery import Child, Nursery

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 1 << 20
"""An answer holds no picture: one that says it is longer is none."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Patience:
    """A renderer that takes longer hangs: it is ended. Meanwhile the worker lets the avatar rest."""

    step_s: float = 3.0
    """For a picture."""
    load_s: float = 20.0
    """For reading an avatar."""


class RemoteReenactor:
    """One renderer and what it is asked.

    Args:
        nursery: where it comes from, and goes to.
        path_of: an avatar's file; raises realtime.errors.HeadcastError where there is none of that name.
        output: gets the driver's motion too.
        patience: how long answers may take.

    Raises:
        RendererLost: there is no renderer to be had.
        HeadcastError: that avatar cannot be worn.
    """

    def __init__(
        self, nursery: Nursery, avatar_id: str, path_of: Callable[[str], Path], output: MotionOutput | None = None, patience: Patience | None = None
    ) -> None:
        self._patience = patience or Patience()
        self._nursery = nursery
        self._path_of = path_of
        self._output = output
        self._avatar_id = avatar_id
        path = path_of(avatar_id)
        self._child: Child | None = nursery.fork()
        try:
            self._units = self._wear(avatar_id, path)
        except BaseException:
            self.close()
            raise

    @property
    def avatar_id(self) -> str:
        return self._avatar_id

    @property
    def units(self) -> tuple[Unit, ...]:
        return self._units

    @property
    def pid(self) -> int | None:
        """Of its process; None: closed."""
        return None if self._child is None else self._child.pid

    def step(self, packet: VideoPacket) -> RenderedFrame:
        begin = time.monotonic()
        height, width = packet.image.shape[:2]
        np.copyto(self._held().frames.image(height, width), packet.image)
        shown = self._shown(Step(height, width, packet.pts_s, packet.received_at))
        if self._output is not None and shown.frame.lock.shut:
            self._output.release(self)
        elif self._output is not None and shown.motion is not None:
            self._output.send(self, shown.motion)
        frame = self._with_picture(shown)
        spent_ms = (time.monotonic() - begin) * 1e3
        return replace(frame, stage_ms={**frame.stage_ms, "hand_over": spent_ms - sum(frame.stage_ms.values())})

    def placeholder(self) -> RenderedFrame:
        return self._with_picture(self._shown(Rest()))

    def set_avatar(self, avatar_id: str) -> None:
        if avatar_id != self._avatar_id:
            self._units = self._wear(avatar_id, self._path_of(avatar_id))
            self._avatar_id = avatar_id

    def set_pose(self, pose: PuppetPose) -> None:
        self._call("set_pose", pose)

    def calibrate(self, mode: Calibration) -> None:
        self._call("calibrate", mode)

    def set_gain(self, group: GainGroup, value: float) -> None:
        self._call("set_gain", group, value)

    def set_drive(self, mode: DriveMode) -> None:
        self._call("set_drive", mode)

    def set_background(self, name: str) -> None:
        self._call("set_background", name)

    def set_mirror(self, enabled: bool) -> None:
        self._call("set_mirror", enabled)

    def set_badge(self, enabled: bool) -> None:
        self._call("set_badge", enabled)

    def close(self) -> None:
        if self._output is not None:
            self._output.release(self)
        child, self._child = self._child, None
        if child is not None:
            code = self._nursery.end(child)
            logger.info("a renderer has ended (%s)", code)

    def _wear(self, avatar_id: str, path: Path) -> tuple[Unit, ...]:
        try:
            return self._ask(Wear(avatar_id, path.resolve()), Worn, self._patience.load_s).units
        except BadFile as error:
            raise NotFound(f"the avatar cannot be used: {error}") from error

    def _call(self, method: str, *arguments: object) -> None:
        self._ask(Call(method, arguments), type(None), self._patience.step_s)

    def _shown(self, request: Request) -> Shown:
        return self._ask(request, Shown, self._patience.step_s)

    def _with_picture(self, shown: Shown) -> RenderedFrame:
        return replace(shown.frame, i420=self._held().frames.picture.copy())

    def _ask(self, request: Request, expected: type[Answer], timeout_s: float) -> Answer:
        """Whatever a renderer says that is no answer to what it was asked, it is not to be asked again: nobody knows what it would answer."""
        connection = self._held().connection
        try:
            connection.send(request)
            if not connection.poll(timeout_s):
                raise RendererLost(f"a renderer did not answer within {timeout_s:.0f} s")
            said = connection.recv_bytes(MAX_ANSWER_BYTES)
        except (EOFError, OSError) as error:
            raise RendererLost("a renderer has ended, or stopped in the middle of a word") from error
        try:
            answer: object = pickle.loads(said)
        except Exception as error:
            raise RendererLost("a renderer said what nobody understands") from error
        if isinstance(answer, Failed):
            raise answer.error
        if not isinstance(answer, expected):
            raise RendererLost(f"a renderer should have answered with {expected.__name__}, it did with {type(answer).__name__}")
        return answer

    def _held(self) -> Child:
        if self._child is None:
            raise RendererLost("the renderer was closed")
        return self._child
