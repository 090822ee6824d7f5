"""Who may drive the avatar that is worn, frame by frame: the owner lock and the thread that recognises people, together.

An avatar that asks for it, or whose server does, is driven by its own person only: until they are recognised, and once they are not, no frame's motion gets
past.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from models.face_embedding import aligned_face
from realtime.config import LockPolicy
from realtime.lock_policy import own_driver_only
from realtime.owner_lock import LockSettings, OwnerLock, clear_enough, light_enough
from realtime.packets import FaceObservation, Lock, VideoPacket
from realtime.recognition import Answer, Recogniser, installed_eyes

if TYPE_CHECKING:
    from models.baked import BakedAvatar
    from realtime.recognition import Image


class Recognition(Protocol):
    """Says how like the avatar looks at somebody are, later (realtime.recognition.Recogniser)."""

    failed: bool

    def know(self, avatar: BakedAvatar) -> None: ...

    def show(self, face: Image, taken_s: float) -> None: ...

    def answers(self) -> list[Answer]: ...

    def close(self) -> None: ...


class Doorkeeper:
    """Of one session; called from the thread that makes its frames. Holds no picture.

    Args:
        policy: which avatars are locked.
        recognition: makes the thread that recognises people, the first time that a locked avatar is worn.
        clock: seconds.
    """

    def __init__(
        self,
        policy: LockPolicy,
        recognition: Callable[[], Recognition] = lambda: Recogniser(installed_eyes),
        clock: Callable[[], float] = time.monotonic,
        settings: LockSettings | None = None,
    ) -> None:
        self._policy = policy
        self._make_recognition = recognition
        self._clock = clock
        self._lock = OwnerLock(settings)
        self._recognition: Recognition | None = None

    @property
    def lock(self) -> Lock:
        """Whether the avatar that is worn is driven."""
        if self._recognition is None:
            return Lock.OFF
        return Lock.UNAVAILABLE if self._recognition.failed else self._lock.state(self._clock())

    def wear(self, avatar: BakedAvatar) -> None:
        """Another avatar: whoever was recognised is so no longer."""
        self._lock.start_again(self._clock())
        if not own_driver_only(avatar.card.consent, self._policy):
            self.close()
            return
        if self._recognition is None or self._recognition.failed:
            self.close()
            self._recognition = self._make_recognition()
        self._recognition.know(avatar)

    def look(self, packet: VideoPacket, seen: FaceObservation, jumped: bool) -> Lock:
        """Whether this frame may drive. Takes a look at the face now and then, of which a later frame hears.

        Args: `jumped`: the face could not have come there from where it was: another one, perhaps.
        """
        if self._recognition is None:
            return Lock.OFF
        now_s, lock = self._clock(), self._lock
        for answer in self._recognition.answers():
            lock.compare(answer.likeness, answer.taken_s)
        if jumped:
            lock.start_again(now_s)
        if seen.landmarks is None:
            lock.miss(now_s)
        else:
            lock.see(now_s)
            if lock.due(now_s) and clear_enough(seen.landmarks, seen.confidence):
                self._show(aligned_face(packet.image, seen.landmarks), now_s)
        return self.lock

    def close(self) -> None:
        """Forgets everybody."""
        if self._recognition is not None:
            self._recognition.close()
            self._recognition = None

    def _show(self, face: Image, now_s: float) -> None:
        self._lock.look(now_s)
        if self._recognition is not None and light_enough(face):
            self._recognition.show(face, now_s)
