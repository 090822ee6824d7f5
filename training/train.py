"""The train stage: from the fitted surface to a whole avatar, in closed form; then, where asked for and able, by the neural road from there on."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, write_avatar
from models.avatar_parts import AvatarCard, Consent
from models.image_blob import encode_image
from models.kernels import Bands
from training.clip import Clip, load_clip
from training.errors import TrainingError
from training.fit import FITTED, PLANS, SURFACE, USED, spread_over, the_head
from training.fitted import Fitted
from training.portrait.appearance import learn_texture
from training.portrait.assemble import assemble
from training.portrait.bust import learn_bust, room_behind
from training.portrait.capture_mesh import capture_mesh
from training.portrait.portrait import Portrait
from training.previews import calmest, of_file
from training.progress import Progress
from training.run_dir import RunDir
from training.stages import Options

DRAFT, PORTRAIT = "draft.avatar", "portrait.npz"
BUST_FRAMES = 120


def run(run: RunDir, options: Options, progress: Progress) -> None:
    """Learns texture, bust and background; `draft.avatar` is the avatar without name and consent, `portrait.npz` what it was made of."""
    clip, fitted, head = load_clip(run.folder("dataset")), Fitted.load(run.folder("fit") / FITTED), the_head(options)
    used = np.load(run.folder("fit") / USED)
    mesh = capture_mesh(head, fitted.identity)
    portrait = Portrait.load(run.folder("fit") / SURFACE, mesh)
    progress.start("texture, bust, background", 3)
    bands = Bands(options.threads)
    try:
        portrait = learn_texture(portrait, clip, fitted, used, PLANS[options.preset].texture, bands)
    finally:
        bands.close()
    progress.advance()
    bust = learn_bust(portrait, clip, fitted, spread_over(used, BUST_FRAMES))
    progress.advance()
    room = room_behind(clip, _plate(run.folder("dataset") / "plate.png"), used)
    progress.advance()
    portrait.save(run.folder("train") / PORTRAIT)
    draft = with_sketch_card(assemble(portrait, bust, room, fitted, used))
    progress.picture(partial(of_file, draft, fitted, calmest(fitted, used)))
    road = which_road(options)
    if road == "neural":
        draft = _neural(run, options, clip, fitted, draft, progress)
    write_avatar(run.folder("train") / DRAFT, draft)
    run.report("train", road=road, device=which_device(options), texture_frames=len(used), vertices=len(draft.mesh.vertices))


def with_sketch_card(draft: AvatarFile) -> AvatarFile:
    """A card that the file format takes until the avatar is baked."""
    from dataclasses import replace

    card = AvatarCard("draft", "", "all rights reserved", "", Consent(synthetic=True), encode_image(np.zeros((8, 8, 3), np.uint8)))
    return replace(draft, card=card, head_layout="draft")


def which_road(options: Options) -> str:
    """`neural` where asked for, or where nothing was said and there are a GPU and PyTorch.

    Raises:
        TrainingError: the neural road is asked for and PyTorch is not installed.
    """
    there = importlib.util.find_spec("torch") is not None
    if options.road == "neural" and not there:
        raise TrainingError("The neural road needs PyTorch: install it (docs/training.md), or leave --road out.")
    if options.road != "auto":
        return options.road
    return "neural" if there and which_device(options) == "cuda" else "closed-form"


def which_device(options: Options) -> str:
    """`cuda` where asked for, or where nothing was said and PyTorch finds a GPU.

    Raises:
        TrainingError: a GPU is asked for and there is none.
    """
    if options.device == "cpu" or importlib.util.find_spec("torch") is None:
        if options.device == "cuda":
            raise TrainingError("--device cuda needs PyTorch with CUDA: install it (docs/training.md), or leave --device out.")
        return "cpu"
    from training.neural.device import has_gpu

    found = has_gpu()
    if options.device == "cuda" and not found:
        raise TrainingError("--device cuda: PyTorch finds no GPU on this machine. Leave --device out to train on the CPU.")
    return "cuda" if found else "cpu"


def _neural(run: RunDir, options: Options, clip: Clip, fitted: Fitted, start: AvatarFile, progress: Progress) -> AvatarFile:
    from training.neural import refine
    from training.neural.schedule import NeuralSettings

    device = which_device(options)
    return refine(clip, fitted, start, NeuralSettings.of(options.preset, device), device, run.scratch("train"), progress)


def _plate(path: Path) -> NDArray[np.uint8] | None:
    """(S, S, 4) RGBA of the dataset's background plate, where there is one."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
        return None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA), np.uint8)
