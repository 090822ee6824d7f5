"""The process that renderers are forked from: loads and compiles everything once, then forks one whenever the server asks.

    python -m realtime.renderers.zygote FD        FD: a socket to the server; started by nursery.py only

It has one thread, opens nothing, and holds no session's data, so that a fork is safe and begins clean. It ends with the server, and every renderer with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import pickle
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NoReturn

import cv2

from realtime.discretion import be_discreet
from realtime.renderers.frames import SharedFrames
from realtime.renderers.messages import End, Failed, Fork, Kitchen, Recipe
from realtime.renderers.serving import Serving, carried

MAX_MESSAGE_BYTES = 1 << 16
MAX_DATA_BYTES = 2 << 30
"""Of private memory that a renderer may have; past it, it ends instead of the machine's other programs."""
FIRST_TO_GO = 500
"""Where the machine's memory runs out, a renderer goes before the server does (proc(5), oom_score_adj)."""
TRIAL_S = 20.0
"""What takes longer to load is not loaded in advance."""
LOOK_EVERY_S = 0.02
PR_SET_PDEATHSIG = 1
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Trial:
    pid: int
    deadline_s: float


class Zygote:
    """Args: the socket to the server, and what renderers are made of, warm."""

    def __init__(self, channel: socket.socket, kitchen: Kitchen) -> None:
        self._channel = channel
        self._kitchen = kitchen
        self._children: set[int] = set()
        self._trial: _Trial | None = None

    def run(self) -> None:
        """Serves until the server is gone."""
        while True:
            self._wait()
            data, fds, _, _ = socket.recv_fds(self._channel, MAX_MESSAGE_BYTES, 2)
            if not data:
                return
            match pickle.loads(data):
                case Fork(size):
                    connection, memory = fds
                    self._answer(self._fork(size, connection, memory))
                    os.close(connection)
                    os.close(memory)
                case End(pid):
                    self._answer(self._end(pid))

    def _wait(self) -> None:
        """Until the server asks for something; the time is used."""
        loads = self._kitchen.loads
        while not select.select([self._channel], [], [], LOOK_EVERY_S if self._trial is not None else 0.0 if loads else None)[0]:
            self._load_ahead(loads)

    def _load_ahead(self, loads: deque[Callable[[], object]]) -> None:
        """Has a fork try the next of them, or loads it here if that went well: no user's file can take this process down."""
        if self._trial is None:
            try:
                self._trial = _Trial(_attempt(loads[0]), time.monotonic() + TRIAL_S)
            except OSError as error:
                logger.warning("nothing more is loaded in advance: no process can be made (%s)", error)
                loads.clear()
            return
        ended, status = os.waitpid(self._trial.pid, os.WNOHANG)
        if not ended and time.monotonic() < self._trial.deadline_s:
            return
        if not ended:
            os.kill(self._trial.pid, signal.SIGKILL)
            os.waitpid(self._trial.pid, 0)
        self._trial = None
        load = loads.popleft()
        if ended and status == 0:
            try:
                load()
            except Exception:  # the file has changed since; whoever wants it will be told
                logger.info("something could not be loaded in advance", exc_info=True)
            gc.freeze()

    def close(self) -> None:
        if self._trial is not None:
            self._children.add(self._trial.pid)
        for pid in tuple(self._children):
            self._end(pid)

    def _answer(self, number: int | None) -> None:
        self._channel.send(pickle.dumps(number))

    def _end(self, pid: int) -> int | None:
        """Ends a renderer, at once: it holds nothing that it would have to save. None: there is none of that identifier."""
        if pid not in self._children:
            return None
        self._children.remove(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # not waited for so far, so the identifier is still its own
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _fork(self, size: int, connection: int, memory: int) -> int | None:
        try:
            pid = os.fork()
        except OSError as error:
            logger.error("no process can be made for another renderer (%s): the machine, or this server's share of it, has too many or no memory left", error)
            return None
        if pid:
            self._children.add(pid)
            return pid
        code = 1
        try:
            self._channel.close()
            _come_of_age(os.getppid())
            Serving(self._kitchen, SharedFrames(size, memory)).run(Connection(connection))
            code = 0
        except BaseException:
            logger.exception("a renderer failed")
        finally:
            os._exit(code)


def _attempt(load: Callable[[], object]) -> int:
    """A process that ends with 0 if that can be loaded."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _come_of_age(os.getppid())
        load()
        code = 0
    except Exception:  # whoever wants it will be told
        logger.info("something could not be loaded in advance", exc_info=True)
    finally:
        os._exit(code)


def _come_of_age(parent: int) -> None:
    """What a renderer does first: it ends with its parent, keeps within bounds, and is the first to go where memory runs out."""
    import resource

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_DATA_BYTES, MAX_DATA_BYTES))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(FIRST_TO_GO))


def _prepare(channel: socket.socket) -> Kitchen | None:
    """Makes and warms what the server's first message asks for, and tells it how that went. None: it went wrong."""
    data = channel.recv(MAX_MESSAGE_BYTES)
    cv2.setNumThreads(1)  # its threads would not be there after a fork, and waited for
    try:
        recipe: Recipe = pickle.loads(data)
        kitchen = recipe()
        kitchen.factory.warm()
    except Exception as error:
        channel.send(pickle.dumps(Failed(carried(error))))
        return None
    gc.collect()
    gc.freeze()  # a collection that looks at what all share would make it everybody's own
    channel.send(pickle.dumps(None))
    return kitchen


def main() -> NoReturn:
    be_discreet()
    for number in (signal.SIGINT, signal.SIGTERM):  # the server's to obey; this one ends with it
        signal.signal(number, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    kitchen = _prepare(channel)
    if kitchen is None:
        sys.exit(1)
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        logger.warning("%d threads besides the first are left after warming up; a renderer will lack them", threads - 1)
    zygote = Zygote(channel, kitchen)
    try:
        zygote.run()
    finally:
        zygote.close()
    sys.exit(0)


if __name__ == "__main__":
    main()
