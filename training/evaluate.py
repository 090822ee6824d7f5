"""The evaluate stage: the held-out frames, rendered as the offline fit drives the avatar and as the live loop does, against the real ones."""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar
from models.head import load_head
from models.landmarker import FaceLandmarker
from models.weights import weight_path
from training import driving
from training.clip import Clip, load_clip
from training.driving import Drive
from training.errors import TrainingError
from training.fitted import Fitted
from training.judging import Scores, Stage, Tally, Views, judge, judge_picture
from training.metrics import NO_FLIP, FlipMap, LandmarkEye, flip_map, landmark_figures
from training.pictures import VideoWriter, beside, difference, grid, write_bytes, write_png
from training.progress import Progress
from training.regions import RegionFinder
from training.rendering import static_texture
from training.run_dir import RunDir
from training.stages import Options

Picture = NDArray[np.uint8]
Float = NDArray[np.float32]
OPEN_HEAD = Path(__file__).resolve().parents[1] / "assets" / "open_head.safetensors"
METRICS, SHEET, VIDEO, WORST = "metrics.json", "sheet.png", "side_by_side.mp4", "worst.png"
DRIVEN = ("offline", "live")
WAYS = (*DRIVEN, "static", "mean_frame")
EVERY = {"quick": 2, "full": 1}
FLIP_FRAMES = {"quick": 3, "full": 16}
"""FLIP takes a third of a second a picture: so many frames, evenly spread."""
MEAN_OF_FRAMES = 60
SHEET_FRAMES, SHEET_PX = 6, 320
WORST_FRAMES = 6
CURVES = ("full", "head_box", "mouth", "eyes", "black", "clean")


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame as it is laid before people."""

    real: Picture
    offline: Picture
    live: Picture


def run(run: RunDir, options: Options, progress: Progress) -> None:
    """Judges `run.avatar` on the clip's held-out frames; writes metrics.json, sheet.png, worst.png and side_by_side.mp4.

    Raises:
        TrainingError: there are no held-out frames, or the live stages could not be run.
    """
    clip = load_clip(run.folder("dataset"))
    fitted = Fitted.load(run.folder("fit") / "fit.npz")
    file = read_avatar(run.avatar)
    held_out = np.flatnonzero(clip.held_out)
    if not len(held_out):
        raise TrainingError("The dataset keeps no frames to judge the avatar by (held_out is false for all). Make it again with the dataset stage.")
    live = driving.live(run.folder("dataset") / "frames.npy", run.avatar, progress, clip.pts_s)
    head = load_head(options.head or OPEN_HEAD)
    drives = {"offline": driving.offline(fitted, clip.pts_s, head.expression_names, file.expression_names), "live": live}
    finder = RegionFinder(head, fitted, clip)
    folder = run.folder("evaluate")
    bench = Bench(file, fitted.focal, clip, drives, finder, LandmarkEye(FaceLandmarker(weight_path("face_landmarker.task"), 1)))
    judged = set(held_out[:: EVERY[options.preset]].tolist())
    flip = flip_map()
    with_flip = set(_spread(sorted(judged), FLIP_FRAMES[options.preset])) if flip else set()
    progress.start("judging held-out frames", len(held_out))
    with ThreadPoolExecutor(options.threads) as pool, _video(folder / VIDEO, clip, held_out) as video:
        for frame in held_out.tolist():
            shown = bench.judge(frame, pool, flip if frame in with_flip else None) if frame in judged else bench.show(frame)
            panels = (("real", shown.real), ("AI avatar, offline fit", shown.offline), ("AI avatar, live tracking", shown.live))
            video.write(beside(panels), float(clip.pts_s[frame] - clip.pts_s[held_out[0]]))
            progress.advance()
    write_png(folder / SHEET, _sheet(bench, _spread(sorted(judged), SHEET_FRAMES)))
    write_png(folder / WORST, _worst_sheet(bench))
    bench.close()
    metrics = bench.metrics() | {"held_out_frames": len(held_out), "notes": [] if flip else [NO_FLIP]}
    write_bytes(folder / METRICS, json.dumps(metrics, indent=1).encode())
    run.report("evaluate", **{name: value for name, value in metrics.items() if name != "curves"})


class Bench:
    """Judges frames in the order of time, and remembers what came of it: figures of all frames, pictures of the worst."""

    def __init__(self, file: AvatarFile, focal: float, clip: Clip, drives: dict[str, Drive], finder: RegionFinder, eye: LandmarkEye) -> None:
        fit_camera = replace(file, camera=replace(file.camera, focal=focal, principal=(0.0, 0.0)))
        size = clip.size
        self._clip, self._drives, self._finder, self._eye = clip, drives, finder, eye
        self._stages = {"offline": Stage(fit_camera, size), "live": Stage(file, size), "static": Stage(static_texture(fit_camera), size)}
        self._mean = mean_frame(clip)
        self._tallies = {way: Tally() for way in WAYS}
        self._landmarks: dict[str, list[Float | None]] = {name: [] for name in ("real", *DRIVEN)}
        self._frames: list[int] = []
        self._worst: list[tuple[float, int, Shown]] = []

    def show(self, frame: int) -> Shown:
        """Only the pictures."""
        full = {way: self._stages[way].full(self._drives[way].params(frame)) for way in DRIVEN}
        return Shown(np.array(self._clip.frames[frame]), full["offline"], full["live"])

    def judge(self, frame: int, pool: ThreadPoolExecutor, flip: FlipMap | None) -> Shown:
        """The pictures; the figures go into the tallies."""
        real = np.array(self._clip.frames[frame])
        regions = self._finder.find(frame)

        def work(way: str) -> tuple[Scores, Views]:
            drive = self._drives.get(way, self._drives["offline"])
            views = self._stages[way].views(drive.params(frame), real)
            return judge(real, views, regions, flip if way in DRIVEN else None), views

        results = dict(zip(self._stages, pool.map(work, self._stages), strict=True))
        for way, (scores, _) in results.items():
            self._tallies[way].add(scores)
        self._tallies["mean_frame"].add(judge_picture(real, self._mean, regions))
        shown = Shown(real, results["offline"][1].full, results["live"][1].full)
        self._frames.append(frame)
        self._look(frame, shown)
        head = results["live"][0].scores.get("head_box")
        if head is not None:
            heapq.heappush(self._worst, (-head.psnr, frame, shown))
            if len(self._worst) > WORST_FRAMES:
                heapq.heappop(self._worst)
        return shown

    def _look(self, frame: int, shown: Shown) -> None:
        near = self._clip.landmarks[frame]
        found = self._eye.look(shown.real, near)
        self._landmarks["real"].append(near if found is None else found)
        for way, picture in (("offline", shown.offline), ("live", shown.live)):
            self._landmarks[way].append(self._eye.look(picture, near))

    @property
    def worst(self) -> list[tuple[int, float, Shown]]:
        """(frame, PSNR of the head box when driven live, pictures), the worst first."""
        return [(frame, -score, shown) for score, frame, shown in sorted(self._worst, key=lambda entry: -entry[0])]

    def metrics(self) -> dict[str, Any]:
        """Everything that was measured, as JSON values."""
        real = [points for points in self._landmarks["real"] if points is not None]
        landmarks = {way: landmark_figures(real, self._landmarks[way]) for way in DRIVEN}
        means = {way: tally.means() for way, tally in self._tallies.items()}
        live = self._drives["live"]
        return {
            "frames_judged": len(self._frames),
            "size_px": self._clip.size,
            "held_out": {way: means[way] for way in DRIVEN},
            "baselines": {way: means[way] for way in WAYS if way not in DRIVEN},
            "landmarks": {way: None if figures is None else _rounded(asdict(figures)) for way, figures in landmarks.items()},
            "live": {"stage_ms": stage_times(live), "tracking": {word: live.tracking.count(word) for word in sorted(set(live.tracking))}},
            "worst": [
                {"frame": frame, "pts_s": round(float(self._clip.pts_s[frame]), 3), "live_head_box_psnr": round(score, 3)} for frame, score, _ in self.worst
            ],
            "curves": {
                "frame": self._frames,
                "pts_s": [round(float(self._clip.pts_s[frame]), 4) for frame in self._frames],
                **{way: {region: self._tallies[way].curve(region) for region in CURVES} for way in DRIVEN},
            },
        }

    def close(self) -> None:
        for stage in self._stages.values():
            stage.close()


def mean_frame(clip: Clip) -> Picture:
    """(S, S, 3): the mean of up to 60 training frames; what somebody scores who learned nothing."""
    chosen = _spread(clip.training.tolist(), MEAN_OF_FRAMES)
    total = np.zeros((clip.size, clip.size, 3), np.float64)
    for frame in chosen:
        total += clip.frames[frame]
    return np.rint(total / max(len(chosen), 1)).astype(np.uint8)


def stage_times(drive: Drive) -> dict[str, dict[str, float]]:
    """Stage → median and 95th percentile in milliseconds."""
    return {
        name: {"median": round(float(np.median(times)), 3), "p95": round(float(np.percentile(times, 95)), 3)}
        for name, times in drive.stage_ms.items()
        if len(times)
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _spread(frames: Sequence[int], count: int) -> list[int]:
    """At most `count` of the frames, evenly spread, first and last among them."""
    if len(frames) <= count:
        return list(frames)
    return [frames[round(place)] for place in np.linspace(0, len(frames) - 1, count)]


def _video(path: Path, clip: Clip, frames: NDArray[np.int64]) -> VideoWriter:
    steps = np.diff(clip.pts_s[frames])
    step = float(np.median(steps)) if len(steps) else 0.04
    panel = beside([("", np.array(clip.frames[frames[0]]))] * 3)
    return VideoWriter(path, Fraction(1.0 / max(step, 1e-3)).limit_denominator(1001), (panel.shape[1], panel.shape[0]))


def _sheet(bench: Bench, frames: Sequence[int]) -> Picture:
    shown = [bench.show(frame) for frame in frames]
    rows = (
        ("Real frames, held out: nothing was learned from them", [each.real for each in shown]),
        ("AI avatar, moved by the offline fit, before its own background", [each.offline for each in shown]),
        ("AI avatar, moved by the live tracker, as in a video call", [each.live for each in shown]),
        ("Difference between real and offline, times 3", [difference(each.real, each.offline) for each in shown]),
    )
    return grid(rows, SHEET_PX)


def _worst_sheet(bench: Bench) -> Picture:
    worst = bench.worst
    scores = ", ".join(f"{score:.1f}" for _, score, _ in worst)
    rows = (
        ("Real frames of the worst held-out pictures, worst first", [shown.real for _, _, shown in worst]),
        (f"AI avatar, live tracker; head box PSNR in dB: {scores}", [shown.live for _, _, shown in worst]),
        ("AI avatar, offline fit", [shown.offline for _, _, shown in worst]),
        ("Difference between real and live, times 3", [difference(shown.real, shown.live) for _, _, shown in worst]),
    )
    return grid(rows, SHEET_PX)
