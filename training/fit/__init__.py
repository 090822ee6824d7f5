"""The fit stage: who the person is, and every frame's parameters, from landmarks and then from the pictures themselves.

Frames of the held-out part are never learned from: they are tracked against the finished surface, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.head import HeadModel, load_head
from models.kernels import Bands
from training.clip import Clip, load_clip
from training.errors import TrainingError
from training.fit.landmarks import LandmarkFit, fit_landmarks, smoothed, to_fitted
from training.fit.overlay import write_overlay
from training.fit.photometric import RegistrationSettings, register
from training.fit.surface import SurfaceSettings, refine_surface
from training.fitted import Fitted
from training.portrait.appearance import AppearanceSettings, learn_texture
from training.portrait.capture_mesh import SKIN, CaptureMesh, capture_mesh
from training.portrait.features import learn_features, parameters_of
from training.portrait.geometry import outline_offsets, smooth_normals
from training.portrait.portrait import Portrait, View, blank_portrait
from training.previews import calmest, of_portrait
from training.progress import Progress
from training.run_dir import RunDir
from training.stages import Options

OPEN_HEAD = Path(__file__).resolve().parents[2] / "assets" / "open_head.safetensors"
FITTED, LANDMARKS_ONLY, SURFACE, USED, OVERLAY = "fit.npz", "landmarks.npz", "surface.npz", "used.npy", "overlay.mp4"
SMOOTHING_FRAMES = 0.6
"""Of the poses that the landmarks give."""


@dataclass(frozen=True, slots=True)
class FitPlan:
    """How much work a fit is."""

    frames: int
    """At most so many training frames are learned from, spread over them."""
    expression_rounds: int
    surface_rounds: int
    final_rounds: int
    """Over training and held-out frames, against the finished surface."""
    texture_frames: int
    """So many make the texture that the next round looks at."""
    outline_last: int = 2
    """Rounds on the outline alone, after the others: what moves the inside draws it in by a fraction of a pixel."""
    components: int = 11
    outline_rounds: int = 3
    texture: AppearanceSettings = field(default_factory=AppearanceSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    surface: SurfaceSettings = field(default_factory=SurfaceSettings)


PLANS = {
    "quick": FitPlan(frames=160, expression_rounds=2, surface_rounds=2, final_rounds=3, texture_frames=100),
    "full": FitPlan(frames=400, expression_rounds=3, surface_rounds=3, final_rounds=4, texture_frames=200),
}


def run(run: RunDir, options: Options, progress: Progress) -> None:
    """Fits the clip of a run; `fit.npz` holds the parameters, `surface.npz` the shape."""
    clip, head = load_clip(run.folder("dataset")), the_head(options)
    folder, plan = run.folder("fit"), PLANS[options.preset]
    landmarks = fit_landmarks(clip, head, progress)
    start = to_fitted(replace(landmarks, states=smoothed(landmarks.states, SMOOTHING_FRAMES)), head)
    to_fitted(landmarks, head).save(folder / LANDMARKS_ONLY)
    bands = Bands(options.threads)
    try:
        used = spread_over(clip.training, plan.frames)
        portrait, fitted, medians = fit_surface(clip, head, start, used, plan, bands, progress)
    finally:
        bands.close()
    fitted.save(folder / FITTED)
    portrait.save(folder / SURFACE)
    np.save(folder / USED, used)
    write_overlay(folder / OVERLAY, portrait, clip, fitted, progress)
    run.report("fit", **_figures(clip, landmarks, fitted, used, medians))


def the_head(options: Options) -> HeadModel:
    """The head model that the user asked for.

    Raises:
        TrainingError: it has no landmark embedding.
    """
    path = options.head or OPEN_HEAD
    head = load_head(path)
    if not (head.landmark_faces >= 0).any():
        raise TrainingError(f"{path}: the head has no landmark embedding yet. Compute it once: python -m training.landmark_embedding {path}")
    return head


def spread_over(frames: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the frames, evenly."""
    return frames[np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int))]


def fit_surface(
    clip: Clip, head: HeadModel, start: Fitted, used: NDArray[np.int64], plan: FitPlan, bands: Bands, progress: Progress
) -> tuple[Portrait, Fitted, list[float]]:
    """Shape, texture and parameters in turns, on the frames `used`; then the held-out frames' parameters. Also the median flow (px) of each round."""
    mesh = capture_mesh(head, start.identity)
    portrait = _outlined(mesh, clip, head, start, used, plan)
    fitted, medians = start, []
    some = spread_over(used, plan.texture_frames)
    rounds, shown = plan.expression_rounds + plan.surface_rounds + 1, calmest(start, used)
    for number in range(rounds):
        if number == rounds - plan.surface_rounds:
            features = learn_features(parameters_of(fitted)[used], mesh.expression_names, plan.components)
            portrait = replace(portrait, features=features)
        portrait = learn_texture(portrait, clip, fitted, some, plan.texture, bands)
        progress.picture(partial(of_portrait, portrait, fitted, shown))
        settings = replace(plan.registration, rigid=number == 0)
        fitted, flows = register(portrait, clip, fitted, start, used, settings, bands.count, progress)
        medians.append(flows.median_px)
        if number >= rounds - plan.surface_rounds:
            portrait = refine_surface(portrait, clip, fitted, flows, plan.surface)
    settled = replace(flows, residual=np.zeros_like(flows.residual))
    for _ in range(plan.outline_last):
        portrait = refine_surface(portrait, clip, fitted, settled, plan.surface)
    portrait = learn_texture(portrait, clip, fitted, used, plan.texture, bands)
    held_out = np.flatnonzero(clip.held_out)
    for number in range(plan.final_rounds):
        settings = replace(plan.registration, rigid=number == 0)
        fitted, flows = register(portrait, clip, fitted, start, held_out, settings, bands.count, progress)
        medians.append(flows.median_px)
    return portrait, fitted, medians


def _outlined(mesh: CaptureMesh, clip: Clip, head: HeadModel, start: Fitted, used: NDArray[np.int64], plan: FitPlan) -> Portrait:
    """The mesh, its outline brought to the matte's; grey."""
    features = learn_features(parameters_of(start)[used], mesh.expression_names, plan.components)
    portrait = blank_portrait(mesh, start.focal, start.translation[used].mean(0), features, 64)
    normals, along = smooth_normals(mesh), np.zeros(len(mesh.vertices), np.float32)
    for _ in range(plan.outline_rounds):
        view = View(portrait.baked(), clip.size)
        along = along + outline_offsets(mesh, clip, start, used[:: max(1, len(used) // 50)], view, normals, head.landmark_spread)
        along[~mesh.of(SKIN)] = 0.0
        portrait = replace(portrait, shape=(along[:, None] * normals).astype(np.float32))
    return portrait


def _figures(clip: Clip, landmarks: LandmarkFit, fitted: Fitted, used: NDArray[np.int64], medians: list[float]) -> dict[str, object]:
    """What the report says of the fit."""
    errors = landmarks.errors_px
    turn, place = (np.diff(getattr(fitted, name)[used if len(used) == len(clip.training) else clip.held_out], 2, axis=0) for name in ("neck", "translation"))
    return {
        "landmark_error_px": {"mean": float(errors.mean()), "p95": float(np.percentile(errors, 95)), "held_out_mean": float(errors[clip.held_out].mean())},
        "flow_px": medians,
        "focal": fitted.focal,
        "frames_learned_from": len(used),
        "jitter": {"degrees": float(np.degrees(np.linalg.norm(turn, axis=1)).mean()), "mm": float(1e3 * np.linalg.norm(place, axis=1).mean())},
    }
