"""How long the renderer takes: every pass alone, and the whole picture.

    python -m tests.benchmarks.render --avatar assets/avatars/mara.avatar --size 512 --threads 2 --out render.json

JSON out. `passes`: wall-clock milliseconds of each pass on all threads, each waited for; `frame`: `AvatarRenderer.render_i420`, which waits less often;
`frame_cpu`: processor time of a frame, summed over the threads, the figure to compare where other programs keep the machine busy.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.avatar_file import read_avatar
from models.baked import BakedAvatar, bake
from models.head import HeadParams
from models.kernels import Bands
from models.passes import Passes
from models.yuv import planes, to_i420
from realtime.backgrounds import backdrop
from realtime.renderer import AvatarRenderer
from tests.benchmarks.report import emit, machine, percentiles
from tests.tiny_avatar import tiny_avatar

BUSY_SHAPES = 0.1


def motion(avatar: BakedAvatar, frames: int) -> Iterator[HeadParams]:
    """A head that turns and talks: half of the expression is a little active, as a tracker has it."""
    neutral = avatar.neutral()
    count = len(neutral.expression)
    for index in range(frames):
        turn = np.array([0.08 * np.sin(index / 7), 0.3 * np.sin(index / 11), 0.05 * np.sin(index / 5)], np.float32)
        expression = (BUSY_SHAPES * (np.arange(count) % 2) * (1.0 + np.sin(index / 3 + np.arange(count)))).astype(np.float32)
        yield replace(neutral, rotation=turn, expression=expression)


def time_passes(avatar: BakedAvatar, size: int, threads: int, frames: int) -> dict[str, Any]:
    """Milliseconds of each pass, alone on all threads."""
    bands = Bands(threads)
    passes = Passes(avatar, size, threads)
    behind, out = backdrop("gradient", size), np.zeros((size, size, 3), np.uint8)
    i420 = np.zeros((size * 3 // 2, size), np.uint8)

    def compose(part: int) -> None:
        out[passes.rows[part] : passes.rows[part + 1]] = behind[passes.rows[part] : passes.rows[part + 1]]

    steps: dict[str, Callable[[int], None]] = {
        "pose": passes.pose,
        "prepare": passes.prepare,
        "light": passes.light,
        "raster": passes.rasterize,
        "find_edges": passes.find,
        "backdrop": compose,
        "shade": lambda part: passes.shade(part, False, out),
        "resolve_edges": lambda part: passes.resolve(part, False, out),
        "overlay": lambda part: passes.overlay(part, False, out),
        "i420": lambda part: to_i420(out, passes.rows[part], passes.rows[part + 1], *planes(i420)),
    }
    times: dict[str, list[float]] = defaultdict(list)
    for params in motion(avatar, frames):
        begin = time.perf_counter()
        passes.begin(avatar.pose_of(params))
        times["joints"].append((time.perf_counter() - begin) * 1e3)
        for name, step in steps.items():
            begin = time.perf_counter()
            bands.run(step)
            times[name].append((time.perf_counter() - begin) * 1e3)
        passes.balance()
    bands.close()
    covered, edges = int((passes.face_id >= 0).sum()), int((passes.edges.slot >= 0).sum())
    return {"ms": {name: percentiles(values[5:]) for name, values in times.items()}, "covered_px": covered, "edge_px": edges}


def time_frames(avatar: BakedAvatar, size: int, threads: int, frames: int) -> dict[str, Any]:
    """The whole picture, as the live loop asks for it."""
    renderer = AvatarRenderer(avatar, size, threads)
    begin = time.perf_counter()
    renderer.warm_up()
    warm_s = time.perf_counter() - begin
    wall, cpu = [], []
    for params in motion(avatar, frames):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        renderer.render_i420(params, "gradient", False)
        wall.append((time.perf_counter() - begin) * 1e3)
        cpu.append((time.process_time() - begin_cpu) * 1e3)
    renderer.close()
    return {"warm_up_s": round(warm_s, 2), "frame_ms": percentiles(wall), "frame_cpu_ms": percentiles(cpu)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Times the renderer; prints JSON.")
    parser.add_argument("--avatar", type=Path, help="an avatar file; without it a ball with eyes of about the same size")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--out", type=Path, help="file for the JSON, beside standard output")
    options = parser.parse_args()
    avatar = bake(read_avatar(options.avatar) if options.avatar else tiny_avatar(76))
    frames = time_frames(avatar, options.size, options.threads, options.frames)
    result = {
        "machine": machine(),
        "avatar": avatar.card.name,
        "vertices": len(avatar.base),
        "triangles": len(avatar.faces),
        "size": options.size,
        "threads": options.threads,
        **frames,
        "passes": time_passes(avatar, options.size, options.threads, options.frames),
    }
    emit(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
