"""The server's hand on the zygote: starts it, has it fork renderers and end them, starts another one when it is gone."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from realtime.errors import RendererLost
from realtime.renderers.frames import SharedFrames
from realtime.renderers.messages import End, Failed, Fork, Recipe
from realtime.renderers.zygote import MAX_MESSAGE_BYTES

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
ANSWER_S = 5.0
"""A zygote that takes longer for a fork, or for ending a renderer, hangs."""


@dataclass(frozen=True, slots=True)
class Child:
    """A renderer, just forked."""

    pid: int
    connection: Connection
    frames: SharedFrames


class Nursery:
    """For any thread.

    Args:
        recipe: what renderers are made of, whenever a zygote starts; see `Recipe`.
        size: width and height of their pictures, in pixels.
    """

    def __init__(self, recipe: Callable[[], Recipe], size: int) -> None:
        self._recipe = recipe
        self._size = size
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the zygote; None: there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts the zygote, and waits until it is warm.

        Raises:
            Exception: why it cannot be; of models.errors or realtime.errors where that is known.
            RendererLost: it ended without a word, or the nursery was closed.
        """
        with self._lock:
            self._start()

    def fork(self) -> Child:
        """A new renderer.

        Raises:
            RendererLost: there is none to be had.
        """
        with self._lock:
            if self._channel is None:
                self._start()
            ours, theirs = socket.socketpair()
            frames = SharedFrames(self._size)
            try:
                pid = self._ask(Fork(self._size), theirs.fileno(), frames.fd)
            except BaseException:
                ours.close()
                frames.close()
                raise
            finally:
                theirs.close()
            assert pid is not None
            return Child(pid, Connection(ours.detach()), frames)

    def end(self, child: Child) -> int | None:
        """Ends a renderer and frees what it held; how it ended, as subprocess.Popen.returncode. None: it has gone with its zygote."""
        child.connection.close()
        child.frames.close()
        with self._lock:
            if self._channel is None:
                return None
            try:
                return self._ask(End(child.pid))
            except RendererLost:
                return None

    def close(self) -> None:
        """Ends the zygote and every renderer; no more come."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()  # whoever waits for it holds the lock, and gives up now
        with self._lock:
            self._drop()

    def _start(self) -> None:
        if self._closed:
            raise RendererLost("the server is stopping")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OPENBLAS_NUM_THREADS": "1"}  # neither a GPU's context nor threads survive a fork
            command = [sys.executable, "-m", "realtime.renderers.zygote", str(theirs.fileno())]
            self._channel = ours
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True)
        try:
            ours.send(pickle.dumps(self._recipe()))
            answer = self._received()
        except BaseException:
            self._drop()
            raise
        if isinstance(answer, Failed):
            self._drop()
            raise answer.error
        ours.settimeout(ANSWER_S)

    def _ask(self, request: Fork | End, *fds: int) -> int | None:
        channel = self._channel
        assert channel is not None
        try:
            socket.send_fds(channel, [pickle.dumps(request)], fds)
            answer = self._received()
        except (OSError, RendererLost) as error:
            logger.error("the process that renderers are forked from is gone; another one is started when it is needed")
            self._drop()
            raise RendererLost("what makes renderers has ended") from error
        assert answer is None or isinstance(answer, int)
        return answer

    def _received(self) -> object:
        assert self._channel is not None
        data = self._channel.recv(MAX_MESSAGE_BYTES)
        if not data:
            raise RendererLost("what makes renderers has ended")
        return pickle.loads(data)

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        process, self._process = self._process, None
        if channel is not None:
            channel.close()
        if process is not None:
            process.kill()
            process.wait()
