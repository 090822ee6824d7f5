"""`python -m training`: what a person types, and what they are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import write_video
from tests.test_video import grey_levels
from training import pipeline
from training.__main__ import main
from training.pipeline import Stage
from training.progress import Progress
from training.run_dir import RunDir
from training.stages import Options

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"pictures")
    return path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Options]]:
    """Stages that only note their options."""
    calls: list[tuple[str, Options]] = []

    def load(name: str) -> Stage:
        def run(run: RunDir, options: Options, progress: Progress) -> None:
            calls.append((name, options))

        return run

    monkeypatch.setattr(pipeline, "load_stage", load)
    return calls


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_stage_goes_on_with_the_options_of_its_run(tmp_path: Path, clip: Path, seen: list[tuple[str, Options]], capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--name", "anna", "--runs", str(tmp_path / "runs"), "--quiet"]
    assert main(["dataset", str(clip), *where, "--preset", "full", "--subject", "Anna B.", "--agreed", "--road", "closed-form", "--threads", "3"]) == 0
    assert main(["fit", *where]) == 0
    assert main(["train", *where, "--road", "neural"]) == 0
    assert [name for name, _ in seen] == ["dataset", "fit", "train"]
    assert {(options.preset, options.subject, options.threads, options.clip) for _, options in seen} == {("full", "Anna B.", 3, clip)}
    assert len({options.agreed_at for _, options in seen}) == 1
    assert [options.road for _, options in seen] == ["closed-form", "closed-form", "neural"]
    assert str(tmp_path / "runs" / "anna" / "dataset") in said(capsys)
    assert main(["dataset", *where]) == 0
    assert len(seen) == 3, "done already"
    assert main(["dataset", *where, "--force"]) == 0
    assert seen[-1][0] == "dataset"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "{folder}/none.mp4"], "no such file"),
        (["check", "{folder}/clip.mp4"], "not a video"),
        (["all", "{folder}/none.mp4", "--name", "anna"], "no such file"),
        (["all", "{folder}", "--name", "anna"], "no such file"),
        (["all", "{folder}/clip.mp4", "--name", "anna", "--head", "{folder}/none"], "no such head file"),
        (["dataset", "--from-nha", "{folder}/clip.mp4", "--name", "anna"], "not a folder"),
        (["dataset", "--from-nha", "{folder}", "--name", "anna"], "NHA's layout"),
        (["fit", "--name", "nobody"], "no run yet"),
        (["dataset", "--name", "nobody"], "no run yet"),
        (["still", "{folder}/none.avatar", "-o", "{folder}/out.png", "--yaw"], "expected pairs"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path: Path, clip: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs = ["--runs", str(tmp_path / "runs")] if arguments[0] not in ("check", "still") else []
    assert main([*(argument.format(folder=tmp_path) for argument in arguments), *runs]) == 2
    text = said(capsys)
    assert words in text
    assert "Traceback" not in text
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert set(left) <= {"clip.mp4", "run.json"}
    assert not (tmp_path / "runs" / "nobody").exists()


@pytest.mark.parametrize("name", ["", "../anna", "a/b", ".hidden", "x" * 80, "a\nb"])
def test_names_that_are_no_folder_names(clip: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["all", str(clip), "--name", name])
    assert stopped.value.code == 2
    assert "letters, digits" in said(capsys)


def test_unknown_flags_are_refused_but_for_still(clip: Path) -> None:
    with pytest.raises(SystemExit):
        main(["all", str(clip), "--name", "anna", "--jaw-open", "0.5"])


def test_a_useless_clip_ends_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_video(tmp_path / "grey.mp4", grey_levels(20))
    assert main(["check", str(clip), "--quiet"]) == 2
    assert "refused: " in said(capsys)


def test_ctrl_c_is_a_way_to_stop(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def load(name: str) -> Stage:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "load_stage", load)
    assert main(["dataset", str(clip), "--name", "anna", "--runs", str(tmp_path), "--quiet"]) == 130
    assert "the same command goes on" in said(capsys)


def test_still_passes_on_every_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import training.still

    calls: list[tuple[Path, Path, dict[str, float | str], int]] = []
    monkeypatch.setattr(training.still, "still", lambda *given: calls.append(given))
    assert main(["still", "a.avatar", "-o", "o.png", "--size", "256", "--jaw-open", "0.6", "--yaw=-20", "--background", "green"]) == 0
    assert main(["still", "a.avatar", "--pitch", "-5", "-o", "o.png"]) == 0
    assert calls[0] == (Path("a.avatar"), Path("o.png"), {"jaw-open": 0.6, "yaw": -20.0, "background": "green"}, 256)
    assert calls[1][2] == {"pitch": -5.0}


@pytest.mark.parametrize("module", ["training", "training.open_head", "training.landmark_embedding", "training.default_avatars"])
def test_every_command_has_help(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "usage" in done.stdout


ANNA = ("--subject", "Anna B.", "--agreed")


def test_nothing_is_begun_before_somebody_agreed(tmp_path: Path, clip: Path, seen: list[tuple[str, Options]], capsys: pytest.CaptureFixture[str]) -> None:
    where = [str(clip), "--name", "anna", "--runs", str(tmp_path / "runs"), "--quiet"]
    assert main(["all", *where]) == 2
    assert "--subject: expected whose face it is" in said(capsys)
    assert main(["all", *where, "--subject", "Anna B.", "--granted-by", "Eva B.", "--purposes", "live", "--expires", "2100-01-31"]) == 2
    asked = said(capsys)
    assert "If Eva B. agrees to this, add --agreed:\nI am the person shown in the video, or may decide for them." in asked
    assert "until the end of 2100-01-31" in asked
    for flags, words in (
        (["--purposes", "sale"], "purposes: expected"),
        (["--expires", "2020-01-01"], "today or later"),
        (["--granted-by", ""], "If Anna B."),
    ):
        assert main(["all", *where, "--subject", "Anna B.", *flags]) == 2
        assert words in said(capsys)
    with pytest.raises(SystemExit):
        main(["all", *where, *ANNA, "--agreed-at", "yesterday"])
    assert (seen, (tmp_path / "runs" / "anna").exists()) == ([], False)


def test_what_was_agreed_to_is_kept_with_the_run(
    tmp_path: Path, clip: Path, seen: list[tuple[str, Options]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--name", "anna", "--runs", str(tmp_path / "runs"), "--quiet"]
    told = [*ANNA, "--purposes", "live,export", "--own-driver-only", "--agreed-at", "2026-01-31T12:00:00Z"]
    for stage in ("dataset", "fit", "train", "bake"):
        assert main([stage, *([str(clip), *told] if stage == "dataset" else []), *where]) == 0
    record = seen[-1][1].agreement
    assert record is not None
    assert (record.subject, record.granted_by, record.purposes) == ("Anna B.", "Anna B.", ("live", "export"))
    assert (record.own_driver_only, record.expires, record.agreed_at) == (True, None, "2026-01-31T12:00:00Z")
    assert main(["bake", *where]) == 0
    assert main(["bake", *where, "--subject", "Anna B.", "--agreed"]) == 0, "the same is agreed to as before"
    assert len(seen) == 4, "done already"
    assert main(["bake", *where, "--purposes", "live"]) == 2
    assert "add --agreed" in said(capsys)
    assert main(["bake", *where, "--purposes", "live", "--agreed"]) == 0
    assert [stage for stage, _ in seen[4:]] == ["bake"]
    clip.write_bytes(b"somebody else")
    assert main(["all", str(clip), *where, "--force"]) == 2
    assert "--subject" in said(capsys)


def test_whoever_sits_at_the_terminal_is_asked(
    tmp_path: Path, clip: Path, seen: list[tuple[str, Options]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["no", "y"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: print(question) or next(answers))
    call = ["dataset", str(clip), "--name", "anna", "--runs", str(tmp_path / "runs"), "--quiet", "--subject", "Anna B."]
    assert main(call) == 0, "a stage that shows nobody asks nothing"
    call[0] = "all"
    assert main(call) == 2
    assert "Does Anna B. agree to this, for Anna B.? [y/N]" in said(capsys)
    monkeypatch.setattr("training.__main__._tell", lambda run, stages: None)
    monkeypatch.setattr("training.report.write_report", lambda run: None)
    assert main(call) == 0
    assert seen[-1][1].agreed_at
