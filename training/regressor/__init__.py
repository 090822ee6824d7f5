"""`python -m training regressor`: the network that reads a head model's parameters off the tracker's landmarks and coefficients.

For any head from its landmarks alone (projected.py), missed as the tracker misses them on pictures of painted people; for the open head, which can be painted,
from such pictures too (drawn.py).
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.errors import BadFile
from models.head import HeadModel, load_head
from models.landmarker import FaceLandmarker
from models.regressor import beside
from models.regressor_features import SEEN
from models.weights import weight_path
from training.errors import TrainingError
from training.progress import Progress
from training.regressor.residuals import Residuals
from training.regressor.samples import Samples

if TYPE_CHECKING:
    from training.regressor.learn import LearnSettings

ASSETS = Path(__file__).resolve().parents[2] / "assets"
RESIDUALS = ASSETS / "landmark_residuals.npz"
PAINTED_HEAD = "open head"
RELATIVES = 8
"""Identities that wear one painting."""
FRAMES = 120
"""Of each."""
PAINTING = 100
"""A drawn person's number is that of their painting times this, and which of its wearers they are."""
WATCHED_SHARE = 0.12
"""Of the people, or of the paintings, on whom the network is not taught but judged, and its uncertainty taught."""
RESIDUALS_FROM = 8000
"""Samples."""


def make_regressor(
    head_file: Path,
    out: Path | None,
    painted: int,
    samples: int,
    folder: Path,
    threads: int,
    progress: Progress,
    settings: LearnSettings | None = None,
) -> dict[str, float]:
    """Writes the regressor of a head; returns its figures on people whom it never saw.

    Args:
        out: None: beside the head, where it is looked for.
        painted: so many people are painted and drawn besides; only for the open head.
        samples: how many are made of the head's landmarks alone.
        folder: where drawn samples are kept, so that a stopped run goes on.

    Raises:
        TrainingError: PyTorch is missing, the head cannot be used, or people were asked for whom nobody can paint.
    """
    try:
        from training.regressor import learn
        from training.regressor.judge import figures
        from training.regressor.onnx_file import write_regressor
        from training.regressor.projected import project
    except ImportError as error:
        raise TrainingError(f"teaching a regressor needs PyTorch and onnx: make install-neural ({error})") from error
    head = _usable(head_file)
    if painted and head.name != PAINTED_HEAD:
        raise TrainingError(f"only the open head can be painted, {head_file.name} is {head.name!r}: leave --painted out")
    drawn = _drawn(head_file, painted, folder, threads, progress) if painted else None
    if drawn is not None:
        _residuals(head, drawn).save(RESIDUALS)
    taught = project(head, Residuals.load(RESIDUALS), FaceLandmarker(weight_path("face_landmarker.task"), 1), samples, progress)
    if drawn is None:
        watched = learn.watched_people(taught.person, WATCHED_SHARE)
    else:
        watched = np.concatenate([np.zeros(len(taught), bool), learn.watched_people(drawn.person // PAINTING, WATCHED_SHARE)])
        taught = Samples.joined([taught, drawn])
    learned = learn.learn(head, taught, watched, progress, settings)
    found = figures(learned, head, taught.pick(watched))
    try:
        write_regressor(out or beside(head_file), learned)
    except OSError as error:
        raise TrainingError(f"{out or beside(head_file)}: cannot be written ({error.strerror})") from error
    return found


def _usable(head_file: Path) -> HeadModel:
    try:
        head = load_head(head_file)
    except BadFile as error:
        raise TrainingError(str(error)) from error
    if (head.landmark_faces[SEEN] < 0).any():
        raise TrainingError(f"{head_file.name} has no landmark embedding yet, or not of all landmarks: python -m training.landmark_embedding {head_file}")
    return head


def _drawn(head_file: Path, painted: int, folder: Path, threads: int, progress: Progress) -> Samples:
    """Of so many paintings; those that are there already are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    progress.start("painted people", painted)
    missing = [number for number in range(painted) if not (folder / f"{number}.npz").is_file()]
    for _ in range(painted - len(missing)):
        progress.advance()
    with ProcessPoolExecutor(max(1, min(threads, len(missing) or 1)), get_context("spawn")) as pool:
        for _ in pool.map(draw_painting, [head_file] * len(missing), missing, [folder] * len(missing)):
            progress.advance()
    return Samples.joined([Samples.load(folder / f"{number}.npz") for number in range(painted)])


def draw_painting(head_file: Path, number: int, folder: Path) -> None:
    """Samples of one painting, worn by RELATIVES identities, into `folder`/`number`.npz; whole or not at all."""
    from training.regressor.drawn import draw
    from training.regressor.people import random_person, relatives

    head, landmarker = load_head(head_file), FaceLandmarker(weight_path("face_landmarker.task"), 1)
    person = random_person(np.random.default_rng([7, number]), number)
    parts = [
        draw(head, avatar, resting, FRAMES, PAINTING * number + relative, landmarker)
        for relative, (avatar, resting) in enumerate(relatives(head, person, RELATIVES))
    ]
    part = folder / f".{number}.part.npz"
    Samples.joined(parts).save(part)
    os.replace(part, folder / f"{number}.npz")


def _residuals(head: HeadModel, drawn: Samples) -> Residuals:
    from training.regressor.projected import missed

    chosen = np.random.default_rng(0).permutation(len(drawn))[:RESIDUALS_FROM]
    return Residuals.learned(*missed(head, drawn.pick(chosen)))
