"""Compares looks at a driver with the avatar that is worn, on a thread of its own: ten milliseconds a look must not make a frame late.

What leaves the thread is how alike they are, a number. A face, and what the network makes of it, live no longer than the comparison; of the avatar the thread
keeps what its own pictures say, as long as it is worn. Nothing of either is stored, sent or logged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.face_embedding import WEIGHT, FaceEmbedder, aligned_face
from models.landmarker import FaceLandmarker
from models.weights import installed

if TYPE_CHECKING:
    from pathlib import Path

    from models.baked import BakedAvatar

Image = NDArray[np.uint8]
logger = logging.getLogger(__name__)

THREAD_NAME = "headcast-recogniser"
NICENESS = 5
"""Frames go first, where the system knows priorities of threads (Linux)."""
PORTRAIT_PX = 256
PORTRAIT_TURNS = ((0.0, 0.0), (0.0, 0.2), (0.0, -0.2), (0.12, 0.0), (-0.12, 0.0))
"""Radians from rest about x and y. Their mean is as like the person as the best of them, and steadier over poses."""
FEWEST_PORTRAITS = 3


class Eyes(Protocol):
    """What the thread works with; made and used on it."""

    def learn(self, avatar: BakedAvatar) -> bool:
        """Whom it is to recognise from now on. False: the avatar shows no face that could be recognised."""

    def likeness(self, face: Image) -> float:
        """How like the avatar a look at somebody is: -1…1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one look."""

    likeness: float
    taken_s: float


@dataclass(frozen=True, slots=True)
class _Look:
    face: Image
    taken_s: float


class Recogniser:
    """The thread, for one session: recognises one avatar's person. `know`, `show`, `answers` and `close` are for one other thread, and never wait."""

    def __init__(self, make_eyes: Callable[[], Eyes]) -> None:
        self._make_eyes = make_eyes
        self._condition = threading.Condition()
        self._avatar: BakedAvatar | None = None
        self._look: _Look | None = None
        self._answers: list[Answer] = []
        self._worn = 0
        self._closing = False
        self.failed = False
        """It recognises nobody: of this avatar, or at all."""
        threading.Thread(target=self._run, name=THREAD_NAME, daemon=True).start()

    def know(self, avatar: BakedAvatar) -> None:
        """Whom to recognise from now on; what was asked before is forgotten."""
        with self._condition:
            self._worn += 1
            self._avatar, self._look = avatar, None
            self._answers.clear()
            self._condition.notify()

    def show(self, face: Image, taken_s: float) -> None:
        """A look at somebody: (112, 112, 3), models.face_embedding.aligned_face. One that still waits is replaced."""
        with self._condition:
            if not (self.failed or self._closing):
                self._look = _Look(face, taken_s)
                self._condition.notify()

    def answers(self) -> list[Answer]:
        """What came of looks since the last call, in order."""
        with self._condition:
            answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """Ends the thread after the look at hand; it forgets everybody."""
        with self._condition:
            self._closing = True
            self._forget()
            self._condition.notify()

    def _forget(self) -> None:
        self._avatar = self._look = None
        self._answers.clear()

    def _run(self) -> None:
        _yield_to_frames()
        try:
            eyes = self._make_eyes()
            while not self._closing:
                self._work(eyes)
        except Exception as error:
            # as text: a traceback that a log record holds would hold the face too
            logger.error("nobody can be recognised: %s", error if isinstance(error, ModelError) else "".join(traceback.format_exception(error)))
            with self._condition:
                self.failed = True
                self._forget()

    def _work(self, eyes: Eyes) -> None:
        """Waits for an avatar or a look, or both, and takes them in that order."""
        with self._condition:
            self._condition.wait_for(lambda: self._closing or self._avatar is not None or self._look is not None)
            avatar, look, worn = self._avatar, self._look, self._worn
            self._avatar = self._look = None
        known = avatar is None or eyes.learn(avatar)
        likeness = eyes.likeness(look.face) if look is not None and known else None
        with self._condition:
            if worn != self._worn or self._closing:
                return
            if not known:
                logger.warning("a locked avatar shows no face that could be recognised: nobody drives it")
                self.failed = True
            elif likeness is not None and look is not None:
                self._answers.append(Answer(likeness, look.taken_s))


class PortraitEyes:
    """Recognises people by what an avatar's own pictures say: nothing about its person needs to be kept anywhere."""

    def __init__(self, network: Path, landmarker: Path) -> None:
        """Args: the files of models.face_embedding.FaceEmbedder and models.landmarker.FaceLandmarker.

        Raises:
            BadFile: one of them cannot be used.
        """
        self._embed = FaceEmbedder(network)
        self._landmarker = landmarker
        self._known: NDArray[np.float32] | None = None

    def learn(self, avatar: BakedAvatar) -> bool:
        looks = [self._embed(face) for face in portraits(avatar, FaceLandmarker(self._landmarker, 1))]
        mean = np.sum(looks, axis=0) if len(looks) >= FEWEST_PORTRAITS else None
        self._known = None if mean is None else mean / np.linalg.norm(mean)
        return self._known is not None

    def likeness(self, face: Image) -> float:
        return -1.0 if self._known is None else float(self._embed(face) @ self._known)


def portraits(avatar: BakedAvatar, landmarker: FaceLandmarker) -> list[Image]:
    """The avatar at rest, turned a little to all sides, as upright faces; those in which a face is found."""
    from realtime.renderer import AvatarRenderer

    renderer, rest = AvatarRenderer(avatar, PORTRAIT_PX, threads=1), avatar.neutral()
    try:
        pictures = [renderer.render(replace(rest, rotation=rest.rotation + np.array([*turn, 0.0], np.float32))).copy() for turn in PORTRAIT_TURNS]
    finally:
        renderer.close()
    seen = [(picture, landmarker.detect_and_landmark(picture)) for picture in pictures]
    return [aligned_face(picture, found.landmarks) for picture, found in seen if found is not None]


def installed_eyes() -> PortraitEyes:
    """With the networks of this machine; nothing is fetched here, for a running server asks nobody.

    Raises:
        MissingAsset: one was not fetched yet; the message says how to get it.
        BadFile: one cannot be used.
    """
    return PortraitEyes(installed(WEIGHT), installed("face_landmarker.task"))


def _yield_to_frames() -> None:
    """Lowers the calling thread's priority, where that is possible."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
