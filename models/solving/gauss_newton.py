"""Gauss-Newton on the landmarks of one frame, inside the box of what a face can do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from models.rotations import skew, to_axis_angle, to_matrix
from models.solving.landmark_model import Float, LandmarkModel
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
    _add_diagonal(hessian, gradient, stray, target.precision)
    if target.rotation is not None and target.rotation_precision is not None:
        turn = to_axis_angle(target.rotation @ state.rotation.T)
        pull = target.rotation_precision @ turn
        hessian[:3, :3] += target.rotation_precision
        gradient[:3] -= pull - 0.5 * skew(turn) @ pull
    if target.pairs is not None:
        _add_pairs(hessian, gradient, stray, target.pairs.left, target.pairs.right, target.pairs.precision)


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

    Raises:
        LinAlgError: `hessian` is not positive definite.
    """
    step = np.empty(len(gradient))
    if not _boxed_step(step, hessian, gradient, low, high):
        raise np.linalg.LinAlgError("the curvature should be positive definite")
    return step


def normal_equations(rows: Float, state: FrameState, target: Target, has_jaw_joint: bool, size: int) -> tuple[Double, Double, Double, Double]:
    """Of the frame's own unknowns: curvature (P, P), gradient (P,), their values (P,), and the whole `rows.T @ rows`."""
    product = (rows.T @ rows).astype(np.float64)
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
    share = weights / weights.sum()
    left, _, right = np.linalg.svd(seen.T @ (share[:, None] * (points - share @ points)))
    rotation: Double = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    return rotation


@numba.njit(cache=True, nogil=True)
def _add_diagonal(hessian: Double, gradient: Double, stray: Double, precision: Double) -> None:
    for k in range(gradient.shape[0]):
        hessian[k, k] += precision[k] + DAMPING
        gradient[k] += precision[k] * stray[k]


@numba.njit(cache=True, nogil=True)
def _add_pairs(hessian: Double, gradient: Double, stray: Double, lefts: NDArray[np.intp], rights: NDArray[np.intp], precisions: Double) -> None:
    for pair in range(precisions.shape[0]):
        left, right, precision = lefts[pair], rights[pair], precisions[pair]
        hessian[left, left] += precision
        hessian[right, right] += precision
        hessian[left, right] -= precision
        hessian[right, left] -= precision
        pull = precision * (stray[left] - stray[right])
        gradient[left] += pull
        gradient[right] -= pull


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _boxed_step(step: Double, hessian: Double, gradient: Double, low: Double, high: Double) -> bool:
    """`boxed_step`, written to `step` (P,); False where the curvature is not positive definite. NaN goes through."""
    size = gradient.shape[0]
    at_low, at_high = (low >= 0.0) & (gradient > 0.0), (high <= 0.0) & (gradient < 0.0)
    inside, factor, pull, slope = np.empty(size, np.intp), np.empty((size, size)), np.empty(size), np.empty(size)
    for _ in range(ACTIVE_SET_ROUNDS):
        count = 0
        for k in range(size):
            step[k] = low[k] if at_low[k] else high[k] if at_high[k] else 0.0
            if not (at_low[k] or at_high[k]):
                inside[count] = k
                count += 1
        _slope(slope, hessian, gradient, step)
        for i in range(count):
            pull[i] = -slope[inside[i]]
            for j in range(i + 1):
                factor[i, j] = hessian[inside[i], inside[j]]
        if not _solve(factor, pull, count):
            return False
        for i in range(count):
            step[inside[i]] = pull[i]
        _slope(slope, hessian, gradient, step)
        settled = True
        for k in range(size):
            below, above = step[k] < low[k] or (at_low[k] and slope[k] > 0.0), step[k] > high[k] or (at_high[k] and slope[k] < 0.0)
            settled = settled and below == at_low[k] and above == at_high[k]
            at_low[k], at_high[k] = below, above
        if settled:
            break
    for k in range(size):
        step[k] = min(max(step[k], low[k]), high[k])
    return True


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _slope(slope: Double, hessian: Double, gradient: Double, step: Double) -> None:
    """Writes `hessian @ step + gradient` to `slope` (P,)."""
    for k in range(gradient.shape[0]):
        total, row = gradient[k], hessian[k]
        for j in range(step.shape[0]):
            total += row[j] * step[j]
        slope[k] = total


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _solve(factor: Double, right: Double, count: int) -> bool:
    """Solves the first `count` equations in place by Cholesky; of `factor` the lower triangle is read, and overwritten. False: not positive definite."""
    for i in range(count):
        row = factor[i]
        for j in range(i + 1):
            above, total = factor[j], row[j]
            for k in range(j):
                total -= row[k] * above[k]
            if j < i:
                row[j] = total / above[j]
            elif total <= 0.0:
                return False
            else:
                row[i] = np.sqrt(total)
        total = right[i]
        for k in range(i):
            total -= row[k] * right[k]
        right[i] = total / row[i]
    for i in range(count - 1, -1, -1):
        right[i] /= factor[i, i]
        for k in range(i):
            right[k] -= factor[i, k] * right[i]
    return True
