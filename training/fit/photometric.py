"""Dense photometric registration: what the avatar of the moment shows is moved onto what the frame shows, by optical flow between the two pictures.

Landmarks place a face to about a pixel; texture can only be learned sharp, and judged fairly, where it lies still to a fraction of one. Every round draws each
frame, measures the flow to the real picture (DIS: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016), and takes one Gauss-Newton step
on the frame's pose, expression, jaw and gaze so that the surface follows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import local
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.baked import BakedAvatar
from models.head import JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadParams, joint_transforms
from models.rotations import from_gaze, to_axis_angle, to_matrix
from models.solving.gauss_newton import boxed_step
from training.clip import Clip
from training.fitted import Fitted
from training.portrait.capture_mesh import EYES, SKIN
from training.portrait.portrait import Portrait, View
from training.progress import Progress

Float = NDArray[np.float32]
Double = NDArray[np.float64]
MARGIN_PX = 24
BLUR_PX = 1.5
"""Of the flow."""
LARGEST_PX = 12.0
"""A longer flow is a mismatch."""
RIGID = 1e6
COMPONENT_LIMIT = 3.0
"""In standard deviations, of heads whose shapes have no ARKit names."""
NO_TURN = np.zeros(3, np.float32)


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    rigid: bool = False
    """Only the pose moves."""
    points: int = 900
    """Vertices that a frame's step looks at, at most."""
    robust_px: float = 2.0
    """Huber's knee."""
    head: float = 0.3
    """Only vertices that follow the root joint by less."""
    expression_sigma: float = 0.04
    """How far a round may move an expression weight, against flows of a pixel."""
    gaze_sigma: float = 0.05
    jaw_sigma: float = 0.03
    expression_anchor: float = 0.12
    """How far an expression weight strays from what the landmarks say: flows err, too, and round after round they would carry a mouth away."""
    gaze_anchor: float = 0.1
    jaw_anchor: float = 0.06
    flow_sigma_px: float = 2.0
    """What a single vertex's flow is worth: neighbours err together."""


@dataclass(frozen=True, slots=True)
class Flows:
    """What one round saw: how far the surface still lies off the pictures, after the round's step."""

    frames: NDArray[np.int64]
    residual: Float
    """(T, V, 2) pixels, x right, y down."""
    visible: NDArray[np.bool_]
    """(T, V)."""
    median_px: float
    """Of the flow before the step."""


class _Worker(local):
    """One thread's renderer and flow."""

    def __init__(self, avatar: BakedAvatar, size: int) -> None:
        self.view = View(avatar, size)
        self.flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def register(
    portrait: Portrait,
    clip: Clip,
    fitted: Fitted,
    anchor: Fitted,
    frames: NDArray[np.int64],
    settings: RegistrationSettings,
    threads: int,
    progress: Progress,
) -> tuple[Fitted, Flows]:
    """One round over `frames`; parameters of other frames stay. `anchor`: what the landmarks say, near which expression, gaze and jaw remain."""
    avatar = portrait.baked()
    worker = _Worker(avatar, clip.size)
    motion = _Motion(portrait, settings)
    out = {name: getattr(fitted, name).copy() for name in ("expression", "neck", "jaw", "gaze", "translation")}
    count = len(portrait.mesh.vertices)
    residual, visible = np.zeros((len(frames), count, 2), np.float32), np.zeros((len(frames), count), bool)
    medians = np.zeros(len(frames))
    progress.start("registration", len(frames))

    def one(k: int) -> None:
        frame = int(frames[k])
        flow, seen = _measure(worker, clip, fitted, frame)
        step = motion.step(worker.view, flow, seen, fitted, anchor, frame)
        before = worker.view.points.copy()
        for name, value in step.items():
            out[name][frame] = value
        length = np.linalg.norm(flow[seen], axis=1)
        medians[k] = np.median(length) if len(length) else 0.0
        stepped = HeadParams(fitted.identity, step["expression"], NO_TURN, step["neck"], step["jaw"], step["gaze"], step["translation"])
        worker.view.place(stepped)
        residual[k], visible[k] = flow - (worker.view.points - before)[:, :2], seen
        progress.advance()

    with one_thread_each(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(len(frames))))
    return replace(fitted, **out), Flows(frames, residual, visible, float(np.mean(medians)))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keeps the libraries from starting threads of their own inside ours: twice as many threads as cores cost more than they give."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(before)


