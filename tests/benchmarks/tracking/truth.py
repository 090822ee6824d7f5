"""How far off the solved parameters are where the true ones are known: rendered clips through the stages of the live loop.

Definitions, per frame; "at rest" is the median over the last half second of the clip's first second, in which the true face rests,
worn by whom the solver takes the person for in the frame that is measured:
    pose          angle between the solved head rotation (root and neck) and the true one
    pose_relative the same of the rotations since rest, which is what the retargeter carries over; constant offsets of a person do not count
    lip_gap       difference of the lips' opening since rest, solved mesh against true mesh, over that of a full `jawOpen` on the true head
    lid_gap       the same of the lids, mean of both, over that of a full `eyeBlink`
    jaw_open      difference of the weight since rest
    gaze          angle between the solved and the true direction of an eye in the head, mean of both, where the lids are open
    lips, lids    each head posed by expression and gaze alone; its displacement since rest is laid on the true face at rest, and that carried onto the
                  true face by the one rigid motion that best fits the landmarks' vertices; mean distance of the vertices on which the landmarks of lips (or
                  lids) lie. Who the solver takes the person for does not count, nor does a nod taken for a motion of the whole face
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.face_groups import JAW_OPEN
from models.head import HeadModel, HeadParams, load_head
from models.landmark_groups import LEFT_LIDS, RIGHT_LIDS
from models.landmarker import COEFFICIENT_NAMES
from models.rotations import from_gaze, to_axis_angle, to_matrix
from models.solving.first_pose import first_pose
from models.solving.gauss_newton import align
from models.solving.landmark_model import landmark_model
from models.solving.priors import Priors, PriorSettings
from models.solving.residuals import Rest, Subject
from realtime.gallery import SHIPPED
from realtime.packets import DriveMode, FaceObservation
from realtime.reenactor import HEAD, StageFactory, load_avatar, regressor_of
from realtime.regression import ParameterSolver
from tests.benchmarks.tracking.clips import FPS, HEIGHT, REST, SCENES, WIDTH, RenderedClip, rendered_clip
from tests.benchmarks.tracking.meshes import LIPS, FacePoints, Marks, carriers, face_vertices, gap_marks, gaps

Double = NDArray[np.float64]

METRICS = ("pose_deg", "pose_relative_deg", "lip_gap_percent", "lid_gap_percent", "jaw_open_percent", "gaze_deg", "lips_mm", "lids_mm")
LIDS_OPEN = 0.5
"""`eyeBlink` from which on nobody sees where an eye looks."""
TURNED_RAD = np.radians(20.0)
NOT_COUNTED = round(0.5 * FPS)
"""Frames at the start, in which the face is found."""


class PlainMapping:
    """What most puppets are driven by: the tracker's coefficients as they are, and the pose of an average head at the rigid landmarks."""

    def __init__(self, head: HeadModel) -> None:
        self._names = head.expression_names
        self._model = landmark_model(head, 0)
        self._subject = Subject.average(self._model, 1.0)
        self._rest = Rest.of(self._model, self._subject)
        self._priors = Priors(self._model, PriorSettings(zero_share=0.0))

    def solve(self, seen: FaceObservation) -> HeadParams | None:
        if seen.landmarks is None or seen.coefficients is None:
            return None
        centre, side = np.array([0.5 * seen.width, 0.5 * seen.height]), max(seen.width, seen.height)
        points = (seen.landmarks[self._model.indices, :2].astype(np.float64) - centre) / side
        state = first_pose(self._model, self._subject, self._rest, self._priors.target(points, seen.coefficients))
        if state is None:
            return None
        expression = np.zeros(len(self._names), np.float32)
        for at, name in enumerate(self._names):
            if name in COEFFICIENT_NAMES:
                expression[at] = seen.coefficients[COEFFICIENT_NAMES.index(name)]
        root = self._rest.joints[0]
        return replace(
            HeadParams.neutral(0),
            expression=expression,
            rotation=to_axis_angle(state.rotation).astype(np.float32),
            gaze=state.gaze.astype(np.float32),
            translation=(state.translation + state.rotation @ root - root).astype(np.float32),
        )


@dataclass(frozen=True)
class Ruler:
    """What of the head is measured."""

    head: HeadModel
    face: FacePoints
    """The vertices that are aligned, then those of the lips, then those of the lids."""
    parts: tuple[slice, slice, slice]

    @staticmethod
    def of(head: HeadModel) -> Ruler:
        chosen = [face_vertices(head), carriers(head, LIPS), carriers(head, LEFT_LIDS + RIGHT_LIDS)]
        ends = np.cumsum([0, *(len(part) for part in chosen)])
        whole, lips, lids = (slice(int(a), int(b)) for a, b in pairwise(ends))
        return Ruler(head, FacePoints.of(head, np.concatenate(chosen)), (whole, lips, lids))

    def vertex_errors_mm(self, truth: list[HeadParams], solved: list[HeadParams], true_rest: HeadParams, rest: HeadParams) -> Double:
        """(N, 2): of the lips and the lids."""
        whole, *parts = self.parts
        base = self.face.unturned(true_rest)
        rows = []
        for true, found in zip(truth, solved, strict=True):
            solved_base = self.face.unturned(replace(rest, identity=found.identity))
            goal, made = self.face.unturned(true), base + self.face.unturned(found) - solved_base
            turn = align(made[whole], goal[whole], np.ones(whole.stop))
            carried = (made - made[whole].mean(0)) @ turn.T + goal[whole].mean(0)
            apart = 1e3 * np.linalg.norm(carried - goal, axis=1)
            rows.append([apart[part].mean() for part in parts])
        return np.array(rows)


