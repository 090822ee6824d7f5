"""Does the avatar do what the driver does? The landmarker reads both, beside what a bare echo of the camera through a video codec would score.

Every signal is Pearson-correlated with the driver's at the one lag that fits an avatar's signals best; the echo has no lag. Signals that the driver hardly
moves are reported but do not choose the lag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from models.head import HeadModel
from models.landmarker import COEFFICIENT_NAMES, FaceLandmarker, LandmarkResult
from models.weights import installed
from realtime.gallery import SHIPPED
from realtime.reenactor import LANDMARKER, load_avatar, rig_of
from realtime.regression import ParameterSolver
from realtime.renderer import AvatarRenderer
from realtime.retarget import Retargeter
from realtime.rtc.encoder import vp8_context
from tests.benchmarks.tracking.meshes import LEFT_GAP, LIP_GAP, RIGHT_GAP
from tests.benchmarks.tracking.real import Followed
from tests.faces import Image
from tests.following import IRISES, TEMPLES

Double = NDArray[np.float64]

AVATARS = ("mara", "theo", "ama", "edith")
SHOWN_PX = 512
BITRATE = 2_500_000
"""The server's at the start."""
LARGEST_LAG_S = 0.2
COEFFICIENTS = {
    "jawOpen": ("jawOpen",),
    "lid_left": ("eyeBlinkLeft",),
    "lid_right": ("eyeBlinkRight",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "brow_inner_up": ("browInnerUp",),
    "brow_outer_up": ("browOuterUpLeft", "browOuterUpRight"),
    "brow_down": ("browDownLeft", "browDownRight"),
}
"""Signals that are coefficients, or means of two."""
SIGNALS = (*COEFFICIENTS, "lip_gap", "lid_gap", "yaw")
"""Gaps in distances of the eyes (lids: mean of both); yaw of the line through the temples, radians."""
LIVELY = {"jawOpen": 0.05, "lip_gap": 0.02, "lid_left": 0.05, "lid_right": 0.05, "lid_gap": 0.01, "smile": 0.03, "yaw": 0.02}
LIVELY_OTHERWISE = 0.03
OPENINGS = (0.0, 0.01, 0.03, 0.06, 0.09, 0.12, 0.2, 0.4)
"""Of the lips, in distances of the eyes; within the first range they are closed."""


@dataclass(frozen=True)
class Signals:
    """`time_s` (N,), `values` (N, S) in the order of SIGNALS, NaN without a face."""

    time_s: Double
    values: Double

    def lively(self) -> list[str]:
        """Names of those in which something happens."""
        spread = np.nanstd(self.values, axis=0)
        return [name for name, deviation in zip(SIGNALS, spread, strict=True) if deviation > LIVELY.get(name, LIVELY_OTHERWISE)]


def read(frames: Iterable[Image], time_s: Double) -> Signals:
    """Each picture on its own, without any memory of the last."""
    landmarker, rows = FaceLandmarker(installed(LANDMARKER), 1), []
    for frame in frames:
        result = landmarker.detect_and_landmark(frame)
        rows.append(np.full(len(SIGNALS), np.nan) if result is None else _signals(result))
    return Signals(time_s[: len(rows)], np.array(rows))


def measure(
    head: HeadModel, frames: list[Image], clip: Followed, fps: float, every: int, avatars: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Signals]]:
    """Report of one clip, of which every so manieth picture is looked at; and the signals of the driver and of each avatar."""
    time_s = np.arange(0, len(frames), every) / fps
    signals = {"driver": read(frames[::every], time_s)}
    echo = read(echoed(frames, every), time_s)
    figures = {"echo": correlations(signals["driver"], echo, 0.0)}
    lags = {}
    for name in avatars:
        signals[name] = read(_pictures(head, clip, fps, name, every), time_s)
        lags[name] = best_lag(signals["driver"], signals[name])
        figures[name] = correlations(signals["driver"], signals[name], lags[name])
    lively = signals["driver"].lively()
    return {
        "lively": lively,
        "correlation": figures,
        "lag_ms": {name: round(1e3 * lag) for name, lag in lags.items()},
        "mean_of_avatars_over_echo": {
            name: round(float(np.mean([figures[avatar][name] for avatar in avatars])) / figures["echo"][name], 3) for name in SIGNALS
        },
        "lips_by_opening": {avatar: lips_by_opening(signals["driver"], signals[avatar], lags[avatar]) for avatar in avatars},
        "amplitude_over_driver": {avatar: _amplitudes(signals["driver"], signals[avatar]) for avatar in avatars},
    }, signals


