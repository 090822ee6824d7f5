"""What a server and its renderers say to each other. Pictures are not in it: they lie in `SharedFrames`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from realtime.packets import Motion, RenderedFrame, Unit
from realtime.reenactor import ReenactorFactory

Recipe = Callable[[], "Kitchen"]
"""Makes what renderers are made of, in their process; a function of a module, or a partial of one, so that it can be pickled."""


class Kitchen(Protocol):
    """What renderers are made of."""

    @property
    def factory(self) -> ReenactorFactory: ...

    @property
    def loads(self) -> deque[Callable[[], object]]:
        """What renderers would have to load otherwise, to be loaded while nobody asks for one. Each may fail in any way: it reads a user's file."""

    def know(self, avatar_id: str, path: Path) -> None:
        """Where the file of an avatar lies that is asked for next."""

    def motion(self) -> Motion | None:
        """The driver's in the latest step, once; None: nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Fork:
    """To the zygote, with a connection and the memory of frames: serve whoever is at the other end.

    Answered with the process's identifier; None: there can be none now.
    """

    size: int
    """Width and height of its pictures, in pixels."""


@dataclass(frozen=True, slots=True)
class End:
    """To the zygote: that renderer is no longer needed. Answered with how it ended, as subprocess.Popen.returncode."""

    pid: int


@dataclass(frozen=True, slots=True)
class Wear:
    """To a renderer: show that avatar; the first such message makes it. Answered with `Worn`."""

    avatar_id: str
    path: Path


@dataclass(frozen=True, slots=True)
class Worn:
    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A webcam frame lies in the memory, (height, width, 3). Answered with `Shown`."""

    height: int
    width: int
    pts_s: float
    received_at: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Answered with `Shown`: the avatar at rest."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The avatar lies in the memory."""

    frame: RenderedFrame
    """Without its picture."""
    motion: Motion | None


@dataclass(frozen=True, slots=True)
class Call:
    """A method of Reenactor that answers nothing. Answered with None."""

    method: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """What was asked for could not be done."""

    error: Exception


Request = Wear | Step | Rest | Call
