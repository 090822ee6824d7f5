"""training/check.py: good clips pass, and each kind of useless one is refused for its own reason."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import Image, talking_head, write_video
from tests.faces import clip_path
from training.check import Finding, check
from training.progress import Progress


def looked_at(path: Path, frames: list[Image]) -> list[Finding]:
    return check(write_video(path / "clip.mp4", frames), Progress())


def refusals(findings: list[Finding]) -> list[str]:
    return [finding.found for finding in findings if finding.refuses]


def on_grey(frame: Image, size: int, canvas: int = 480) -> Image:
    picture = np.full((canvas, canvas, 3), 120, np.uint8)
    picture[:size, :size] = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
    return picture


def test_a_talking_head_passes(tmp_path: Path) -> None:
    findings = looked_at(tmp_path, list(talking_head("mara")))
    assert refusals(findings) == []
    assert not any("blink" in finding.found or "mouth" in finding.found or "turns" in finding.found for finding in findings)


@pytest.mark.parametrize("name", ["talking_woman_1080x1920", "expressive_woman_512"])
def test_the_real_clips_pass(name: str) -> None:
    assert refusals(check(clip_path(name), Progress())) == []


def test_a_black_picture(tmp_path: Path) -> None:
    (found,) = refusals(looked_at(tmp_path, [np.zeros((240, 320, 3), np.uint8)] * 30))
    assert "black" in found


def test_no_face(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(60, 200, (15, 20, 3), dtype=np.uint8)
    room = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
    (found,) = refusals(looked_at(tmp_path, [np.roll(room, shift, 1) for shift in range(30)]))
    assert "no face" in found


def test_two_people(tmp_path: Path) -> None:
    pairs = [np.hstack(pair) for pair in zip(talking_head("mara"), talking_head("theo"), strict=True)]
    (found,) = refusals(looked_at(tmp_path, pairs))
    assert "two faces" in found


def test_a_portrait_on_the_wall_is_no_second_person(tmp_path: Path) -> None:
    frames = [frame.copy() for frame in talking_head("mara")]
    for frame in frames:
        frame[2:112, 2:112] = cv2.resize(talking_head("theo")[0], (110, 110), interpolation=cv2.INTER_AREA)
    assert refusals(looked_at(tmp_path, frames)) == []


def test_a_dark_face(tmp_path: Path) -> None:
    (found,) = refusals(looked_at(tmp_path, [(frame * 0.15).astype(np.uint8) for frame in talking_head("mara")]))
    assert "too dark" in found


def test_a_dim_face_is_a_warning(tmp_path: Path) -> None:
    findings = looked_at(tmp_path, [(frame * 0.38).astype(np.uint8) for frame in talking_head("mara")])
    assert refusals(findings) == []
    assert any("dim" in finding.found for finding in findings)


def test_a_burnt_out_face(tmp_path: Path) -> None:
    (found,) = refusals(looked_at(tmp_path, [np.clip(frame * 2.2, 0, 255).astype(np.uint8) for frame in talking_head("mara")]))
    assert "burnt out" in found


def test_a_short_clip(tmp_path: Path) -> None:
    (found,) = refusals(looked_at(tmp_path, list(talking_head("mara")[:25])))
    assert "for 1.0 s" in found


def test_a_still_picture(tmp_path: Path) -> None:
    (found,) = refusals(looked_at(tmp_path, [talking_head("mara")[0]] * 90))
    assert "hardly turns" in found


def test_a_tiny_face(tmp_path: Path) -> None:
    (found,) = refusals(looked_at(tmp_path, [on_grey(frame, 100) for frame in talking_head("mara")]))
    assert "pixels high" in found


@pytest.mark.parametrize("blind", ["CUT_JUMP", "CUT_CHANGE"])
def test_a_splice_of_two_people(tmp_path: Path, blind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen by the change of the picture and by the jump of the face, each without the other."""
    monkeypatch.setattr(f"training.check.{blind}", 9.0)
    moved = [np.roll(frame, 60, 1) for frame in talking_head("theo")[:60]]
    (found,) = refusals(looked_at(tmp_path, [*talking_head("mara")[:60], *moved]))
    assert "changes at once at 2.4 s" in found


def test_a_pan_is_no_cut(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (6, 40, 3), dtype=np.uint8)
    room = np.asarray(cv2.resize(noise, (1600, 320), interpolation=cv2.INTER_CUBIC), np.uint8)
    frames: list[Image] = []
    for number, frame in enumerate(talking_head("mara")):
        wide = np.ascontiguousarray(room[:, 8 * number : 8 * number + 560])
        wide[:, 120:440] = frame
        frames.append(wide)
    assert refusals(looked_at(tmp_path, frames)) == []


def test_a_long_clip_is_judged_by_its_keyframes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.check.LONG", 90)
    monkeypatch.setattr("training.check.LOOKS", 8)
    assert refusals(looked_at(tmp_path, list(talking_head("mara")))) == []


def test_a_flash_is_no_cut(tmp_path: Path) -> None:
    frames = list(talking_head("mara"))
    frames[40:44] = [np.full_like(frames[0], 240)] * 4
    assert refusals(looked_at(tmp_path, frames)) == []


def test_a_finding_says_what_to_do() -> None:
    text = str(Finding(True, "the face is 20 pixels high", "at least 64", "Come closer to the camera"))
    assert text == "refused: the face is 20 pixels high. Needed: at least 64. Come closer to the camera."
