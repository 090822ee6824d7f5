"""A still picture of an avatar from named parameters: `jaw-open 0.6, yaw 20` → PNG, in milliseconds."""

from __future__ import annotations

import difflib
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import TrainedRange
from models.credentials.files import sign_file
from models.face_groups import JAW_OPEN, JAW_OPEN_RAD
from models.head import HeadParams
from models.rest_pose import rest_pose
from models.rotations import to_axis_angle, to_matrix
from training.errors import TrainingError
from training.pictures import write_png
from training.rendering import HeadRenderer, Mark, own_backdrop
from training.wearing import open_avatar, writable

Picture = NDArray[np.uint8]
SIZE, SMALLEST_PX, LARGEST_PX = 512, 64, 1024
TURNS = ("pitch", "yaw", "roll")
NECK_TURNS = tuple(f"neck_{turn}" for turn in TURNS)
GAZE = ("gaze_yaw", "gaze_pitch")
BACKGROUND = "background"
GREEN = (0x00, 0xB1, 0x40)
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
SIDEWAYS = ("jaw", "mouth")
"""jawLeft and jawRight are no pair: they are two directions."""
SLACK = 1e-4
CLOSE_NAMES = 4


@dataclass(frozen=True, slots=True)
class Still:
    """What came of it."""

    picture: Picture
    """(S, S, 3), marked."""
    render_ms: float
    """Time for the picture, with the avatar open."""
    opening_s: float
    """Time before that: reading the avatar, loading the compiled renderer."""
    notes: tuple[str, ...]
    """One for each value that was held within the trained range."""


def still(avatar: Path, out: Path, values: Mapping[str, float | str], size: int = SIZE) -> Still:
    """Writes a PNG, marked as synthetic and with content credentials, and prints how long it took and what was clamped.

    Args:
        avatar: who is shown.
        out: the PNG to be.
        values: name → value. Names: the avatar's expression shapes (0…1; `jawOpen`, `jaw_open` and `jaw-open` are the same, and a name without its Left or
            Right is both), yaw, pitch, roll of the head and neck_yaw, neck_pitch, neck_roll (degrees, models/CONVENTIONS.md), gaze_yaw, gaze_pitch
            (degrees), background (`avatar`, `green` or `#rrggbb`).
        size: pixels a side, 64…1024.

    Raises:
        TrainingError: an unknown name (the message lists near ones), a value that is no number, or a file that cannot be read or written.
    """
    began = time.perf_counter()
    if not SMALLEST_PX <= size <= LARGEST_PX:
        raise TrainingError(f"size: expected {SMALLEST_PX} to {LARGEST_PX} pixels, got {size}")
    file, out = open_avatar(avatar), writable(out, ".png")
    params, notes = named_params(file, {name: value for name, value in values.items() if _plain(name) != BACKGROUND})
    backdrop = _backdrop(file, next((str(value) for name, value in values.items() if _plain(name) == BACKGROUND), "avatar"), size)
    renderer, mark = HeadRenderer(file, size), Mark(size)
    mark.lay(renderer.render(params, backdrop))
    ready = time.perf_counter()
    picture = mark.lay(renderer.render(params, backdrop))
    done = Still(picture, 1e3 * (time.perf_counter() - ready), ready - began, notes)
    renderer.close()
    write_png(out, picture)
    problem = sign_file(out, avatar)
    for note in (*done.notes, *([] if problem is None else [problem])):
        print(note)
    print(f"{out}: rendered in {done.render_ms:.1f} ms (opening the avatar and the renderer: {done.opening_s:.1f} s)")
    return done


def named_params(file: AvatarFile, values: Mapping[str, float | str]) -> tuple[HeadParams, tuple[str, ...]]:
    """Head parameters from names, held within what the avatar was made for; and a note for each value that had to be changed.

    Turns are from the avatar's rest pose; shapes and gaze are as they are named, and at rest where they are not.

    Raises:
        TrainingError: an unknown name, or a value that is no number.
    """
    names = _known(file.expression_names)
    given: dict[str, float] = {}
    for name, value in values.items():
        if _plain(name) not in names:
            raise TrainingError(f"'{name}' is not something that {file.card.name} can do. {_near(name, names)}")
        for target in names[_plain(name)]:
            given[target] = _number(name, value)
    return _posed(file, given)