def echoed(frames: list[Image], every: int) -> Iterator[Image]:
    """Every so manieth frame after the server's own VP8 settings."""
    height, width = frames[0].shape[:2]
    encoder, decoder = vp8_context(width, height, BITRATE), av.CodecContext.create("vp8", "r")
    assert isinstance(decoder, VideoCodecContext)
    for index, image in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = index * 3000, Fraction(1, 90_000)
        shown = [picture for packet in encoder.encode(frame) for picture in decoder.decode(packet)]
        if index % every == 0:
            yield np.asarray(shown[-1].to_ndarray(format="rgb24"), np.uint8)


def correlations(driver: Signals, avatar: Signals, lag_s: float) -> dict[str, float]:
    """Of each signal, the avatar's at a time with the driver's `lag_s` before."""
    found = {}
    for column, name in enumerate(SIGNALS):
        seen, known = ~np.isnan(avatar.values[:, column]), ~np.isnan(driver.values[:, column])
        at = avatar.time_s[seen] - lag_s
        inside = (at >= driver.time_s[known][0]) & (at <= driver.time_s[known][-1])
        expected = np.interp(at[inside], driver.time_s[known], driver.values[known, column])
        found[name] = round(float(np.corrcoef(expected, avatar.values[seen, column][inside])[0, 1]), 3)
    return found


def best_lag(driver: Signals, avatar: Signals) -> float:
    """Seconds, avatar after driver."""
    lively = driver.lively()
    lags = np.arange(0.0, LARGEST_LAG_S, 0.01)
    totals = [sum(found[name] for name in lively) for found in (correlations(driver, avatar, float(lag)) for lag in lags)]
    return float(lags[int(np.argmax(totals))])


def lips_by_opening(driver: Signals, avatar: Signals, lag_s: float) -> dict[str, dict[str, float]]:
    """For ranges of the driver's lip gap: how many frames, the median of the avatar's gap in them, and in what share of them its lips are closed."""
    column = SIGNALS.index("lip_gap")
    opened = np.interp(driver.time_s + lag_s, avatar.time_s, np.nan_to_num(avatar.values[:, column]))
    found = {}
    for low, high in pairwise(OPENINGS):
        inside = (driver.values[:, column] >= low) & (driver.values[:, column] < high)
        if inside.any():
            median, closed = float(np.median(opened[inside])), float((opened[inside] < OPENINGS[1]).mean())
            found[f"{low:g}-{high:g}"] = {"frames": int(inside.sum()), "avatar": round(median, 3), "closed": round(closed, 2)}
    return found


def _pictures(head: HeadModel, clip: Followed, fps: float, name: str, every: int) -> Iterator[Image]:
    avatar = load_avatar(SHIPPED / f"{name}.avatar")
    retargeter = Retargeter(head.expression_names, rig_of(avatar), neck_offset=ParameterSolver(head).neck_offset)
    renderer = AvatarRenderer(avatar, SHOWN_PX, threads=1)
    for index, params in enumerate(clip.solved):
        shown = retargeter.retarget(params, index / fps)
        if index % every == 0:
            yield renderer.render(shown)
    renderer.close()


def _signals(result: LandmarkResult) -> Double:
    points, coefficients = result.landmarks.astype(np.float64), result.coefficients

    def gap(pair: tuple[int, int]) -> float:
        return float(np.linalg.norm(points[pair[0], :2] - points[pair[1], :2]))

    right, left = points[list(TEMPLES)]
    eyes = max(gap(IRISES), 1e-6)
    means = [np.mean([coefficients[COEFFICIENT_NAMES.index(name)] for name in names]) for names in COEFFICIENTS.values()]
    return np.array([*means, gap(LIP_GAP) / eyes, 0.5 * (gap(LEFT_GAP) + gap(RIGHT_GAP)) / eyes, np.arctan2(left[2] - right[2], left[0] - right[0])])


def _amplitudes(driver: Signals, avatar: Signals) -> dict[str, float]:
    """How far the avatar moves for what the driver does: the ratio of the standard deviations."""
    ratio = np.nanstd(avatar.values, axis=0) / np.nanstd(driver.values, axis=0)
    return {name: round(float(value), 2) for name, value in zip(SIGNALS, ratio, strict=True)}
