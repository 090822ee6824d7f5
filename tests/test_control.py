from __future__ import annotations

import json
import random

import pytest

from realtime import control
from realtime.control import Badge, Calibrate, ControlError, Drive, Gain, Mirror, Pause, Ping, Pose, Puppet, Request, SetAvatar, SetBackground
from realtime.packets import Calibration, DriveMode, GainGroup, PuppetPose, Unit, UnitSetting


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"type": "calibrate"}, Calibrate(Calibration.NOW)),
        ({"type": "calibrate", "mode": "now"}, Calibrate(Calibration.NOW)),
        ({"type": "calibrate", "mode": "best"}, Calibrate(Calibration.BEST)),
        ({"type": "gain", "group": "mouth", "value": 1.2}, Gain(GainGroup.MOUTH, 1.2)),
        ({"type": "gain", "group": "head", "value": 0}, Gain(GainGroup.HEAD, 0.0)),
        ({"type": "gain", "group": "lids", "value": 2}, Gain(GainGroup.LIDS, 2.0)),
        ({"type": "pose"}, Pose(PuppetPose())),
        ({"type": "pose", "offsets": {}, "overrides": {}}, Pose(PuppetPose())),
        (
            {"type": "pose", "offsets": {"jawOpen": 1, "headYaw": -0.3}, "overrides": {"expression007": 0}},
            Pose(PuppetPose((UnitSetting("jawOpen", 1.0, False), UnitSetting("headYaw", -0.3, False), UnitSetting("expression007", 0.0, True)))),
        ),
        ({"type": "puppet", "enabled": True}, Puppet(True)),
        ({"type": "set_avatar", "avatar": "ada-2.1_x"}, SetAvatar("ada-2.1_x")),
        ({"type": "set_background", "background": "gradient"}, SetBackground("gradient")),
        ({"type": "set_background", "background": "#00b140"}, SetBackground("#00b140")),
        ({"type": "mirror", "enabled": False}, Mirror(False)),
        ({"type": "badge", "enabled": False}, Badge(False)),
        ({"type": "drive", "mode": "own"}, Drive(DriveMode.OWN)),
        ({"type": "pause", "enabled": True}, Pause(True)),
        ({"type": "ping", "t": 12.5}, Ping(12.5)),
        ({"type": "ping", "t": 0}, Ping(0)),
    ],
)
@pytest.mark.parametrize("id", [None, 0, 7, 2**53])
def test_commands(message: dict[str, object], command: control.Command, id: int | None) -> None:
    fields = {"v": 1, **message, **({} if id is None else {"id": id})}
    assert control.parse(json.dumps(fields)) == Request(command, id)


def test_unknown_fields_are_let_pass() -> None:
    assert control.parse('{"v": 1, "type": "calibrate", "later": [1]}').command == Calibrate()


