"""Still pictures from names: what they set, how they are spelt, where they are held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.avatar_file import AvatarFile, read_avatar
from models.credentials.manifest import PNG, verify
from models.rotations import to_matrix
from tests.consents import write_signed
from tests.tiny_avatar import tiny_avatar
from tests.trained_run import MARA
from training.errors import TrainingError
from training.rendering import HeadRenderer, Mark, own_backdrop
from training.still import named_params, still


@pytest.fixture(scope="module")
def mara() -> AvatarFile:
    return read_avatar(MARA)


@pytest.mark.parametrize("name", ["jawOpen", "jaw_open", "jaw-open", "JawOpen"])
def test_a_shape_is_found_however_it_is_spelt(mara: AvatarFile, name: str) -> None:
    params, notes = named_params(mara, {name: "0.6"})
    assert params.expression[mara.expression_names.index("jawOpen")] == pytest.approx(0.6)
    assert params.expression.sum() == pytest.approx(0.6)
    assert notes == ()


def test_a_name_without_its_side_is_both_sides(mara: AvatarFile) -> None:
    params, _ = named_params(mara, {"mouth_smile": 0.5, "eyeBlinkLeft": 1.0})
    moved = {name: float(params.expression[index]) for index, name in enumerate(mara.expression_names) if params.expression[index]}
    assert moved == {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "eyeBlinkLeft": 1.0}


def test_turns_are_degrees_and_add_up(mara: AvatarFile) -> None:
    params, notes = named_params(mara, {"yaw": 30, "gaze_yaw": -10, "gaze-pitch": 5})
    np.testing.assert_allclose(params.neck + params.rotation, [0.0, np.radians(30), 0.0], atol=1e-6)
    assert params.neck[1] == pytest.approx(mara.ranges.neck[1, 1])
    np.testing.assert_allclose(np.degrees(params.gaze), [[-10, 5], [-10, 5]], atol=1e-4)
    assert notes == ()
    towards, _ = named_params(mara, {"yaw": 20})
    assert (to_matrix(towards.neck) @ [0, 0, 1])[0] > 0.3, "positive yaw looks to the person's left, image right"


def test_what_is_beyond_the_trained_range_is_held_and_said(mara: AvatarFile) -> None:
    narrow = replace(mara, ranges=replace(mara.ranges, neck=np.tile([-0.2, 0.2], (3, 1)).astype(np.float32), rotation=np.zeros((3, 2), np.float32)))
    params, notes = named_params(narrow, {"yaw": 40, "jawOpen": 7, "gaze_yaw": 5, "neck_roll": -3})
    assert params.neck[1] == pytest.approx(0.2)
    assert params.neck[2] == pytest.approx(np.radians(-3))
    assert not params.rotation.any()
    assert params.expression.max() == pytest.approx(mara.ranges.expression[mara.expression_names.index("jawOpen"), 1])
    assert len(notes) == 2
    assert any("yaw: 40 degrees" in note and "about 11" in note for note in notes)
    assert any("jawOpen: 7" in note for note in notes)


def test_a_head_without_the_shape_opens_its_jaw_joint() -> None:
    ball = tiny_avatar(8)
    bare = replace(ball, expression_names=("a", "b", "c"))
    params, _ = named_params(bare, {"jaw_open": 0.4})
    assert params.jaw[0] == pytest.approx(0.2)
    assert not named_params(ball, {"jaw_open": 0.4})[0].jaw.any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"jaw_opn": 1.0}, "'jaw_opn'.*Near that name: jawOpen"),
        ({"mouthSmle": 1.0}, r"mouthSmile \(both sides\)"),
        ({"jaw": 1.0}, "'jaw' is not something"),
        ({"yaw": "much"}, "expected a number, got 'much'"),
        ({"yaw": float("nan")}, "expected a number"),
        ({"background": "bluish"}, "expected avatar, green or #rrggbb, got 'bluish'"),
    ],
)
def test_what_is_not_understood_is_an_error_and_leaves_no_file(tmp_path: Path, values: dict[str, float | str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        still(MARA, tmp_path / "out.png", values, 64)
    assert not list(tmp_path.iterdir())


def test_the_picture_is_the_render_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tiny_avatar(16, trained=True)
    write_signed(tmp_path / "ball.avatar", file)
    made = still(tmp_path / "ball.avatar", tmp_path / "out.png", {"jawOpen": 0.5, "yaw": 10}, 128)
    written = np.asarray(cv2.imread(str(tmp_path / "out.png")), np.uint8)[..., ::-1]
    renderer = HeadRenderer(file, 128)
    renderer.render(named_params(file, {})[0], own_backdrop(file, 128))
    expected = Mark(128).lay(renderer.render(named_params(file, {"jaw-open": 0.5, "yaw": 10})[0], own_backdrop(file, 128)))
    renderer.close()
    assert np.abs(written.astype(int) - expected).max() <= 2
    np.testing.assert_array_equal(written, made.picture)
    with (tmp_path / "out.png").open("rb") as png:
        assert verify(png, PNG).state == "Valid"
    assert "rendered in" in capsys.readouterr().out
    green = still(tmp_path / "ball.avatar", tmp_path / "green.png", {"background": "green"}, 128).picture
    np.testing.assert_allclose(green[2, 64], (0, 0xB1, 0x40), atol=3)


def test_odd_sizes_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="64 to 1024"):
        still(MARA, tmp_path / "out.png", {}, 4000)
    with pytest.raises(TrainingError, match=r"written as \.png"):
        still(MARA, tmp_path / "out.jpg", {}, 64)
