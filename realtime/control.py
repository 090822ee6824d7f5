"""The data channel `control`: JSON text both ways, `{"v": 1, "type": …}`. Parsing, validation, and what the server says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from models import strict_json
from realtime.packets import MAX_GAIN, MAX_UNIT, Calibration, DriveMode, GainGroup, PuppetPose, Unit, UnitSetting

if TYPE_CHECKING:
    from realtime.reenactor import Reenactor

LABEL = "control"
VERSION = 1
MAX_MESSAGE_BYTES = 16 * 1024
MAX_ID = 2**53
MAX_UNITS = 128
"""Of one pose; ARKit has 52."""
BACKGROUNDS = ("avatar", "gradient", "green", "checker")
"""Backgrounds by name; beside these a colour, `#rrggbb`."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNIT = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Calibrate:
    """The driver looks neutral now, or did in the last seconds. Acknowledged when the look is being taken (`now`) or has been found (`best`)."""

    mode: Calibration = Calibration.NOW
    type = "calibrate"
    setting = None

    def apply(self, reenactor: Reenactor) -> None:
        reenactor.calibrate(self.mode)


@dataclass(frozen=True, slots=True)
class SetAvatar:
    avatar: str
    type = "set_avatar"
    setting = None

    def apply(self, reenactor: Reenactor) -> None:
        reenactor.set_avatar(self.avatar)


@dataclass(frozen=True, slots=True)
class SetBackground:
    background: str
    type = "set_background"
    setting = "background"

    def apply(self, reenactor: Reenactor) -> None:
        reenactor.set_background(self.background)


@dataclass(frozen=True, slots=True)
class Mirror:
    enabled: bool
    type = "mirror"
    setting = "mirror"

    def apply(self, reenactor: Reenactor) -> None:
        reenactor.set_mirror(self.enabled)


@dataclass(frozen=True, slots=True)
class Badge:
    """Whether the picture says "AI avatar"; the server's owner alone may say."""

    enabled: bool
    type = "badge"
    setting = "badge"

    def apply(self, reenactor: Reenactor) -> None:
        reenactor.set_badge(self.enabled)


@dataclass(frozen=True, slots=True)
class Drive:
    mode: DriveMode
    type = "drive"
    setting = "drive"

    def apply(self, reenactor: Reenactor) -> None:
        reenactor.set_drive(self.mode)


@dataclass(frozen=True, slots=True)
class Gain:
    """How strongly a part of the driver's motion is shown."""

    group: GainGroup
    value: float
    """0…MAX_GAIN; 1: as it is."""
    type = "gain"

    @property
    def setting(self) -> str:
        return f"gain {self.group}"

    def apply(self, reenactor: Reenactor) -> None:
        reenactor.set_gain(self.group, self.value)


@dataclass(frozen=True, slots=True)
class Pose:
    """What is set by hand, instead of all that was before."""

    pose: PuppetPose
    type = "pose"


@dataclass(frozen=True, slots=True)
class Puppet:
    """Whether the avatar is moved by hand alone: from rest, whatever the webcam shows, and without one."""

    enabled: bool
    type = "puppet"


@dataclass(frozen=True, slots=True)
class Pause:
    enabled: bool
    type = "pause"


@dataclass(frozen=True, slots=True)
class Ping:
    t: float
    """Whatever number the client sent; it comes back in the pong."""
    type = "ping"


Command = Calibrate | SetAvatar | SetBackground | Mirror | Badge | Drive | Gain | Pose | Puppet | Pause | Ping


@dataclass(frozen=True, slots=True)
class Request:
    """A command and the identifier, if any, that its answer repeats."""

    command: Command
    id: int | None


class ControlError(Exception):
    """A message that cannot be obeyed; `of` and `id` are what of it could be read."""

    def __init__(self, message: str, of: str | None = None, id: int | None = None) -> None:
        super().__init__(message)
        self.of = of
        self.id = id


def parse(message: object) -> Request:
    """Reads what a client sent.

    Raises:
        ControlError: with what was expected.
    """
    fields = _fields(message)
    id = fields.get("id")
    if id is not None and (type(id) is not int or not 0 <= id <= MAX_ID):
        raise ControlError("id: expected a non-negative integer")
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in _READERS:
        raise ControlError(f"type: expected one of {', '.join(_READERS)}", id=id)
    if type(fields.get("v")) is not int or fields["v"] != VERSION:
        raise ControlError(f"v: expected {VERSION}", kind, id)
    try:
        return Request(_READERS[kind](fields), id)
    except ValueError as error:
        raise ControlError(str(error), kind, id) from None


def _fields(message: object) -> dict[str, object]:
    if not isinstance(message, str):
        raise ControlError("expected JSON text, got bytes")
    if len(message) > MAX_MESSAGE_BYTES or len(message.encode("utf-8", "surrogatepass")) > MAX_MESSAGE_BYTES:
        raise ControlError(f"expected at most {MAX_MESSAGE_BYTES} bytes")
    try:
        fields = strict_json.loads(message)
    except ValueError:
        raise ControlError("expected JSON text") from None
    if not isinstance(fields, dict):
        raise ControlError("expected a JSON object")
    return fields


def _calibrate(fields: dict[str, object]) -> Calibrate:
    mode = fields.get("mode", Calibration.NOW)
    if not isinstance(mode, str) or mode not in tuple(Calibration):
        raise ValueError(f"mode: expected one of {', '.join(Calibration)}")
    return Calibrate(Calibration(mode))


