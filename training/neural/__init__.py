"""The neural road: Neural Head Avatars' method (Grassal et al., CVPR 2022) on our head and our avatar file. docs/neural.md says what differs, and why."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.kernels import Bands
from models.raster import Rasterizer
from models.raster.cpu import CpuRasterizer
from training.clip import Clip
from training.errors import TrainingError
from training.fitted import Fitted
from training.neural.avatar import NeuralAvatar
from training.neural.baking import bake
from training.neural.frames import Frames, evenly
from training.neural.judging import FileView, against_frames, parity
from training.neural.landmarks import find_places
from training.neural.loop import Trainer
from training.neural.objective import Objective
from training.neural.scene import Scene
from training.neural.schedule import NeuralSettings
from training.progress import Progress

REPORT = "neural.json"
LEAST_FRAMES = 4
JUDGED_FRAMES = 16
BAKING_SETTINGS = frozenset({"bake_frames", "bake_mixed", "maps", "map_side", "file_bytes", "dynamic_shapes"})


def refine(clip: Clip, fitted: Fitted, start: AvatarFile, settings: NeuralSettings, device: str, folder: Path, progress: Progress) -> AvatarFile:
    """A better avatar than `start`, learned from the training frames; `start` itself, with a note, where none was found.

    Args:
        clip: pictures, mattes and landmarks; frames that are held out are not looked at.
        fitted: the parameters of every frame.
        start: the closed form's avatar, whose mesh, layout and ranges are kept.
        device: a PyTorch device; on a GPU PyTorch3D draws, if it is installed.
        folder: for checkpoints, so that a killed run goes on where it was, and the report neural.json.

    Raises:
        TrainingError: too few frames, or the disk is full.
    """
    if len(clip.training) < LEAST_FRAMES:
        raise TrainingError(f"the neural road needs at least {LEAST_FRAMES} training frames, there are {len(clip.training)}; record a longer clip")
    folder.mkdir(parents=True, exist_ok=True)
    like = torch.zeros(0, device=torch.device(device))
    if like.device.type != "cpu":
        torch.set_float32_matmul_precision("high")

    def make(size: int) -> Rasterizer:
        return rasterizer_for(size, device, progress)

    rasterizer = make(settings.size)
    scene = Scene.of(start, like)
    frames = Frames.of(clip, fitted, start, settings.size, settings.max_frames, like, read_normals(settings.normals, clip))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        avatar = NeuralAvatar(scene, frames, start.expression_names, settings.networks, settings.conditioning).to(like.device)
    trainer = Trainer(
        avatar, Objective(avatar, find_places(scene, frames, rasterizer), rasterizer), settings, folder, mark_of(start, fitted, settings), progress
    )
    trainer.run()
    baked = bake(avatar, start, settings, make, folder, progress)
    watched = evenly(np.flatnonzero(frames.watched), JUDGED_FRAMES)
    shown = FileView(baked, clip, fitted, frames, rasterizer)
    before = against_frames(FileView(start, clip, fitted, frames, rasterizer), frames, watched)
    after, kept = against_frames(shown, frames, watched), parity(shown, avatar, watched, rasterizer)
    report = {"watched_start_db": before, "watched_baked_db": after, "parity_db": kept, "frames": len(frames), "history": trainer.standing.history}
    _write(folder / REPORT, json.dumps({**report, "settings": asdict(settings)}, indent=1, default=str))
    progress.note(f"neural: watched frames {before:.2f} → {after:.2f} dB; baked against networks {kept:.1f} dB")
    if after <= before:
        progress.note("neural: nothing better than the closed form was found; its avatar stays")
        return start
    return baked


def rasterizer_for(size: int, device: str, progress: Progress) -> Rasterizer:
    """PyTorch3D's on a GPU, ours on a CPU, and ours with a note where PyTorch3D is not installed."""
    if torch.device(device).type != "cpu":
        try:
            from models.raster.pytorch3d import PyTorch3dRasterizer

            return PyTorch3dRasterizer(size, size, device)
        except ImportError as error:
            progress.note(f"neural: PyTorch3D cannot be loaded ({error}); the CPU draws, which is slower")
    return CpuRasterizer(size, size, Bands(1))


def read_normals(path: Path | None, clip: Clip) -> NDArray[np.int8] | None:
    """The user's normals, of the clip's frames.

    Raises:
        TrainingError: not the array it should be.
    """
    if path is None:
        return None
    expected = (len(clip.frames), clip.size, clip.size, 3)
    try:
        normals = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: normals should be a NumPy array of int8, shape {expected}; it cannot be read ({error})") from error
    if normals.shape != expected or normals.dtype != np.int8:
        raise TrainingError(f"{path}: normals should be int8 of shape {expected}; they are {normals.dtype} of shape {normals.shape}")
    found: NDArray[np.int8] = normals
    return found


def mark_of(start: AvatarFile, fitted: Fitted, settings: NeuralSettings) -> str:
    """Names a training: the same start, fit and settings, but for those of baking, give the same mark."""
    trained = {key: value for key, value in asdict(settings).items() if key not in BAKING_SETTINGS}
    mark = hashlib.sha256(repr(trained).encode())
    arrays = [start.mesh.vertices, start.mesh.faces, start.mesh.uv, fitted.expression, fitted.neck, fitted.translation, np.float64(fitted.focal)]
    if start.texture_basis is not None:
        arrays += [start.texture_basis.maps, start.texture_basis.scale]
    for weight, bias in start.weights.layers if start.weights is not None else ():
        arrays += [weight, bias]
    for array in arrays:
        mark.update(np.ascontiguousarray(array).tobytes())
    mark.update(start.texture)
    return mark.hexdigest()


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
