"""The measurements of the driving signal measure what docs/tracking.md says."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.head import HeadModel, HeadParams, load_head
from models.rotations import to_axis_angle, to_matrix
from realtime.reenactor import HEAD
from tests.benchmarks.tracking import puppet, steady
from tests.benchmarks.tracking.clips import SCENES, RenderedClip, rendered_clip
from tests.benchmarks.tracking.curves import write_curves
from tests.benchmarks.tracking.meshes import FacePoints, Marks
from tests.benchmarks.tracking.truth import METRICS, NOT_COUNTED, Ruler, measured
from tests.faces import moving_portrait


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(HEAD)


@pytest.fixture(scope="module")
def clip(head: HeadModel) -> RenderedClip:
    return rendered_clip(head, SCENES[0], 0.0)


def errors(head: HeadModel, clip: RenderedClip, found: list[HeadParams | None]) -> dict[str, float]:
    table = measured(Ruler.of(head), clip, found)
    return {name: float(np.nanmean(table[name][NOT_COUNTED:])) for name in METRICS}


def test_points_are_posed_as_the_head_is(head: HeadModel, clip: RenderedClip) -> None:
    chosen = np.arange(0, len(head.template), 7, dtype=np.int32)
    whole = head.vertices(clip.truth[50])
    np.testing.assert_allclose(FacePoints.of(head, chosen).posed(clip.truth[50]), whole[chosen], atol=1e-6)
    landmarks = np.array([13, 14, 152, 473], np.int32)
    np.testing.assert_allclose(Marks.of(head, landmarks).posed(clip.truth[50]), head.landmarks(whole)[landmarks], atol=1e-6)


def test_the_clips_go_to_their_limits_and_are_the_same_each_time(head: HeadModel, clip: RenderedClip) -> None:
    assert clip.segment[:30] == ("rest",) * 30
    turns = np.degrees([to_axis_angle(to_matrix(params.rotation) @ to_matrix(params.neck)) for params in clip.truth])
    assert 35.0 < np.abs(turns[:, 1]).max() < 43.0
    assert np.abs(np.diff(turns, axis=0)).max() < 8.0
    assert max(params.expression[head.expression_index("eyeBlinkLeft")] for params in clip.truth) == 1.0
    again = rendered_clip(head, SCENES[0], 0.0)
    assert all((one.expression == two.expression).all() for one, two in zip(clip.truth, again.truth, strict=True))


def test_the_truth_has_no_error_whoever_it_is_taken_for(head: HeadModel, clip: RenderedClip) -> None:
    """Another identity and a constant turn of the face count only where the definitions say that they do."""
    assert max(errors(head, clip, list(clip.truth)).values()) < 0.01
    bias = to_matrix((0.1, 0.0, 0.0))
    other = [
        replace(params, identity=-params.identity, neck=to_axis_angle(to_matrix(params.neck) @ bias).astype(np.float32), translation=params.translation * 1.2)
        for params in clip.truth
    ]
    found = errors(head, clip, list(other))
    assert found["pose_deg"] == pytest.approx(np.degrees(0.1), abs=0.01)
    assert max(found[name] for name in METRICS if name not in ("pose_deg", "lip_gap_percent", "lid_gap_percent")) < 0.02
    assert found["lip_gap_percent"] < 2.0


def test_a_wrong_mouth_is_seen(head: HeadModel, clip: RenderedClip) -> None:
    """From the second second on a tenth of `jawOpen` too much."""
    jaw = np.zeros(len(head.expression_names), np.float32)
    jaw[head.expression_index("jawOpen")] = 0.1
    wrong = [params if name == "rest" else replace(params, expression=params.expression + jaw) for params, name in zip(clip.truth, clip.segment, strict=True)]
    found = measured(Ruler.of(head), clip, list(wrong))
    assert found["jaw_open_percent"][60] == pytest.approx(10.0, abs=0.01)
    assert 8.0 < found["lip_gap_percent"][60] < 12.0
    assert found["lips_mm"][60] > 0.5
    assert found["pose_deg"][60] < 0.01


def test_missing_frames_are_left_out(head: HeadModel, clip: RenderedClip) -> None:
    found: list[HeadParams | None] = [None if index % 3 == 0 else params for index, params in enumerate(clip.truth)]
    table = measured(Ruler.of(head), clip, found)
    assert np.isnan(table["pose_deg"][::3]).all()
    assert np.nanmax(table["pose_deg"]) < 0.01


def test_a_shift_is_found() -> None:
    at = np.arange(200.0)
    early, late = np.sin(0.3 * at) + np.sin(0.17 * at), np.sin(0.3 * (at - 1.4)) + np.sin(0.17 * (at - 1.4))
    assert steady.shift_between(early, late) == pytest.approx(1.4, abs=0.05)


def test_filters_delay_a_turn_and_not_a_rest() -> None:
    delays = steady.delays()
    assert 0.0 < delays["turn"]["lag_frames"] < 1.0
    assert delays["blink"]["peak_share"] > 0.9


def test_the_echo_is_the_camera_through_a_codec() -> None:
    frames = moving_portrait(12, 256)
    echo = list(puppet.echoed(frames, 2))
    assert len(echo) == 6
    apart = np.abs(echo[-1].astype(int) - frames[10].astype(int)).mean()
    assert 0.1 < apart < 12.0


def test_curves_are_a_picture(tmp_path: Path) -> None:
    time_s, rng = np.arange(20) / 10.0, np.random.default_rng(0)
    values = rng.random((20, len(puppet.SIGNALS)))
    values[4] = np.nan
    one, two = puppet.Signals(time_s, rng.random((20, len(puppet.SIGNALS)))), puppet.Signals(time_s, values)
    write_curves(tmp_path / "curves.svg", one, two, "mara")
    root = ET.parse(tmp_path / "curves.svg").getroot()
    assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == 4
    assert puppet.correlations(one, one, 0.0)["yaw"] == 1.0


def test_an_avatar_that_keeps_its_lips_closed_is_seen() -> None:
    time_s, gap = np.arange(40) / 20.0, puppet.SIGNALS.index("lip_gap")
    values = np.zeros((40, len(puppet.SIGNALS)))
    values[:, gap] = np.linspace(0.0, 0.39, 40)
    driver, avatar = puppet.Signals(time_s, values), puppet.Signals(time_s, np.where(values < 0.05, 0.0, values))
    found = puppet.lips_by_opening(driver, avatar, 0.0)
    assert found["0.01-0.03"]["closed"] == 1.0
    assert found["0.12-0.2"] == {"frames": 8, "avatar": pytest.approx(0.155, abs=0.01), "closed": 0.0}
