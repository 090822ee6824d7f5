"""training/supervised.py: what the studio reads of a run, and that a run ends with whoever asked for it."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import talking_head, write_sound, write_video
from training.__main__ import BAD_INPUT, DONE, FAILED, main
from training.supervised import STEPS, JsonProgress

pytestmark = pytest.mark.beside

ROOT = Path(__file__).resolve().parents[1]
OUTLIVING = """
import os, subprocess, sys, time
from training.supervised import end_with
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL)
end_with(0)
print("ready", flush=True)
time.sleep(60)
"""


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_share_only_rises_and_ends_at_one(tmp_path: Path) -> None:
    stream = io.StringIO()
    progress = JsonProgress(stream, tmp_path, lambda: 0.0)
    for number, (stage, steps) in enumerate(STEPS.items(), 1):
        progress.stage(stage, number, len(STEPS))
        for step, (_, times) in steps.items():
            for _ in range(times):
                progress.start(step, 4)
                progress.advance(4)
    progress.start("the last is over", 0)
    told = lines(stream)
    shares = [float(str(line["share"])) for line in told]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == pytest.approx(1.0)
    assert {line["stage"] for line in told} == set(STEPS)


def test_a_picture_is_there_when_it_is_told_of(tmp_path: Path) -> None:
    stream = io.StringIO()
    for number in (1, 2):
        JsonProgress(stream, tmp_path / "previews").picture(lambda: np.full((8, 8, 3), (200, 20, 20), np.uint8))
        assert lines(stream)[-1] == {"preview": number}, "a run that goes on does not paint over its pictures"
    picture = cv2.imread(str(tmp_path / "previews" / "0002.jpg"))
    assert picture is not None
    assert abs(int(picture[4, 4, 2]) - 200) < 8, "RGB in, as RGB out"


def test_it_ends_with_its_standard_input_and_all_that_it_started() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OUTLIVING], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        assert process.wait(10) == -signal.SIGKILL
        assert process.stdout.read() == "", "the child, which holds the pipe too, is gone"


def test_check_and_probe_speak_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_video(tmp_path / "clip.mp4", talking_head("mara", 54), ticks_ms=[60 * frame for frame in range(54)])
    assert main(["probe", str(clip)]) == DONE
    assert json.loads(capsys.readouterr().out) == {"width": 320, "height": 320, "seconds": pytest.approx(3.24, abs=0.1), "frames": 54}
    assert main(["check", str(clip), "--quiet", "--json"]) == DONE
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding.keys() == {"refuses", "found", "needed", "instead"}
    assert main(["probe", str(write_sound(tmp_path / "sound.mp4"))]) == BAD_INPUT
    assert "no picture track" in capsys.readouterr().err


def test_ready_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HEADCAST_WEIGHTS_DIR", str(tmp_path))
    assert main(["ready"]) == FAILED
    assert "face_landmarker.task" in (said := capsys.readouterr().err)
    assert "make install-train" in said
