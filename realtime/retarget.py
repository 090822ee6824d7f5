"""Driver → avatar: what the driver does beyond their own rest pose, smoothed, mapped to the avatar's shapes and kept inside its trained range.

The avatar's own person is not taken relative to anything: realtime/own.py. Pure: time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from models.face_groups import JAW_OPEN, JAW_OPEN_RAD, by_group, group_of
from models.head import HeadParams
from models.rotations import to_axis_angle, to_matrix
from realtime.best_frame import BestFrame, BestSettings
from realtime.caution import Caution, CautionSettings
from realtime.confidence import SURE, Confidence
from realtime.errors import Unprocessable
from realtime.eye_contact import EyeContactSettings, contact_gaze, nearness
from realtime.lids import Lids, LidSettings
from realtime.neutral import Neutral, RestPose, RestSettings, face_at, sight
from realtime.one_euro import Double, OneEuroFilter, OneEuroSettings
from realtime.own import OwnPath, OwnSettings
from realtime.packets import Calibration, GainGroup, Motion
from realtime.presence import Presence, PresenceSettings, ease
from realtime.smoothing import OWN_SMOOTHING, Smoothing
from realtime.user_gains import UserGains

NECK_OFFSET_M = (0.0, 0.0656, 0.0255)
"""From the root joint to the neck joint of the open head."""
LEAST_NECK_ROOM_RAD = 0.05
TAIL = {"turn": 3, "gaze": 4, "lean": 3, "jaw_joint": 3, "contact": 1}
"""What follows the driver's expression in the vector that is smoothed and blended, with sizes."""


@dataclass(frozen=True, slots=True)
class AvatarRig:
    """What of an avatar's file the retargeter must know. Limits are magnitudes in radians."""

    expression_names: tuple[str, ...]
    expression_min: NDArray[np.floating]
    """(E,)."""
    expression_max: NDArray[np.floating]
    """(E,)."""
    rotation_limit: NDArray[np.floating]
    """(3,) of the root, about x, y, z."""
    neck_limit: NDArray[np.floating]
    """(3,)."""
    gaze_limit: NDArray[np.floating]
    """(2,) yaw, pitch."""
    default_translation: NDArray[np.floating]
    """(3,) metres: where the neutral head stands before the avatar's camera."""
    rest: HeadParams | None = None
    """Expression, neck and gaze of the avatar at rest; None: all zero."""
    neck_range: NDArray[np.floating] | None = None
    """(3, 2) lowest and highest of the neck; None: `neck_limit` to both sides."""

    def at_rest(self) -> HeadParams:
        return HeadParams.neutral(len(self.expression_names)) if self.rest is None else self.rest

    def neck_room(self, turn: Double) -> Double:
        """(3,) how far the neck goes from rest in the direction of `turn` (3,)."""
        low, high = (-self.neck_limit, self.neck_limit) if self.neck_range is None else self.neck_range.T
        rest = self.at_rest().neck
        return np.maximum(np.where(turn < 0.0, rest - low, high - rest), LEAST_NECK_ROOM_RAD)


@dataclass(frozen=True, slots=True)
class Gains:
    """How much of the driver's motion the avatar makes."""

    brows: float = 1.0
    lids: float = 1.0
    mouth: float = 1.0
    jaw: float = 1.25
    """The fit leaves a part of an opening mouth to the lips: with this the avatar's lips part as far as the driver's (measured with the landmarker on both)."""
    other: float = 1.0
    turn: float = 1.0
    gaze: float = 1.0
    lean: float = 0.6
    """Of the head's displacement, in proportion to its distance from the camera."""


@dataclass(frozen=True, slots=True)
class RetargetSettings:
    gains: Gains = field(default_factory=Gains)
    smoothing: Smoothing = field(default_factory=Smoothing)
    rest: RestSettings = field(default_factory=RestSettings)
    best: BestSettings = field(default_factory=BestSettings)
    lids: LidSettings = field(default_factory=LidSettings)
    eye_contact: EyeContactSettings = field(default_factory=EyeContactSettings)
    presence: PresenceSettings = field(default_factory=PresenceSettings)
    caution: CautionSettings = field(default_factory=CautionSettings)
    own: OwnSettings = field(default_factory=OwnSettings)
    own_smoothing: Smoothing = OWN_SMOOTHING
    switch_s: float = 0.4
    """In this time one way of driving is eased into the other."""
    neck_share: float = 0.8
    """Of the head's turn; the torso takes the rest, and what goes past the neck's limit. All of it where the avatar's torso does not turn."""
    soft_share: float = 0.8
    """Limits bend a motion from this share of them on, so that it never stops dead."""
    lean_limit: tuple[float, float, float] = (0.1, 0.08, 0.13)
    """Of the head's displacement, in shares of its distance from the camera."""


