"""VideoPacket → FaceObservation: one face followed from frame to frame.

The detector runs only while no face is followed, and about once a second to notice others; else the region of interest comes from the last landmarks, as in
MediaPipe's face landmarker graph. A lost face is a state (Tracking.LOST), never an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.face_detector import FaceBox
from models.face_roi import MARGIN, Roi, plausible, roi_around_landmarks, usable, whole_picture
from models.landmarker import PRESENCE_THRESHOLD, LandmarkResult
from realtime.packets import FaceObservation, Tracking, VideoPacket

Image = NDArray[np.uint8]


class Landmarker(Protocol):
    """What the tracker needs of models.landmarker.FaceLandmarker."""

    def detect(self, image: Image, roi: Roi | None = None) -> list[FaceBox]: ...

    def landmarks(self, image: Image, roi: Roi) -> LandmarkResult: ...

    def settled_landmarks(self, image: Image, roi: Roi) -> LandmarkResult: ...


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """How a face is found, followed and lost."""

    min_presence: float = PRESENCE_THRESHOLD
    """A face is lost where the landmark network is less sure than this that there is one."""
    look_around_s: float = 1.0
    """Time between two looks for other faces (1 ms each, 3 ms more where there seems to be one)."""
    candidates: int = 2
    """Most detections of one frame that are tried, so that a frame without a face costs little more than one with."""
    unrest: float = 0.01
    """A careful tracker looks again where the region of interest was off by more than this: in side or place, as a share of its side, or in turn, in radians.
    Against landmarks from settled regions, one look is off by 0.66 pixels on a talking man (half a degree of his head), with this a third of that; about
    every second frame of his costs the 4 ms of a second look."""
    max_growth: float = 2.0
    """A face that seems to grow or shrink by more than this within a frame is no longer the face."""


class FaceTracker:
    """Follows the largest face until it is lost. One per session, from one thread; never raises on odd pictures."""

    def __init__(self, landmarker: Landmarker, settings: TrackingSettings | None = None) -> None:
        self._landmarker = landmarker
        self._settings = settings or TrackingSettings()
        self.careful = False
        """Whether landmarks should be as steady as two looks a frame can make them: where the driver's own picture is what the avatar is compared with."""
        self.reset()

    def reset(self) -> None:
        """Forgets the face that is followed."""
        self._roi: Roi | None = None
        self._size = (0, 0)
        self._looked_at = -math.inf
        self._others = False
        self._lost_frames = 0

    def track(self, packet: VideoPacket) -> FaceObservation:
        """What is seen in a frame; LOST where its image is empty or no (height, width, 3) uint8 picture."""
        image = packet.image
        height, width = (*image.shape, 0, 0)[:2]
        if not usable(image):
            self.reset()
            return FaceObservation(Tracking.LOST, width, height, packet.pts_s)
        if (width, height) != self._size:
            self.reset()
            self._size = (width, height)
        result = self._follow(image, packet.received_at) or self._acquire(image, packet.received_at)
        if result is None:
            self._lost_frames += 1
            return FaceObservation(Tracking.LOST, width, height, packet.pts_s)
        self._lost_frames = 0
        tracking = Tracking.MULTIPLE if self._others else Tracking.OK
        return FaceObservation(tracking, width, height, packet.pts_s, result.landmarks, result.coefficients, result.presence)

    def _follow(self, image: Image, now_s: float) -> LandmarkResult | None:
        roi = self._roi
        if roi is None:
            return None
        result = self._landmarker.landmarks(image, roi)
        self._roi = self._next_roi(result)
        if self.careful and self._roi is not None and unrest(roi, self._roi) > self._settings.unrest:
            result = self._landmarker.landmarks(image, self._roi)
            self._roi = self._next_roi(result)
        if self._roi is None or not 1.0 / self._settings.max_growth < self._roi.width / roi.width < self._settings.max_growth:
            self._roi = None
            return None
        if not 0.0 <= now_s - self._looked_at < self._settings.look_around_s:
            self._look_around(image, self._landmarker.detect(image), self._roi, now_s)
        return result

    def _acquire(self, image: Image, now_s: float) -> LandmarkResult | None:
        boxes = self._landmarker.detect(image) or self._landmarker.detect(image, self._unusual_look())
        for box in boxes[: self._settings.candidates]:
            result = self._landmarker.settled_landmarks(image, box.roi())
            self._roi = self._next_roi(result)
            if self._roi is not None:
                self._look_around(image, boxes, self._roi, now_s)
                return result
        return None

    def _next_roi(self, result: LandmarkResult) -> Roi | None:
        if result.presence < self._settings.min_presence:
            return None
        roi = roi_around_landmarks(result.landmarks)
        return roi if plausible(roi, *self._size) else None

    def _look_around(self, image: Image, boxes: list[FaceBox], followed: Roi, now_s: float) -> None:
        """Notes whether there are other faces; the landmark network confirms what the detector takes for one."""
        self._looked_at = now_s
        others = [box for box in boxes if not _same_face(box, followed)][: self._settings.candidates]
        self._others = any(self._landmarker.landmarks(image, box.roi()).presence >= self._settings.min_presence for box in others)

    def _unusual_look(self) -> Roi:
        """Where else to look in this frame: by turns into the middle and the ends of the picture, for a face too small to be found in the whole, and for a head
        that lies on its side."""
        width, height = self._size
        turn, lying = divmod(self._lost_frames, 2)
        if lying:
            return whole_picture(width, height, 0.5 * math.pi if turn % 2 == 0 else -0.5 * math.pi)
        short, spare = min(width, height), abs(width - height)
        if spare < 0.25 * short:
            side = 0.6 * short
            return Roi(0.5 * width, (0.5, 0.35, 0.65)[turn % 3] * height, side, side)
        along = 0.5 * short + (0.5, 0.0, 1.0)[turn % 3] * spare
        x, y = (along, 0.5 * height) if width > height else (0.5 * width, along)
        return Roi(x, y, float(short), float(short))


def unrest(one: Roi, two: Roi) -> float:
    """How far two regions are apart: the largest difference of side or place, over the first one's side, or of turn, in radians."""
    turn = math.remainder(two.rotation_rad - one.rotation_rad, 2.0 * math.pi)
    return max(abs(two.width - one.width) / one.width, math.hypot(two.x - one.x, two.y - one.y) / one.width, abs(turn))


def _same_face(box: FaceBox, followed: Roi) -> bool:
    apart = math.hypot(box.x - followed.x, box.y - followed.y)
    return apart < 0.5 * max(followed.width / MARGIN, box.width)
