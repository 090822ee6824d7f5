"""How long the live loop takes: every stage alone, and the whole way over WebRTC with a client in another process.

    python -m tests.benchmarks.live_loop --clip ../shared/data/talking_man_512.mp4 [--avatar runs/anna/anna.avatar] --out live_loop.json

JSON out. `stages`: milliseconds in this process, one frame after the other, without WebRTC. `live`: a real server (python server.py) and a real clip at 30
frames a second, as its own statistics saw the last 300 frames; `latency_ms` is what the server adds, from a decoded frame to the avatar frame that is handed
to the encoder. Driven by its own person an avatar from a video has one stage more, `refine`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as server.py does

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import av
import numpy as np

from realtime.gallery import SHIPPED, Gallery, identifier, scan
from realtime.packets import VideoPacket
from realtime.reenactor import StageFactory, load_avatar
from tests.benchmarks.report import emit, machine, percentiles
from tests.processes import server_process
from tests.serving import ROOT, client

SKIPPED_FRAMES = 15


def time_stages(clip: Path, size: int, frames: int, avatar: Path | None) -> dict[str, Any]:
    """Every stage, frame after frame, as fast as they come."""
    gallery = Gallery(scan([SHIPPED] if avatar is None else [avatar.parent], date.today()), None if avatar is None else identifier(avatar.stem), load_avatar)
    factory = StageFactory(gallery.load, gallery.default_id, size)
    begin = time.perf_counter()
    factory.warm()
    warm_s = time.perf_counter() - begin
    reenactor = factory.create(gallery.default_id)
    times: dict[str, list[float]] = defaultdict(list)
    with av.open(str(clip)) as container:
        for index, frame in zip(range(frames + SKIPPED_FRAMES), container.decode(video=0), strict=False):
            begin = time.perf_counter()
            image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            converted = time.perf_counter()
            rendered = reenactor.step(VideoPacket(image, index / 30, index / 30))
            end = time.perf_counter()
            if index >= SKIPPED_FRAMES:
                for name, value in {"convert": (converted - begin) * 1e3, **rendered.stage_ms, "sum": (end - begin) * 1e3}.items():
                    times[name].append(value)
    reenactor.close()
    return {"frames": len(times["sum"]), "warm_s": round(warm_s, 2), "ms": {name: percentiles(values) for name, values in times.items()}}


async def time_live(clip: Path, size: int, seconds: float, codec: str, avatar: Path | None) -> dict[str, Any]:
    """The whole way: the server's own statistics, and what the client saw."""
    begin = time.perf_counter()
    chosen = () if avatar is None else ("--avatars-dir", str(avatar.parent), "--avatar", identifier(avatar.stem))
    async with server_process("server.py", "--size", str(size), *chosen) as server:
        ready_s = time.perf_counter() - begin
        report = await client(server.url, "--clip", str(clip), "--seconds", str(seconds), "--codec", codec)
        code, errors = await server.stop()
    stats = report["stats"]
    received = [at for at, *_ in report["received"]]
    late = [at for at in received if at - received[0] > 2.0]
    return {
        "codec": codec,
        "ready_s": round(ready_s, 2),
        "fps_sent": round((len(report["sent"]) - 1) / (report["sent"][-1][1] - report["sent"][0][1]), 1),
        "fps_received": round((len(late) - 1) / (late[-1] - late[0]), 1),
        "gap_ms": percentiles([float(gap) * 1e3 for gap in np.diff(late)]),
        **{name: stats[name] for name in ("fps_in", "fps_out", "dropped", "errors", "stage_ms", "queue_age_ms", "latency_ms")},
        "exit_code": code,
        "complaints": errors.splitlines()[:5],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Times the live loop; prints JSON.")
    parser.add_argument("--clip", type=Path, default=ROOT.parent / "shared" / "data" / "talking_man_512.mp4")
    parser.add_argument("--avatar", type=Path, help="an avatar file; without it the default avatar")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--codec", choices=("VP8", "H264"), default="VP8")
    parser.add_argument("--out", type=Path, help="file for the JSON, beside standard output")
    options = parser.parse_args()
    for path, flag in ((options.clip, "--clip"), (options.avatar, "--avatar")):
        if path is not None and not path.is_file():
            print(f"{path} is not here; name a file with {flag}", file=sys.stderr)
            return 2
    avatar = None if options.avatar is None else options.avatar.resolve()
    result = {
        "machine": machine(),
        "clip": options.clip.name,
        "avatar": None if avatar is None else avatar.name,
        "size": options.size,
        "stages": time_stages(options.clip, options.size, options.frames, avatar),
        "live": asyncio.run(time_live(options.clip, options.size, options.seconds, options.codec, avatar)),
    }
    emit(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