def _set_avatar(fields: dict[str, object]) -> SetAvatar:
    avatar = fields.get("avatar")
    if not isinstance(avatar, str) or not _NAME.fullmatch(avatar):
        raise ValueError("avatar: expected an identifier from GET /avatars")
    return SetAvatar(avatar)


def _set_background(fields: dict[str, object]) -> SetBackground:
    background = fields.get("background")
    if not isinstance(background, str) or not (background in BACKGROUNDS or _COLOUR.fullmatch(background)):
        raise ValueError(f"background: expected one of {', '.join(BACKGROUNDS)} or #rrggbb")
    return SetBackground(background)


def _enabled(fields: dict[str, object]) -> bool:
    enabled = fields.get("enabled")
    if not isinstance(enabled, bool):
        raise ValueError("enabled: expected true or false")
    return enabled


def _mirror(fields: dict[str, object]) -> Mirror:
    return Mirror(_enabled(fields))


def _badge(fields: dict[str, object]) -> Badge:
    return Badge(_enabled(fields))


def _drive(fields: dict[str, object]) -> Drive:
    mode = fields.get("mode")
    if not isinstance(mode, str) or mode not in tuple(DriveMode):
        raise ValueError(f"mode: expected one of {', '.join(DriveMode)}")
    return Drive(DriveMode(mode))


def _gain(fields: dict[str, object]) -> Gain:
    group, value = fields.get("group"), fields.get("value")
    if not isinstance(group, str) or group not in tuple(GainGroup):
        raise ValueError(f"group: expected one of {', '.join(GainGroup)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= MAX_GAIN:
        raise ValueError(f"value: expected a number from 0 to {MAX_GAIN:g}")
    return Gain(GainGroup(group), float(value))


def _pose(fields: dict[str, object]) -> Pose:
    added, held = (_unit_values(fields, name) for name in ("offsets", "overrides"))
    if added.keys() & held.keys():
        raise ValueError("overrides: expected other units than in offsets")
    if len(added) + len(held) > MAX_UNITS:
        raise ValueError(f"expected at most {MAX_UNITS} units")
    each = [UnitSetting(name, value, hold) for values, hold in ((added, False), (held, True)) for name, value in values.items()]
    return Pose(PuppetPose(tuple(each)))


def _unit_values(fields: dict[str, object], field: str) -> dict[str, float]:
    given = fields.get(field, {})
    if not isinstance(given, dict):
        raise ValueError(f"{field}: expected an object of units and numbers")
    values = {}
    for name, value in given.items():
        if not _UNIT.fullmatch(name):
            raise ValueError(f"{field}: expected names of units, as in the message units")
        if isinstance(value, bool) or not isinstance(value, int | float) or not -MAX_UNIT <= value <= MAX_UNIT:
            raise ValueError(f"{field}: expected numbers from {-MAX_UNIT:g} to {MAX_UNIT:g}")
        values[name] = float(value)
    return values


def _puppet(fields: dict[str, object]) -> Puppet:
    return Puppet(_enabled(fields))


def _pause(fields: dict[str, object]) -> Pause:
    return Pause(_enabled(fields))


def _ping(fields: dict[str, object]) -> Ping:
    t = fields.get("t")
    if isinstance(t, bool) or not isinstance(t, int | float) or not abs(t) <= MAX_ID:
        raise ValueError("t: expected a number of at most 2^53")
    return Ping(t)


_READERS: dict[str, Callable[[dict[str, object]], Command]] = {
    "calibrate": _calibrate,
    "set_avatar": _set_avatar,
    "set_background": _set_background,
    "mirror": _mirror,
    "badge": _badge,
    "drive": _drive,
    "gain": _gain,
    "pose": _pose,
    "puppet": _puppet,
    "pause": _pause,
    "ping": _ping,
}


def _message(kind: str, **fields: object) -> str:
    return json.dumps({"v": VERSION, "type": kind, **{name: value for name, value in fields.items() if value is not None}}, allow_nan=False)


def ack(of: str, id: int | None) -> str:
    return _message("ack", of=of, id=id)


def error(message: str, of: str | None, id: int | None) -> str:
    return _message("error", message=message, of=of, id=id)


def pong(t: float) -> str:
    return _message("pong", t=t)


def state(name: str) -> str:
    """`warming`, `live`, `paused`, `restarting`, `stopped` or, just before that, `replaced`, `idle`, `expired`: the page does not come back by itself then."""
    return _message("state", state=name)


def ending(why: str, left_s: float) -> str:
    """The session will end so soon, unless it is `idle` and somebody moves."""
    return _message("ending", why=why, seconds=round(left_s))


def tracking(name: str) -> str:
    """`ok`, `lost` or `multiple`."""
    return _message("tracking", state=name)


def lock(name: str) -> str:
    """`off`, or, of an avatar that only its own person may drive, `waiting`, `open`, `refused` or `unavailable` (realtime.packets.Lock)."""
    return _message("lock", state=name)


def units(avatar: str, each: tuple[Unit, ...]) -> str:
    """What of an avatar may be set by hand, and how far each goes from rest."""
    return _message("units", avatar=avatar, units=[asdict(unit) for unit in each])


def stats(numbers: dict[str, object]) -> str:
    """The same keys as GET /sessions/{id}/stats."""
    return _message("stats", **numbers)
