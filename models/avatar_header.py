"""The JSON header of an avatar file: records to plain values and back, every value checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.avatar_parts import AvatarCard, Consent, Material, PortraitCamera, Region, TrainedRange
from models.errors import BadFile

if TYPE_CHECKING:
    from models.avatar_file import AvatarFile

MAX_TEXT = 2000
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What people do not see and programs act on: control characters, half characters, and what turns text around (Unicode, annex 9), so that a name reads as
another."""
MATERIAL_LIMITS = {"wrap": (0.0, 1.0), "specular": (0.0, 2.0), "shininess": (1.0, 2000.0), "rim": (0.0, 2.0)}
LATER = ("purposes", "own_driver_only", "agreed_at", "statement_version")
"""Fields of a consent record that the first files did not have."""
MAX_PURPOSES = 16
Header = Mapping[str, Any]


def pack(avatar: AvatarFile) -> dict[str, Any]:
    """Everything of an avatar that is not an array."""
    packed: dict[str, Any] = {
        "name": avatar.card.name,
        "description": avatar.card.description,
        "licence": avatar.card.licence,
        "created_by": avatar.card.created_by,
        "consent": pack_consent(avatar.card.consent),
        "head_layout": avatar.head_layout,
        "expression_names": list(avatar.expression_names),
        "regions": [{"name": region.name, "material": _plain(asdict(region.material))} for region in avatar.regions],
        "camera": _plain(asdict(avatar.camera)),
        "ranges": {part.name: np.round(getattr(avatar.ranges, part.name).astype(float), 6).tolist() for part in fields(avatar.ranges)},
    }
    if avatar.texture_basis is not None:
        packed["texture_block"] = avatar.texture_basis.block
    if avatar.weights is not None:
        packed["weight_clip"] = avatar.weights.clip
    return packed


def pack_consent(record: Consent) -> dict[str, Any]:
    """The record as it stands in a file; what came with purposes is left out where there are none, so that files of before stay as they are."""
    packed = _plain(asdict(record))
    return packed if record.purposes else {key: value for key, value in packed.items() if key not in LATER}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def text(header: Header, key: str, source: str, optional: bool = False) -> str:
    """A string of at most 2000 characters that print, lines and tabs aside; `optional`: may be empty."""
    value = header.get(key)
    if not isinstance(value, str) or len(value) > MAX_TEXT or not (value.strip() or optional) or UNSEEN.search(value):
        raise BadFile(f"{source}: the header's '{key}' should be text of 1 to {MAX_TEXT} characters, without control characters")
    return value


def number(header: Header, key: str, lowest: float, highest: float, source: str) -> float:
    """A finite number in [lowest, highest]."""
    value = header.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise BadFile(f"{source}: the header's '{key}' should be a number from {lowest} to {highest}, it is {value!r:.60}")
    return float(value)


def whole(header: Header, key: str, lowest: int, highest: int, source: str) -> int:
    """An integer in [lowest, highest]."""
    value = number(header, key, lowest, highest, source)
    if not value.is_integer():
        raise BadFile(f"{source}: the header's '{key}' should be a whole number, it is {value}")
    return int(value)


def flag(header: Header, key: str, source: str) -> bool:
    """True or false."""
    value = header.get(key)
    if not isinstance(value, bool):
        raise BadFile(f"{source}: the header's '{key}' should be true or false, it is {value!r:.60}")
    return value


def table(header: Header, key: str, shape: tuple[int, ...], lowest: float, highest: float, source: str) -> NDArray[np.float64]:
    """A float64 array of that shape, from nested lists, every entry in [lowest, highest]."""
    try:
        array = np.asarray(header.get(key))
    except ValueError as error:
        raise BadFile(f"{source}: the header's '{key}' should be numbers of shape {shape}") from error
    if array.dtype.kind not in "iuf":
        raise BadFile(f"{source}: the header's '{key}' should be numbers of shape {shape}")
    array = array.astype(np.float64)
    if array.shape != shape or not np.isfinite(array).all() or (array.size and (array.min() < lowest or array.max() > highest)):
        raise BadFile(f"{source}: the header's '{key}' should be numbers from {lowest} to {highest} of shape {shape}, its shape is {array.shape}")
    return array


