"""How far off a regressor is, on samples of people whom it never saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from models.head import HeadModel
from models.landmark_groups import INNER_LIPS, LEFT_LIDS, OUTER_LIPS, RIGHT_LIDS
from models.regressor_features import mirrored
from training.regressor.learn import Learned, answers, by_jaw
from training.regressor.samples import Samples

Float = NDArray[np.float32]


def answer(learned: Learned, features: Float) -> tuple[Float, Float]:
    """(N, P) means and logs of spread, as the ONNX file gives them for a face and its mirror image together."""
    source, sign = learned.layout.mirror()
    mean, log_spread = _once(learned, features)
    mirrored_mean, mirrored_spread = _once(learned, mirrored(features, learned.partner))
    both = (0.5 * (mean + sign * mirrored_mean[:, source]), 0.5 * (log_spread + mirrored_spread[:, source]))
    return both[0].astype(np.float32), both[1].astype(np.float32)


def figures(learned: Learned, head: HeadModel, samples: Samples) -> dict[str, float]:
    """Means: degrees of the head's pose, gaze and jaw, millimetres of lips and lids that move wrongly; and how often a truth lies within one `spread`."""
    features, truth = answers(samples)
    mean, log_spread = answer(learned, features)
    error, layout = mean - truth, learned.layout
    moves = np.concatenate([head.expression, by_jaw(head)[None]])
    face = np.concatenate([error[:, layout.expression], error[:, layout.jaw][:, :1]], 1)

    def apart_mm(landmarks: tuple[int, ...]) -> float:
        vertices = np.unique(head.faces[head.landmark_faces[list(landmarks)]])
        return 1e3 * float(np.linalg.norm(np.tensordot(face, moves[:, vertices], 1), axis=2).mean())

    within = np.abs(error) < np.exp(log_spread)
    return {
        "pose_deg": round(float(np.degrees(np.linalg.norm(error[:, layout.rotation], axis=1)).mean()), 2),
        "gaze_deg": round(float(np.degrees(np.linalg.norm(error[:, layout.gaze].reshape(-1, 2, 2), axis=2)).mean()), 2),
        "jaw_deg": round(float(np.degrees(np.abs(error[:, layout.jaw.start])).mean()), 2),
        "lips_mm": round(apart_mm((*OUTER_LIPS, *INNER_LIPS)), 2),
        "lids_mm": round(apart_mm((*LEFT_LIDS, *RIGHT_LIDS)), 2),
        "within_spread": round(float(within[:, truth.std(0) > 1e-3].mean()), 2),
    }


def _once(learned: Learned, features: Float) -> tuple[Float, Float]:
    seen = (features - learned.input_mean) / learned.input_scale
    for weights, bias in learned.hidden:
        linear = seen @ weights.T + bias
        seen = 0.5 * linear * (1.0 + erf(linear / np.sqrt(2.0)))
    (weights, bias), (spread_weights, spread_bias) = learned.mean, learned.log_spread
    return (seen @ weights.T + bias).astype(np.float32), (seen @ spread_weights.T + spread_bias).astype(np.float32)