def _known(expression_names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Plain name → what it sets."""
    known: dict[str, tuple[str, ...]] = {}
    for name in expression_names:
        side_less = _plain(name.removesuffix("Left").removesuffix("Right"))
        if side_less != _plain(name) and side_less not in SIDEWAYS:
            known[side_less] = (*known.get(side_less, ()), name)
    known |= {_plain(name): (name,) for name in (JAW_OPEN, *expression_names, *TURNS, *NECK_TURNS, *GAZE)}
    return known


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", name).lower()


def _near(name: str, names: Mapping[str, tuple[str, ...]]) -> str:
    close = difflib.get_close_matches(_plain(name), names, CLOSE_NAMES, 0.5) or sorted(names)[:CLOSE_NAMES]
    written = [names[each][0] if len(names[each]) == 1 else f"{names[each][0].removesuffix('Left')} (both sides)" for each in close]
    return f"Near that name: {', '.join(written)}."


def _number(name: str, value: float | str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TrainingError(f"{name}: expected a number, got {value!r:.40}")
    return number


def _posed(file: AvatarFile, given: Mapping[str, float]) -> tuple[HeadParams, tuple[str, ...]]:
    ranges, notes = file.ranges, list[str]()
    held, rest = _Held(notes), rest_pose(file.camera, file.ranges, file.weights)
    expression = rest.expression.copy()
    for index, name in enumerate(file.expression_names):
        if name in given:
            expression[index] = held.within(name, given[name], *ranges.expression[index])
    jaw = np.zeros(3, np.float32)
    if JAW_OPEN not in file.expression_names:
        jaw[0] = held.within(JAW_OPEN, given.get(JAW_OPEN, 0.0), *(ranges.jaw[0] / JAW_OPEN_RAD)) * JAW_OPEN_RAD
    neck, root = _turned(ranges, rest.neck, given, held)
    gaze = rest.gaze.copy()
    for axis, name in enumerate(GAZE):
        if name in given:
            gaze[:, axis] = math.radians(held.within(name, given[name], *np.degrees(ranges.gaze[axis])))
    return replace(rest, expression=expression, jaw=jaw, neck=neck, rotation=root, gaze=gaze), tuple(notes)


def _turned(ranges: TrainedRange, rest: NDArray[np.float32], given: Mapping[str, float], held: _Held) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(3,) neck and (3,) root: from rest, the head's turn is the neck's as far as that was trained, and the whole body's beyond."""
    bent = rest + _axis_angle(given, NECK_TURNS)
    neck = np.clip(bent, ranges.neck[:, 0], ranges.neck[:, 1])
    turn = _axis_angle(given, TURNS)
    share = np.clip(turn, *(ranges.neck - neck[:, None]).T)
    root = np.clip(turn - share, ranges.rotation[:, 0], ranges.rotation[:, 1])
    for axis, name in enumerate(TURNS):
        held.compare(NECK_TURNS[axis], given, bent[axis] - rest[axis], neck[axis] - rest[axis])
        held.compare(name, given, turn[axis], share[axis] + root[axis])
    return (neck + share).astype(np.float32), root.astype(np.float32)


def _axis_angle(given: Mapping[str, float], names: tuple[str, ...]) -> NDArray[np.float64]:
    """(3,) of the rotation with that pitch, yaw and roll in degrees: rolled first, then pitched, then yawed."""
    pitch, yaw, roll = (math.radians(given.get(name, 0.0)) for name in names)
    return to_axis_angle(to_matrix((0.0, yaw, 0.0)) @ to_matrix((pitch, 0.0, 0.0)) @ to_matrix((0.0, 0.0, roll)))


class _Held:
    """Keeps values within ranges, and notes where that changed them."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def within(self, name: str, value: float, low: float, high: float) -> float:
        held = min(max(value, float(low)), float(high))
        if abs(held - value) > SLACK:
            self._notes.append(f"{name}: {value:g} is beyond what the avatar was made for ({low:.2g} to {high:.2g}); {held:.2g} was taken")
        return held

    def compare(self, name: str, given: Mapping[str, float], wanted: float, got: float) -> None:
        if name in given and abs(wanted - got) > SLACK:
            self._notes.append(f"{name}: {given[name]:g} degrees are beyond what the avatar was made for; about {math.degrees(got):.0f} were taken")


def _backdrop(file: AvatarFile, name: str, size: int) -> Picture:
    if name == "avatar":
        return own_backdrop(file, size)
    if name == "green":
        return np.full((size, size, 3), GREEN, np.uint8)
    if _COLOUR.fullmatch(name):
        return np.full((size, size, 3), tuple(bytes.fromhex(name[1:])), np.uint8)
    raise TrainingError(f"background: expected avatar, green or #rrggbb, got {name!r:.40}")
