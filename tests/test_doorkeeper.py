"""A locked avatar in the live loop: strangers, sliders and VMC against the door. The network is a fake that knows people by the colour of their pictures."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_parts import Consent, TrainedRange
from models.baked import BakedAvatar
from models.head import HeadParams
from realtime.confidence import Confidence
from realtime.config import ConfigError, LockPolicy
from realtime.doorkeeper import Doorkeeper
from realtime.driving import Driving, Wardrobe
from realtime.lock_policy import check_recognition, own_driver_only
from realtime.packets import FaceObservation, Lock, Motion, PuppetPose, RenderedFrame, Tracking, UnitSetting, VideoPacket
from realtime.recognition import Answer
from realtime.reenactor import StagedReenactor
from realtime.vmc import VmcOutput
from tests.consents import agreed
from tests.fakes import card
from tests.test_owner_lock import frontal

Image = NDArray[np.uint8]
FRAME_S = 1.0 / 30.0
OWNER, STRANGER = 200, 60
"""How red their pictures are."""
JAW, BY_HAND = 0.6, 0.35
SHAPES = ("jawOpen", "mouthSmileLeft")


@dataclass
class Avatar:
    """What the stages and the door ask of one."""

    name: str
    consent: Consent
    expression_names = SHAPES
    ranges = TrainedRange.usual(len(SHAPES))

    @property
    def card(self) -> Any:
        return replace(card(self.name), consent=self.consent)

    def neutral(self) -> HeadParams:
        return HeadParams.neutral(len(SHAPES))


class Recognition:
    """Answers one frame later; says 0.9 to whoever is as red as the person that it is to know."""

    def __init__(self) -> None:
        self.failed = self.closed = self.slow = False
        self.known: list[str] = []
        self.shown = 0
        self._answers: list[Answer] = []

    def know(self, avatar: BakedAvatar) -> None:
        self.known.append(cast("Avatar", avatar).name)
        self._answers.clear()

    def show(self, face: Image, taken_s: float) -> None:
        assert face.shape == (112, 112, 3)
        self.shown += 1
        if not self.slow:
            self._answers.append(Answer(0.9 if face[..., 0].mean() > 128 else 0.1, taken_s))

    def answers(self) -> list[Answer]:
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        self.closed = True


class Stages:
    """Tracker, solver, driver and renderer, in the simplest form: whoever is there has their jaw open."""

    careful = own = jumped = False
    came: list[HeadParams] | None = None
    focal_px = 100.0

    def track(self, packet: VideoPacket) -> FaceObservation:
        if not packet.image.any():
            return FaceObservation(Tracking.LOST, 400, 400, packet.pts_s)
        return FaceObservation(Tracking.OK, 400, 400, packet.pts_s, frontal(), np.zeros(52, np.float32), 1.0)

    def solve(self, observation: FaceObservation) -> HeadParams | None:
        return None if observation.landmarks is None else self.pose(JAW)

    def retarget(self, params: HeadParams | None, pts_s: float, own: bool, confidence: Confidence) -> HeadParams:
        self.moved = params is not None
        return self.pose(0.0) if params is None else params

    def motion(self) -> Motion:
        return Motion(SHAPES, np.array([JAW if self.moved else 0.0, 0.0]), np.zeros(3), np.zeros((2, 2)), self.moved)

    def render_i420(self, params: HeadParams, background: str, mirror: bool) -> Image:
        return np.zeros((6, 4), np.uint8)

    @staticmethod
    def pose(jaw: float) -> HeadParams:
        return replace(HeadParams.neutral(len(SHAPES)), expression=np.array([jaw, 0.0], np.float32))

    def ignore(self, *_: object) -> None:
        return None

    wear = use = set_mode = calibrate = set_gain = rest_again = welcome = set_avatar = set_badge = ignore

    def misfit(self, params: HeadParams | None = None) -> float:
        return 0.0

    def close(self) -> None: ...


class Room:
    """A session's heavy side with a door, and whoever sits before its camera."""

    def __init__(self, policy: LockPolicy, consent: Consent, output: VmcOutput | None = None) -> None:
        self.now_s = 1000.0
        self.made: list[Recognition] = []
        self.consents = {"anna": consent, "ben": agreed(own_driver_only=True), "mara": Consent(synthetic=True)}
        self.stages: Any = Stages()
        door = Doorkeeper(policy, self.recognition, lambda: self.now_s)
        driving = Driving(self.stages, self.stages, self.stages, lambda: 0.0, door)
        driving.wear(self.fetch("anna"))
        self.reenactor = StagedReenactor(driving, self.stages, self.fetch("anna"), self.fetch, output=output)

    def fetch(self, avatar_id: str) -> Wardrobe:
        return Wardrobe(avatar_id, cast(BakedAvatar, Avatar(avatar_id, self.consents[avatar_id])), cast(Any, "a rig"))

    def recognition(self) -> Recognition:
        self.made.append(Recognition())
        return self.made[-1]

    def sit(self, who: int | None, seconds: float = FRAME_S) -> list[RenderedFrame]:
        """The frames while somebody is there, or nobody."""
        image = np.zeros((400, 400, 3), np.uint8)
        if who is not None:
            image[:] = np.random.default_rng(0).integers(0, 55, (400, 400, 1), dtype=np.uint8)
            image[..., 0] += np.uint8(who)
        frames = []
        for _ in range(max(round(seconds / FRAME_S), 1)):
            self.now_s += FRAME_S
            frames.append(self.reenactor.step(VideoPacket(image, self.now_s, self.now_s)))
        return frames


