"""Whether a clip is good enough for an avatar, told in seconds: what was found, what is needed, what to record instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.landmarker import COEFFICIENT_NAMES
from models.weights import weight_path
from training.pose_coverage import head_angles
from training.progress import Progress
from training.source import evenly
from training.survey import Survey, survey
from training.video import open_video

TAKEN, LOOKS = 600, 120
"""Frames of which a cut would show, and those in which a face is looked for."""
LONG = 3000
"""Of a clip of more frames only those are looked at that can be decoded by themselves, if they are not too few: seconds instead of minutes."""
LEAST_SECONDS, GOOD_SECONDS = 3.0, 8.0
LEAST_FACE_PX, GOOD_FACE_PX = 64.0, 128.0
"""Height of the face from the highest to the lowest landmark. Measured on a clip made smaller: landmarks err by 0.5 pixels of the 512 crop at 128 pixels of
face, by 1.2 at 64 (as much as the head model itself) and by 2.4 at 48."""
LEAST_YAW_DEG, GOOD_YAW_DEG = 4.0, 30.0
DARK, DIM = 0.2, 0.35
"""Grey value of the bright parts of the face, 0…1."""
BURNT, BRIGHT = 0.2, 0.05
"""Share of the face that is white and nothing else."""
SECOND_FACE = 0.25
"""Share of the looks from which a second face is no accident."""
RARE = 0.8
CUT_CHANGE, CUT_RATIO = 0.15, 4.0
"""1 - correlation of a frame with the one before, at least; and how many times what moves most in the clip otherwise. Three real clips reach 0.08, and six
times at values below 0.06; a change of scene reaches about 1."""
CUT_JUMP = 0.35
"""Widths of the face that it moves within a twentieth of a second. Real clips reach 0.11."""
BLINK, LIPS_APART, SOFT, SHAKY, UNSTEADY_LIGHT = 0.5, 0.05, 12.0, 0.2, 0.35
UPPER_LIP, LOWER_LIP, RIGHT_EYE, LEFT_EYE = 13, 14, 33, 263
ADVICE = "10 to 60 seconds of one person, head and shoulders, facing a window or lamp, talking, blinking, and slowly turning the head to both sides"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a clip that its owner should know."""

    refuses: bool
    """Whether no avatar can be made of the clip; otherwise it will be a poorer one."""
    found: str
    needed: str
    instead: str

    def __str__(self) -> str:
        return f"{'refused' if self.refuses else 'warning'}: {self.found}. Needed: {self.needed}. {self.instead}."


