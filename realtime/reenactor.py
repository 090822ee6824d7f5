"""One webcam frame in, one avatar frame out: the stages in order, each timed. Synchronous; knows no asyncio and no WebRTC.

`Reenactor` is what the worker drives; `StagedReenactor` is the real one, `ReenactorFactory` makes one per session.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingAsset
from models.head import HeadModel, HeadParams, load_head
from realtime.packets import FaceObservation, RenderedFrame, Tracking, VideoPacket

if TYPE_CHECKING:
    from models.baked import BakedAvatar

HEAD = Path(__file__).resolve().parents[1] / "assets" / "open_head.safetensors"
LANDMARKER = "face_landmarker.task"


class Reenactor(Protocol):
    """Everything that a session asks of the heavy side; called from one thread only."""

    @property
    def avatar_id(self) -> str:
        """Which avatar is worn."""

    def step(self, packet: VideoPacket) -> RenderedFrame:
        """The avatar, moved as the face in the frame."""

    def placeholder(self) -> RenderedFrame:
        """The avatar at rest; needs no webcam frame."""

    def calibrate(self) -> None:
        """Takes the face as it is now for the driver's neutral one."""

    def set_avatar(self, avatar_id: str) -> None:
        """Raises realtime.errors.HeadcastError where it cannot be worn; the one worn before stays."""

    def set_background(self, name: str) -> None:
        """`avatar`, `gradient`, `green`, `checker` or `#rrggbb`."""

    def set_mirror(self, enabled: bool) -> None: ...


class ReenactorFactory(Protocol):
    """Makes the heavy side of a session; called from the worker's thread only."""

    def warm(self) -> None:
        """Loads and compiles everything that a first frame would otherwise wait for."""

    def create(self, avatar_id: str) -> Reenactor: ...


class Tracker(Protocol):
    def track(self, packet: VideoPacket) -> FaceObservation: ...


class Solver(Protocol):
    def solve(self, observation: FaceObservation) -> HeadParams | None:
        """None: no face, or none that can be made out."""


class Retargets(Protocol):
    def calibrate(self) -> None: ...

    def retarget(self, params: HeadParams | None, pts_s: float) -> HeadParams: ...


class Renders(Protocol):
    """A renderer that wears one avatar."""

    def render_i420(self, params: HeadParams, background: str, mirror: bool) -> NDArray[np.uint8]:
        """(size * 3 / 2, size); may be a buffer that the next call writes to."""


@dataclass(frozen=True, slots=True)
class Outfit:
    """What changes with the avatar."""

    avatar_id: str
    retargeter: Retargets
    renderer: Renders
    neutral: HeadParams
    """The avatar at rest."""


class StagedReenactor:
    """Track, solve, retarget, render.

    Args:
        tracker: follows one face; keeps state between frames.
        solver: head parameters of that face; keeps state between frames.
        dress: makes the stages that depend on the avatar; raises HeadcastError where there is none of that name.
        avatar_id: the avatar worn first.
        clock: seconds, for the timings.
    """

    def __init__(
        self, tracker: Tracker, solver: Solver, dress: Callable[[str], Outfit], avatar_id: str, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._tracker = tracker
        self._solver = solver
        self._dress = dress
        self._outfit = dress(avatar_id)
        self._background = "avatar"
        self._mirror = True
        self._clock = clock

    @property
    def avatar_id(self) -> str:
        return self._outfit.avatar_id

    def step(self, packet: VideoPacket) -> RenderedFrame:
        start = self._clock()
        observation = self._tracker.track(packet)
        tracked = self._clock()
        params = self._solver.solve(observation)
        solved = self._clock()
        pose = self._outfit.retargeter.retarget(params, packet.pts_s)
        retargeted = self._clock()
        i420 = self._render(pose)
        rendered = self._clock()
        stage_ms = {
            "track": (tracked - start) * 1e3,
            "solve": (solved - tracked) * 1e3,
            "retarget": (retargeted - solved) * 1e3,
            "render": (rendered - retargeted) * 1e3,
        }
        return RenderedFrame(i420, packet.pts_s, packet.received_at, observation.tracking, stage_ms, pose)

    def placeholder(self) -> RenderedFrame:
        neutral = self._outfit.neutral
        return RenderedFrame(self._render(neutral), 0.0, 0.0, Tracking.LOST, params=neutral)

    def calibrate(self) -> None:
        self._outfit.retargeter.calibrate()

    def set_avatar(self, avatar_id: str) -> None:
        if avatar_id != self._outfit.avatar_id:
            self._outfit = self._dress(avatar_id)

    def set_background(self, name: str) -> None:
        self._background = name

    def set_mirror(self, enabled: bool) -> None:
        self._mirror = enabled

    def _render(self, params: HeadParams) -> NDArray[np.uint8]:
        """A picture of its own: the encoder still reads the last one while the next is rendered."""
        return self._outfit.renderer.render_i420(params, self._background, self._mirror).copy()


class StageFactory:
    """Makes real reenactors.

    Args:
        load: the avatar of that identifier, ready to be rendered; raises HeadcastError where there is none.
        default_id: the avatar that is warmed up.
        size: width and height of the picture, in pixels.
    """

    def __init__(self, load: Callable[[str], BakedAvatar], default_id: str, size: int) -> None:
        self._load = load
        self._default_id = default_id
        self._size = size
        self._head: HeadModel | None = None

    def warm(self) -> None:
        """Reads the head and the networks, and runs every stage once, so that nothing is left to compile.

        Raises:
            MissingAsset: a file is not on this machine; the message says how to get it.
        """
        reenactor = self.create(self._default_id)
        blank = np.zeros((480, 640, 3), np.uint8)
        reenactor.step(VideoPacket(blank, 0.0, 0.0))
        reenactor.placeholder()

    def create(self, avatar_id: str) -> Reenactor:
        from models.landmarker import FaceLandmarker
        from realtime.regression import ParameterSolver
        from realtime.tracking import FaceTracker

        head = self._read_head()
        return StagedReenactor(FaceTracker(FaceLandmarker(installed_weights())), ParameterSolver(head), lambda name: self._dress(name, head), avatar_id)

    def _read_head(self) -> HeadModel:
        if self._head is None:
            self._head = load_head(HEAD)
        return self._head

    def _dress(self, avatar_id: str, head: HeadModel) -> Outfit:
        from realtime.renderer import AvatarRenderer
        from realtime.retarget import Retargeter

        avatar = self._load(avatar_id)
        neutral = HeadParams.neutral(len(avatar.expression_names))
        return Outfit(avatar_id, Retargeter(head.expression_names, avatar), AvatarRenderer(avatar, self._size), neutral)


def installed_weights() -> Path:
    """The face landmarker's file; nothing is fetched here, for a running server asks nobody.

    Raises:
        MissingAsset: it was not fetched yet.
    """
    from models.weights import weight_path, weights_folder

    if not (weights_folder() / LANDMARKER).is_file():
        raise MissingAsset(f"{LANDMARKER} is not on this machine; run: python -m models.weights fetch")
    return weight_path(LANDMARKER)


def load_avatar(path: Path) -> BakedAvatar:
    """An avatar file in the form that is rendered.

    Raises:
        BadFile: with what was expected and what came.
    """
    from models.avatar_file import read_avatar
    from models.baked import bake

    return bake(read_avatar(path))
