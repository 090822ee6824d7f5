"""The report and the comparison: every figure where it belongs, nothing from elsewhere, no name that could become markup."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import pytest

from models.avatar_file import write_avatar
from tests.trained_run import Truth, fake_live, make_run
from training import driving, evaluate, plots
from training.advice import GRADES, advice, grade
from training.compare import compare
from training.errors import TrainingError
from training.progress import Progress
from training.report import write_report
from training.run_dir import RunDir
from training.stages import STAGES, Options

EVIL = "<script>alert('x')</script>&\""


class Page(HTMLParser):
    """What a page asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "poster", "srcset", "data")]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """A finished run of an avatar with a hostile name."""
    made = make_run(tmp_path_factory.mktemp("runs") / "mara", size=128, count=12, held_out=4)
    file = replace(made.file, card=replace(made.file.card, name=EVIL, consent=replace(made.file.card.consent, synthetic=False, subject=EVIL, granted_by=EVIL,
                   statement="yes", date="2026-01-31")))  # fmt: skip
    write_avatar(made.run.avatar, file)
    run = made.run
    run.describe({"name": run.name, "clip": {"path": f"/videos/{EVIL}.mp4", "sha256": "ab12"}})
    run.report("fit", note=EVIL)
    with pytest.MonkeyPatch.context() as patch, run.work("evaluate", "made"):
        patch.setattr(driving, "LIVE", fake_live(tmp_path_factory.mktemp("live"), made.drive))
        evaluate.run(run, Options(Path("clip.mp4")), Progress())
    write_report(made.run)
    return made


def report_of(run: RunDir) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path / "report.json").read_text(encoding="utf-8"))
    return found


def test_report_json_holds_what_the_issue_asks_for(truth: Truth) -> None:
    report = report_of(truth.run)
    assert report["seconds"].keys() == {"total", *STAGES}
    assert report["seconds"]["total"] == pytest.approx(sum(report["seconds"][stage] for stage in STAGES), abs=1e-2)
    assert report["peak_memory_mib"] == max(truth.run.record(stage)["peak_memory_mib"] for stage in STAGES) > 0
    assert report["avatar_bytes"] == truth.run.avatar.stat().st_size
    for way in ("offline", "live"):
        for region in ("full", "head_box", "mouth", "eyes", "black"):
            assert {"psnr", "ssim", "l1"} <= report["held_out"][way][region].keys()
    assert report["baselines"].keys() == {"static", "mean_frame"}
    assert report["fit"] == {"note": EVIL}
    assert report["machine"]["versions"]["numpy"]


