"""training/run_dir.py and training/pipeline.py: what survives a kill, a full disk, a second process, another clip."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from training.errors import MachineError, TrainingError
from training.pipeline import Stage, fingerprints, options_of, prepare, run_stages
from training.progress import Progress
from training.run_dir import RUN_FILE, RunDir
from training.stages import STAGES, Options

pytestmark = pytest.mark.beside

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"pictures")
    return Options(clip)


class Stages:
    """Stages that write a file each and remember that they were run; one may fail."""

    def __init__(self, failing: str = "", error: BaseException | None = None) -> None:
        self.ran: list[str] = []
        self._failing, self._error = failing, error

    def load(self, name: str) -> Stage:
        def run(run: RunDir, options: Options, progress: Progress) -> None:
            progress.start(name, 1)
            assert list(run.folder(name).iterdir()) == [], "a stage begins in a clean folder"
            (run.folder(name) / "result").write_text(f"{name} of {options.preset}", encoding="ascii")
            run.report(name, answer=len(name))
            if name == "bake":
                run.avatar.write_bytes(b"avatar")
            if name == self._failing and self._error is not None:
                raise self._error
            self.ran.append(name)

        return run


def train(path: Path, options: Options, stages: Stages, force: bool = False) -> RunDir:
    run = RunDir(path)
    with run.locked():
        prepare(run, options, force)
        run_stages(run, options, STAGES, Progress(), force, stages.load)
    return run


def test_a_run_is_kept_and_passed_over_the_second_time(tmp_path: Path, options: Options) -> None:
    first, second = Stages(), Stages()
    train(tmp_path / "anna", options, first)
    run = train(tmp_path / "anna", options, second)
    assert (first.ran, second.ran) == (list(STAGES), [])
    record = run.record("fit")
    assert (record["state"], record["values"]) == ("done", {"answer": 3})
    assert record["peak_memory_mib"] > 1.0
    assert record["seconds"] >= 0.0
    assert (run.folder("fit") / "result").read_text(encoding="ascii") == "fit of quick"
    assert run.avatar == tmp_path / "anna" / "anna.avatar"
    assert sorted(path.name for path in run.path.iterdir()) == [".lock", "anna.avatar", *sorted([*STAGES, RUN_FILE])]


def test_only_what_an_option_touches_is_made_anew(tmp_path: Path, options: Options) -> None:
    train(tmp_path / "anna", options, Stages())
    for changed, expected in (
        (replace(options, subject="Anna"), ["bake", "evaluate"]),
        (replace(options, subject="Anna", road="neural"), ["train", "bake", "evaluate"]),
        (replace(options, subject="Anna", road="neural", threads=7), []),
        (replace(options, subject="Anna", road="neural", preset="full"), list(STAGES)),
    ):
        again = Stages()
        train(tmp_path / "anna", changed, again)
        assert again.ran == expected


def test_another_head_file_is_another_fit(tmp_path: Path, options: Options) -> None:
    head = tmp_path / "head.safetensors"
    head.write_bytes(b"one")
    train(tmp_path / "anna", replace(options, head=head), Stages())
    head.write_bytes(b"two")
    again = Stages()
    train(tmp_path / "anna", replace(options, head=head), again)
    assert again.ran == ["fit", "train", "bake", "evaluate"]


def test_a_missing_result_is_made_anew(tmp_path: Path, options: Options) -> None:
    run = train(tmp_path / "anna", options, Stages())
    run.avatar.unlink()
    again = Stages()
    train(tmp_path / "anna", options, again)
    assert again.ran == ["bake", "evaluate"]


def test_another_avatar_in_its_place_is_made_anew(tmp_path: Path, options: Options) -> None:
    """As a kill leaves it that hits bake --force after the avatar took its place."""
    run = train(tmp_path / "anna", options, Stages())
    run.avatar.write_bytes(b"another avatar")
    again = Stages()
    train(tmp_path / "anna", options, again)
    assert again.ran == ["bake", "evaluate"]


@pytest.mark.parametrize("stage", STAGES)
def test_what_was_made_from_an_earlier_edition_is_stale(tmp_path: Path, options: Options, stage: str) -> None:
    run = train(tmp_path / "anna", options, Stages())
    after = list(STAGES[STAGES.index(stage) + 1 :])
    with run.locked():
        run_stages(run, options, [stage], Progress(), True, Stages().load)
        for later in after[1:]:
            with pytest.raises(TrainingError, match=f"needs the stage {after[0]}, which was made of something else"):
                run_stages(run, options, [later], Progress(), load=Stages().load)
    again, third = Stages(), Stages()
    train(tmp_path / "anna", options, again)
    train(tmp_path / "anna", options, third)
    assert (again.ran, third.ran) == (after, [])


def test_a_stage_that_failed_anew_leaves_the_later_ones_fresh(tmp_path: Path, options: Options) -> None:
    run = train(tmp_path / "anna", options, Stages())
    with run.locked(), pytest.raises(TrainingError, match="no"):
        run_stages(run, options, ["fit"], Progress(), True, Stages("fit", TrainingError("no")).load)
    again = Stages()
    train(tmp_path / "anna", options, again)
    assert again.ran == []


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), TrainingError("no")])
def test_what_fails_leaves_the_earlier_state(tmp_path: Path, options: Options, error: BaseException) -> None:
    train(tmp_path / "anna", options, Stages())
    before = json.loads((tmp_path / "anna" / RUN_FILE).read_text(encoding="utf-8"))["stages"]
    with pytest.raises(type(error)):
        train(tmp_path / "anna", replace(options, preset="full"), Stages("fit", error))
    run = RunDir(tmp_path / "anna")
    assert (run.folder("fit") / "result").read_text(encoding="ascii") == "fit of quick"
    assert run.record("fit") == before["fit"]
    assert not list(run.path.glob("*.partial"))
    again = Stages()
    train(tmp_path / "anna", replace(options, preset="full"), again)
    assert again.ran == ["fit", "train", "bake", "evaluate"]


def test_a_full_disk_is_said_and_leaves_the_earlier_state(tmp_path: Path, options: Options) -> None:
    train(tmp_path / "anna", options, Stages())
    with pytest.raises(MachineError, match="No room is left"):
        train(tmp_path / "anna", replace(options, road="neural"), Stages("train", OSError(errno.ENOSPC, "No space left on device")))
    again = Stages()
    train(tmp_path / "anna", options, again)
    assert again.ran == [], "back to the earlier options, everything is still there"


KILLED = """
import os, signal, sys
from pathlib import Path
from training.pipeline import prepare, run_stages
from training.progress import Progress
from training.run_dir import RunDir
from training.stages import STAGES, Options

