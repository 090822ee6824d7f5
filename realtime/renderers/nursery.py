"""The server's hand on the zygote: starts it, has it fork renderers and end them, starts another one when it is gone."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import struct
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
WARM_S = 300.0
"""The same for becoming warm: minutes where everything is compiled for the first time on a busy machine."""
STALLED_S = 1
"""A renderer that began to say something and takes longer for the rest hangs."""


@dataclass(frozen=True, slots=True)
class Child:
    """A renderer, just forked."""

    pid: int
    connection: Connection
    frames: SharedFrames
    zygote: int
    """Where it comes from, a process identifier."""


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
            RendererLost: it could not be started, ended without a word, took too long, or the nursery was closed.
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
            try:
                return self._fork()
            except OSError as error:
                raise RendererLost(f"there is no room for another renderer: {error}") from error

    def end(self, child: Child) -> int | None:
        """Ends a renderer and frees what it held; how it ended, as subprocess.Popen.returncode. None: it has gone with its zygote."""
        child.connection.close()
        child.frames.close()
        with self._lock:
            if self._channel is None or child.zygote != self.pid:
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

    def _fork(self) -> Child:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            frames = SharedFrames(self._size)
            try:
                pid = self._ask(Fork(self._size), theirs.fileno(), frames.fd)
                if pid is None or self._process is None:
                    raise RendererLost("no process can be made for another renderer; see the server's log")
            except BaseException:
                frames.close()
                raise
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", STALLED_S, 0))  # a timeval, as in socket(7)
            return Child(pid, Connection(ours.detach()), frames, self._process.pid)

    def _start(self) -> None:
        if self._closed:
            raise RendererLost("the server is stopping")
        try:
            answer = self._begin()
        except OSError as error:
            self._drop()
            raise RendererLost(f"what makes renderers could not be started: {error}") from error
        except BaseException:
            self._drop()
            raise
        if isinstance(answer, Failed):
            self._drop()
            raise answer.error

    def _begin(self) -> object:
        """Starts the zygote; its first answer."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OPENBLAS_NUM_THREADS": "1"}  # neither a GPU's context nor threads survive a fork
            command = [sys.executable, "-m", "realtime.renderers.zygote", str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True)
        if self._closed:  # by another thread, which found no process to kill
            raise RendererLost("the server is stopping")
        self._channel.settimeout(WARM_S)
        self._channel.send(pickle.dumps(self._recipe()))
        answer = self._received()
        self._channel.settimeout(ANSWER_S)
        return answer

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
