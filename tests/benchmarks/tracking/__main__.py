"""How good the driving signal is: against rendered truth, on real clips, held still, and read off the avatar's own pictures. Prints JSON.

    python -m tests.benchmarks.tracking [--quick] [--parts truth real steady puppet] [--out FILE] [--curves FOLDER]

One core is enough: OMP_NUM_THREADS=1. What is measured and how: docs/tracking.md. `--curves` writes the plots of docs/tracking/.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.head import load_head
from realtime.reenactor import HEAD
from tests.benchmarks.report import emit, machine
from tests.benchmarks.tracking import puppet, real, steady, truth
from tests.benchmarks.tracking.curves import write_curves
from tests.faces import Image, moving_portrait

PARTS = ("truth", "real", "steady", "puppet")
CURVES = {("talking_man_512", "mara"), ("expressive_woman_512", "mara")}
PUPPET_CLIPS = ("talking_man_512", "expressive_woman_512")
STILL_AT = 60
STILL_HEIGHT = 960
ABSENT = "no clip in ../shared/data"


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    people: int
    scale: float
    """Of ten seconds of each rendered clip."""
    frames: int | None
    """Of each real clip; None: all."""
    still_frames: int
    read_every: int
    avatars: tuple[str, ...]


FULL = Effort(4, 1.0, None, 120, 2, puppet.AVATARS)
QUICK = Effort(2, 0.34, 125, 30, 4, puppet.AVATARS[:1])


def on_clips(effort: Effort, parts: list[str], curves: Path | None) -> dict[str, Any]:
    """The parts that need real footage."""
    head, clips = load_head(HEAD), real.present(effort.frames)
    followed = {name: (real.follow(head, frames, fps), fps) for name, (frames, fps) in clips.items()}
    report: dict[str, Any] = {}
    if "real" in parts:
        report["real"] = real.measure(followed) if clips else ABSENT
    if "puppet" in parts:
        report["puppet"] = {} if clips else ABSENT
        for name in PUPPET_CLIPS:
            if name in clips:
                clip, fps = followed[name]
                report["puppet"][name], signals = puppet.measure(head, clips[name][0], clip, fps, effort.read_every, effort.avatars)
                for avatar in effort.avatars:
                    if curves is not None and (name, avatar) in CURVES:
                        write_curves(curves / f"{name.removesuffix('_512')}-{avatar}.svg", signals["driver"], signals[avatar], avatar)
    return report


def still(effort: Effort) -> dict[str, Any]:
    """Jitter of one frame of each clip, or of a portrait where there is none; delays of the filters."""
    frames = {name: clip[0][-1] for name, clip in real.present(STILL_AT).items()} or {"portrait": moving_portrait(1)[0]}
    chosen = list(frames.items())[: effort.people]
    return {"jitter": {name: steady.jitter(_small(frame), effort.still_frames) for name, frame in chosen}, "delays": steady.delays()}


def _small(frame: Image) -> Image:
    """At most STILL_HEIGHT pixels high."""
    shrink = min(1.0, STILL_HEIGHT / frame.shape[0])
    return np.asarray(cv2.resize(frame, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tracking", description="Measures the driving signal and prints JSON.")
    parser.add_argument("--quick", action="store_true", help="two people, five seconds of each clip, one avatar")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    parser.add_argument("--curves", type=Path, help="write plots of driver and avatar into this folder")
    options = parser.parse_args()
    effort, start = (QUICK if options.quick else FULL), time.monotonic()
    report: dict[str, Any] = {"benchmark": "tracking", "quick": options.quick}
    if "truth" in options.parts:
        report["truth"] = truth.measure(effort.scale, effort.people)
    if "steady" in options.parts:
        report["steady"] = still(effort)
    if {"real", "puppet"} & set(options.parts):
        report |= on_clips(effort, options.parts, options.curves)
    emit(report | {"seconds": round(time.monotonic() - start), "machine": machine()}, options.out)


if __name__ == "__main__":
    main()