def _section(header: Header, key: str, source: str) -> Header:
    value = header.get(key)
    if not isinstance(value, dict):
        raise BadFile(f"{source}: the header should hold an object '{key}', it holds {type(value).__name__}")
    return value


def _day(header: Header, key: str, source: str) -> str:
    value = text(header, key, source)
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise BadFile(f"{source}: '{key}' should be a day such as 2026-01-31, it is {value!r:.40}") from error


def consent(header: Header, source: str) -> Consent:
    """The consent record; who is shown, by whose leave and when must be said of everybody who is not synthetic."""
    part = _section(header, "consent", source)
    synthetic = flag(part, "synthetic", source)
    if synthetic:
        known: dict[str, Any] = {key: text(part, key, source, optional=True) for key in ("subject", "granted_by", "statement", "date") if key in part}
        return Consent(synthetic=True, **known)
    return Consent(
        synthetic=False,
        subject=text(part, "subject", source),
        granted_by=text(part, "granted_by", source),
        statement=text(part, "statement", source),
        date=_day(part, "date", source),
        expires=None if part.get("expires") is None else _day(part, "expires", source),
        **_later(part, source),
    )


def _later(part: Header, source: str) -> dict[str, Any]:
    """What a record of before lacks, which is then as unsaid. A purpose that a newer Headcast knows is kept, and allows nothing here."""
    if "purposes" not in part:
        return {}
    purposes = part["purposes"]
    if not isinstance(purposes, list) or not 1 <= len(purposes) <= MAX_PURPOSES or not all(isinstance(each, str) and 0 < len(each) <= 64 for each in purposes):
        raise BadFile(f"{source}: the header's 'purposes' should be 1 to {MAX_PURPOSES} words")
    return {
        "purposes": tuple(purposes),
        "own_driver_only": flag(part, "own_driver_only", source),
        "agreed_at": text(part, "agreed_at", source),
        "statement_version": whole(part, "statement_version", 0, 1_000_000, source),
    }


def card(header: Header, thumbnail: bytes, source: str) -> AvatarCard:
    """Name, description, licence, maker and consent."""
    return AvatarCard(
        name=text(header, "name", source),
        description=text(header, "description", source, optional=True),
        licence=text(header, "licence", source),
        created_by=text(header, "created_by", source, optional=True),
        consent=consent(header, source),
        thumbnail=thumbnail,
    )


def regions(header: Header, source: str) -> tuple[Region, ...]:
    """The named regions and their materials."""
    items = header.get("regions")
    if not isinstance(items, list) or not 1 <= len(items) <= 64 or not all(isinstance(item, dict) for item in items):
        raise BadFile(f"{source}: the header should hold a list 'regions' of 1 to 64 objects")
    return tuple(Region(text(item, "name", source), _material(_section(item, "material", source), source)) for item in items)


def _material(part: Header, source: str) -> Material:
    values = {key: number(part, key, *limits, source) for key, limits in MATERIAL_LIMITS.items()}
    red, green, blue = table(part, "subsurface", (3,), 0.0, 1.0, source).tolist()
    return Material(lit=flag(part, "lit", source), glossy=flag(part, "glossy", source), subsurface=(red, green, blue), **values)


def camera(header: Header, source: str) -> PortraitCamera:
    """The portrait's framing."""
    part = _section(header, "camera", source)
    right, down = table(part, "principal", (2,), -1.0, 1.0, source).tolist()
    x, y, z = table(part, "translation", (3,), -10.0, 10.0, source).tolist()
    if z > -0.05:
        raise BadFile(f"{source}: the camera's translation should put the head in front of it (z below -0.05), z is {z}")
    return PortraitCamera(number(part, "focal", 0.2, 20.0, source), (right, down), (x, y, z))


def ranges(header: Header, expression_count: int, source: str) -> TrainedRange:
    """Lowest and highest value of every parameter."""
    part = _section(header, "ranges", source)
    shapes = {"expression": expression_count, "rotation": 3, "neck": 3, "jaw": 3, "gaze": 2}
    found = {key: table(part, key, (count, 2), -4.0, 4.0, source) for key, count in shapes.items()}
    for key, array in found.items():
        if (array[:, 0] > array[:, 1]).any():
            raise BadFile(f"{source}: the ranges of '{key}' should have the lowest value first")
    return TrainedRange(**{key: array.astype(np.float32) for key, array in found.items()})
