"""Webcam frames for the local way: a camera through OpenCV, or a video in its own time. A camera that is not there, or goes away, is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.drive import DriveError, frames_of

Image = NDArray[np.uint8]
WISHES = ((cv2.CAP_PROP_FRAME_WIDTH, 640), (cv2.CAP_PROP_FRAME_HEIGHT, 480), (cv2.CAP_PROP_FPS, 30), (cv2.CAP_PROP_BUFFERSIZE, 1))
"""What a camera is asked for; the tracker looks at less."""
RETRY_S = 2.0


class CameraError(Exception):
    """There are no frames, or no more; says why."""


@dataclass(frozen=True, slots=True)
class WebcamFrame:
    """Whatever colour order it came in, `to_rgb` gives RGB; only frames that are used cost that."""

    image: Image
    """(height, width, 3)."""
    blue_first: bool
    pts_s: float
    received_at: float

    def to_rgb(self) -> Image:
        return np.ascontiguousarray(self.image[..., ::-1] if self.blue_first else self.image)


class Listener(Protocol):
    """Called from the webcam's thread."""

    def on_frame(self, frame: WebcamFrame) -> None: ...

    def on_lost(self, why: str) -> None:
        """No frames until the next one; called once for each time that the camera goes."""


class Webcam:
    """Reads on a thread of its own, opening the camera again and again where it has to.

    Args:
        name: a number, or a video.
        listener: gets every frame.
        clock: seconds.
    """

    def __init__(self, name: str, listener: Listener, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._listener = listener
        self._clock = clock
        self._stopped = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._run, name="headcast-webcam", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Leaves the thread behind (a daemon) where the camera's driver does not return."""
        self._stopped.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                for frame in self._frames():
                    self._lost = False
                    self._listener.on_frame(frame)
                    if self._stopped.is_set():
                        return
                why = f"the video {Path(self._name).name} has ended; it begins again"
            except CameraError as error:
                why = str(error)
            if not self._lost:
                self._lost = True
                self._listener.on_lost(why)
            self._stopped.wait(RETRY_S)

    def _frames(self) -> Iterator[WebcamFrame]:
        return self._from_camera(int(self._name)) if self._name.isdecimal() else self._from_video(Path(self._name))

    def _from_camera(self, number: int) -> Iterator[WebcamFrame]:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what fails is told in our own words
        capture = cv2.VideoCapture(number)
        try:
            if not capture.isOpened():
                raise CameraError(f"camera {number} cannot be opened: plug it in, close the program that uses it, or name another with --camera")
            for setting, value in WISHES:
                capture.set(setting, value)
            while True:
                there, image = capture.read()
                if not there:
                    raise CameraError(f"camera {number} gives no more pictures: plug it in again, or close the program that took it")
                now = self._clock()
                yield WebcamFrame(np.asarray(image, np.uint8), True, now, now)
        finally:
            capture.release()

    def _from_video(self, path: Path) -> Iterator[WebcamFrame]:
        try:
            _, frames = frames_of(path, None)
            begin: float | None = None
            for image, at_s in frames:
                now = self._clock()
                begin = now - at_s if begin is None else begin
                if self._stopped.wait(max(0.0, begin + at_s - now)):
                    return
                now = self._clock()
                yield WebcamFrame(image, False, now, now)
        except DriveError as error:
            raise CameraError(str(error)) from error