def load(name):
    def run(run, options, progress):
        (run.folder(name) / "result").write_text(name)
        (run.scratch(name) / "steps").write_text("7")
        if name == "fit":
            if sys.argv[3] == "hang":
                print("hanging", flush=True)
                signal.pause()
            os.kill(os.getpid(), signal.SIGKILL)
    return run

run, options = RunDir(Path(sys.argv[1])), Options(Path(sys.argv[2]))
with run.locked():
    prepare(run, options, False)
    run_stages(run, options, STAGES, Progress(), load=load)
"""


def other_process(path: Path, options: Options, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path), str(options.clip), how]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, options: Options) -> None:
    with other_process(tmp_path / "anna", options, "kill") as process:
        assert process.wait(60) == -signal.SIGKILL
    run = RunDir(tmp_path / "anna")
    assert (run.record("dataset")["state"], run.record("fit")["state"], run.record("train")["state"]) == ("done", "running", "missing")
    assert (run.scratch("fit") / "steps").read_text(encoding="ascii") == "7", "a stage may go on from its scratch folder"
    again = Stages()
    run = train(tmp_path / "anna", options, again)
    assert again.ran == ["fit", "train", "bake", "evaluate"]
    assert not list(run.path.glob("*.scratch")) + list(run.path.glob("*.partial"))


@pytest.mark.parametrize("change", ["preset", "edition"])
def test_a_scratch_folder_of_another_making_is_emptied(tmp_path: Path, options: Options, change: str) -> None:
    with other_process(tmp_path / "anna", options, "kill") as process:
        process.wait(60)

    def load(name: str) -> Stage:
        def run(run: RunDir, options: Options, progress: Progress) -> None:
            assert not (run.scratch(name) / "steps").exists()

        return run

    run = RunDir(tmp_path / "anna")
    with run.locked():
        changed = replace(options, preset="full") if change == "preset" else options
        prepare(run, changed, False)
        run_stages(run, changed, STAGES[:2], Progress(), change == "edition", load)


def test_two_processes_do_not_share_a_folder(tmp_path: Path, options: Options) -> None:
    with other_process(tmp_path / "anna", options, "hang") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "hanging\n"
            with pytest.raises(MachineError, match=f"in use by another run .process {process.pid}."):
                train(tmp_path / "anna", options, Stages())
        finally:
            process.kill()
    train(tmp_path / "anna", options, Stages())


def interrupted(run: RunDir) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["before run.json", "after the old folder went"])
def test_a_kill_between_the_renames_is_seen(tmp_path: Path, options: Options, moment: str) -> None:
    """As at --force, where fingerprints are those of the edition before."""
    run = train(tmp_path / "anna", options, Stages())
    if moment == "before run.json":
        with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch, run.work("fit", run.record("fit")["fingerprint"]):
            patch.setattr(RunDir, "_write", interrupted)
    else:
        (run.path / "fit").rename(run.path / "fit.old")
    again = Stages()
    train(tmp_path / "anna", options, again)
    assert again.ran == ["fit", "train", "bake", "evaluate"]
    assert not (run.path / "fit.old").exists()


def test_another_clip_needs_another_name_or_force(tmp_path: Path, options: Options) -> None:
    train(tmp_path / "anna", options, Stages())
    other = tmp_path / "other.mp4"
    other.write_bytes(b"other pictures")
    with pytest.raises(TrainingError, match=r"another clip.*--force"):
        train(tmp_path / "anna", Options(other), Stages())
    assert options_of(RunDir(tmp_path / "anna")).clip == options.clip
    again = Stages()
    train(tmp_path / "anna", Options(other), again, force=True)
    assert again.ran == list(STAGES)


def test_a_run_of_which_nothing_was_finished_is_nobody_s(tmp_path: Path, options: Options) -> None:
    with pytest.raises(TrainingError, match="no face"):
        train(tmp_path / "anna", options, Stages("dataset", TrainingError("no face")))
    better = tmp_path / "better.mp4"
    better.write_bytes(b"better pictures")
    again = Stages()
    train(tmp_path / "anna", Options(better), again)
    assert again.ran == list(STAGES)


def test_the_same_clip_elsewhere_is_the_same_clip(tmp_path: Path, options: Options) -> None:
    train(tmp_path / "anna", options, Stages())
    moved = options.clip.rename(tmp_path / "moved.mp4")
    again = Stages()
    train(tmp_path / "anna", Options(moved), again)
    assert again.ran == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"version": 99, "about": {}, "stages": {}, "running": {}}', "of version 99"),
        ("{half a fi", "is not the run.json"),
        ("[]", "is not the run.json"),
        ('{"version": 1, "about": {}, "stages": {"dance": {}}, "running": {}}', "damaged"),
    ],
)
def test_a_folder_of_another_kind_is_refused_and_left_alone(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "anna" / RUN_FILE
    path.parent.mkdir()
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TrainingError, match=message):
        RunDir(path.parent)
    assert path.read_text(encoding="utf-8") == content


def test_options_come_back_from_the_folder(tmp_path: Path, options: Options) -> None:
    train(tmp_path / "anna", replace(options, road="neural", subject="Anna"), Stages())
    run = RunDir(tmp_path / "anna")
    assert options_of(run) == replace(options, road="neural", subject="Anna")
    assert options_of(run, preset="full", subject=None) == replace(options, road="neural", subject="Anna", preset="full")
    with pytest.raises(TrainingError, match="no run yet"):
        options_of(RunDir(tmp_path / "nobody"))


def test_a_stage_needs_the_ones_before_it(tmp_path: Path, options: Options) -> None:
    run = RunDir(tmp_path / "anna")
    with run.locked():
        prepare(run, options, False)
        with pytest.raises(TrainingError, match="train needs the stage dataset, which has not been run"):
            run_stages(run, options, ["train"], Progress(), load=Stages().load)
        run_stages(run, options, ["dataset"], Progress(), load=Stages().load)
        with pytest.raises(TrainingError, match="fit needs the stage dataset, which was made of something else"):
            run_stages(run, replace(options, preset="full"), ["fit"], Progress(), load=Stages().load)


def test_fingerprints_chain(tmp_path: Path, options: Options) -> None:
    run = RunDir(tmp_path / "anna")
    prepare(run, options, False)
    plain, named = fingerprints(run, options), fingerprints(run, replace(options, subject="Anna"))
    assert len(set(plain.values())) == len(STAGES)
    assert [stage for stage in STAGES if plain[stage] != named[stage]] == ["bake", "evaluate"]


def test_reports_outside_a_run_are_kept_too(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "anna")
    run.report("evaluate", psnr=31.5)
    run.report("evaluate", ssim=0.9)
    assert RunDir(tmp_path / "anna").record("evaluate")["values"] == {"psnr": 31.5, "ssim": 0.9}
    assert run.record("fit") == {"state": "missing", "values": {}}


def test_run_json_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path / "anna")
    run.report("fit", error_px=1.0)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        run.report("fit", error_px=2.0)
    assert RunDir(tmp_path / "anna").record("fit")["values"] == {"error_px": 1.0}
    assert [path.name for path in run.path.iterdir()] == [RUN_FILE]
