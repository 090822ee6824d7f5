"""A renderer: serves one session, in a process of its own, until the server no longer asks."""

from __future__ import annotations

import os
import pickle
import traceback
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np

from models.errors import ModelError
from realtime.errors import HeadcastError
from realtime.memory import settle
from realtime.packets import RenderedFrame, VideoPacket
from realtime.reenactor import Reenactor
from realtime.renderers.frames import SharedFrames
from realtime.renderers.messages import Call, Failed, Kitchen, Request, Rest, Shown, Step, Wear, Worn

OUT_OF_MEMORY = 77
"""Exit code of a renderer that found no more memory; what it still holds is not to be trusted."""
METHODS = frozenset(name for name, member in vars(Reenactor).items() if callable(member) and not name.startswith("_")) - {"step", "placeholder", "close"}
NOTHING = np.zeros((0, 0), np.uint8)


class RendererError(Exception):
    """An error of a renderer's code, with its traceback as text: the error itself may hold what cannot cross."""


def carried(error: Exception) -> Exception:
    """An error that is being handled, as it can cross: one that is raised on purpose as it is, where it can be pickled and unpickled."""
    if not isinstance(error, HeadcastError | ModelError):
        return RendererError(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except TypeError:  # its constructor wants more than the message
        return HeadcastError(str(error))
    return error


class Serving:
    """Args: what renderers are made of, and the memory that this one shares with the server."""

    def __init__(self, kitchen: Kitchen, frames: SharedFrames) -> None:
        self._kitchen = kitchen
        self._frames = frames
        self._reenactor: Reenactor | None = None

    def run(self, connection: Connection) -> None:
        """Answers one request after the other until the other end closes."""
        while True:
            try:
                request: Request = connection.recv()
            except (EOFError, OSError):
                return
            try:
                answer = self._answer(request)
            except MemoryError:
                os._exit(OUT_OF_MEMORY)
            except Exception as error:
                answer = Failed(carried(error))
            try:
                connection.send(answer)
            except OSError:
                return

    def _answer(self, request: Request) -> object:
        match request:
            case Wear(avatar_id, path):
                self._kitchen.know(avatar_id, path)
                if self._reenactor is None:
                    self._reenactor = self._kitchen.factory.create(avatar_id)
                    settle()
                else:
                    self._reenactor.set_avatar(avatar_id)
                return Worn(self._reenactor.units)
            case Step(height, width, pts_s, received_at):
                return self._shown(self._worn().step(VideoPacket(self._frames.image(height, width), pts_s, received_at)))
            case Rest():
                return self._shown(self._worn().placeholder())
            case Call(method, arguments):
                if method not in METHODS:
                    raise ValueError(f"no such method of a reenactor: {method}")
                getattr(self._worn(), method)(*arguments)
                return None

    def _shown(self, frame: RenderedFrame) -> Shown:
        np.copyto(self._frames.picture, frame.i420)
        return Shown(replace(frame, i420=NOTHING, params=None), self._kitchen.motion())

    def _worn(self) -> Reenactor:
        if self._reenactor is None:
            raise ValueError("no avatar is worn yet")
        return self._reenactor