def _measure(worker: _Worker, clip: Clip, fitted: Fitted, frame: int) -> tuple[Float, NDArray[np.bool_]]:
    """(V, 2) flow in pixels at every vertex, and which vertices show."""
    view, real = worker.view, np.ascontiguousarray(clip.frames[frame])
    drawn = view.draw(fitted.params(frame), real)
    rows, columns = np.nonzero(view.face_id >= 0)
    count, size = len(view.points), clip.size
    if len(rows) == 0:
        return np.zeros((count, 2), np.float32), np.zeros(count, bool)
    top, bottom = max(int(rows.min()) - MARGIN_PX, 0), min(int(rows.max()) + MARGIN_PX, size)
    left, right = max(int(columns.min()) - MARGIN_PX, 0), min(int(columns.max()) + MARGIN_PX, size)
    box = (slice(top, bottom), slice(left, right))
    one, two = (np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[box]) for picture in (drawn, real))
    field = cv2.GaussianBlur(worker.flow.calc(one, two, None), (0, 0), BLUR_PX)
    seen = np.zeros(count, bool)
    seen[view.avatar.faces[np.unique(view.face_id[rows, columns])]] = True
    x = view.points[:, 0] - left - 0.5
    y = view.points[:, 1] - top - 0.5
    inside = (x > 0) & (y > 0) & (x < right - left - 1) & (y < bottom - top - 1)
    sampled = cv2.remap(field, x.astype(np.float32)[None], y.astype(np.float32)[None], cv2.INTER_LINEAR)[0]
    return np.asarray(sampled, np.float32), seen & inside & (np.linalg.norm(sampled, axis=1) < LARGEST_PX)


