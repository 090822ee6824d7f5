"""Landmarks and coefficients of one frame → pose, expression, gaze and jaw of a head model, and how sure that is: a small network in an ONNX file.

It starts and steadies the solver (realtime/regression.py); `python -m training regressor` makes one for any head. It answers for a face and for its mirror
image at once and takes the mean, so that a mirrored face gets the mirrored answer.

The file: inputs `features` (N, F) f32, models/regressor_features.py; outputs `mean` and `log_spread` (N, 10 + E) f32: rotation 3 (axis-angle, of the head
against the camera that looks at the face), expression E, gaze 4, jaw 3. Metadata `headcast_regressor`, JSON: version, head (HeadModel.name),
expression_names, partner (of each landmark that is shown, where its mirror image stands).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile
from models.onnx_session import open_network
from models.regressor_features import FEATURE_COUNT, SEEN, mirrored, show, swapped
from models.rotations import to_matrix

Float = NDArray[np.float32]
Double = NDArray[np.float64]
Int = NDArray[np.int32]

VERSION = 1
METADATA = "headcast_regressor"
MAX_BYTES = 32 * 1024 * 1024
SUFFIX = ".regressor.onnx"
PROVIDERS = ("CPUExecutionProvider",)
SPREAD_RANGE = (1e-3, 3.0)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in an answer what is."""

    expression_names: tuple[str, ...]

    @property
    def size(self) -> int:
        return 10 + len(self.expression_names)

    @property
    def rotation(self) -> slice:
        return slice(0, 3)

    @property
    def expression(self) -> slice:
        return slice(3, 3 + len(self.expression_names))

    @property
    def gaze(self) -> slice:
        return slice(3 + len(self.expression_names), 7 + len(self.expression_names))

    @property
    def jaw(self) -> slice:
        return slice(7 + len(self.expression_names), self.size)

    def mirror(self) -> tuple[Int, Float]:
        """(P,) where each value of the mirrored face comes from, and (P,) its sign."""
        count = len(self.expression_names)
        gaze = 3 + count + np.array([2, 3, 0, 1])
        source = np.concatenate([[0, 1, 2], 3 + swapped(self.expression_names), gaze, [7 + count, 8 + count, 9 + count]])
        sign = np.ones(self.size, np.float32)
        sign[[1, 2, 3 + count, 5 + count, 8 + count, 9 + count]] = -1.0
        return source.astype(np.int32), sign


@dataclass(frozen=True, slots=True)
class Regressed:
    """One frame; `spread`s are standard deviations."""

    rotation: Double
    """(3, 3) of the head, into camera space."""
    expression: Double
    """(E,) weights."""
    gaze: Double
    """(2, 2) yaw, pitch of the left and of the right eye in the head, radians."""
    jaw: Double
    """(3,) axis-angle, radians; zero where the jaw opens by a shape."""
    rotation_spread: Double
    """(3, 3): covariance in camera space, radians squared."""
    expression_spread: Double
    gaze_spread: Double
    """(2, 2)."""
    jaw_spread: Double
    """(3,)."""


class Regressor:
    """One per thread."""

    def __init__(self, path: Path, providers: tuple[str, ...] = PROVIDERS) -> None:
        """Args: `providers` of onnxruntime, in order of preference. One face takes a CPU less time than a GPU takes to be asked.

        Raises:
            BadFile: it is no such file, or of another version.
        """
        try:
            if path.stat().st_size > MAX_BYTES:
                raise BadFile(f"{path.name}: a regressor has at most {MAX_BYTES >> 20} MB")
            self._session = open_network(path.read_bytes(), providers)
        except BadFile:
            raise
        except Exception as error:  # onnxruntime's own, of many kinds, and OSError
            raise BadFile(f"{path.name}: expected a regressor in an ONNX file ({' '.join(str(error).split())[:200]})") from error
        about = _about(self._session.get_modelmeta().custom_metadata_map.get(METADATA, ""), path.name)
        self.head: str = about["head"]
        """Name of the head model that it answers for."""
        self.layout = Layout(tuple(about["expression_names"]))
        self._partner = np.array(about["partner"], np.int32)
        self._source, self._sign = self.layout.mirror()
        self._check_shapes(path.name)

    def _check_shapes(self, source: str) -> None:
        inputs = {item.name: item.shape[1:] for item in self._session.get_inputs()}
        outputs = {item.name: item.shape[1:] for item in self._session.get_outputs()}
        size = [self.layout.size]
        if inputs != {"features": [FEATURE_COUNT]} or outputs != {"mean": size, "log_spread": size}:
            raise BadFile(f"{source}: a regressor of {len(self.layout.expression_names)} shapes takes {FEATURE_COUNT} features, this one {inputs} → {outputs}")

    def __call__(self, landmarks: Float, coefficients: Float, size: tuple[int, int], focal: float) -> Regressed | None:
        """What the face of a frame does; None where the landmarks make no face.

        Args:
            landmarks: (478, 3) in pixels, as FaceObservation.
            coefficients: (52,).
            size: width and height of the picture, pixels.
            focal: focal length over the picture's longer side.
        """
        side = float(max(size))
        centred = ((landmarks - np.array([0.5 * size[0], 0.5 * size[1], 0.0], np.float32)) / np.float32(side)).astype(np.float32)
        shown = show(centred[None], coefficients[None], focal)
        if not np.isfinite(shown.features).all():
            return None
        mean, log_spread = self._session.run(["mean", "log_spread"], {"features": np.concatenate([shown.features, mirrored(shown.features, self._partner)])})
        answer = 0.5 * (mean[0] + self._sign * mean[1][self._source]).astype(np.float64)
        spread = np.clip(np.exp(0.5 * (log_spread[0] + log_spread[1][self._source]).astype(np.float64)), *SPREAD_RANGE)
        if not np.isfinite(answer).all():
            return None
        layout, view = self.layout, shown.view[0]
        return Regressed(
            rotation=view @ to_matrix(answer[layout.rotation]),
            expression=answer[layout.expression],
            gaze=answer[layout.gaze].reshape(2, 2),
            jaw=answer[layout.jaw],
            rotation_spread=view * spread[layout.rotation] ** 2 @ view.T,
            expression_spread=spread[layout.expression],
            gaze_spread=spread[layout.gaze].reshape(2, 2),
            jaw_spread=spread[layout.jaw],
        )


def beside(head: Path) -> Path:
    """Where the regressor of a head file lies."""
    return head.with_name(head.name.removesuffix(".safetensors") + SUFFIX)


def _about(text: str, source: str) -> dict[str, Any]:
    try:
        about = json.loads(text)
        names, partner = about["expression_names"], about["partner"]
        right = isinstance(about["head"], str) and all(isinstance(name, str) for name in names) and sorted(partner) == list(range(len(SEEN)))
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(f"{source}: this ONNX file is no regressor: it does not say for which head") from error
    if about.get("version") != VERSION or not right:
        raise BadFile(f"{source}: expected a regressor of version {VERSION}; make it anew with python -m training regressor")
    return dict(about)
