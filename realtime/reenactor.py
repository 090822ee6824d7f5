"""One webcam frame in, one avatar frame out: the stages in order, each timed. Synchronous; knows no asyncio and no WebRTC.

`Reenactor` is what the worker drives; `StagedReenactor` is the real one, `ReenactorFactory` makes one per session.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from models.head import HeadModel, HeadParams, load_head
from realtime.config import LockPolicy
from realtime.driving import Door, Driving, Wardrobe
from realtime.packets import Calibration, DriveMode, FaceObservation, GainGroup, Lock, Motion, PuppetPose, RenderedFrame, Tracking, Unit, VideoPacket
from realtime.puppet import Puppet

if TYPE_CHECKING:
    from models.baked import BakedAvatar
    from models.regressor import Regressor
    from realtime.retarget import AvatarRig

HEAD = Path(__file__).resolve().parents[1] / "assets" / "open_head.safetensors"
LANDMARKER = "face_landmarker.task"
WARM_FRAMES = 20
logger = logging.getLogger(__name__)


class Reenactor(Protocol):
    """Everything that a session asks of the heavy side; called from one thread only. Where it lives in another process, anything may raise RendererLost."""

    @property
    def avatar_id(self) -> str:
        """Which avatar is worn."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """What of the avatar that is worn may be set by hand; the same object until another is worn."""

    def step(self, packet: VideoPacket) -> RenderedFrame:
        """The avatar, moved as the face in the frame, and by hand."""

    def placeholder(self) -> RenderedFrame:
        """The avatar at rest, moved by hand only; needs no webcam frame."""

    def set_pose(self, pose: PuppetPose) -> None:
        """What is set by hand, from now on; none at first."""

    def calibrate(self, mode: Calibration) -> None:
        """Takes the face as it is now, or as it was in the most neutral moment lately, for the driver's neutral one.

        Raises realtime.errors.HeadcastError where there was no such moment; the neutral one stays as it was.
        """

    def set_gain(self, group: GainGroup, value: float) -> None:
        """How strongly that part of the driver's motion is shown, from 0 to MAX_GAIN; 1 at first."""

    def set_avatar(self, avatar_id: str) -> None:
        """Raises realtime.errors.HeadcastError where it cannot be worn; the one worn before stays."""

    def set_drive(self, mode: DriveMode) -> None:
        """How the driver's motion is taken: by who they are, as it is, or relative to their rest pose."""

    def set_background(self, name: str) -> None:
        """`avatar`, `gradient`, `green`, `checker` or `#rrggbb`."""

    def set_mirror(self, enabled: bool) -> None:
        """Whether the picture is flipped, as in a mirror; it is not at first."""

    def set_badge(self, enabled: bool) -> None:
        """Whether the picture says "AI avatar"; it does at first. The invisible mark stays."""

    def close(self) -> None:
        """Frees what it holds; nothing is asked of it afterwards."""


class Action(Protocol):
    """Something to be done by a reenactor; it may cross to another process."""

    @property
    def setting(self) -> str | None:
        """What it sets for good, so that only the latest of that name counts; None: it is done once."""

    def apply(self, reenactor: Reenactor) -> None:
        """Raises realtime.errors.HeadcastError where it cannot be done; nothing has changed then."""


class ReenactorFactory(Protocol):
    """Makes the heavy side of sessions; each is then driven by one thread."""

    def warm(self) -> None:
        """Loads and compiles everything that a first frame would otherwise wait for."""

    def create(self, avatar_id: str) -> Reenactor: ...

    def close(self) -> None:
        """Ends whatever it made."""


class Renderer(Protocol):
    """Shows one avatar at a time (realtime.renderer.AvatarRenderer)."""

    def set_avatar(self, avatar: BakedAvatar) -> None: ...

    def set_badge(self, enabled: bool) -> None: ...

    def render_i420(self, params: HeadParams, background: str, mirror: bool) -> NDArray[np.uint8]:
        """(size * 3 / 2, size); may be a buffer that a later call writes to."""

    def close(self) -> None: ...


class MotionOutput(Protocol):
    """Takes the driver's motion elsewhere (realtime.vmc.VmcOutput). Neither raises nor waits."""

    def send(self, owner: object, motion: Motion) -> None:
        """A frame of `owner`, which may be one of several."""

    def release(self, owner: object) -> None:
        """`owner` is gone."""


