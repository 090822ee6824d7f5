"""One held-out frame, judged: pictures of every way of driving the avatar, and their scores region by region."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.head import HeadParams
from training.metrics import Box, FlipMap, Score
from training.regions import Regions
from training.rendering import HeadRenderer, own_backdrop

Picture = NDArray[np.uint8]
REGIONS = ("full", "head_box", "mouth", "eyes", "black", "clean")
"""full: the whole frame, the avatar with its bust over its own background. head_box, mouth, eyes: the avatar's head drawn over the real frame, so that only the
head is judged; where it is too small the real one shows through, which flatters. black: head alone down to the chin, real and rendered both before black.
clean: the head's box of `full`, where nothing of the real person is behind the avatar: an outline too small costs, and so does another background than the
clip's."""


@dataclass(frozen=True, slots=True)
class Views:
    """What an avatar looks like in one frame, (S, S, 3) each."""

    full: Picture
    over: Picture
    """Its head over the real frame."""
    black: Picture
    """Its head before black."""


class Stage:
    """An avatar before its own background, in front of a camera."""

    def __init__(self, file: AvatarFile, size: int, threads: int = 1) -> None:
        self._renderer = HeadRenderer(file, size, threads)
        self._backdrop = own_backdrop(file, size)
        self._black = np.zeros_like(self._backdrop)

    def full(self, params: HeadParams) -> Picture:
        """The whole avatar over its own background."""
        return self._renderer.render(params, self._backdrop)

    def views(self, params: HeadParams, real: Picture) -> Views:
        """Everything that is judged."""
        over, black = self._renderer.render_over(params, (real, self._black), "head")
        return Views(self.full(params), over, black)

    def close(self) -> None:
        self._renderer.close()


@dataclass(frozen=True, slots=True)
class Scores:
    """Region → score and, where it was measured, FLIP; regions that the frame does not have are absent."""

    scores: dict[str, Score]
    flip: dict[str, float] = field(default_factory=dict)


def judge(real: Picture, views: Views, regions: Regions, flip: FlipMap | None = None) -> Scores:
    """The views of one frame against the real one. FLIP is slow: it is given for some frames only."""
    pairs = _pairs(real, views, regions)
    scores = {name: Score.of(truth, made, box) for name, truth, made, box in pairs}
    if flip is None:
        return Scores(scores)
    return Scores(scores, _flips(flip, pairs))


def _flips(flip: FlipMap, pairs: list[tuple[str, Picture, Picture, Box]]) -> dict[str, float]:
    """Region → mean FLIP. Each picture is measured once, in the head's box; not the whole frame, for FLIP is slow and most of that is background."""
    maps: dict[int, NDArray[np.float32]] = {}
    for name, truth, made, box in pairs:
        if name in ("head_box", "black", "clean"):
            whole = np.zeros(truth.shape[:2], np.float32)
            box.of(whole)[:] = flip(np.ascontiguousarray(box.of(truth)), np.ascontiguousarray(box.of(made)))
            maps[id(made)] = whole
    return {name: float(box.of(maps[id(made)]).mean()) for name, _, made, box in pairs if name != "full" and id(made) in maps}


def _pairs(real: Picture, views: Views, regions: Regions) -> list[tuple[str, Picture, Picture, Box]]:
    size, head = len(real), regions.head_box
    found: list[tuple[str, Picture, Picture, Box | None]] = [
        ("full", real, views.full, Box(0, 0, size, size)),
        ("head_box", real, views.over, head),
        ("mouth", real, views.over, regions.mouth),
        ("eyes", real, views.over, regions.eyes),
        ("black", regions.on_black(real), views.black, head),
        ("clean", real, views.full, head),
    ]
    return [(name, truth, made, box) for name, truth, made, box in found if box is not None]


def judge_picture(real: Picture, made: Picture, regions: Regions) -> Scores:
    """A picture that is no avatar, the same for every frame: only where it can be laid over the real one."""
    boxes = {"full": Box(0, 0, len(real), len(real)), "head_box": regions.head_box, "mouth": regions.mouth, "eyes": regions.eyes}
    return Scores({name: Score.of(real, made, box) for name, box in boxes.items() if box is not None})


class Tally:
    """Means over frames, and the frames' own figures, of one way of making pictures."""

    def __init__(self) -> None:
        self._frames: list[Scores] = []

    def add(self, scores: Scores) -> None:
        self._frames.append(scores)

    def means(self) -> dict[str, dict[str, float]]:
        """Region → figure → mean of the frames' values."""
        table: dict[str, dict[str, float]] = {}
        for region in REGIONS:
            found = [asdict(frame.scores[region]) for frame in self._frames if region in frame.scores]
            flips = [frame.flip[region] for frame in self._frames if region in frame.flip]
            if found:
                table[region] = {figure: round(_mean(value[figure] for value in found), 5) for figure in found[0]}
            if found and flips:
                table[region]["flip"] = round(_mean(flips), 5)
        return table

    def curve(self, region: str) -> list[float | None]:
        """PSNR frame by frame; None where the frame has no such region."""
        return [round(frame.scores[region].psnr, 3) if region in frame.scores else None for frame in self._frames]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