def measured(ruler: Ruler, clip: RenderedClip, found: list[HeadParams | None]) -> dict[str, Double]:
    """(N,) of each of METRICS, NaN where nothing was solved; with `yaw_rad` the true one."""
    known = np.array([params is not None for params in found])
    solved = [params for params in found if params is not None]
    truth = [params for params, there in zip(clip.truth, known, strict=True) if there]
    resting = [k for k, (name, there) in enumerate(zip(clip.segment, known, strict=True)) if name == REST and there and k >= NOT_COUNTED]
    index = np.cumsum(known) - 1
    rest = _median([solved[index[k]] for k in resting])
    pose, relative = _pose_errors(truth, solved, rest)
    lip_gap, lid_gap = _gap_errors(ruler.head, truth, solved, clip.resting, rest)
    jaw = ruler.head.expression_index(JAW_OPEN)
    opened = np.array([(a.expression[jaw] - b.expression[jaw] + rest.expression[jaw]) for a, b in zip(truth, solved, strict=True)])
    lips, lids = ruler.vertex_errors_mm(truth, solved, clip.resting, rest).T
    values = (pose, relative, lip_gap, lid_gap, 100.0 * np.abs(opened), _gaze_errors(ruler.head, truth, solved), lips, lids)
    table = {name: _spread_out(value, known) for name, value in zip(METRICS, values, strict=True)}
    table["yaw_rad"] = np.array([to_axis_angle(_head_rotation(params))[1] for params in clip.truth])
    return table


def measure(scale: float, people: int) -> dict[str, Any]:
    """The report of `people` scenes of `scale` times ten seconds."""
    head = load_head(HEAD)
    ruler, plain = Ruler.of(head), PlainMapping(head)
    solver_rows, settled_rows, plain_rows, still_rows, off, lost, depth = [], [], [], [], [], 0, []
    for scene in SCENES[:people]:
        clip = rendered_clip(head, scene, scale)
        driving = StageFactory(lambda name: load_avatar(SHIPPED / f"{name}.avatar"), scene.person, 512, DriveMode.RELATIVE).driving(scene.person)
        driven = [driving.step(packet) for packet in clip.packets()]
        solved = [frame.solved for frame in driven]
        lost += sum(params is None for params in solved)
        off.append(_landmarks_off(head, clip, [frame.observation for frame in driven]))
        depth += [a.translation[2] / b.translation[2] - 1.0 for a, b in zip(solved, clip.truth, strict=True) if a is not None]
        solver_rows.append(measured(ruler, clip, solved))
        settled_rows.append(measured(ruler, clip, _again(head, [frame.observation for frame in driven])))
        plain_rows.append(measured(ruler, clip, [plain.solve(frame.observation) for frame in driven]))
        still_rows.append(measured(ruler, clip, [clip.resting] * len(driven)))
    return {
        "people": [scene.person for scene in SCENES[:people]],
        "frames": sum(len(rows["yaw_rad"]) for rows in solver_rows),
        "frames_without_a_face": lost,
        "distance_error_percent": round(100.0 * float(np.mean(np.abs(depth))), 1),
        "landmarks_off_truth_percent": dict(zip(("mean", "less_constant_offsets"), np.mean(off, 0).round(2).tolist(), strict=True)),
        "solver": _summary(solver_rows),
        "solver_settled": _summary(settled_rows),
        "plain_coefficients": _summary(plain_rows),
        "a_face_that_never_moves": _summary(still_rows),
        "solver_by_person": {scene.person: _means([rows]) for scene, rows in zip(SCENES, solver_rows, strict=False)},
        "solver_turned_past_20_deg": _means(solver_rows, turned=True),
        "solver_turned_less": _means(solver_rows, turned=False),
    }


def _landmarks_off(head: HeadModel, clip: RenderedClip, observations: list[FaceObservation]) -> tuple[float, float]:
    """How far the tracked landmarks lie off the true ones, in percent of the distance between the eyes; and less what each is off in the median frame."""
    used = landmark_model(head, 0).indices
    marks, focal_px = Marks.of(head, used), clip.scene.focal * WIDTH
    off = []
    for true, seen in zip(clip.truth, observations, strict=True):
        if seen.landmarks is not None:
            camera = marks.posed(true)
            projected = np.array([0.5 * WIDTH, 0.5 * HEIGHT]) + focal_px * camera[:, :2] * (1.0, -1.0) / -camera[:, 2:]
            off.append((seen.landmarks[used, :2] - projected) * -true.translation[2] / (focal_px * head.eye_distance_m))
    apart = 100.0 * np.array(off[NOT_COUNTED:])
    return float(np.linalg.norm(apart, axis=2).mean()), float(np.linalg.norm(apart - np.median(apart, axis=0), axis=2).mean())


