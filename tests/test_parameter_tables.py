"""Per-frame parameters: .npz of the live loop and of training, CSV and JSON, and back again."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.avatar_file import AvatarFile
from models.errors import BadFile
from models.export.frames import PARTS, Frames, read_npz
from models.export.poses import head_rotation, quaternion, yaw_pitch_roll
from models.export.tables import read_frames, write_csv, write_json
from models.head import HeadParams
from models.rotations import to_axis_angle, to_matrix
from tests.gltf_reader import turned
from tests.tiny_avatar import NAMES, tiny_avatar
from training.fitted import Fitted

COUNT = 6
HEADERS = (
    "frame,time_s,jawOpen,eyeBlinkLeft,browInnerUp,root_x_rad,root_y_rad,root_z_rad,neck_x_rad,neck_y_rad,neck_z_rad,jaw_x_rad,jaw_y_rad,jaw_z_rad,"
    "left_eye_yaw_rad,left_eye_pitch_rad,right_eye_yaw_rad,right_eye_pitch_rad,translation_x_m,translation_y_m,translation_z_m,"
    "head_x_rad,head_y_rad,head_z_rad,head_yaw_deg,head_pitch_deg,head_roll_deg"
)


@pytest.fixture(scope="module")
def avatar() -> AvatarFile:
    return tiny_avatar(6)


def frames_of(seed: int = 0) -> Frames:
    rng = np.random.default_rng(seed)
    parts = {name: rng.uniform(-0.4, 0.4, (COUNT, *shape)).astype(np.float32) for name, shape in PARTS.items()}
    return Frames(3.0 + np.arange(COUNT) / 29.97, NAMES, rng.uniform(0.0, 1.0, (COUNT, len(NAMES))).astype(np.float32), **parts)


def same(found: Frames, wanted: Frames) -> None:
    assert found.expression_names == wanted.expression_names
    np.testing.assert_allclose(found.time_s, wanted.time_s, atol=1e-6)
    for name in ("expression", *PARTS):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-6, err_msg=name)


def test_csv_and_back(avatar: AvatarFile, tmp_path: Path) -> None:
    (tmp_path / "frames.csv").write_bytes(write_csv(frames_of()))
    same(read_frames(tmp_path / "frames.csv", avatar), frames_of())
    lines = (tmp_path / "frames.csv").read_text().splitlines()
    assert lines[0] == HEADERS
    assert len(lines) == 1 + COUNT


def test_json_and_back(avatar: AvatarFile, tmp_path: Path) -> None:
    (tmp_path / "frames.json").write_bytes(write_json(avatar, frames_of()))
    same(read_frames(tmp_path / "frames.json", avatar), frames_of())
    body = json.loads((tmp_path / "frames.json").read_text())
    assert (body["format"], body["version"]) == ("headcast-parameters", 1)
    assert body["avatar"]["mark"] == "AI avatar: synthetic"
    assert body["avatar"]["licence"] == "CC0-1.0"
    assert body["expression_ranges"]["jawOpen"] == [0.0, 1.0]
    assert set(body["frames"][0]) == {"expression", *HEADERS.split(",")} - {"frame", *NAMES}
    assert list(body["frames"][0]["expression"]) == list(NAMES)


def test_both_say_the_same_of_the_head(avatar: AvatarFile) -> None:
    rows = list(csv.DictReader(write_csv(frames_of()).decode().splitlines()))
    body = json.loads(write_json(avatar, frames_of()))
    for index, (row, frame) in enumerate(zip(rows, body["frames"], strict=True)):
        assert int(row["frame"]) == index
        flat = frame | frame.pop("expression")
        assert {name: float(value) for name, value in row.items() if name != "frame"} == flat
        matrix = head_rotation(frames_of().params(index))
        np.testing.assert_allclose(to_matrix([float(row[f"head_{axis}_rad"]) for axis in "xyz"]), matrix, atol=1e-6)
        yaw, pitch, roll = np.radians([float(row[f"head_{turn}_deg"]) for turn in ("yaw", "pitch", "roll")])
        again = to_matrix((0.0, yaw, 0.0)) @ to_matrix((pitch, 0.0, 0.0)) @ to_matrix((0.0, 0.0, roll))
        np.testing.assert_allclose(again, matrix, atol=1e-6)


def test_columns_may_come_in_any_order_and_without_what_is_derived(avatar: AvatarFile, tmp_path: Path) -> None:
    rows = list(csv.DictReader(write_csv(frames_of()).decode().splitlines()))
    columns = [name for name in reversed(HEADERS.split(",")) if not name.startswith("head_") and name != "frame"]
    with (tmp_path / "frames.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    same(read_frames(tmp_path / "frames.csv", avatar), frames_of())


@pytest.mark.parametrize(
    ("turn", "expected"), [((0.0, 0.3, 0.0), (17.188734, 0, 0)), ((0.2, 0.0, 0.0), (0, 11.459156, 0)), ((0.0, 0.0, -0.1), (0, 0, -5.729578))]
)
def test_yaw_pitch_and_roll_are_turns_about_y_x_and_z(turn: tuple[float, float, float], expected: tuple[float, float, float]) -> None:
    assert yaw_pitch_roll(to_matrix(turn)) == pytest.approx(expected, abs=1e-5)


def test_straight_down_has_no_roll() -> None:
    down = to_matrix((0.0, 0.4, 0.0)) @ to_matrix((np.pi / 2.0, 0.0, 0.0))
    assert yaw_pitch_roll(down) == pytest.approx((np.degrees(0.4), 90.0, 0.0), abs=1e-5)


def test_quaternions_turn_as_their_axis_angle() -> None:
    for turn in np.random.default_rng(2).uniform(-2.0, 2.0, (20, 3)):
        np.testing.assert_allclose(turned(quaternion(turn)), to_matrix(turn), atol=1e-12)
    np.testing.assert_array_equal(quaternion(np.zeros(3)), (0.0, 0.0, 0.0, 1.0))
    assert np.linalg.norm(quaternion(to_axis_angle(np.diag([-1.0, 1.0, -1.0])))) == pytest.approx(1.0)


def test_what_the_live_loop_writes_is_read(avatar: AvatarFile, tmp_path: Path) -> None:
    """realtime.drive's arrays; tests/test_drive.py holds that they are these."""
    frames = frames_of()
    parts = {name: getattr(frames, name) for name in ("expression", *PARTS)}
    np.savez(tmp_path / "drive.npz", pts_s=frames.time_s, expression_names=np.array(NAMES), tracking=np.array(["ok"] * COUNT), **parts)
    same(read_frames(tmp_path / "drive.npz", avatar), frames)
    np.savez(tmp_path / "other.npz", pts_s=frames.time_s, expression_names=np.array(NAMES[::-1]), **parts)
    with pytest.raises(BadFile, match=r"other\.npz: its parameters are those of another avatar"):
        read_frames(tmp_path / "other.npz", avatar)