BAD = [
    "",
    "{",
    "null",
    "3",
    '"text"',
    "[]",
    "{}",
    '{"type": "calibrate"}',
    '{"v": 2, "type": "calibrate"}',
    '{"v": true, "type": "calibrate"}',
    '{"v": 1.0, "type": "calibrate"}',
    '{"v": 1}',
    '{"v": 1, "v": 1, "type": "calibrate"}',
    '{"v": 1, "type": "calibrate", "later": "\\ud800"}',
    '{"v": 1, "type": null}',
    '{"v": 1, "type": ["ping"]}',
    '{"v": 1, "type": {"a": 1}}',
    '{"v": 1, "type": "shutdown"}',
    '{"v": 1, "type": "ping"}',
    '{"v": 1, "type": "ping", "t": "1"}',
    '{"v": 1, "type": "ping", "t": true}',
    '{"v": 1, "type": "ping", "t": NaN}',
    '{"v": 1, "type": "ping", "t": Infinity}',
    '{"v": 1, "type": "ping", "t": 1e999}',
    '{"v": 1, "type": "ping", "t": ' + "9" * 400 + "}",
    '{"v": 1, "type": "ping", "t": ' + "9" * 9000 + "}",
    '{"v": 1, "type": "calibrate", "mode": "later"}',
    '{"v": 1, "type": "calibrate", "mode": null}',
    '{"v": 1, "type": "calibrate", "mode": ["best"]}',
    '{"v": 1, "type": "gain"}',
    '{"v": 1, "type": "gain", "group": "mouth"}',
    '{"v": 1, "type": "gain", "value": 1}',
    '{"v": 1, "type": "gain", "group": "ears", "value": 1}',
    '{"v": 1, "type": "gain", "group": ["mouth"], "value": 1}',
    '{"v": 1, "type": "gain", "group": "mouth", "value": "1"}',
    '{"v": 1, "type": "gain", "group": "mouth", "value": true}',
    '{"v": 1, "type": "gain", "group": "mouth", "value": null}',
    '{"v": 1, "type": "gain", "group": "mouth", "value": NaN}',
    '{"v": 1, "type": "gain", "group": "mouth", "value": -Infinity}',
    '{"v": 1, "type": "gain", "group": "mouth", "value": 1e999}',
    '{"v": 1, "type": "gain", "group": "mouth", "value": -0.01}',
    '{"v": 1, "type": "gain", "group": "mouth", "value": 2.01}',
    '{"v": 1, "type": "gain", "group": "mouth", "value": ' + "9" * 400 + "}",
    '{"v": 1, "type": "pose", "offsets": 1}',
    '{"v": 1, "type": "pose", "offsets": null}',
    '{"v": 1, "type": "pose", "offsets": ["jawOpen"]}',
    '{"v": 1, "type": "pose", "overrides": "jawOpen"}',
    '{"v": 1, "type": "pose", "offsets": {"jawOpen": "1"}}',
    '{"v": 1, "type": "pose", "offsets": {"jawOpen": true}}',
    '{"v": 1, "type": "pose", "offsets": {"jawOpen": null}}',
    '{"v": 1, "type": "pose", "offsets": {"jawOpen": [1]}}',
    '{"v": 1, "type": "pose", "offsets": {"jawOpen": NaN}}',
    '{"v": 1, "type": "pose", "offsets": {"jawOpen": -Infinity}}',
    '{"v": 1, "type": "pose", "offsets": {"jawOpen": 1e999}}',
    '{"v": 1, "type": "pose", "offsets": {"jawOpen": 2.01}}',
    '{"v": 1, "type": "pose", "overrides": {"headYaw": -2.01}}',
    '{"v": 1, "type": "pose", "overrides": {"headYaw": ' + "9" * 400 + "}}",
    '{"v": 1, "type": "pose", "offsets": {"": 1}}',
    '{"v": 1, "type": "pose", "offsets": {"jaw open": 1}}',
    '{"v": 1, "type": "pose", "offsets": {"__proto__": 1}}',
    '{"v": 1, "type": "pose", "offsets": {"' + "a" * 65 + '": 1}}',
    '{"v": 1, "type": "pose", "offsets": {"\\ud800": 1}}',
    '{"v": 1, "type": "pose", "offsets": {"jawOpen": 1}, "overrides": {"jawOpen": 0}}',
    json.dumps({"v": 1, "type": "pose", "offsets": {f"u{number}": 0.5 for number in range(control.MAX_UNITS + 1)}}),
    '{"v": 1, "type": "puppet"}',
    '{"v": 1, "type": "puppet", "enabled": 1}',
    '{"v": 1, "type": "mirror"}',
    '{"v": 1, "type": "mirror", "enabled": 1}',
    '{"v": 1, "type": "pause", "enabled": "yes"}',
    '{"v": 1, "type": "drive"}',
    '{"v": 1, "type": "drive", "mode": "fast"}',
    '{"v": 1, "type": "drive", "mode": ["own"]}',
    '{"v": 1, "type": "set_avatar"}',
    '{"v": 1, "type": "set_avatar", "avatar": "../../etc/passwd"}',
    '{"v": 1, "type": "set_avatar", "avatar": ""}',
    '{"v": 1, "type": "set_avatar", "avatar": "' + "a" * 65 + '"}',
    '{"v": 1, "type": "set_avatar", "avatar": "\\ud800"}',
    '{"v": 1, "type": "set_background", "background": "beach"}',
    '{"v": 1, "type": "set_background", "background": "#00b14"}',
    '{"v": 1, "type": "set_background", "background": "#00b140\\n"}',
    '{"v": 1, "type": "calibrate", "id": -1}',
    '{"v": 1, "type": "calibrate", "id": "1"}',
    '{"v": 1, "type": "calibrate", "id": 1.5}',
    '{"v": 1, "type": "calibrate", "id": ' + str(2**53 + 1) + "}",
    "[" * 10_000,
    '{"a":' * 3_000,
    '{"v": 1, "type": "calibrate", "x": "' + "a" * control.MAX_MESSAGE_BYTES + '"}',
    "ä" * 9_000,
    "\ud800",
    b"\x00\xff",
    b'{"v": 1, "type": "calibrate"}',
    None,
]  # fmt: skip


@pytest.mark.parametrize("message", BAD, ids=lambda message: repr(message)[:40])
def test_bad_messages_are_refused(message: object) -> None:
    with pytest.raises(ControlError) as caught:
        control.parse(message)
    reply = json.loads(control.error(str(caught.value), caught.value.of, caught.value.id))
    assert reply["type"] == "error"
    assert len(reply["message"]) < 200


def test_an_error_repeats_what_could_be_read() -> None:
    with pytest.raises(ControlError) as caught:
        control.parse('{"v": 1, "type": "mirror", "enabled": 3, "id": 9}')
    assert (caught.value.of, caught.value.id) == ("mirror", 9)


def test_fuzz_never_raises_anything_else() -> None:
    random_ = random.Random(7)
    valid = '{"v": 1, "type": "set_background", "background": "#00b140", "id": 3}'
    for _ in range(2000):
        text = list(valid)
        for _ in range(random_.randint(1, 6)):
            text[random_.randrange(len(text))] = chr(random_.choice([random_.randrange(32, 127), random_.randrange(0x110000)]))
        try:
            control.parse("".join(text))
        except ControlError:
            continue


def test_what_the_server_says() -> None:
    assert json.loads(control.ack("mirror", 4)) == {"v": 1, "type": "ack", "of": "mirror", "id": 4}
    assert json.loads(control.ack("mirror", None)) == {"v": 1, "type": "ack", "of": "mirror"}
    assert json.loads(control.pong(1.5)) == {"v": 1, "type": "pong", "t": 1.5}
    assert json.loads(control.state("live")) == {"v": 1, "type": "state", "state": "live"}
    assert json.loads(control.tracking("lost")) == {"v": 1, "type": "tracking", "state": "lost"}
    assert json.loads(control.lock("waiting")) == {"v": 1, "type": "lock", "state": "waiting"}
    told = {"v": 1, "type": "units", "avatar": "ada", "units": [{"name": "jawOpen", "low": 0.0, "high": 0.7}]}
    assert json.loads(control.units("ada", (Unit("jawOpen", 0.0, 0.7),))) == told
    assert json.loads(control.stats({"fps_in": 30.0})) == {"v": 1, "type": "stats", "fps_in": 30.0}
