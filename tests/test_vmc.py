from __future__ import annotations

import math
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.head import HeadParams
from models.rotations import from_gaze, to_matrix
from realtime import osc
from realtime.driving import Driving
from realtime.errors import HeadcastError
from realtime.lids import CLOSURE
from realtime.packets import MAX_GAIN, GainGroup, Motion
from realtime.reenactor import StagedReenactor
from realtime.retarget import Retargeter
from realtime.vmc import MOST_BYTES, NECK_SHARE, VmcOutput, unity_quaternion
from tests.synthetic_face import ARKIT
from tests.test_reenactor import Stages, packet
from tests.test_retarget import FRAME_S, RIG, driver, run

Message = tuple[str, list[Any]]
ROOT = Path(__file__).resolve().parents[1]
MIRROR = np.diag([-1.0, 1.0, 1.0])
"""From our axes to Unity's."""


def text_at(data: bytes, start: int) -> tuple[str, int]:
    end = data.index(b"\0", start)
    after = (end // 4 + 1) * 4
    assert not any(data[end:after]), "padded with zeros"
    return data[start:end].decode("ascii"), after


def decoded(data: bytes) -> Message:
    """One OSC message, by the specification and by nothing of ours."""
    assert len(data) % 4 == 0
    address, position = text_at(data, 0)
    tags, position = text_at(data, position)
    assert tags.startswith(",")
    arguments: list[Any] = []
    for tag in tags[1:]:
        if tag == "s":
            value, position = text_at(data, position)
        else:
            (value,) = struct.unpack_from({"i": ">i", "f": ">f"}[tag], data, position)
            position += 4
        arguments.append(value)
    assert position == len(data)
    return address, arguments


def unbundled(datagram: bytes) -> list[Message]:
    assert datagram[:16] == b"#bundle\0\0\0\0\0\0\0\0\x01"
    messages, position = [], 16
    while position < len(datagram):
        (size,) = struct.unpack_from(">i", datagram, position)
        messages.append(decoded(datagram[position + 4 : position + 4 + size]))
        position += 4 + size
    assert position == len(datagram)
    return messages


class Receiver:
    """A VTuber program's port."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = int(self.socket.getsockname()[1])

    def datagrams(self) -> list[bytes]:
        """All that came; over loopback they are there once they are sent."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65536))
            except BlockingIOError:
                return found

    def messages(self) -> list[Message]:
        return [message for datagram in self.datagrams() for message in unbundled(datagram)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.socket.close()


@pytest.fixture
def output(receiver: Receiver) -> Iterator[VmcOutput]:
    made = VmcOutput("127.0.0.1", receiver.port)
    yield made
    made.close()


def motion(turn: tuple[float, float, float] = (0.0, 0.0, 0.0), gaze: float | NDArray[np.float64] = 0.0, seen: bool = True, **weights: float) -> Motion:
    looks = np.broadcast_to(np.asarray(gaze, np.float64), (2, 2))
    return Motion(ARKIT, np.array([weights.get(name, 0.0) for name in ARKIT]), np.array(turn), looks, seen)


def bones(messages: list[Message]) -> dict[str, tuple[float, ...]]:
    """Name → quaternion."""
    return {arguments[0]: tuple(arguments[4:]) for address, arguments in messages if address == "/VMC/Ext/Bone/Pos"}


def shapes(messages: list[Message]) -> dict[str, float]:
    return {arguments[0]: arguments[1] for address, arguments in messages if address == "/VMC/Ext/Blend/Val"}


def matrix_of(quaternion: tuple[float, ...]) -> NDArray[np.float64]:
    """The same formula in any handedness."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_a_frame_is_what_the_protocol_says(receiver: Receiver, output: VmcOutput) -> None:
    output.send(self := object(), motion(jawOpen=0.5, eyeBlinkLeft=1.0))
    datagrams = receiver.datagrams()
    assert all(len(datagram) <= MOST_BYTES for datagram in datagrams)
    messages = [message for datagram in datagrams for message in unbundled(datagram)]
    addresses = [address for address, _ in messages]
    assert addresses[:3] == ["/VMC/Ext/OK", "/VMC/Ext/T", "/VMC/Ext/Root/Pos"]
    assert messages[0][1] == [1]
    assert messages[2][1] == ["root", 0, 0, 0, 0, 0, 0, 1]
    assert list(bones(messages)) == ["Neck", "Head", "LeftEye", "RightEye"]
    assert all(len(arguments) == 8 for address, arguments in messages if address == "/VMC/Ext/Bone/Pos")
    values = shapes(messages)
    assert len(values) == 52
    assert {name[0].lower() + name[1:] for name in values} == set(ARKIT)
    assert (values["JawOpen"], values["EyeBlinkLeft"], values["EyeBlinkRight"]) == (0.5, 1.0, 0.0)
    assert addresses[-1] == "/VMC/Ext/Blend/Apply"
    assert addresses.count("/VMC/Ext/Blend/Apply") == 1
    assert output.sent == len(datagrams) < 4
    assert output.failed == 0
    output.release(self)


def test_time_runs_from_the_start(receiver: Receiver) -> None:
    now = iter([100.0, 100.5, 103.25])
    output = VmcOutput("127.0.0.1", receiver.port, clock=lambda: next(now))
    for _ in range(2):
        output.send(receiver, motion())
    assert [arguments for address, arguments in receiver.messages() if address == "/VMC/Ext/T"] == [[0.5], [3.25]]
    output.close()


TURN = 0.4
DIRECTIONS = [
    # what the driver does, in models/CONVENTIONS.md; where the nose, then the top of the head goes in Unity: +x the person's right, +y up, +z forward
    ("to the own right", (0.0, -TURN, 0.0), (math.sin(TURN), 0.0, math.cos(TURN)), (0.0, 1.0, 0.0)),
    ("to the own left", (0.0, TURN, 0.0), (-math.sin(TURN), 0.0, math.cos(TURN)), (0.0, 1.0, 0.0)),
    ("nod down", (TURN, 0.0, 0.0), (0.0, -math.sin(TURN), math.cos(TURN)), (0.0, math.cos(TURN), math.sin(TURN))),
    ("to the own right shoulder", (0.0, 0.0, TURN), (0.0, 0.0, 1.0), (math.sin(TURN), math.cos(TURN), 0.0)),
]


@pytest.mark.parametrize(("turn", "nose", "top"), [case[1:] for case in DIRECTIONS], ids=[case[0] for case in DIRECTIONS])
def test_the_head_goes_where_the_drivers_goes(
    receiver: Receiver, output: VmcOutput, turn: tuple[float, float, float], nose: tuple[float, ...], top: tuple[float, ...]
) -> None:
    output.send(receiver, motion(turn))
    sent = bones(receiver.messages())
    whole = matrix_of(sent["Neck"]) @ matrix_of(sent["Head"])
    assert whole @ (0.0, 0.0, 1.0) == pytest.approx(nose, abs=1e-6)
    assert whole @ (0.0, 1.0, 0.0) == pytest.approx(top, abs=1e-6)
    share = math.acos(min(sent["Neck"][3], 1.0)) / (0.5 * TURN)
    assert share == pytest.approx(NECK_SHARE, abs=1e-3)


def test_any_turn_is_its_mirror_image() -> None:
    rng = np.random.default_rng(1)
    for turn in rng.normal(0.0, 0.7, (50, 3)):
        quaternion = unity_quaternion(turn)
        assert np.linalg.norm(quaternion) == pytest.approx(1.0)
        assert matrix_of(quaternion) == pytest.approx(MIRROR @ to_matrix(turn) @ MIRROR, abs=1e-9)
    assert unity_quaternion(np.zeros(3)) == (0.0, 0.0, 0.0, 1.0)


def test_each_eye_looks_where_the_drivers_does(receiver: Receiver, output: VmcOutput) -> None:
    """The left one to the own left and down, the right one to the own right and up."""
    looks = np.array([[0.3, 0.2], [-0.25, -0.1]])
    output.send(receiver, motion(gaze=looks))
    sent = bones(receiver.messages())
    left, right = (matrix_of(sent[name]) @ (0.0, 0.0, 1.0) for name in ("LeftEye", "RightEye"))
    assert left[0] < -0.2
    assert left[1] < -0.1
    assert right[0] > 0.2
    assert right[1] > 0.05
    for direction, look in zip((left, right), looks, strict=True):
        assert direction == pytest.approx(MIRROR @ from_gaze(*look) @ (0.0, 0.0, 1.0), abs=1e-6)


def test_presets_instead_of_the_52_shapes(receiver: Receiver) -> None:
    output = VmcOutput("127.0.0.1", receiver.port, presets=True)
    output.send(receiver, motion(jawOpen=0.8, eyeBlinkRight=1.0))
    assert shapes(receiver.messages()) == pytest.approx({"A": 0.8, "I": 0.0, "U": 0.0, "O": 0.0, "Blink_L": 0.0, "Blink_R": 1.0})
    output.send(receiver, motion(mouthPucker=0.9, jawOpen=0.1, mouthClose=0.1))
    values = shapes(receiver.messages())
    assert max(values, key=lambda name: values[name]) == "U"
    output.close()


def test_nothing_is_sent_before_a_face_and_after_it_has_been_eased_away(receiver: Receiver, output: VmcOutput) -> None:
    output.send(receiver, motion(seen=False))
    assert receiver.datagrams() == []
    output.send(receiver, motion(jawOpen=0.5))
    output.send(receiver, motion(jawOpen=0.2, seen=False))
    output.send(receiver, motion(seen=False))
    told = [shapes([message])["JawOpen"] for message in receiver.messages() if message[1][:1] == ["JawOpen"]]
    assert told == pytest.approx([0.5, 0.2, 0.0])
    for _ in range(3):
        output.send(receiver, motion(seen=False))
    assert receiver.datagrams() == []
    output.send(receiver, motion())
    assert receiver.datagrams() != [], "a face at rest is a face"


def test_the_first_session_is_sent_and_then_the_next(receiver: Receiver, output: VmcOutput) -> None:
    one, two = object(), object()
    output.send(two, motion(seen=False))
    output.send(one, motion(jawOpen=0.5))
    output.send(two, motion(jawOpen=0.9))
    assert shapes(receiver.messages())["JawOpen"] == 0.5
    output.release(two)
    output.send(two, motion(jawOpen=0.9))
    assert receiver.datagrams() == []
    output.release(one)
    assert shapes(receiver.messages())["JawOpen"] == 0.0, "the receiver's avatar is put to rest"
    output.send(two, motion(jawOpen=0.75))
    assert shapes(receiver.messages())["JawOpen"] == 0.75
    output.release(two)
    assert receiver.datagrams() != []
    output.release(two)
    assert receiver.datagrams() == []


def test_nobody_listening_is_counted_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    deaf = Receiver()
    output = VmcOutput("127.0.0.1", deaf.port)
    deaf.socket.close()
    for _ in range(5):
        output.send(deaf, motion(jawOpen=0.5))
    assert output.failed > 0
    assert len(caplog.records) == 1
    assert "127.0.0.1" not in caplog.text
    output.close()
    output.send(deaf, motion())
    output.release(deaf)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 80])
def test_a_host_that_cannot_be_found_is_a_clear_error(host: str) -> None:
    with pytest.raises(HeadcastError, match="--vmc: expected a host"):
        VmcOutput(host, 39539)


def test_localhost_is_where_ipv4_programs_listen(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """On many machines it is ::1 first."""
    found = [(family, socket.SOCK_DGRAM, 17, "", (host, receiver.port)) for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    output = VmcOutput("localhost", receiver.port)
    output.send(receiver, motion())
    assert receiver.messages()
    output.close()


def test_messages_larger_than_a_bundle_go_alone() -> None:
    large, small = osc.message("/a", "x" * 100), osc.message("/b", 1)
    made = osc.bundles([small, large, small, small], 64)
    assert [len(unbundled(each)) for each in made] == [1, 1, 2]
    assert osc.bundles([], 64) == [osc.BUNDLE]


@pytest.mark.parametrize("arguments", [(), (1,), (-(2**31), 2**31 - 1), (0.5, "abc"), ("abcd", ""), ("root", 0.0, 1)])
def test_messages_are_read_back(arguments: tuple[Any, ...]) -> None:
    assert decoded(osc.message("/some/address", *arguments)) == ("/some/address", list(arguments))


def test_what_is_sent_is_the_driver_not_the_avatar() -> None:
    """Beyond their rest pose, filtered; without the avatar's limits and the user's gains."""
    made = Retargeter(ARKIT, replace(RIG, expression_max=np.full(len(RIG.expression_names), 0.1), neck_limit=np.full(3, 0.05), rotation_limit=np.zeros(3)))
    for group in GainGroup:
        made.set_gain(group, MAX_GAIN)
    assert not made.motion().seen
    run(made, driver((0.1, 0.0, 0.0), browInnerUp=0.2), 2.0)
    still = made.motion()
    assert still.seen
    assert np.abs(still.weights).max() < 0.02
    assert np.abs(still.turn).max() < 0.02
    run(made, driver((0.1, 0.3, 0.0), gaze=0.2, browInnerUp=0.6, mouthSmileLeft=0.7, eyeBlinkLeft=0.9, eyeBlinkRight=0.9), 1.0, 2.0)
    moved = made.motion()
    values = dict(zip(moved.names, moved.weights, strict=True))
    assert values["browInnerUp"] == pytest.approx(0.5, abs=0.02)
    assert values["mouthSmileLeft"] == pytest.approx(0.7, abs=0.02)
    assert values["eyeBlinkLeft"] > 0.95
    assert moved.turn[1] == pytest.approx(0.3, abs=0.02)
    assert moved.gaze == pytest.approx(np.full((2, 2), 0.2), abs=0.01)
    run(made, None, 1.0, 3.0)
    assert not made.motion().seen
    assert not made.motion().weights.any()


def test_lids_close_once() -> None:
    """A blink with a squint in it closes the lids as far as they close, not farther."""
    made = Retargeter(ARKIT, RIG)
    run(made, driver(), 2.0)
    run(made, driver(eyeBlinkLeft=0.7, eyeBlinkRight=0.7, eyeSquintLeft=0.8, eyeSquintRight=0.8), 1.0, 2.0)
    values = dict(zip(made.motion().names, made.motion().weights, strict=True))
    assert values["eyeSquintLeft"] == pytest.approx(0.8, abs=0.02)
    assert values["eyeBlinkLeft"] + CLOSURE["eyeSquint"] * values["eyeSquintLeft"] == pytest.approx(1.0, abs=0.02)


def test_the_own_persons_motion_is_told_from_the_avatars_rest() -> None:
    resting = HeadParams.neutral(len(RIG.expression_names))
    resting.expression[RIG.expression_names.index("mouthSmileLeft")] = 0.2
    made = Retargeter(ARKIT, replace(RIG, rest=resting))
    for frame in range(60):
        made.retarget(driver(mouthSmileLeft=0.5), frame * FRAME_S, own=True)
    assert made.motion().weights[ARKIT.index("mouthSmileLeft")] == pytest.approx(0.3, abs=0.01)


def test_a_session_sends_while_it_lives(receiver: Receiver, output: VmcOutput) -> None:
    stages = Stages()
    reenactor = StagedReenactor(Driving(stages, stages, stages, stages.clock), stages, stages.fetch("ada"), stages.fetch, stages.clock, output)
    reenactor.placeholder()
    assert receiver.datagrams() == []
    reenactor.step(packet())
    assert shapes(receiver.messages())["JawOpen"] == 0.5
    reenactor.close()
    assert shapes(receiver.messages())["JawOpen"] == 0.0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--vmc", "39539"], "expected HOST:PORT"),
        (["--vmc", "no-such-host.invalid:39539"], "--vmc: expected a host"),
        (["--vmc-shapes", "vrm"], "--vmc HOST:PORT"),
    ],
)
def test_the_server_says_what_is_wrong_with_the_flag(flags: list[str], says: str) -> None:
    result = subprocess.run([sys.executable, "server.py", *flags], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HEADCAST_PORT": "0"})
    assert result.returncode == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
