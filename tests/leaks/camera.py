"""A webcam whose every picture carries the barcode: scenes that a test changes while it runs."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from fractions import Fraction

import av
import cv2
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from tests.faces import Image, face_clip
from tests.leaks.barcode import code, stamped

CLOCK_HZ = 90_000
FPS = 15
CYCLE = 15
"""Pictures of a scene, one a camera frame; they are repeated."""
PULSE_HZ = FPS / 6


class Scene(StrEnum):
    FACE = "face"
    """Somebody who talks, the code over and beside them."""
    COVERED = "covered"
    """Nothing but the code: the hand before the lens."""
    PAIR = "pair"
    """Two faces."""
    SMALL = "small"
    """A face, in 320 x 240."""
    STEADY = "steady"
    """A still face, and all around it changes between two colours PULSE_HZ times a second."""


def pictures(scene: Scene, size: int = 512) -> list[Image]:
    """What the camera shows, one after the other; (height, width, 3) RGB."""
    faces = [np.asarray(cv2.resize(each, (size, size)), np.uint8) for each in face_clip(2 * CYCLE)[::2]]
    match scene:
        case Scene.FACE:
            return [stamped(each) for each in faces]
        case Scene.COVERED:
            return [code(size, size)]
        case Scene.PAIR:
            halves = [each[:, size // 4 : size * 3 // 4] for each in faces]
            return [_beside(np.concatenate([each, each[:, ::-1]], 1)) for each in halves]
        case Scene.SMALL:
            return [stamped(np.asarray(cv2.resize(each, (320, 240)), np.uint8)) for each in faces]
        case Scene.STEADY:
            away = (stamped(np.zeros_like(faces[0])) == stamped(np.full_like(faces[0], 255))).all(-1, keepdims=True)  # where nothing of the face is left
            return [np.where(away, colour, faces[0]) for colour in _swings(round(FPS / PULSE_HZ))]


def _beside(pair: Image) -> Image:
    """The code over both."""
    return np.asarray(cv2.addWeighted(pair, 0.6, code(pair.shape[1], pair.shape[0]), 0.4, 0.0), np.uint8)


def _swings(period: int) -> list[NDArray[np.uint8]]:
    return [np.array([230, 20, 230] if index < period // 2 else [20, 230, 20], np.uint8) for index in range(period)]


class BarcodeCamera(MediaStreamTrack):
    """Sends the pictures of `scene`, FPS a second; a frame that comes too late is skipped."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._planes = {scene: [_planes(each) for each in pictures(scene)] for scene in Scene}
        self._start: float | None = None
        self._index = -1
        self.scene = Scene.FACE

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now = time.monotonic()
        if self._start is None:
            self._start = now
        self._index = max(self._index + 1, int((now - self._start) * FPS))
        await asyncio.sleep(max(0.0, self._start + self._index / FPS - now))
        planes = self._planes[self.scene]
        frame = av.VideoFrame.from_ndarray(planes[self._index % len(planes)], format="yuv420p")
        frame.pts, frame.time_base = round(self._index * CLOCK_HZ / FPS), Fraction(1, CLOCK_HZ)
        return frame


def _planes(image: Image) -> NDArray[np.uint8]:
    return np.asarray(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").to_ndarray(format="yuv420p"), np.uint8)
