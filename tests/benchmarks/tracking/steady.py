"""Steady and immediate: what a still face's landmarks move by, and how much later a blink or a turn comes through the filters than without them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.head import HeadModel, HeadParams, load_head
from models.landmarker import FaceLandmarker
from models.solving.landmark_model import landmark_model
from models.weights import installed
from realtime.gallery import FIRST, SHIPPED
from realtime.one_euro import OneEuroSettings
from realtime.packets import VideoPacket
from realtime.reenactor import HEAD, LANDMARKER, load_avatar, regressor_of, rig_of
from realtime.regression import ParameterSolver
from realtime.retarget import Retargeter, RetargetSettings
from realtime.smoothing import Smoothing
from realtime.tracking import FaceTracker
from tests.benchmarks.tracking.clips import BLINK, person_of
from tests.benchmarks.tracking.meshes import Marks
from tests.faces import Image
from training.regressor.people import resting_face

Double = NDArray[np.float64]

FRAME_S = 1.0 / 30.0
SHOWN_PX = 512
NOISE = 3.0
"""Standard deviation of a webcam's noise in a room, in grey levels, of each pixel and channel on its own."""
SETTLING = 90
"""Frames before jitter is measured: the driver's identity is learned meanwhile."""
UNFILTERED = OneEuroSettings(min_cutoff_hz=1e6, beta=0.0)
LARGEST_SHIFT = 6.0
STEP_RAD = np.radians(15.0)
TURN_FRAMES = 8
BEFORE = 60
"""Frames at rest before an event."""


def raw_settings() -> RetargetSettings:
    """As the live loop's, but nothing is smoothed."""
    return replace(RetargetSettings(), smoothing=Smoothing(**{each.name: UNFILTERED for each in fields(Smoothing)}))


def jitter(frame: Image, count: int, seed: int = 0) -> dict[str, float]:
    """One frame again and again, with new noise each time, on the default avatar: pixels of a 512 x 512 picture, over all landmarks.

    `frame_to_frame` is the mean way from one frame to the next, `wander` the mean distance from the mean place.
    """
    head = load_head(HEAD)
    tracker, solver = FaceTracker(FaceLandmarker(installed(LANDMARKER), 1)), ParameterSolver(head, regressor=regressor_of(HEAD))
    avatar = load_avatar(SHIPPED / f"{FIRST}.avatar")
    ways = {name: Retargeter(head.expression_names, rig_of(avatar), each, solver.neck_offset) for name, each in (("", None), ("_unfiltered", raw_settings()))}
    marks, person = Marks.of(head, landmark_model(head, 0).indices), resting_face(head, person_of(FIRST))
    places: dict[str, list[Double]] = {name: [] for name in ways}
    rng = np.random.default_rng(seed)
    for index in range(SETTLING + count):
        noisy = np.clip(np.rint(frame + rng.normal(0.0, NOISE, frame.shape)), 0.0, 255.0).astype(np.uint8)
        params = solver.solve(tracker.track(VideoPacket(noisy, index * FRAME_S, index * FRAME_S)))
        for name, retargeter in ways.items():
            shown = retargeter.retarget(params, index * FRAME_S)
            camera = marks.posed(replace(shown, identity=person.identity))
            places[name].append(avatar.camera.focal * SHOWN_PX * camera[:, :2] / -camera[:, 2:])
    figures = {}
    for name, each in places.items():
        points = np.array(each[SETTLING:])
        figures[f"frame_to_frame_px{name}"] = round(float(np.linalg.norm(np.diff(points, axis=0), axis=2).mean()), 3)
        figures[f"wander_px{name}"] = round(float(np.linalg.norm(points - points.mean(0), axis=2).mean()), 3)
    return figures


def delays() -> dict[str, Any]:
    """Made-up parameters straight into the retargeter: frames by which the filtered signal crosses half its way later than the unfiltered one."""
    head = load_head(HEAD)
    still = HeadParams.neutral(len(head.expression_names))
    lids = [head.expression_index("eyeBlinkLeft"), head.expression_index("eyeBlinkRight")]
    jaw = head.expression_index("jawOpen")
    blink = [_shaped(still, lids, weight) for weight in BLINK]
    turn = [_turned(still, STEP_RAD * _eased((k + 1) / TURN_FRAMES)) for k in range(TURN_FRAMES)]
    report: dict[str, Any] = {}
    for name, event in {"blink": blink, "jaw_opens": [_shaped(still, [jaw], 0.5)], "pose_step": [_turned(still, STEP_RAD)], "turn": turn}.items():
        frames = [still] * BEFORE + event + [still if name == "blink" else event[-1]] * 30
        signals = []
        for settings in (raw_settings(), RetargetSettings()):
            shown = _retarget(head, frames, settings)
            if name in ("blink", "jaw_opens"):
                signals.append(np.array([one.expression[lids[0] if name == "blink" else jaw] for one in shown], np.float64))
            else:
                signals.append(np.array([one.neck[1] for one in shown], np.float64))
        raw, smooth = (signal - signal[BEFORE - 1] for signal in signals)
        half = 0.5 * raw.max()
        report[name] = {"lag_frames": round(_crossing(smooth, half) - _crossing(raw, half), 2), "peak_share": round(float(smooth.max() / raw.max()), 3)}
    return report


def shift_between(early: Double, late: Double) -> float:
    """How many frames (a fraction too) `late` comes after `early`: the shift at which they agree best."""
    at = np.arange(len(early), dtype=np.float64)
    inside = slice(round(LARGEST_SHIFT) + 1, -round(LARGEST_SHIFT) - 1)
    shifts = np.arange(-1.0, LARGEST_SHIFT, 0.02)
    scores = [float(np.corrcoef(np.interp(at - shift, at, early)[inside], late[inside])[0, 1]) for shift in shifts]
    return float(shifts[int(np.argmax(scores))])


def _retarget(head: HeadModel, frames: list[HeadParams], settings: RetargetSettings) -> list[HeadParams]:
    retargeter = Retargeter(head.expression_names, rig_of(load_avatar(SHIPPED / f"{FIRST}.avatar")), settings)
    return [retargeter.retarget(params, index * FRAME_S) for index, params in enumerate(frames)]


def _shaped(still: HeadParams, shapes: list[int], weight: float) -> HeadParams:
    expression = still.expression.copy()
    expression[shapes] = weight
    return replace(still, expression=expression)


def _turned(still: HeadParams, yaw: float) -> HeadParams:
    return replace(still, rotation=np.array([0.0, yaw, 0.0], np.float32))


def _eased(share: float) -> float:
    return share * share * (3.0 - 2.0 * share)


def _crossing(signal: Double, level: float) -> float:
    """The first time, in frames, at which the signal reaches a level."""
    after = int(np.argmax(signal >= level))
    low, high = signal[after - 1], signal[after]
    return after - 1 + float((level - low) / (high - low))
