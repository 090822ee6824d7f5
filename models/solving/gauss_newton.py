"""Gauss-Newton on the landmarks of one frame, inside the box of what a face can do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.rotations import to_axis_angle, to_matrix
from models.solving.landmark_model import LandmarkModel
from models.solving.residuals import Double, FrameState, Linearizer, Rest, Subject, Target

ACTIVE_SET_ROUNDS = 8
DAMPING = 1e-6
"""Keeps the system solvable where nothing is seen of an unknown."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of every unknown of a frame, (P,); infinite for the pose."""

    low: Double
    high: Double


def add_priors(hessian: Double, gradient: Double, values: Double, state: FrameState, target: Target) -> None:
    """Adds to the (P, P) curvature and the (P,) gradient of the landmarks what the priors say; `values` (P,) are the state's `unknowns`."""
    stray = values - target.prior
    diagonal = hessian.reshape(-1)[:: len(gradient) + 1]
    diagonal += target.precision + DAMPING
    gradient += target.precision * stray
    if target.rotation is not None:
        diagonal[:3] += target.rotation_precision
        gradient[:3] -= target.rotation_precision * to_axis_angle(target.rotation @ state.rotation.T)
    if target.pairs is not None:
        left, right, precision = target.pairs.left, target.pairs.right, target.pairs.precision
        hessian[left, left] += precision
        hessian[right, right] += precision
        hessian[left, right] -= precision
        hessian[right, left] -= precision
        pull = precision * (stray[left] - stray[right])
        gradient[left] += pull
        gradient[right] -= pull


def unknowns(state: FrameState, has_jaw_joint: bool) -> Double:
    """(P,): the state as a vector; zero for the pose, whose steps are taken about where it is."""
    parts = [np.zeros(6), state.expression, state.gaze.reshape(-1)]
    return np.concatenate([*parts, state.jaw] if has_jaw_joint else parts)


def moved(state: FrameState, step: Double, bounds: Bounds, has_jaw_joint: bool) -> FrameState:
    """The state after a (P,) step, inside the bounds."""
    values = np.clip(unknowns(state, has_jaw_joint) + step, bounds.low, bounds.high)
    gaze_at = 6 + len(state.expression)
    return replace(
        state,
        rotation=to_matrix(step[:3]) @ state.rotation,
        translation=state.translation + step[3:6],
        expression=values[6:gaze_at],
        gaze=values[gaze_at : gaze_at + 4].reshape(2, 2),
        jaw=values[gaze_at + 4 :] if has_jaw_joint else state.jaw,
    )


def boxed_step(hessian: Double, gradient: Double, low: Double, high: Double) -> Double:
    """Minimises `step @ hessian @ step / 2 + gradient @ step` for `low <= step <= high`, all (P,).

    Primal-dual active set (Hintermüller, Ito and Kunisch, SIAM J. Optim. 13, 2002), stopped after a few rounds: the next iteration starts anew.
    """
    at_low, at_high = (low >= 0.0) & (gradient > 0.0), (high <= 0.0) & (gradient < 0.0)
    step = np.zeros(len(gradient))
    for _ in range(ACTIVE_SET_ROUNDS):
        step[at_low], step[at_high] = low[at_low], high[at_high]
        inside = np.flatnonzero(~(at_low | at_high))
        step[inside] = 0.0
        pull = (gradient + hessian @ step)[inside]
        step[inside] = np.linalg.solve(hessian[np.ix_(inside, inside)], -pull)
        slope = hessian @ step + gradient
        below, above = (step < low) | (at_low & (slope > 0.0)), (step > high) | (at_high & (slope < 0.0))
        if (below == at_low).all() and (above == at_high).all():
            break
        at_low, at_high = below, above
    return np.clip(step, low, high)


def normal_equations(rows: Double, state: FrameState, target: Target, has_jaw_joint: bool, size: int) -> tuple[Double, Double, Double, Double]:
    """Of the frame's own unknowns: curvature (P, P), gradient (P,), their values (P,), and the whole `rows.T @ rows`."""
    product = rows.T @ rows
    hessian, gradient, values = product[:size, :size].copy(), product[:size, -1].copy(), unknowns(state, has_jaw_joint)
    add_priors(hessian, gradient, values, state, target)
    return hessian, gradient, values, product


def solve_frame(
    linearizer: Linearizer, model: LandmarkModel, subject: Subject, rest: Rest, state: FrameState, target: Target, bounds: Bounds, iterations: int
) -> FrameState:
    """`iterations` Gauss-Newton steps from `state`."""
    for _ in range(iterations):
        rows = linearizer.linearize(subject, rest, state, target)
        hessian, gradient, values, _ = normal_equations(rows, state, target, model.has_jaw_joint, model.frame_size)
        step = boxed_step(hessian, gradient, bounds.low - values, bounds.high - values)
        state = moved(state, step, bounds, model.has_jaw_joint)
    return state


def align(points: Double, seen: Double, weights: Double) -> Double:
    """(3, 3): the rotation that best carries `points` (L, 3) onto `seen` (L, 3), whatever their places and sizes (Kabsch, Acta Cryst. A32, 1976)."""
    share = (weights / weights.sum())[:, None]
    left, _, right = np.linalg.svd((seen - (share * seen).sum(0)).T @ (share * (points - (share * points).sum(0))))
    rotation: Double = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    return rotation
