"""Training run by another program (the studio): what it does, as lines of JSON, with preview pictures; and it never outlives the one that asked for it.

Lines on standard output, each one JSON object; others are for people:
    {"stage": "fit", "step": "registration", "share": 0.42}      share of the whole run, 0…1, never falling
    {"preview": 3}                                               previews/0003.jpg of the run's folder is there, whole
    {"note": "…"}
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from training.pictures import write_bytes
from training.progress import Progress

PREVIEWS = "previews"
QUALITY = 85
EVERY_S = 0.25
"""Shortest time between two lines of one step."""
STEPS = {
    "dataset": {"looking for the face": (5, 1), "cutting out the head": (5, 1), "matting": (4, 1)},
    "fit": {"keyframes": (4, 1), "identity": (4, 1), "pose and expression": (4, 1), "registration": (36, 8), "overlay video": (6, 1)},
    "train": {"texture, bust, background": (6, 1)},
    "bake": {"registration for live use": (4, 1)},
    "evaluate": {"live tracking": (8, 1), "judging held-out frames": (8, 1)},
}
"""Of every stage its steps: about how many seconds of a quick run each takes in all, and how often it comes (docs/benchmarks.md)."""
TOTAL = sum(seconds for steps in STEPS.values() for seconds, _ in steps.values())


class JsonProgress(Progress):
    """Writes to a stream; pictures go into the folder `previews`, the newest with the highest number.

    Args:
        stream: one JSON object a line.
        previews: made when the first picture comes.
        clock: seconds.
    """

    def __init__(self, stream: TextIO, previews: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._previews, self._clock = stream, previews, clock
        self._stage = self._step = ""
        self._before = self._weight = self._share = 0.0
        self._total = self._done = 0
        self._told = 0.0
        self._pictures = max((int(path.stem) for path in previews.glob("[0-9]*.jpg")), default=0)

    def stage(self, name: str, number: int, count: int) -> None:
        names = list(STEPS)
        self._stage, self._step = name, ""
        self._before = sum(seconds for earlier in names[: names.index(name)] for seconds, _ in STEPS[earlier].values())
        self._weight, self._total, self._done = 0.0, 0, 0
        self._tell()

    def start(self, label: str, total: int) -> None:
        self._before += self._weight
        seconds, times = STEPS.get(self._stage, {}).get(label, (0, 1))
        self._step, self._weight, self._total, self._done = label, seconds / times, max(total, 0), 0
        self._tell()

    def advance(self, n: int = 1) -> None:
        self._done += n
        if self._clock() - self._told >= EVERY_S:
            self._tell()

    def note(self, text: str) -> None:
        self._say({"note": text})

    def picture(self, make: Callable[[], NDArray[np.uint8]]) -> None:
        import cv2

        self._pictures += 1
        done, content = cv2.imencode(".jpg", cv2.cvtColor(make(), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        self._previews.mkdir(parents=True, exist_ok=True)
        write_bytes(self._previews / f"{self._pictures:04d}.jpg", content.tobytes())
        self._say({"preview": self._pictures})

    def _tell(self) -> None:
        self._told = self._clock()
        within = min(self._done / self._total, 1.0) if self._total else 0.0
        self._share = max(self._share, min((self._before + self._weight * within) / TOTAL, 1.0))
        self._say({"stage": self._stage, "step": self._step, "share": round(self._share, 4)})

    def _say(self, message: dict[str, object]) -> None:
        print(json.dumps(message, ensure_ascii=True), file=self._stream, flush=True)


def end_with(descriptor: int) -> None:
    """From now on this process and those of its group are killed as soon as that pipe ends, which it does when whoever holds its other end is gone, however
    that came about. Nothing is lost by it but the stage at work (training/run_dir.py)."""

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