class StagedReenactor:
    """Drives one avatar at a time, and shows it.

    Args:
        driving: already drives the avatar of `worn`.
        renderer: already shows it.
        worn: the avatar worn first.
        fetch: finds another; raises HeadcastError where there is none of that name.
        clock: seconds, for the timings.
        output: gets the driver's motion too.
        lend: its pictures are the renderer's own, which a later step writes to; else each is its own.
    """

    def __init__(
        self,
        driving: Driving,
        renderer: Renderer,
        worn: Wardrobe,
        fetch: Callable[[str], Wardrobe],
        clock: Callable[[], float] = time.perf_counter,
        output: MotionOutput | None = None,
        lend: bool = False,
    ) -> None:
        self._driving = driving
        self._renderer = renderer
        self._worn = worn
        self._fetch = fetch
        self._puppet = Puppet(worn.avatar)
        self._background = "avatar"
        self._mirror = False
        self._clock = clock
        self._output = output
        self._lend = lend

    @property
    def avatar_id(self) -> str:
        return self._worn.avatar_id

    @property
    def units(self) -> tuple[Unit, ...]:
        return self._puppet.units

    def step(self, packet: VideoPacket) -> RenderedFrame:
        driven = self._driving.step(packet)
        if self._output is not None:
            if driven.lock.shut:
                self._output.release(self)
            else:
                self._output.send(self, self._driving.motion())
        start = self._clock()
        pose = self._moved_by_hand(driven.pose, driven.lock)
        i420 = self._render(pose)
        stage_ms = {**driven.stage_ms, "render": (self._clock() - start) * 1e3}
        return RenderedFrame(i420, packet.pts_s, packet.received_at, driven.observation.tracking, stage_ms, pose, driven.lock)

    def placeholder(self) -> RenderedFrame:
        start, lock = self._clock(), self._driving.lock
        pose = self._moved_by_hand(self._worn.avatar.neutral(), lock)
        i420 = self._render(pose)
        return RenderedFrame(i420, 0.0, 0.0, Tracking.LOST, {"render": (self._clock() - start) * 1e3}, pose, lock)

    def set_pose(self, pose: PuppetPose) -> None:
        self._puppet.take(pose)

    def calibrate(self, mode: Calibration) -> None:
        self._driving.calibrate(mode)

    def set_gain(self, group: GainGroup, value: float) -> None:
        self._driving.set_gain(group, value)

    def set_drive(self, mode: DriveMode) -> None:
        self._driving.set_mode(mode)

    def set_avatar(self, avatar_id: str) -> None:
        if avatar_id != self._worn.avatar_id:
            self._worn = self._fetch(avatar_id)
            self._driving.wear(self._worn)
            self._puppet.wear(self._worn.avatar)
            self._renderer.set_avatar(self._worn.avatar)

    def set_background(self, name: str) -> None:
        self._background = name

    def set_mirror(self, enabled: bool) -> None:
        self._mirror = enabled

    def set_badge(self, enabled: bool) -> None:
        self._renderer.set_badge(enabled)

    def close(self) -> None:
        if self._output is not None:
            self._output.release(self)
        self._driving.close()
        self._renderer.close()

    def _moved_by_hand(self, pose: HeadParams, lock: Lock) -> HeadParams:
        """A locked avatar is not: whoever holds the sliders may be anybody."""
        return pose if lock.shut else self._puppet.apply(pose)

    def _render(self, params: HeadParams) -> NDArray[np.uint8]:
        """A picture of its own, unless it may be lent: an encoder still reads the last one while the next is rendered."""
        picture = self._renderer.render_i420(params, self._background, self._mirror)
        return picture if self._lend else picture.copy()