def _again(head: HeadModel, observations: list[FaceObservation]) -> list[HeadParams | None]:
    """The same frames shown a second time to a solver that has learned the driver from the first."""
    solver = ParameterSolver(head, regressor=regressor_of(HEAD))
    for seen in observations:
        solver.solve(seen)
    return [solver.solve(replace(seen, pts_s=seen.pts_s + len(observations) / FPS)) for seen in observations]


def _summary(rows: list[dict[str, Double]]) -> dict[str, dict[str, float]]:
    return {name: _figures([row[name][NOT_COUNTED:] for row in rows]) for name in METRICS}


def _means(rows: list[dict[str, Double]], turned: bool | None = None) -> dict[str, float]:
    """Of all frames, or of those in which the head is turned past TURNED_RAD, or is not."""
    means = {}
    for name in METRICS:
        kept = [row[name][NOT_COUNTED:][_chosen(row, turned)] for row in rows]
        means[name] = _figures(kept)["mean"]
    return means


def _chosen(row: dict[str, Double], turned: bool | None) -> NDArray[np.bool_]:
    past = np.abs(row["yaw_rad"][NOT_COUNTED:]) > TURNED_RAD
    return np.ones_like(past) if turned is None else past == turned


def _figures(parts: Iterable[Double]) -> dict[str, float]:
    values = np.concatenate(list(parts))
    values = values[~np.isnan(values)]
    return {"mean": round(float(values.mean()), 2), "p95": round(float(np.percentile(values, 95)), 2)} if len(values) else {"mean": np.nan, "p95": np.nan}


def _median(frames: list[HeadParams]) -> HeadParams:
    """Of frames that hardly differ, so that the components' medians are a pose."""
    middle = {name: np.median([getattr(frame, name) for frame in frames], 0).astype(np.float32) for name in ("expression", "rotation", "neck", "gaze")}
    return replace(frames[-1], **middle)


def _head_rotation(params: HeadParams) -> Double:
    return to_matrix(params.rotation) @ to_matrix(params.neck)


def _pose_errors(truth: list[HeadParams], solved: list[HeadParams], rest: HeadParams) -> tuple[Double, Double]:
    """(N,) degrees each: of the rotation, and of the rotation since rest; the true head rests at zero."""
    start = _head_rotation(rest)
    plain, relative = [], []
    for true, found in zip(truth, solved, strict=True):
        goal, made = _head_rotation(true), _head_rotation(found)
        plain.append(np.linalg.norm(to_axis_angle(made @ goal.T)))
        relative.append(np.linalg.norm(to_axis_angle(made @ start.T @ goal.T)))
    return np.degrees(plain), np.degrees(relative)


def _gap_errors(head: HeadModel, truth: list[HeadParams], solved: list[HeadParams], true_rest: HeadParams, rest: HeadParams) -> tuple[Double, Double]:
    """(N,) percent of a full opening each: of the lips, and of the lids."""
    marks = gap_marks(head)

    def since(params: list[HeadParams], start: HeadParams) -> Double:
        return np.array([gaps(marks.unturned(one)) - gaps(marks.unturned(replace(start, identity=one.identity))) for one in params])

    full = [gaps(marks.unturned(_with(head, true_rest, *names))) for names in ((JAW_OPEN,), ("eyeBlinkLeft", "eyeBlinkRight"))]
    size = np.abs(np.where([True, False, False], full[0], full[1]) - gaps(marks.unturned(true_rest)))
    error = 100.0 * np.abs(since(solved, rest) - since(truth, true_rest)) / size
    return error[:, 0], error[:, 1:].mean(1)


def _with(head: HeadModel, params: HeadParams, *names: str) -> HeadParams:
    expression = params.expression.copy()
    expression[[head.expression_index(name) for name in names]] = 1.0
    return replace(params, expression=expression)


def _gaze_errors(head: HeadModel, truth: list[HeadParams], solved: list[HeadParams]) -> Double:
    """(N,) degrees; NaN where the lids are closed."""
    lids = [head.expression_index("eyeBlinkLeft"), head.expression_index("eyeBlinkRight")]
    errors = np.full(len(truth), np.nan)
    for k, (true, found) in enumerate(zip(truth, solved, strict=True)):
        if true.expression[lids].max() < LIDS_OPEN:
            ways = [[from_gaze(*map(float, eye))[:, 2] for eye in params.gaze] for params in (true, found)]
            errors[k] = np.degrees(np.mean([np.arccos(np.clip(a @ b, -1.0, 1.0)) for a, b in zip(*ways, strict=True)]))
    return errors


def _spread_out(values: Double, known: NDArray[np.bool_]) -> Double:
    whole = np.full(len(known), np.nan)
    whole[known] = values
    return whole
