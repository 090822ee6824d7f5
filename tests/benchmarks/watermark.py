"""How often the invisible mark is found, and how often where it is not.

    python -m tests.benchmarks.watermark --avatars assets/avatars/*.avatar --clips ../shared/data --out watermark.json

Avatars are driven by the clips through the live loop's stages (by a made-up motion where there are none), encoded at 30 frames a second with the live loop's
encoders in one go, decoded, and looked at in windows of two seconds. JSON out. `found`: share of the windows in which the mark was found, with the least score
and the median; `unmarked`: windows of the clips, of avatars without the mark, of noise and of patterns, with the highest score.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_file import read_avatar
from models.baked import BakedAvatar, bake
from models.head import HeadParams
from models.watermark.detect import THRESHOLD, Finding, false_alarm_bound, find
from models.watermark.marker import Marker
from models.yuv import planes, to_i420
from realtime.packets import VideoPacket
from realtime.reenactor import StageFactory
from realtime.renderer import AvatarRenderer
from realtime.rtc.encoder import h264_context, vp8_context
from tests.benchmarks.render import motion
from tests.benchmarks.report import emit, machine

Picture = NDArray[np.uint8]
SIZE, RATE, WINDOW = 512, 30, 60
EVERY = 6
"""Of the frames of a window one in so many is looked at: it takes a sixth of the time, and costs little."""
BACKGROUNDS = ("avatar", "gradient", "green", "checker", "#ffffff", "#202020")
CODECS = tuple(itertools.product(("h264", "vp8"), (1000, 500, 250)))
"""And kbit/s."""


def poses(avatar: BakedAvatar, clips: Sequence[Path], most: int) -> Iterator[HeadParams]:
    """Of the avatar, driven by the clips."""
    for clip in clips:
        driving = StageFactory(lambda _: avatar, "it", SIZE).driving("it")
        for image, at_s in frames_of(clip, most):
            yield driving.step(VideoPacket(image, at_s, 0.0)).pose
    if not clips:
        yield from motion(avatar, most)


def pictures(avatar: BakedAvatar, moves: Iterable[HeadParams], background: str) -> Iterator[Picture]:
    """(SIZE, SIZE, 3), as rendered: no mark yet."""
    renderer = AvatarRenderer(avatar, SIZE, 1)
    for params in moves:
        yield renderer.render(params, background)
    renderer.close()


def frames_of(clip: Path, most: int) -> Iterator[tuple[Picture, float]]:
    with av.open(str(clip)) as container:
        for frame in itertools.islice(container.decode(video=0), most):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), float(frame.time or 0.0)


def i420_of(rgb: Picture, marker: Marker | None) -> Picture:
    out = np.zeros((SIZE * 3 // 2, SIZE), np.uint8)
    to_i420(rgb, 0, SIZE, *planes(out))
    if marker is not None:
        marker.mark_luma(planes(out)[0], 0, SIZE)
    return out


def through(frames: Sequence[Picture], codec: str, kbits: int) -> list[Picture]:
    """Encoded by the live loop's encoder, and decoded."""
    context = (h264_context if codec == "h264" else vp8_context)(SIZE, SIZE, 1000 * kbits)
    decoder = av.CodecContext.create(codec, "r")
    out = []
    for index, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = index * 90_000 // RATE, Fraction(1, 90_000)
        for packet in context.encode(frame):
            out += [np.asarray(each.to_ndarray(format="yuv420p"), np.uint8) for each in decoder.decode(av.Packet(bytes(packet)))]  # type: ignore[attr-defined]
    return out


def windows(frames: Sequence[Picture]) -> list[list[Picture]]:
    """Luma of every two seconds that are whole."""
    return [[planes(frame)[0] for frame in frames[begin : begin + WINDOW : EVERY]] for begin in range(0, len(frames) - WINDOW + 1, WINDOW)]


def scaled(luma: Picture, side: int) -> Picture:
    return np.asarray(cv2.resize(luma, (side, side), interpolation=cv2.INTER_AREA if side < len(luma) else cv2.INTER_LINEAR), np.uint8)