class Retargeter:
    """One driver on one avatar at a time; one per session."""

    def __init__(
        self,
        driver_names: Sequence[str],
        avatar: AvatarRig,
        settings: RetargetSettings | None = None,
        neck_offset: Sequence[float] | NDArray[np.floating] = NECK_OFFSET_M,
    ) -> None:
        """Args: `driver_names` of the driver's expression (D,); `neck_offset` (3,) metres, from the driver head's root joint to its neck joint."""
        self._settings = settings or RetargetSettings()
        self._names = tuple(driver_names)
        self._neck_offset = np.asarray(neck_offset, np.float64)
        self._groups = tuple(group_of(name) for name in self._names)
        self._weights = np.array([group != "other" for group in self._groups])
        self._gains = by_group(self._settings.gains, self._groups)
        self._slices = self._tail_slices()
        self._own_path = OwnPath(self._settings.own)
        self.use(avatar)
        self.forget()
        self._user_gains = UserGains(self._names, TAIL, self._lids.blinks)

    def use(self, avatar: AvatarRig) -> None:
        """Drives another avatar from now on; what is known of the driver is kept."""
        self._avatar = avatar
        shared = [name for name in avatar.expression_names if name in self._names]
        self._into = np.array([avatar.expression_names.index(name) for name in shared], np.intp)
        self._taken = np.array([self._names.index(name) for name in shared], np.intp)
        self._rest_shown = avatar.at_rest()
        self._rest_drive = self._driven_by(self._rest_shown)
        self._own_path.forget()
        self._shown: HeadParams | None = None
        self._left: HeadParams | None = None

    def forget(self) -> None:
        """Another driver: no rest pose is known, none was seen."""
        settings = self._settings
        self._rest = RestPose(self._groups, settings.rest)
        self._lids = Lids(self._names, settings.lids)
        self._best = BestFrame(self._names, self._lids.weights, settings.best)
        self._caution = Caution(self._groups, TAIL, settings.caution)
        self._presence = Presence(len(self._names) + sum(TAIL.values()), settings.presence)
        self._drive: Double = np.zeros(len(self._names) + sum(TAIL.values()))
        self._own = False
        self._own_path.forget()
        self._filter = self._make_filter()
        self._latest_s: float | None = None
        self._shown = self._left = None
        self._switched_s = 0.0

    def calibrate(self, mode: Calibration = Calibration.NOW) -> None:
        """Takes what the driver does in the next frames, or the most neutral of what they did lately, as their rest pose.

        Raises:
            Unprocessable: no neutral look was seen, or the driver is the avatar's own person and taken as they are; nothing has changed.
        """
        if mode is Calibration.NOW:
            self._rest.calibrate()
        elif self._own:
            raise Unprocessable("this avatar shows you and takes your face as it is: there is nothing to calibrate")
        else:
            self._lids.calibrate(self._rest.take(self._best.find()).expression)

    def rest_again(self, frames: list[HeadParams]) -> None:
        """The frames of the automatic calibration as they look by what is known of the driver now; a calibration that was asked for holds."""
        self._rest.retake([Neutral.of(params, self._neck_offset) for params in frames if _finite(params)])

    def welcome(self, frames: list[HeadParams]) -> None:
        """Somebody else drives, of whose first second these are frames: their rest pose is eased to, and how their lids move is learned anew."""
        seen = [Neutral.of(params, self._neck_offset) for params in frames if _finite(params)]
        if seen:
            self._rest.begin(seen)
            self._lids = Lids(self._names, self._settings.lids)
            self._best.forget()

    def set_gain(self, group: GainGroup, value: float) -> None:
        """How strongly that part of the driver's motion is shown: 0 not at all, 1 as it is, at most MAX_GAIN. The avatar's own range holds all the same.

        Whoever drives, it is the motion beyond the avatar's rest that is scaled; kept when the avatar or the driver changes.

        Raises:
            ValueError: `value` is outside that.
        """
        self._user_gains.set(group, value)

    def retarget(self, params: HeadParams | None, pts_s: float, own: bool = False, confidence: Confidence = SURE) -> HeadParams:
        """The avatar's parameters at time `pts_s` (seconds); always finite, always inside the avatar's range.

        Args:
            params: None while the driver's face is lost.
            own: the driver is the avatar's own person, and `params` are the avatar's already, but for the order of the expression.
            confidence: in what `params` were made out from.
        """
        if params is None or not _finite(params):
            self._best.see(None, pts_s)
            return self._show(self._presence.miss(pts_s), pts_s)
        if own is not self._own:
            self._switch(own, pts_s)
        if self._presence.lost:
            self._filter.reset()
            self._caution.reset()
        elapsed = 0.0 if self._latest_s is None else float(np.clip(pts_s - self._latest_s, 0.0, 0.2))
        self._latest_s = pts_s
        live = self._as_it_is(params, pts_s) if own else self._beyond_rest(params, pts_s, elapsed)
        live, trust = self._caution(live, pts_s, confidence)
        return self._show(self._presence.show(self._filter(live, pts_s, trust), pts_s), pts_s)

    def motion(self) -> Motion:
        """What the driver did in the latest frame, whatever the avatar can show of it and however strongly the user wants it."""
        weights, turn = self._drive[: len(self._names)].copy(), self._drive[self._slices["turn"]]
        if not self._own:
            self._lids.resolve(weights)
            turn = self._as_it_looks(turn, self._avatar.default_translation.astype(np.float64))
        gaze = self._drive[self._slices["gaze"]].reshape(2, 2)
        return Motion(self._names, np.clip(weights, 0.0, 1.0), turn, gaze, not self._presence.lost)

    def _switch(self, own: bool, at_s: float) -> None:
        """From now on the vector that is smoothed means something else; what is shown is eased over."""
        self._own = own
        self._own_path.forget()
        self._best.forget()
        self._caution.reset()
        self._filter = self._make_filter()
        self._left, self._switched_s = self._shown, at_s

    def _as_it_is(self, params: HeadParams, at_s: float) -> Double:
        """The avatar's own person; should it turn out that they sit elsewhere than it seemed, what is shown is eased over."""
        before = self._own_path.place
        live = np.append(self._own_path.drive(params, at_s, self._avatar), 0.0) - self._rest_drive
        if before is not None and self._own_path.place is not before:
            self._left, self._switched_s = self._shown, at_s
        return live

    def _show(self, drive: Double, at_s: float) -> HeadParams:
        self._drive, blinks = drive, self._lids.blinks
        shown = self._to_avatar(self._user_gains.apply(drive, self._rest_drive[blinks] if self._own else np.zeros(len(blinks)), at_s))
        share = ease((at_s - self._switched_s) / self._settings.switch_s)
        if self._left is not None and share < 1.0:
            shown = _between(self._left, shown, share)
        else:
            self._left = None
        self._shown = shown
        return shown

    def _driven_by(self, rest: HeadParams) -> Double:
        """The vector with which the avatar's own person would show the avatar's pose `rest`."""
        drive = np.zeros(len(self._names) + sum(TAIL.values()))
        drive[self._taken] = rest.expression[self._into]
        drive[self._slices["turn"]], drive[self._slices["gaze"]] = rest.neck, rest.gaze.reshape(-1)
        return drive

    def _tail_slices(self) -> dict[str, slice]:
        slices, start = {}, len(self._names)
        for name, size in TAIL.items():
            slices[name] = slice(start, start + size)
            start += size
        return slices

    def _make_filter(self) -> OneEuroFilter:
        """Of the whole vector, each group of expression shapes and each part of the tail in its own way."""
        groups = np.array(self._groups, object)
        groups[self._lids.blinks] = "blinks"
        smoothing = self._settings.own_smoothing if self._own else self._settings.smoothing
        parts = [(str(group), 1) for group in groups] + list(TAIL.items())
        return OneEuroFilter(OneEuroSettings.joined((getattr(smoothing, name), size) for name, size in parts))

    def _beyond_rest(self, params: HeadParams, at_s: float, elapsed_s: float) -> Double:
        """What the driver does beyond their rest pose: the expression (D,) with closures for its blinks, and the tail."""
        gains = self._settings.gains
        frame = Neutral.of(params, self._neck_offset)
        self._best.see(frame, at_s)
        rest, asked = self._rest.update(frame, at_s, elapsed_s)
        if asked is not None:
            self._lids.calibrate(asked.expression)
        room = np.where(self._weights, 1.0 - np.clip(rest.expression, 0.0, 0.9), 1.0)
        expression = (frame.expression - rest.expression) / room
        turn = to_axis_angle(to_matrix(frame.turn) @ to_matrix(rest.turn).T)
        lean = (frame.neck_at - rest.neck_at) / max(-rest.neck_at[2], 0.05)
        tail = (gains.turn * turn, gains.gaze * (frame.gaze - rest.gaze), gains.lean * lean, gains.jaw * (frame.jaw - rest.jaw))
        near = nearness(frame, rest, self._settings.eye_contact)
        driven = self._gains * expression
        if len(self._lids.blinks):
            driven[self._lids.blinks] = self._lids.closure(frame.expression, elapsed_s)
        return np.concatenate([driven, *tail, [near]])

    def _to_avatar(self, drive: Double) -> HeadParams:
        avatar, settings, rest = self._avatar, self._settings, self._rest_shown
        soft = settings.soft_share
        if self._own:
            drive = drive + self._rest_drive
        turn, gaze, lean, jaw, contact = (drive[self._slices[name]] for name in TAIL)
        driven = drive[: len(self._names)].copy()
        if not self._own:
            self._lids.resolve(driven)
        expression = rest.expression.astype(np.float64)
        left = 0.0 if self._own else expression[self._into]
        expression[self._into] = left + (1.0 - left) * driven[self._taken]
        if JAW_OPEN not in self._names and JAW_OPEN in avatar.expression_names:
            expression[avatar.expression_names.index(JAW_OPEN)] = jaw[0] / JAW_OPEN_RAD
        if JAW_OPEN in avatar.expression_names:
            jaw = np.zeros(3)
        elif JAW_OPEN in self._names:
            jaw = np.array([JAW_OPEN_RAD * driven[self._names.index(JAW_OPEN)], 0.0, 0.0])
        expression = np.clip(expression, avatar.expression_min, avatar.expression_max)
        made = replace(HeadParams.neutral(0), expression=expression.astype(np.float32), jaw=jaw.astype(np.float32))
        if self._own:
            return self._own_path.show(made, turn, gaze, lean, avatar)
        distance = abs(float(avatar.default_translation[2]))
        translation = avatar.default_translation + distance * soft_limit(lean, np.array(settings.lean_limit), soft)
        turn = self._as_it_looks(turn, translation)
        stiff = not np.any(avatar.rotation_limit)
        bent = soft_limit((1.0 if stiff else settings.neck_share) * turn, avatar.neck_room(turn), soft)
        root, neck = soft_limit(turn - bent, avatar.rotation_limit, soft), to_matrix(bent) @ to_matrix(rest.neck)
        look = self._looking(gaze, float(contact[0]), to_matrix(root) @ neck, translation)
        return replace(
            made,
            rotation=root.astype(np.float32),
            neck=to_axis_angle(neck).astype(np.float32),
            gaze=soft_limit(look, np.tile(avatar.gaze_limit, 2), soft).reshape(2, 2).astype(np.float32),
            translation=translation.astype(np.float32),
        )

    def _looking(self, gaze: Double, contact: float, head: Double, place: Double) -> Double:
        """(4,) `gaze` beyond the avatar's at rest, drawn to its viewer by the share `contact`."""
        rest, seat = self._rest_shown, self._avatar.default_translation.astype(np.float64)
        free = gaze + rest.gaze.reshape(-1)
        return free + np.clip(contact, 0.0, 1.0) * (contact_gaze(head, place, to_matrix(rest.neck), seat, rest.gaze.reshape(-1).astype(np.float64)) - free)

    def _as_it_looks(self, turn: Double, translation: Double) -> Double:
        """(3,) the rotation that looks like `turn` (3,) straight ahead, for an avatar at `translation`."""
        head = to_matrix(turn)
        there, middle = sight(face_at(translation, head)), sight(self._avatar.default_translation.astype(np.float64))
        return to_axis_angle(there @ middle.T @ head)


def soft_limit(value: Double, limit: NDArray[np.floating], soft_share: float) -> Double:
    """`value` as it is up to `soft_share` of the `limit` (a magnitude); beyond, it nears the limit ever more slowly. Smooth; never past the limit."""
    knee = soft_share * limit
    room = np.maximum(limit - knee, 1e-9)
    size = np.abs(value)
    bent: Double = np.sign(value) * np.where(size <= knee, size, limit - room * np.exp(-np.maximum(size - knee, 0.0) / room))
    return bent


def _between(one: HeadParams, two: HeadParams, share: float) -> HeadParams:
    """`share` 0: one; 1: two. The rotations of one head differ by little, so their vectors blend."""
    return HeadParams(*(getattr(one, part.name) + np.float32(share) * (getattr(two, part.name) - getattr(one, part.name)) for part in fields(one)))


def _finite(params: HeadParams) -> bool:
    parts = (params.expression, params.rotation, params.neck, params.jaw, params.gaze, params.translation)
    return all(bool(np.isfinite(part).all()) for part in parts)