def check(clip: Path, progress: Progress, threads: int = 2) -> list[Finding]:
    """Looks at a video; refusals first. An empty list is a good clip.

    Raises:
        TrainingError: it is no video, or a broken, empty or absurdly large one.
    """
    video = open_video(clip)
    keys = video.keyframes
    taken = keys[:: -(-len(keys) // TAKEN)] if len(video.ticks) > LONG and len(keys) >= LOOKS else evenly(video, TAKEN)
    seen = survey(video, taken, weight_path("face_landmarker.task"), progress, threads, max(1, len(taken) // LOOKS))
    return judge(seen, video.seconds)


def judge(seen: Survey, seconds: float) -> list[Finding]:
    """What a survey says of a clip of so many seconds."""
    findings = [*_refusals(seen, seconds)]
    if not any(finding.refuses for finding in findings):
        findings += _warnings(seen, seconds)
    return findings


def _refusals(seen: Survey, seconds: float) -> Iterator[Finding]:
    found = seen.found
    if not found.any():
        if len(seen.brightness) and np.median(seen.brightness) < DARK:
            yield Finding(True, "the picture is almost black", "light on the face", f"Record {ADVICE}")
        else:
            yield Finding(True, "no face was found", "one face in view", f"Record {ADVICE}")
        return
    usable = seconds * float(found.sum() / seen.looked.sum())
    if usable < LEAST_SECONDS:
        yield Finding(True, f"a face is seen for {usable:.1f} s", f"at least {LEAST_SECONDS:.0f} s", f"Record {ADVICE}")
    if not np.isnan(seen.others).all() and np.nanmean(seen.others) > SECOND_FACE:
        share = np.nanmean(seen.others)
        yield Finding(
            True, f"there are two faces in {share:.0%} of the frames", "one person only", "Record one person alone, or crop the other out of the video"
        )
    light, burnt = float(np.median(seen.brightness[found])), float(np.median(seen.clipped[found]))
    if light < DARK:
        yield Finding(True, f"the face is too dark (brightest parts {light:.0%})", f"{DIM:.0%} or more", "Face a window or a lamp, and record again")
    if burnt > BURNT:
        yield Finding(
            True, f"{burnt:.0%} of the face is burnt out", f"less than {BRIGHT:.0%}", "Dim the light or lower the camera's exposure, and record again"
        )
    height = face_height(seen)
    if height < LEAST_FACE_PX:
        yield Finding(True, f"the face is {height:.0f} pixels high", f"at least {LEAST_FACE_PX:.0f}, better 230", "Come closer to the camera, and record again")
    yaw = _yaw_range(seen)
    if usable >= LEAST_SECONDS and yaw < LEAST_YAW_DEG:
        wanted = f"at least {LEAST_YAW_DEG:.0f}°, better {GOOD_YAW_DEG:.0f}° and more"
        yield Finding(True, f"the head hardly turns ({yaw:.0f}°)", wanted, "Turn the head slowly to the left and to the right while talking, and record again")
    for moment in cuts(seen)[:1]:
        yield Finding(
            True, f"the picture changes at once at {moment:.1f} s", "one take without a cut", "Cut the video before or after that, or record it in one go"
        )


def _warnings(seen: Survey, seconds: float) -> Iterator[Finding]:
    found, height, yaw = seen.found, face_height(seen), _yaw_range(seen)
    share = float(found.sum() / seen.looked.sum())
    light, burnt = float(np.median(seen.brightness[found])), float(np.median(seen.clipped[found]))
    if share < RARE:
        yield Finding(False, f"the face is seen in {share:.0%} of the frames only", "all frames", "The others are left out")
    if np.nansum(seen.others) > 0:
        yield Finding(False, "a second face comes into view", "one person only", "If it shows in the avatar, record one person alone")
    if share * seconds < GOOD_SECONDS:
        yield Finding(False, f"the face is seen for {share * seconds:.0f} s", f"{GOOD_SECONDS:.0f} s or more", "A longer clip shows more expressions")
    if light < DIM:
        yield Finding(False, f"the face is dim (brightest parts {light:.0%})", f"{DIM:.0%} or more", "More light makes a cleaner avatar")
    if burnt > BRIGHT:
        yield Finding(False, f"{burnt:.0%} of the face is burnt out", f"less than {BRIGHT:.0%}", "Less light makes a truer skin")
    if height < GOOD_FACE_PX:
        yield Finding(False, f"the face is {height:.0f} pixels high", f"{GOOD_FACE_PX:.0f} or more", "The avatar will look soft: come closer")
    if yaw < GOOD_YAW_DEG:
        yield Finding(
            False, f"the head turns by {yaw:.0f}° in all", f"{GOOD_YAW_DEG:.0f}° or more", "The avatar's sides will be guessed: turn slowly to both sides"
        )
    yield from _softer_warnings(seen, found)


def _softer_warnings(seen: Survey, found: NDArray[np.bool_]) -> Iterator[Finding]:
    blinks = seen.coefficients[:, [COEFFICIENT_NAMES.index("eyeBlinkLeft"), COEFFICIENT_NAMES.index("eyeBlinkRight")]][found].mean(1)
    if not (blinks > BLINK).any():
        yield Finding(False, "no blink was seen", "a few", "Closed eyes will be guessed: blink now and then")
    points = seen.landmarks[found, :, :2]
    lips = np.linalg.norm(points[:, UPPER_LIP] - points[:, LOWER_LIP], axis=1) / np.linalg.norm(points[:, RIGHT_EYE] - points[:, LEFT_EYE], axis=1)
    if np.quantile(lips, 0.95) < LIPS_APART:
        yield Finding(False, "the mouth hardly opens", "talking, and a wide open mouth once", "Teeth will be guessed: talk, smile and say aah")
    sharp = seen.sharpness[found]
    if np.median(sharp) < SOFT:
        yield Finding(False, "the face is blurred", "a sharp face", "Wipe the lens, focus on the face, come closer")
    elif (sharp < 0.5 * np.median(sharp)).mean() > SHAKY:
        yield Finding(False, "many frames are blurred by motion", "slow movements", "Move slowly, with more light")
    low, middle, high = np.quantile(seen.brightness[found], [0.05, 0.5, 0.95])
    if high - low > UNSTEADY_LIGHT * middle:
        yield Finding(False, "the light on the face changes", "steady light", "Colours will be an average: stay in one place, switch automatic exposure off")


def face_height(seen: Survey) -> float:
    """The usual height of the face, pixels of the video."""
    boxes = seen.boxes[seen.found]
    return float(np.median(boxes[:, 3] - boxes[:, 1]))


def _yaw_range(seen: Survey) -> float:
    low, high = np.quantile(head_angles(seen.landmarks[seen.found])[:, 0], [0.02, 0.98])
    return float(high - low)


def cuts(seen: Survey) -> list[float]:
    """Times, seconds, at which the picture is suddenly another, or the face suddenly elsewhere, and stays so: a flash or a hand is no cut."""
    if len(seen.index) < 3:
        return []
    pictures = _unit(seen.thumbs[:, 0])
    change = 1.0 - (pictures[1:] * pictures[:-1]).sum(1)
    otherwise = np.partition(change, -2)[-2] if len(change) < 40 else np.quantile(change, 0.95)
    candidates = np.flatnonzero(change > max(CUT_CHANGE, CUT_RATIO * float(otherwise)))
    moments = [frame for frame in candidates.tolist() if _stays_changed(pictures, seen.pts_s, frame)]
    centres, widths = 0.5 * (seen.boxes[:, :2] + seen.boxes[:, 2:]), seen.boxes[:, 2] - seen.boxes[:, 0]
    moved = np.linalg.norm(np.diff(centres, axis=0), axis=1) / widths[1:]
    jumps = np.flatnonzero((np.diff(seen.pts_s) < 0.06) & (np.nan_to_num(moved) > CUT_JUMP))
    return [float(seen.pts_s[frame + 1]) for frame in sorted({*moments, *jumps.tolist()})]


def _stays_changed(pictures: NDArray[np.float64], pts_s: NDArray[np.float64], frame: int) -> bool:
    """Whether nothing of the second after `frame` looks like anything of the second up to it."""
    before = pictures[(pts_s > pts_s[frame] - 1.0) & (pts_s <= pts_s[frame])]
    after = pictures[(pts_s > pts_s[frame]) & (pts_s <= pts_s[frame] + 1.0)]
    return bool((1.0 - before @ after.T).min() > CUT_CHANGE)


def _unit(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(T, H, W) → (T, H W), so that a product of two is their correlation; a plain picture is like any other plain one."""
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    spread = np.linalg.norm(flat, axis=1, keepdims=True)
    flat /= np.maximum(spread, 1e-9)
    return np.where(spread < flat.shape[1] ** 0.5, flat.shape[1] ** -0.5, flat)  # a standard deviation below one grey value