def test_what_the_fit_stage_writes_is_read(avatar: AvatarFile, tmp_path: Path) -> None:
    frames = replace(frames_of(), rotation=np.zeros((COUNT, 3), np.float32))
    nobody = np.zeros(4, np.float32)
    fitted = Fitted(1.9, nobody, np.zeros((478, 3), np.float32), frames.expression, frames.neck, frames.jaw, frames.gaze, frames.translation)
    fitted.save(tmp_path / "fit.npz")
    same(read_frames(tmp_path / "fit.npz", avatar), replace(frames, time_s=np.arange(COUNT) / 30.0))
    np.save(tmp_path / "pts.npy", frames.time_s)
    np.savez(tmp_path / "observations.npz", pts_s=frames.time_s, other=np.zeros(3))
    for name in ("pts.npy", "observations.npz"):
        same(read_frames(tmp_path / "fit.npz", avatar, tmp_path / name), frames)


def test_a_single_pose_is_one_frame() -> None:
    params = HeadParams.neutral(3)
    frames = Frames.of(params, NAMES)
    assert len(frames) == 1
    for name in ("expression", *PARTS):
        np.testing.assert_array_equal(getattr(frames.params(0), name), getattr(params, name))


def bad_files(folder: Path) -> dict[str, Path]:
    """What the error says → the file."""
    good = frames_of()
    parts = {name: getattr(good, name) for name in ("expression", *PARTS)}

    def stored(name: str, **changes: object) -> Path:
        np.savez(folder / name, **(parts | {"pts_s": good.time_s} | changes))
        return folder / name

    def text(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    table, document = write_csv(good), write_json(tiny_avatar(6), good)
    np.savez(folder / "bare.npz", neck=good.neck)
    return {
        "5 expression shapes, the avatar has 3": stored("five.npz", expression=np.zeros((COUNT, 5))),
        "'neck' should be (6, 3) numbers": stored("shape.npz", neck=np.zeros((COUNT, 4))),
        "'jaw' should hold finite numbers": stored("nan.npz", jaw=np.full((COUNT, 3), np.nan)),
        "'translation' should hold finite numbers below 1e+06": stored("far.npz", translation=np.full((COUNT, 3), 1e30)),
        "the frames' times should rise": stored("times.npz", pts_s=np.zeros(COUNT)),
        "'times' should be": stored("words.npz", pts_s=np.array(["now"] * COUNT)),
        "'expression' is missing": folder / "bare.npz",
        "(ValueError)": stored("object.npz", neck=np.array([{}] * COUNT, object)),
        "text.npz: expected per-frame parameters": text("text.npz", b"no archive"),
        "(FileNotFoundError)": folder / "none.csv",
        "the expression shapes have other names": text("names.csv", table.replace(b"jawOpen", b"jawDrop")),
        "(KeyError)": text("missing.csv", table.replace(b"neck_y_rad", b"head_x_rad")),
        "1 to 1000000 frames are read, there are 0": text("empty.csv", HEADERS.encode()),
        "not parameters as": text("cut.csv", table[: len(table) // 2]),
        "(UnicodeDecodeError)": text("bytes.csv", b"\xff\xfe\x00"),
        "(JSONDecodeError)": text("cut.json", document[: len(document) // 2]),
        "(TypeError)": text("list.json", b"[1, 2]"),
        "expected per-frame parameters in a .npz, .csv or .json file": text("frames.xml", b"<frames/>"),
    }


def test_bad_files_are_one_clear_line(avatar: AvatarFile, tmp_path: Path) -> None:
    for words, path in bad_files(tmp_path).items():
        with pytest.raises(BadFile) as raised:
            read_frames(path, avatar)
        assert words in str(raised.value)
        assert str(raised.value).startswith(path.name)
        assert str(tmp_path) not in str(raised.value)
    (tmp_path / "frames.csv").write_bytes(write_csv(frames_of()))
    with pytest.raises(BadFile, match="--pts belongs"):
        read_frames(tmp_path / "frames.csv", avatar, tmp_path / "pts.npy")
    np.savez(tmp_path / "fit.npz", **{name: getattr(frames_of(), name) for name in ("expression", *PARTS)})
    with pytest.raises(BadFile, match=r"none\.npy: expected the frames' times"):
        read_npz(tmp_path / "fit.npz", NAMES, tmp_path / "none.npy")