def test_the_page_is_one_file_without_script_or_strangers(truth: Truth) -> None:
    text = (truth.run.path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "&lt;script&gt;" in text
    assert page.tags.count("img") == 3
    assert page.tags.count("svg") == 5
    video = "evaluate/side_by_side.mp4"
    assert {link for link in page.links if not link.startswith("data:image/webp;base64,")} == {video}
    assert (truth.run.path / video).is_file()
    assert not re.search(r"(?i)https?://|@import|url\(", text)
    assert f"{report_of(truth.run)['held_out']['offline']['mouth']['psnr']:.1f}" in text
    assert "Offline fit: the face's points lie 0.0 %" in text.replace("&#x27;", "'")


def test_a_run_without_an_avatar_or_figures_still_gets_a_page(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "empty")
    run.describe({})
    write_report(run)
    assert "was not measured yet" in (run.path / "report.html").read_text(encoding="utf-8")
    assert report_of(run)["seconds"] == {"total": 0}


@pytest.mark.parametrize(
    ("report", "word"),
    [
        ({"dataset": {"pose": {"yaw_range": [-40, 10], "pitch_range": [-20, 20]}}}, "slowly to the left,"),
        ({"dataset": {"pose": {"yaw_range": [-5, 10], "pitch_range": [-20, 20]}}}, "to the left and the right"),
        ({"dataset": {"pose": {"yaw_range": [-40, 40], "pitch_range": [-2, 2]}}}, "hardly nods"),
        ({"dataset": {"frames": 400, "left_out": {"no face": 100}}}, "In 100 of 500 frames"),
        ({"dataset": {"frames": 400, "sharpness": {"blurred_frames": 90}}}, "90 of 400 frames are blurred"),
        ({"dataset": {"frames": 40}}, "Only 40 frames"),
        ({"dataset": {"frames": 400, "still_camera": False}}, "camera moved"),
        ({"held_out": {"offline": {"head_box": {"psnr": 32.0}}, "live": {"head_box": {"psnr": 29.0}}}}, "3.0 dB further"),
        ({"live": {"tracking": {"ok": 90, "lost": 10}}}, "lost the face in 10 of 100"),
        ({"landmarks": {"live": {"real_jitter_percent": 0.5, "rendered_jitter_percent": 1.0}}}, "trembles"),
    ],
)
def test_advice_names_what_was_missing_and_nothing_else(report: dict[str, Any], word: str) -> None:
    said = advice(report)
    assert len(said) == 1
    assert word in said[0]


def test_a_good_clip_is_told_so() -> None:
    good = {"dataset": {"frames": 500, "still_camera": True, "left_out": {}, "pose": {"yaw_range": [-40, 40], "pitch_range": [-15, 15]}}}
    assert advice(good)[0].startswith("Nothing stands out")
    assert [grade({"held_out": {"offline": {"head_box": {"psnr": score}}}}) for score in (35, 30, 27, 20)] == [words for _, words in GRADES]
    assert grade({}) == ""


def test_plots_are_svg_that_shows_the_values() -> None:
    drawn = ET.fromstring(plots.lines(f"PSNR {EVIL}", "s", {"a": [(0.0, 30.0), (1.0, None), (2.0, 32.0), (3.0, 31.0)], "b": [(0.0, 20.0)]}))
    paths = [each.get("d", "") for each in drawn.iter("path") if each.get("class") == "sa"]
    assert paths[0].count("M") == 2
    heights = [float(pair.split(" ")[1]) for pair in re.findall(r"[\d.]+ [\d.]+", paths[0])]
    assert heights[1] < heights[2] < heights[0], "larger values stand higher"
    bars = ET.fromstring(plots.bars("Seconds", {"fit": 10.0, EVIL: 5.0}, "s"))
    widths = [float(each.get("width", "0")) for each in bars.iter("rect")]
    assert widths[0] == pytest.approx(2 * widths[1])
    assert plots.dots("none", "x", {"a": []}) == ""


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (17.3, 34.9), (-0.02, 0.013), (5.0, 5.0)])
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    found = plots.ticks(low, high)
    assert len(found) <= 6
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
    assert len(found) >= 2 or high == low


def test_compare_sets_two_runs_side_by_side(truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    (other / "evaluate").mkdir(parents=True)
    for name in ("metrics.json", "side_by_side.mp4"):
        (other / "evaluate" / name).hardlink_to(truth.run.path / "evaluate" / name)
    report = report_of(truth.run)
    report["held_out"]["live"]["mouth"]["psnr"] -= 2.5
    (other / "report.json").write_text(json.dumps(report), encoding="utf-8")
    compare(truth.run.path, other)
    lines = capsys.readouterr().out.splitlines()
    changed = [line for line in lines if re.search(r"[+-](?!0\.0+$)\d+\.\d+$", line)]
    assert len(changed) == 1
    assert changed[0].startswith("live, mouth: PSNR")
    assert changed[0].endswith("-2.50")
    sheet = cv2.imread(str(truth.run.path / "compare.png"))
    assert sheet is not None
    assert sheet.shape[0] == 6 * (320 + 28)
    page = Page((truth.run.path / "compare.html").read_text(encoding="utf-8"))
    assert page.tags.count("img") == 1
    assert "script" not in page.tags


def test_compare_of_other_clips_shows_no_pictures_and_of_no_run_says_so(truth: Truth, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text(json.dumps(report_of(truth.run) | {"about": {"clip": {"sha256": "other"}}}), encoding="utf-8")
    compare(tmp_path, truth.run.path)
    assert "The clips or the judged frames differ" in capsys.readouterr().out
    assert not (tmp_path / "compare.png").exists()
    with pytest.raises(TrainingError, match="is not a finished run"):
        compare(truth.run.path, tmp_path / "nowhere")
    (tmp_path / "report.json").write_text("[]", encoding="utf-8")
    with pytest.raises(TrainingError, match="is not the report of a run"):
        compare(tmp_path, truth.run.path)