class StageFactory:
    """Makes real reenactors.

    Args:
        load: the avatar of that identifier, ready to be rendered; raises HeadcastError where there is none.
        default_id: the avatar that is warmed up.
        size: width and height of the picture, in pixels.
        mode: how a session is driven until it asks for another way.
        output: gets the drivers' motion too.
        head_file: the head model that drivers are solved with; its regressor lies beside it.
        lock: which avatars are driven by their own persons only.
        lend: the pictures of what it makes are read before the next step: they need not be copied.
    """

    def __init__(
        self,
        load: Callable[[str], BakedAvatar],
        default_id: str,
        size: int,
        mode: DriveMode = DriveMode.AUTO,
        output: MotionOutput | None = None,
        head_file: Path = HEAD,
        lock: LockPolicy = LockPolicy.CONSENTED,
        lend: bool = False,
    ) -> None:
        self._load = load
        self._default_id = default_id
        self._size = size
        self._mode = mode
        self._output = output
        self._head_file = head_file
        self._lock = lock
        self._lend = lend
        self._head: HeadModel | None = None
        self._landmarker: Path | None = None

    def warm(self) -> None:
        """Reads the head, the networks and the default avatar, and runs every stage, so that nothing is left to compile.

        Raises:
            ModelError: a file is missing or damaged; the message says how to get it.
        """
        from models.registration import features

        reenactor = self._create(self._default_id, None)
        reenactor.step(VideoPacket(np.zeros((480, 640, 3), np.uint8), 0.0, 0.0))
        reenactor.placeholder()
        reenactor.close()
        _warm_solver(self._read_head(), regressor_of(self._head_file))
        features(np.zeros((8, 8, 3), np.uint8), np.zeros((1, 2), np.float32))

    def create(self, avatar_id: str) -> StagedReenactor:
        from realtime.doorkeeper import Doorkeeper

        return self._create(avatar_id, Doorkeeper(self._lock))

    def _create(self, avatar_id: str, door: Door | None) -> StagedReenactor:
        from realtime.renderer import AvatarRenderer

        worn = self._fetch(avatar_id)
        renderer = AvatarRenderer(worn.avatar, self._size)
        return StagedReenactor(self._driving(worn, door), renderer, worn, self._fetch, output=self._output, lend=self._lend)

    def close(self) -> None:
        """Nothing is left: every reenactor is closed by whoever drives it."""

    def driving(self, avatar_id: str) -> Driving:
        """Only what moves that avatar, whoever drives, without showing it."""
        return self._driving(self._fetch(avatar_id), None)

    def _driving(self, worn: Wardrobe, door: Door | None) -> Driving:
        from models.landmarker import FaceLandmarker
        from realtime.retarget import Retargeter
        from realtime.subject import SubjectSolver
        from realtime.tracking import FaceTracker

        head = self._read_head()
        solver = SubjectSolver(head, self._mode, regressor=regressor_of(self._head_file))
        driver = Retargeter(head.expression_names, worn.rig, neck_offset=solver.neck_offset)
        driving = Driving(FaceTracker(FaceLandmarker(self._installed_landmarker())), solver, driver, time.perf_counter, door)
        driving.wear(worn)
        return driving

    def _read_head(self) -> HeadModel:
        if self._head is None:
            self._head = load_head(self._head_file)
        return self._head

    def _installed_landmarker(self) -> Path:
        """The face landmarker's file, verified once: every process that is forked from this one knows it too. Nothing is fetched: a running server asks nobody.

        Raises:
            MissingAsset: it was not fetched yet, or is damaged.
        """
        from models.weights import installed

        if self._landmarker is None:
            self._landmarker = installed(LANDMARKER)
        return self._landmarker

    def _fetch(self, avatar_id: str) -> Wardrobe:
        from models.registration import Registrar

        avatar = self._load(avatar_id)
        profile = avatar.driver
        same_shapes = avatar.expression_names == self._read_head().expression_names
        registration = profile.registration if profile is not None and same_shapes else None
        return Wardrobe(avatar_id, avatar, rig_of(avatar), profile, None if registration is None else Registrar(registration, avatar))


def regressor_of(head_file: Path) -> Regressor | None:
    """The regressor that lies beside a head; None, with a word in the log, where there is none.

    Raises:
        BadFile: there is one that cannot be used.
    """
    from models.regressor import Regressor, beside

    path = beside(head_file)
    if path.is_file():
        return Regressor(path)
    logger.warning("%s has no regressor: faces are followed less well; make one with python -m training regressor --head %s", head_file.name, head_file.name)
    return None


def _warm_solver(head: HeadModel, regressor: Regressor | None) -> None:
    """Shows a solver the head's own landmarks, as if seen by a camera, for long enough that all of it has run."""
    from models.landmarker import COEFFICIENT_NAMES
    from realtime.regression import ParameterSolver

    solver = ParameterSolver(head, regressor=regressor)
    points = np.nan_to_num(head.landmarks(head.template)) * (1500.0, -1500.0, -1500.0) + (320.0, 240.0, 0.0)
    face = FaceObservation(Tracking.OK, 640, 480, 0.0, points.astype(np.float32), np.zeros(len(COEFFICIENT_NAMES), np.float32), 1.0)
    for frame in range(WARM_FRAMES):
        solver.solve(replace(face, pts_s=frame / 30))


def rig_of(avatar: BakedAvatar) -> AvatarRig:
    """What the retargeter must know of an avatar."""
    from realtime.retarget import AvatarRig

    ranges = avatar.ranges
    return AvatarRig(
        expression_names=avatar.expression_names,
        expression_min=ranges.expression[:, 0],
        expression_max=ranges.expression[:, 1],
        rotation_limit=np.abs(ranges.rotation).max(1),
        neck_limit=np.abs(ranges.neck).max(1),
        gaze_limit=np.abs(ranges.gaze).max(1),
        default_translation=np.array(avatar.camera.translation),
        rest=avatar.neutral(),
        neck_range=ranges.neck,
    )


def load_avatar(path: Path) -> BakedAvatar:
    """An avatar file in the form that is rendered.

    Raises:
        NotAgreed: it is not to be shown, and why.
        BadFile: with what was expected and what came.
    """
    from models.baked import bake
    from models.consent.opening import open_avatar

    return bake(open_avatar(path, date.today()))