def jaw(frame: RenderedFrame) -> float:
    assert frame.params is not None
    return float(frame.params.expression[0])


@pytest.fixture
def room() -> Room:
    return Room(LockPolicy.CONSENTED, agreed(own_driver_only=True))


@pytest.mark.parametrize(
    ("policy", "consent", "locked"),
    [
        (LockPolicy.OFF, agreed(own_driver_only=True), False),
        (LockPolicy.CONSENTED, agreed(own_driver_only=True), True),
        (LockPolicy.CONSENTED, agreed(), False),
        (LockPolicy.ALL, agreed(), True),
        (LockPolicy.ALL, Consent(synthetic=True), False),
        (LockPolicy.CONSENTED, Consent(synthetic=True, own_driver_only=True), False),
    ],
)
def test_who_asks_for_the_lock(policy: LockPolicy, consent: Consent, locked: bool) -> None:
    assert own_driver_only(consent, policy) == locked
    room = Room(policy, consent)
    first = room.sit(STRANGER)[0]
    assert (first.lock is Lock.OFF, bool(room.made)) == (not locked, locked)
    assert (jaw(first) == 0.0) == locked


def test_a_server_says_at_its_start_that_it_cannot_recognise_anybody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Or refuses to start, where it is to lock every avatar. Nobody else hears of it."""
    locked, free = agreed(own_driver_only=True), agreed()
    check_recognition(LockPolicy.ALL, [locked])
    monkeypatch.setenv("HEADCAST_WEIGHTS_DIR", str(tmp_path))
    for policy, consents in ((LockPolicy.OFF, [locked]), (LockPolicy.CONSENTED, [free])):
        check_recognition(policy, consents)
    assert caplog.text == ""
    check_recognition(LockPolicy.CONSENTED, [free, locked])
    assert "run: python -m models.weights fetch face_recognition_sface_2021dec.onnx" in caplog.text
    with pytest.raises(ConfigError, match=r"--owner-lock: .* run: python -m models\.weights fetch"):
        check_recognition(LockPolicy.ALL, [free])


def test_nothing_moves_until_the_owner_is_recognised(room: Room) -> None:
    frames = room.sit(OWNER, 1.0)
    opened = next(index for index, frame in enumerate(frames) if frame.lock is Lock.OPEN)
    assert opened > 3
    assert all((frame.lock is Lock.WAITING, jaw(frame)) == (True, 0.0) for frame in frames[:opened])
    assert all(jaw(frame) == pytest.approx(JAW) for frame in frames[opened:])


def test_a_stranger_never_moves_it(room: Room) -> None:
    frames = room.sit(STRANGER, 20.0)
    assert all(jaw(frame) == 0.0 for frame in frames)
    assert {frame.lock for frame in frames} == {Lock.WAITING, Lock.REFUSED}
    assert frames[-1].lock is Lock.REFUSED


def test_a_stranger_who_takes_the_seat_is_stopped_within_two_seconds(room: Room) -> None:
    """Even where the tracker noticed nothing: no face was lost, and none jumped."""
    room.sit(OWNER, 5.0)
    frames = room.sit(STRANGER, 5.0)
    moved = [frame for frame in frames if jaw(frame) > 0.0]
    assert len(moved) * FRAME_S < 2.0
    assert not any(jaw(frame) for frame in frames[len(moved) :])
    assert frames[-1].lock is Lock.REFUSED
    assert room.sit(OWNER, 2.0)[-1].lock is Lock.OPEN


def test_a_stranger_whose_face_the_tracker_takes_for_another_moves_nothing_at_all(room: Room) -> None:
    room.sit(OWNER, 5.0)
    room.stages.jumped = True
    first = room.sit(STRANGER)
    room.stages.jumped = False
    assert not any(jaw(frame) for frame in first + room.sit(STRANGER, 5.0))


def test_a_stranger_who_comes_after_the_owner_went_moves_nothing_at_all(room: Room) -> None:
    room.sit(OWNER, 5.0)
    assert room.sit(None, 1.0)[-1].lock is Lock.WAITING
    assert not any(jaw(frame) for frame in room.sit(STRANGER, 5.0))
    room.sit(None, 1.0)
    assert jaw(room.sit(OWNER, 1.0)[-1]) == pytest.approx(JAW)


def test_sliders_move_a_locked_avatar_only_while_its_owner_is_there(room: Room) -> None:
    room.reenactor.set_pose(PuppetPose((UnitSetting("jawOpen", BY_HAND, True),)))
    assert jaw(room.reenactor.placeholder()) == 0.0
    assert not any(jaw(frame) for frame in room.sit(STRANGER, 2.0))
    assert jaw(room.sit(OWNER, 2.0)[-1]) == pytest.approx(BY_HAND)
    assert jaw(room.reenactor.placeholder()) == pytest.approx(BY_HAND)
    room.now_s += 11.0
    rested = room.reenactor.placeholder()
    assert (jaw(rested), rested.lock) == (0.0, Lock.WAITING)


def test_another_avatar_is_another_lock(room: Room) -> None:
    room.sit(OWNER, 2.0)
    room.reenactor.set_avatar("ben")
    assert room.sit(OWNER)[0].lock is Lock.WAITING
    assert room.made[0].known == ["anna", "ben"]
    room.reenactor.set_avatar("mara")
    assert room.sit(STRANGER)[0].lock is Lock.OFF
    assert room.made[0].closed
    room.reenactor.set_avatar("anna")
    assert room.sit(OWNER)[0].lock is Lock.WAITING
    assert room.made[1].known == ["anna"]


def test_where_nobody_can_be_recognised_nobody_drives(room: Room) -> None:
    """Before it opened and after: missing weights, a broken network."""
    room.made[0].failed = True
    assert {frame.lock for frame in room.sit(OWNER, 2.0)} == {Lock.UNAVAILABLE}
    room.made[0].failed = False
    assert room.sit(OWNER, 2.0)[-1].lock is Lock.OPEN
    room.made[0].failed = True
    last = room.sit(OWNER)[0]
    assert (last.lock, jaw(last), room.reenactor.placeholder().lock) == (Lock.UNAVAILABLE, 0.0, Lock.UNAVAILABLE)
    room.reenactor.set_avatar("ben")
    assert room.made[1].known == ["ben"]


def test_a_network_that_falls_silent_shuts_it(room: Room) -> None:
    room.sit(OWNER, 2.0)
    room.made[0].slow = True
    assert room.sit(OWNER, 5.0)[-1].lock is Lock.OPEN
    assert room.sit(OWNER, 7.0)[-1].lock is Lock.WAITING


def test_a_driver_is_looked_at_about_once_a_second_and_no_dark_picture_at_all(room: Room) -> None:
    room.sit(OWNER, 2.0)
    before = room.made[0].shown
    room.sit(OWNER, 10.0)
    assert 8 <= room.made[0].shown - before <= 12
    dark = np.full((400, 400, 3), 12, np.uint8)
    for _ in range(60):
        room.now_s += FRAME_S
        room.reenactor.step(VideoPacket(dark, room.now_s, room.now_s))
    assert room.made[0].shown - before <= 12


def test_closing_closes_the_recognition(room: Room) -> None:
    room.reenactor.close()
    assert room.made[0].closed


def test_nothing_of_a_stranger_goes_out_over_vmc() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)

        def received() -> list[bytes]:
            datagrams = []
            while True:
                try:
                    datagrams.append(receiver.recv(65536))
                except BlockingIOError:
                    return datagrams

        output = VmcOutput("127.0.0.1", receiver.getsockname()[1], False)
        try:
            room = Room(LockPolicy.CONSENTED, agreed(own_driver_only=True), output)
            room.sit(STRANGER, 3.0)
            assert received() == []
            room.sit(OWNER, 2.0)
            assert len(received()) > 10
            room.sit(STRANGER, 5.0)
            received()
            sent = output.sent
            room.sit(STRANGER, 5.0)
            assert (received(), output.sent) == ([], sent)
            output.send("another session", Motion(SHAPES, np.array([JAW, 0.0]), np.zeros(3), np.zeros((2, 2)), True))
            assert received(), "one that is driven goes out instead"
        finally:
            output.close()


def test_the_door_holds_no_picture_between_frames(room: Room) -> None:
    """Only times, numbers and states: whatever it reaches is looked through."""
    room.sit(OWNER, 2.0)
    door = cast(Any, room.reenactor)._driving._door
    reached, waiting = set(), [door._lock, vars(door)]
    while waiting:
        item = waiting.pop()
        if id(item) in reached or isinstance(item, Recognition):
            continue
        reached.add(id(item))
        assert not isinstance(item, np.ndarray), "an array is kept"
        waiting += list(item.values()) if isinstance(item, dict) else list(item) if isinstance(item, list | tuple | set) else []
        waiting += list(vars(item).values()) if hasattr(item, "__dict__") and not isinstance(item, type) and not callable(item) else []
