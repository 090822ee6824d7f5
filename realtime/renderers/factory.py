"""The live loop's stages, each session's in a process of its own where that can be, else in this one."""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import BadFile
from realtime.config import LockPolicy, LogFormat, ServerConfig
from realtime.errors import NotFound
from realtime.gallery import Gallery
from realtime.logs import set_up_logging
from realtime.packets import DriveMode, Motion
from realtime.reenactor import HEAD, MotionOutput, Reenactor, ReenactorFactory, StageFactory, load_avatar
from realtime.renderers.messages import Recipe
from realtime.renderers.nursery import Nursery
from realtime.renderers.remote import Patience, RemoteReenactor

if TYPE_CHECKING:
    from models.baked import BakedAvatar

logger = logging.getLogger(__name__)

MAX_LOADED = 8
"""Avatars that a renderer keeps, so that changing back is quick."""


def renderers(config: ServerConfig, gallery: Gallery[BakedAvatar], output: MotionOutput | None) -> ReenactorFactory:
    """What the worker of a server is made with."""
    head = config.head or HEAD
    if not sys.platform.startswith("linux"):
        logger.warning("tracking and rendering run within the server here: processes for them are there on Linux only")
        shared = None if output is None else _Shared(output)
        return StageFactory(gallery.load, gallery.default_id, config.size, config.drive, shared, head, config.owner_lock)

    def recipe() -> Recipe:
        first = gallery.entry(gallery.default_id)
        settings = StageSettings(
            avatar_id=first.id,
            path=first.path.resolve(),
            others=tuple((entry.id, entry.path.resolve()) for entry in gallery.entries if entry is not first)[: MAX_LOADED - 1],
            size=config.size,
            drive=config.drive,
            head=head.resolve(),
            with_motion=output is not None,
            log_format=config.log_format,
            verbose=config.verbose,
            lock=config.owner_lock,
        )
        return partial(stages, settings)

    return RendererFactory(recipe, config.size, lambda avatar_id: gallery.entry(avatar_id).path, output)


class RendererFactory:
    """Makes reenactors in processes of their own.

    Args:
        recipe: what they are made of, whenever the process that they come from starts: avatars come and go.
        size: width and height of their pictures, in pixels.
        path_of: an avatar's file; raises realtime.errors.HeadcastError where there is none of that name.
        output: gets the drivers' motion too.
        patience: how long their answers may take.
    """

    def __init__(
        self,
        recipe: Callable[[], Recipe],
        size: int,
        path_of: Callable[[str], Path],
        output: MotionOutput | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._patience = patience
        self.nursery = Nursery(recipe, size)
        self._path_of = path_of
        self._output = None if output is None else _Shared(output)

    def warm(self) -> None:
        self.nursery.start()

    def create(self, avatar_id: str) -> Reenactor:
        return RemoteReenactor(self.nursery, avatar_id, self._path_of, self._output, self._patience)

    def close(self) -> None:
        self.nursery.close()


class _Shared:
    """An output that several threads may use, one at a time."""

    def __init__(self, output: MotionOutput) -> None:
        self._output = output
        self._lock = threading.Lock()

    def send(self, owner: object, motion: Motion) -> None:
        with self._lock:
            self._output.send(owner, motion)

    def release(self, owner: object) -> None:
        with self._lock:
            self._output.release(owner)


@dataclass(frozen=True, slots=True)
class StageSettings:
    """All that the real stages need to be told."""

    avatar_id: str
    """Of the avatar that is warmed up."""
    path: Path
    """Its file."""
    others: tuple[tuple[str, Path], ...]
    """Avatars that may be worn next, and their files."""
    size: int
    drive: DriveMode
    head: Path
    with_motion: bool
    """Whether anybody wants the drivers' motion."""
    log_format: LogFormat
    verbose: bool
    lock: LockPolicy
    """Which avatars are driven by their own persons only."""


@dataclass(slots=True)
class _Caught:
    """The latest motion."""

    motion: Motion | None = None

    def send(self, owner: object, motion: Motion) -> None:
        self.motion = motion

    def release(self, owner: object) -> None:
        self.motion = None


@dataclass(slots=True)
class Stages:
    """The real kitchen."""

    factory: ReenactorFactory
    paths: dict[str, Path]
    caught: _Caught = field(default_factory=_Caught)
    loads: deque[Callable[[], object]] = field(default_factory=deque)
    """Avatars that may be worn next."""

    def know(self, avatar_id: str, path: Path) -> None:
        self.paths[avatar_id] = path

    def motion(self) -> Motion | None:
        caught, self.caught.motion = self.caught.motion, None
        return caught


def stages(settings: StageSettings) -> Stages:
    """Makes them; in the process that renderers are forked from."""
    set_up_logging(ServerConfig(log_format=settings.log_format, verbose=settings.verbose))
    paths = {settings.avatar_id: settings.path, **dict(settings.others)}
    loaded: dict[tuple[Path, int], BakedAvatar] = {}

    def load(avatar_id: str) -> BakedAvatar:
        path = paths[avatar_id]
        try:
            version = (path, path.stat().st_mtime_ns)
            if version not in loaded:
                while len(loaded) >= MAX_LOADED:
                    del loaded[next(iter(loaded))]
                loaded[version] = load_avatar(path)
            return loaded[version]
        except (BadFile, OSError) as error:
            raise NotFound(f"the avatar cannot be used: {error}") from error

    caught = _Caught()
    output = caught if settings.with_motion else None
    factory = StageFactory(load, settings.avatar_id, settings.size, settings.drive, output, settings.head, settings.lock, lend=True)
    return Stages(factory, paths, caught, deque(partial(load, avatar_id) for avatar_id, _ in settings.others))