class _Motion:
    """How a frame's unknowns move the picture of the vertices: neck 3, translation 3, gaze 4, jaw 3 (where it is a joint), expression."""

    def __init__(self, portrait: Portrait, settings: RegistrationSettings) -> None:
        mesh = portrait.mesh
        self._settings = settings
        self._joints = mesh.joints.astype(np.float64)
        self._weights = mesh.skinning_weights
        self._expression = np.ascontiguousarray(portrait.mesh.expression.transpose(1, 2, 0))
        self._focal = portrait.focal
        self._usable = (mesh.of(SKIN, *EYES)) & (mesh.skinning_weights[:, 0] < settings.head) & (mesh.fade > 0.5)
        self._eyes = mesh.of(*EYES)
        self._has_jaw = "jawOpen" not in portrait.mesh.expression_names

    def step(self, view: View, flow: Float, seen: NDArray[np.bool_], fitted: Fitted, anchor: Fitted, frame: int) -> dict[str, Float]:
        """The frame's new parameters."""
        old = {name: getattr(fitted, name)[frame] for name in ("neck", "translation", "gaze", "jaw", "expression")}
        chosen = np.flatnonzero(seen & self._usable)
        if len(chosen) < 50:
            return old
        if len(chosen) > self._settings.points:
            keep = np.flatnonzero(self._eyes[chosen])
            others = np.setdiff1d(np.arange(len(chosen)), keep)
            spread = np.linspace(0, len(others) - 1, self._settings.points).astype(int)
            chosen = chosen[np.sort(np.concatenate([keep, np.unique(others[spread])]))]
        jacobian = self.jacobian(view, fitted, frame, chosen)
        length = np.linalg.norm(flow[chosen], axis=1)
        weight = np.sqrt(np.minimum(1.0, self._settings.robust_px / np.maximum(length, 1e-6))) / self._settings.flow_sigma_px
        rows = (jacobian * weight[:, None, None]).reshape(-1, jacobian.shape[2])
        precision, low, high = self._limits(old)
        hessian = rows.T @ rows + np.diag(precision)
        gradient = -rows.T @ (flow[chosen] * weight[:, None]).ravel()
        held, strayed = self._anchored(old, anchor, frame)
        hessian[np.diag_indices(len(held))] += held
        gradient += held * strayed
        delta = boxed_step(hessian, gradient, low, high)
        return self._moved(old, delta)

    def _limits(self, old: dict[str, Float]) -> tuple[Double, Double, Double]:
        """Precision of a step, and how far it may go."""
        settings, count = self._settings, len(old["expression"])
        firm = RIGID if settings.rigid else 1.0
        pose = [np.full(6, 1e-6), np.full(4, firm / settings.gaze_sigma**2), np.full(3, firm / settings.jaw_sigma**2 if self._has_jaw else 1e9)]
        reach = np.concatenate([np.full(6, np.inf), np.full(7, 0.2)])
        lowest, highest = (-COMPONENT_LIMIT, COMPONENT_LIMIT) if self._has_jaw else (0.0, 1.0)
        low = np.concatenate([-reach, np.minimum(lowest - old["expression"], 0.0)])
        high = np.concatenate([reach, np.maximum(highest - old["expression"], 0.0)])
        return np.concatenate([*pose, np.full(count, firm / settings.expression_sigma**2)]), low, high

    def _anchored(self, old: dict[str, Float], anchor: Fitted, frame: int) -> tuple[Double, Double]:
        """Precision of the distance from the anchor, and that distance; zero for the pose, which pictures tell better than landmarks."""
        settings = self._settings
        names = (("gaze", settings.gaze_anchor), ("jaw", settings.jaw_anchor), ("expression", settings.expression_anchor))
        away = [np.asarray(old[name] - getattr(anchor, name)[frame], np.float64).ravel() for name, _ in names]
        held = [np.full(len(part), sigma**-2.0) for part, (_, sigma) in zip(away, names, strict=True)]
        return np.concatenate([np.zeros(6), *held]), np.concatenate([np.zeros(6), *away])

    def _moved(self, old: dict[str, Float], delta: Double) -> dict[str, Float]:
        turned = to_axis_angle(to_matrix(delta[:3]) @ to_matrix(old["neck"]))
        return {
            "neck": turned.astype(np.float32),
            "translation": (old["translation"] + delta[3:6]).astype(np.float32),
            "gaze": (old["gaze"] + delta[6:10].reshape(2, 2)).astype(np.float32),
            "jaw": (old["jaw"] + delta[10:13]).astype(np.float32),
            "expression": (old["expression"] + delta[13:]).astype(np.float32),
        }

    def jacobian(self, view: View, fitted: Fitted, frame: int, chosen: NDArray[np.int64]) -> Float:
        """(C, 2, 13 + E) pixels, of the chosen vertices where the view has them."""
        at, weights = view.vertices[chosen], self._weights[chosen]
        gaze = fitted.gaze[frame]
        turns = [np.eye(3), to_matrix(fitted.neck[frame]), to_matrix(fitted.jaw[frame]), *(from_gaze(float(yaw), float(pitch)) for yaw, pitch in gaze)]
        carried = joint_transforms(self._joints.astype(np.float32), np.array(turns))
        places = np.einsum("jab,jb->ja", carried[:, :, :3], self._joints) + carried[:, :, 3] + fitted.translation[frame]
        head = carried[NECK, :, :3]
        moves = np.zeros((len(chosen), 3, 13), np.float32)
        arm = at - places[NECK]
        follows = 1.0 - weights[:, 0]
        for axis in range(3):
            moves[:, :, axis] = follows[:, None] * np.cross(np.eye(3)[axis], arm)
            moves[:, axis, 3 + axis] = 1.0
        for side, joint in enumerate((LEFT_EYE, RIGHT_EYE)):
            arm = at - places[joint]
            about = (head[:, 1], head @ from_gaze(float(gaze[side, 0]), 0.0)[:, 0])
            for axis in range(2):
                moves[:, :, 6 + 2 * side + axis] = weights[:, joint, None] * np.cross(about[axis], arm)
        arm = at - places[JAW]
        for axis in range(3):
            moves[:, :, 10 + axis] = weights[:, JAW, None] * np.cross(head[:, axis], arm)
        blended = np.tensordot(weights, carried[:, :, :3].astype(np.float32), 1)
        shapes = blended @ self._expression[chosen]
        camera = self.camera(view, chosen)
        return np.concatenate([camera @ moves, camera @ shapes], 2).astype(np.float32)

    def camera(self, view: View, chosen: NDArray[np.int64]) -> Float:
        """(C, 2, 3) pixels a metre of camera space."""
        return camera_of(view.vertices[chosen], self._focal * len(view.face_id))


def camera_of(vertices: Float, focal_px: float) -> Float:
    """(C, 2, 3): how pixels move with points (C, 3) in camera space."""
    near = 1.0 / -vertices[:, 2]
    camera = np.zeros((len(vertices), 2, 3), np.float32)
    camera[:, 0, 0], camera[:, 1, 1] = focal_px * near, -focal_px * near
    camera[:, 0, 2] = focal_px * vertices[:, 0] * near**2
    camera[:, 1, 2] = -focal_px * vertices[:, 1] * near**2
    return camera
