"""The driver's motion for other programs, by the Virtual Motion Capture protocol (https://protocol.vmc.info): OSC over UDP, in the part of the "performer".

What is sent is the driver's own motion beyond their rest pose, filtered: not limited to what an avatar can do and without the user's gains, for receivers have
sliders of their own. One session is sent, the first whose face is seen; when it ends, the next. While no face is seen nothing is sent, once what was shown has
been eased to rest. Nothing waits for the network, and nothing depends on it.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.rotations import from_gaze, to_axis_angle
from realtime import osc
from realtime.errors import HeadcastError
from realtime.packets import Motion

logger = logging.getLogger(__name__)

Vector = tuple[float, float, float]
MOST_BYTES = 1400
"""Of a datagram: below the 1500 of an Ethernet frame that the protocol asks to keep to, with room for a tunnel's headers."""
NECK_SHARE = 0.4
"""Of the head's turn; the head bone makes the rest."""
BONES: dict[str, Vector] = {"Neck": (0.0, 0.13, -0.01), "Head": (0.0, 0.09, 0.01), "LeftEye": (-0.03, 0.06, 0.03), "RightEye": (0.03, 0.06, 0.03)}
"""Bones and where they are from their parents, metres, in Unity's axes, on a person of common size. They never move; receivers that take positions over from
the sender keep a head where a head belongs."""
STILL = (0.0, 0.0, 0.0, 1.0)


class VmcOutput:
    """One receiver. Not for several threads at a time.

    Args:
        presets: send what every VRM model has (A, I, U, O, Blink_L, Blink_R) instead of the 52 shapes. Never both: a model made for the 52 shapes would
            close its eyes twice.
        clock: seconds.

    Raises:
        HeadcastError: there is no such host, or nothing can be sent to it.
    """

    def __init__(self, host: str, port: int, presets: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)  # where VTuber programs listen
            self._socket = socket.socket(family, kind, protocol)
        except (OSError, UnicodeError) as error:
            raise HeadcastError(f"--vmc: expected a host that can be found, got {host!r} ({_reason(error)})") from error
        try:
            self._socket.setblocking(False)
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise HeadcastError(f"--vmc: nothing can be sent to {host!r} ({_reason(error)})") from error
        self._presets = presets
        self._clock = clock
        self._started_s = clock()
        self._owner: object | None = None
        self._latest: Motion | None = None
        self._prefixes: dict[str, bytes] = {}
        self._told = False
        self.sent = 0
        """Datagrams."""
        self.failed = 0
        """Datagrams that could not be sent: nobody listens there, or too many at a time."""

    def send(self, owner: object, motion: Motion) -> None:
        """Sends a frame of `owner`, unless another one is being sent. Never raises, never waits."""
        if self._owner is None and motion.seen:
            self._owner = owner
        if owner is not self._owner or self._owner is None:
            return
        if _at_rest(motion) and (self._latest is None or _at_rest(self._latest)):
            return
        self._latest = motion
        self._emit(motion)

    def release(self, owner: object) -> None:
        """`owner` sends nothing more; the receiver's avatar is put to rest."""
        if self._owner is not owner:
            return
        if self._latest is not None and not _at_rest(self._latest):
            latest = self._latest
            self._emit(replace(latest, weights=np.zeros_like(latest.weights), turn=np.zeros(3), gaze=np.zeros((2, 2)), seen=False))
        self._owner = self._latest = None

    def close(self) -> None:
        self._socket.close()

    def _emit(self, motion: Motion) -> None:
        for datagram in osc.bundles(self._messages(motion), MOST_BYTES):
            try:
                self._socket.send(datagram)
                self.sent += 1
            except OSError as error:
                self.failed += 1
                if not self._told:
                    self._told = True
                    logger.warning("VMC: a datagram could not be sent (%s); further ones are only counted", _reason(error))

    def _messages(self, motion: Motion) -> Iterator[bytes]:
        yield osc.message("/VMC/Ext/OK", 1)
        yield osc.message("/VMC/Ext/T", self._clock() - self._started_s)
        yield osc.message("/VMC/Ext/Root/Pos", "root", 0.0, 0.0, 0.0, *STILL)
        turns = {"Neck": NECK_SHARE * motion.turn, "Head": (1.0 - NECK_SHARE) * motion.turn}
        turns |= {name: to_axis_angle(from_gaze(*gaze)) for name, gaze in zip(("LeftEye", "RightEye"), motion.gaze, strict=True)}
        for name, turn in turns.items():
            yield osc.message("/VMC/Ext/Bone/Pos", name, *BONES[name], *unity_quaternion(turn))
        shapes = dict(zip(motion.names, motion.weights.tolist(), strict=True))
        for name, value in (_preset_values(shapes) if self._presets else _arkit_values(shapes)).items():
            if name not in self._prefixes:
                self._prefixes[name] = osc.message("/VMC/Ext/Blend/Val", name, 0.0)[:-4]
            yield self._prefixes[name] + struct.pack(">f", value)
        yield osc.message("/VMC/Ext/Blend/Apply")


def unity_quaternion(turn: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """x, y, z, w in Unity's axes of a rotation (3,) in radians about those of models/CONVENTIONS.md.

    Unity: left-handed, +x the person's right, +y up, +z out of the face. That is ours with x mirrored; mirrored so, a rotation keeps its sign about x and
    changes it about y and z.
    """
    angle = float(np.linalg.norm(turn))
    x, y, z = np.asarray(turn, np.float64) * (0.5 if angle < 1e-9 else np.sin(0.5 * angle) / angle)
    return float(x), -float(y), -float(z), float(np.cos(0.5 * angle))


def _arkit_values(shapes: dict[str, float]) -> dict[str, float]:
    """By the names that VRM models with "perfect sync" have: ARKit's, with a capital letter. Receivers that do not ignore case expect it."""
    return {name[0].upper() + name[1:]: value for name, value in shapes.items()}


def _preset_values(shapes: dict[str, float]) -> dict[str, float]:
    """By the presets of VRM 0, which the protocol keeps to. Vowels are only guessed from how open, round and wide the mouth is."""

    def both(name: str) -> float:
        return 0.5 * (shapes.get(f"{name}Left", 0.0) + shapes.get(f"{name}Right", 0.0))

    opened = max(shapes.get("jawOpen", 0.0) - shapes.get("mouthClose", 0.0), 0.0)
    rounded = max(shapes.get("mouthFunnel", 0.0), shapes.get("mouthPucker", 0.0))
    vowels = {"A": opened * (1.0 - rounded), "I": both("mouthStretch") * (1.0 - opened), "U": rounded * (1.0 - opened), "O": rounded * opened}
    return {**vowels, "Blink_L": shapes.get("eyeBlinkLeft", 0.0), "Blink_R": shapes.get("eyeBlinkRight", 0.0)}


def _at_rest(motion: Motion) -> bool:
    return not motion.seen and not (motion.weights.any() or motion.turn.any() or motion.gaze.any())


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
