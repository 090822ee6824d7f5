"""What to tell who recorded the clip: how good the avatar became, in words, and what to record to make it better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GRADES = (
    (32.0, "Very close: beside the real picture one has to look for the differences."),
    (29.0, "Close: whoever knows the person recognises them and their expressions at once; fine hair and wrinkles are softer than in reality."),
    (26.0, "Recognisable, but soft: the outline, the hair or the mouth are visibly off in some frames."),
    (0.0, "Poor: something went wrong. Look at the worst frames of the report, and record the clip anew with the advice here."),
)
"""From this PSNR of the head box on, driven by the offline fit."""
ENOUGH_YAW_DEG, ENOUGH_PITCH_DEG = 20.0, 15.0
ENOUGH_FRAMES = 250
MANY_BLURRED, MANY_LEFT_OUT = 0.15, 0.1
LIVE_GAP_DB = 1.5
LOST_SHARE = 0.02
JITTER_RATIO = 1.5


def grade(report: Mapping[str, Any]) -> str:
    """One sentence on the likeness; empty where it was not measured."""
    score = _psnr(report, "offline", "head_box")
    return "" if score is None else next(words for least, words in GRADES if score >= least)


def advice(report: Mapping[str, Any]) -> list[str]:
    """What would help most, most important first; never empty."""
    said = [*_on_pose(report), *_on_pictures(report), *_on_live(report)]
    return said or ["Nothing stands out. A longer clip with more expressions, and more of the head's sides, is the surest way to a better avatar."]


def _on_pose(report: Mapping[str, Any]) -> list[str]:
    pose = report.get("dataset", {}).get("pose")
    if not pose:
        return []
    said, (right, left) = [], pose["yaw_range"]
    sides = [name for name, missing in (("left", left < ENOUGH_YAW_DEG), ("right", right > -ENOUGH_YAW_DEG)) if missing]
    if sides:
        said.append(
            f"The head turns from {abs(right):.0f} degrees to its right to {abs(left):.0f} degrees to its left. Turn it slowly to the "
            f"{' and the '.join(sides)}, to about 45 degrees: what the camera never sees is guessed."
        )
    if pose["pitch_range"][1] - pose["pitch_range"][0] < ENOUGH_PITCH_DEG:
        said.append("The head hardly nods. Look up and down slowly, once or twice.")
    return said


def _on_pictures(report: Mapping[str, Any]) -> list[str]:
    data, said = report.get("dataset", {}), list[str]()
    frames, left_out = data.get("frames", 0), sum(data.get("left_out", {}).values())
    if frames and left_out > MANY_LEFT_OUT * (frames + left_out):
        said.append(f"In {left_out} of {frames + left_out} frames the face could not be made out. Keep hands and hair from it, and stay in the picture.")
    if frames and data.get("sharpness", {}).get("blurred_frames", 0) > MANY_BLURRED * frames:
        said.append(f"{data['sharpness']['blurred_frames']} of {frames} frames are blurred. Use more light, from the front, and move more slowly.")
    if data.get("still_camera") is False:
        said.append("The camera moved, so that no empty background could be made. Put it on something that stands still, with room around the head.")
    if 0 < frames < ENOUGH_FRAMES:
        said.append(f"Only {frames} frames were of use. 20 to 60 seconds give the avatar more to learn from: talk, smile, frown, look around, close the eyes.")
    return said


def _on_live(report: Mapping[str, Any]) -> list[str]:
    said = []
    offline, live = _psnr(report, "offline", "head_box"), _psnr(report, "live", "head_box")
    if offline is not None and live is not None and offline - live > LIVE_GAP_DB:
        said.append(
            f"Live, the avatar is {offline - live:.1f} dB further from the real picture than with the offline fit: it follows less exactly than it could. "
            "Even light, and a camera at the height of the eyes, help the live tracker."
        )
    tracking = report.get("live", {}).get("tracking", {})
    lost, total = tracking.get("lost", 0), sum(tracking.values())
    if total and lost > LOST_SHARE * total:
        said.append(f"The live tracker lost the face in {lost} of {total} frames of this very clip.")
    figures = report.get("landmarks", {}).get("live") or {}
    if figures.get("rendered_jitter_percent", 0.0) > JITTER_RATIO * figures.get("real_jitter_percent", float("inf")):
        said.append("Live, the avatar trembles more than the person does. More light makes the tracker steadier.")
    return said


def _psnr(report: Mapping[str, Any], way: str, region: str) -> float | None:
    value = report.get("held_out", {}).get(way, {}).get(region, {}).get("psnr")
    return None if value is None else float(value)
