"""How long a video takes to become an avatar, and how good it is: all stages, in a process of their own and a folder that is removed afterwards.

    python -m tests.benchmarks.training --clip ../shared/data/talking_man_1080x1920.mp4 --preset quick --out training.json

JSON out. `seconds`: of the whole command, and of each stage; `peak_memory_mib`: the most that a stage held; `held_out` and `baselines`: figures of the frames
that nothing was learned from (docs/training.md).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.report import ROOT, emit, machine

NAME = "bench"
KEPT = ("seconds", "peak_memory_mib", "avatar_bytes", "held_out", "baselines", "landmarks", "frames_judged")


def train(clip: Path, preset: str, road: str, threads: int | None, runs: Path) -> dict[str, Any]:
    """What the run's report says, and the seconds of the whole command.

    Raises:
        RuntimeError: training failed, with what it said.
    """
    command = [sys.executable, "-m", "training", "all", str(clip), "--name", NAME, "--runs", str(runs), "--preset", preset, "--road", road, "--quiet"]
    begin = time.perf_counter()
    done = subprocess.run([*command, *(() if threads is None else ("--threads", str(threads)))], cwd=ROOT, capture_output=True, text=True)
    elapsed = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"training ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    report = json.loads((runs / NAME / "report.json").read_text(encoding="utf-8"))
    return {"command_seconds": round(elapsed, 1), **{name: report[name] for name in KEPT}}


def main() -> int:
    parser = argparse.ArgumentParser(description="Times and judges training on a clip; prints JSON.")
    parser.add_argument("--clip", type=Path, default=ROOT.parent / "shared" / "data" / "talking_man_1080x1920.mp4")
    parser.add_argument("--preset", choices=("quick", "full"), default="quick")
    parser.add_argument("--road", choices=("auto", "closed-form", "neural"), default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, help="file for the JSON, beside standard output")
    options = parser.parse_args()
    if not options.clip.is_file():
        print(f"{options.clip} is not here; name a clip with --clip", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="headcast-") as folder:
        try:
            result = train(options.clip.resolve(), options.preset, options.road, options.threads, Path(folder))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    emit({"machine": machine(), "clip": options.clip.name, "preset": options.preset, "road": options.road, **result}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