def letterboxed(luma: Picture) -> Picture:
    out = np.full((720, 1280), 16, np.uint8)
    out[:, 280:1000] = scaled(luma, 720)
    return out


def cropped(luma: Picture, share: float) -> Picture:
    """Without so much of its width and height, from the middle, and a bit aside."""
    side, cut = len(luma), round(share * len(luma))
    return luma[cut // 3 : cut // 3 + side - cut, cut // 2 : cut // 2 + side - cut]


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "scaled to 180": lambda luma: scaled(luma, 180),
    "scaled to 256": lambda luma: scaled(luma, 256),
    "scaled to 360": lambda luma: scaled(luma, 360),
    "scaled to 1024": lambda luma: scaled(luma, 1024),
    "letterboxed in 720p": letterboxed,
    "cropped by 10 %": lambda luma: cropped(luma, 0.1),
    "cropped by 20 %": lambda luma: cropped(luma, 0.2),
    "cropped by 40 %": lambda luma: cropped(luma, 0.4),
    "mirrored": lambda luma: luma[:, ::-1],
    "cropped by 20 %, scaled to 480, mirrored": lambda luma: scaled(cropped(luma, 0.2), 480)[:, ::-1],
    "turned by 2 degrees": lambda luma: np.asarray(cv2.warpAffine(luma, cv2.getRotationMatrix2D((256, 256), 2, 1.0), (SIZE, SIZE)), np.uint8),
}


class Tally:
    """Findings by what was done to the pictures."""

    def __init__(self) -> None:
        self._findings: defaultdict[str, list[Finding]] = defaultdict(list)

    def add(self, name: str, finding: Finding) -> None:
        self._findings[name].append(finding)

    def figures(self) -> dict[str, Any]:
        out = {}
        for name, findings in self._findings.items():
            scores = np.array([each.score for each in findings])
            out[name] = {
                "windows": len(findings),
                "found": round(float(np.mean([each.found for each in findings])), 4),
                "score_min": round(float(scores.min()), 2),
                "score_median": round(float(np.median(scores)), 2),
                "score_max": round(float(scores.max()), 2),
            }
        return out


def marked(avatars: Sequence[Path], clips: Sequence[Path], most: int, seed: int) -> dict[str, Any]:
    """Detection, by codec and by what came after it."""
    tally, marker, errors = Tally(), Marker(SIZE), list[float]()
    for index, path in enumerate(avatars):
        avatar = bake(read_avatar(path))
        rendered = [picture.copy() for picture in pictures(avatar, poses(avatar, clips, most), BACKGROUNDS[(index + seed) % len(BACKGROUNDS)])]
        sent = [i420_of(picture, marker) for picture in rendered]
        errors += [float(np.mean((one[:SIZE].astype(float) - i420_of(two, None)[:SIZE]) ** 2)) for one, two in zip(sent[::30], rendered[::30], strict=True)]
        for codec, kbits in CODECS:
            came = through(sent, codec, kbits)
            for window in windows(came):
                tally.add(f"{codec} {kbits} kbit/s", find(window))
            if (codec, kbits) == ("h264", 1000):
                for window in windows(came)[::2]:
                    for name, change in CHANGES.items():
                        tally.add(f"h264 1000 kbit/s, {name}", find(change(luma) for luma in window))
                for window in windows(through(came, "vp8", 1000)):
                    tally.add("h264 1000 kbit/s, then vp8 1000 kbit/s", find(window))
        print(f"{path.stem}: {len(rendered)} frames", file=sys.stderr)
    return {"psnr_luma_db": round(float(10 * np.log10(255**2 / np.mean(errors))), 1), "found": tally.figures()}


def many(avatars: Sequence[Path], clips: Sequence[Path], most: int) -> dict[str, Any]:
    """Detection at 1 Mbit/s alone, in as many windows as there are: every avatar before every background."""
    tally, marker = Tally(), Marker(SIZE)
    for path in avatars:
        avatar = bake(read_avatar(path))
        moves = list(poses(avatar, clips, most))
        for background in BACKGROUNDS:
            for window in windows(through([i420_of(picture, marker) for picture in pictures(avatar, moves, background)], "h264", 1000)):
                tally.add("h264 1000 kbit/s", find(window))
        print(f"{path.stem}: {len(moves)} frames", file=sys.stderr)
    return {"found": tally.figures()}


