"""What passes between the stages of the live loop. Frozen: a stage never edits what it was handed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.head import HeadParams


class Tracking(StrEnum):
    """What the tracker can say of a frame."""

    OK = "ok"
    LOST = "lost"
    MULTIPLE = "multiple"
    """Several faces in view; the one that was followed first is still followed."""


class Lock(StrEnum):
    """Whether an avatar that only its own person may drive is driven (realtime.owner_lock)."""

    OFF = "off"
    """Anybody may drive it."""
    WAITING = "waiting"
    """Nobody was recognised yet."""
    OPEN = "open"
    """Its own person drives."""
    REFUSED = "refused"
    """Somebody else is there."""
    UNAVAILABLE = "unavailable"
    """This server cannot recognise anybody."""

    @property
    def shut(self) -> bool:
        """Nothing that the driver does may be shown or sent."""
        return self not in (Lock.OFF, Lock.OPEN)


class DriveMode(StrEnum):
    """How the driver's parameters become the avatar's."""

    AUTO = "auto"
    """`own` where the driver is found to be the avatar's own person, else `relative`."""
    OWN = "own"
    """As they are: for the person whom the avatar shows, where its file knows them; else `relative`."""
    RELATIVE = "relative"
    """What the driver does beyond their own rest pose: for anybody."""


class Calibration(StrEnum):
    """Which look becomes the driver's rest pose."""

    NOW = "now"
    """That of the next moment."""
    BEST = "best"
    """The most neutral one of the last seconds."""


class GainGroup(StrEnum):
    """What of the driver's motion has a gain of its own."""

    BROWS = "brows"
    LIDS = "lids"
    MOUTH = "mouth"
    """With jaw, cheeks and nose."""
    HEAD = "head"


MAX_GAIN = 2.0
"""Of the driver's motion; one shows it as it is."""


MAX_UNIT = 2.0
"""No unit of a pose goes further, in either direction: weights are at most about one, angles are in radians."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Something of an avatar that may be set by hand (realtime.puppet), and how far it goes from rest: a weight, or radians."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class UnitSetting:
    """One unit, set."""

    name: str
    value: float
    """From rest, -MAX_UNIT…MAX_UNIT."""
    hold: bool
    """Whatever the driver does; else it is added to that."""


@dataclass(frozen=True, slots=True)
class PuppetPose:
    """All that is set by hand; no unit twice. What is not named is left to the driver."""

    settings: tuple[UnitSetting, ...] = ()


MAX_IMAGE_PIXELS = 1920 * 1080
"""Of a webcam frame that is looked at; faces are looked at in far fewer."""


@dataclass(frozen=True, slots=True)
class VideoPacket:
    """A decoded webcam frame.

    `image` is (height, width, 3) uint8 RGB; `pts_s` its presentation time in seconds of the sender's clock;
    `received_at` when it was decoded, in seconds of this process's monotonic clock.
    """

    image: NDArray[np.uint8]
    pts_s: float
    received_at: float


@dataclass(frozen=True, slots=True)
class FaceObservation:
    """What the tracker saw in one frame.

    `landmarks` is (478, 3) float32: x, y in pixels of the frame, z in the same scale (smaller is nearer); `coefficients` is
    (52,) float32 in the order of `models.landmarker.COEFFICIENT_NAMES`, 0…1; `confidence` 0…1. All three are None when no face is followed
    (`tracking` is LOST). `width`, `height` are the frame's, in pixels.
    """

    tracking: Tracking
    width: int
    height: int
    pts_s: float
    landmarks: NDArray[np.float32] | None = None
    coefficients: NDArray[np.float32] | None = None
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Motion:
    """What the driver does beyond their rest pose, filtered; all zero at rest. D expression shapes; float64."""

    names: tuple[str, ...]
    """(D,) of the shapes."""
    weights: NDArray[np.float64]
    """(D,) 0…1."""
    turn: NDArray[np.float64]
    """(3,) axis-angle of the head."""
    gaze: NDArray[np.float64]
    """(2, 2) yaw, pitch of the left and of the right eye, radians."""
    seen: bool
    """Whether the face was there; where not, what is shown is held and then eased to rest."""


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """One avatar frame, ready to be encoded.

    `i420` is (height * 3 / 2, width) uint8, the planes Y, U, V one after the other (BT.601, limited range); `pts_s` and `received_at` are those of the
    webcam frame that drove it, or `received_at` that of the pose set by hand, or both are zero; `stage_ms` says how long each stage took.
    Where the `lock` is shut, it shows the avatar at rest, or on its way there.
    """

    i420: NDArray[np.uint8]
    pts_s: float
    received_at: float
    tracking: Tracking
    stage_ms: dict[str, float] = field(default_factory=dict)
    params: HeadParams | None = None
    lock: Lock = Lock.OFF