def unmarked(avatars: Sequence[Path], clips: Sequence[Path], count: int, seed: int) -> dict[str, Any]:
    """What is found where nothing is: `count` windows of each kind that can be made at will, and all of the clips."""
    tally, rng = Tally(), np.random.default_rng(seed)
    for clip in clips:
        held = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image, _ in frames_of(clip, 600)]
        for begin in range(0, len(held) - WINDOW // 2, WINDOW // 4):
            finding = find(np.asarray(luma, np.uint8) for luma in held[begin : begin + WINDOW : 6])
            tally.add("clips", finding)
    for _ in range(count):
        tally.add("noise", find([_noise(rng)]))
        tally.add("patterns", find([_pattern(rng)]))
    for luma in _without_mark(avatars, count, seed):
        tally.add("avatars", find([luma]))
    return tally.figures()


def _noise(rng: np.random.Generator) -> Picture:
    side = int(rng.integers(200, 700))
    noise = rng.normal(0, 1, (side, side)).astype(np.float32)
    blur = float(rng.uniform(0.01, 3.0))
    smooth = cv2.GaussianBlur(noise, (0, 0), blur) if blur > 0.3 else noise
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def _pattern(rng: np.random.Generator) -> Picture:
    """Gratings, checks and grids of any period and angle, which are the most like a periodic mark."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    total = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        angle, period = rng.uniform(0, np.pi), rng.uniform(3, 64)
        wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + rng.uniform(0, 6.3))
        total += np.sign(wave) if rng.random() < 0.5 else wave
    return np.clip(128 + rng.uniform(3, 60) * total + rng.normal(0, rng.uniform(0, 4), total.shape), 0, 255).astype(np.uint8)


def _without_mark(avatars: Sequence[Path], count: int, seed: int) -> Iterator[Picture]:
    """Pictures of avatars as they are before the mark: any pose, every background."""
    for number, path in enumerate(avatars):
        renderer = AvatarRenderer(bake(read_avatar(path)), SIZE, 1)
        share = count * (number + 1) // len(avatars) - count * number // len(avatars)
        for index, params in enumerate(itertools.islice(motion(renderer.avatar, share * (seed + 1)), share * seed, None)):
            yield planes(i420_of(renderer.render(params, BACKGROUNDS[index % len(BACKGROUNDS)], index % 2 > 0), None))[0]
        renderer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures the invisible mark; prints JSON.")
    parser.add_argument("--avatars", type=Path, nargs="+", required=True)
    parser.add_argument("--clips", type=Path, help="folder with square videos of faces; without it avatars move by themselves")
    parser.add_argument("--frames", type=int, default=600, help="at most of each clip (default: 600)")
    parser.add_argument("--unmarked", type=int, default=1000, help="windows of each kind in which there is no mark (default: 1000)")
    parser.add_argument("--marked", type=int, choices=(0, 1), default=1, help="0: only those")
    parser.add_argument("--many", action="store_true", help="x264 at 1 Mbit/s alone, every avatar before every background")
    parser.add_argument("--seed", type=int, default=0, help="of noise and patterns, and the background to begin with")
    parser.add_argument("--out", type=Path, help="file for the JSON, beside standard output")
    options = parser.parse_args()
    clips = [] if options.clips is None else sorted(options.clips.glob("*_512.mp4"))
    result: dict[str, Any] = {"machine": machine(), "avatars": len(options.avatars), "clips": [clip.name for clip in clips], "threshold": THRESHOLD}
    if options.many:
        result |= many(options.avatars, clips, options.frames)
    elif options.marked:
        result |= marked(options.avatars, clips, options.frames, options.seed)
    if options.unmarked:
        result |= {"unmarked": unmarked(options.avatars, clips, options.unmarked, options.seed), "false_alarm_bound": false_alarm_bound()}
    emit(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
