"""A finished run of known truth: a clip rendered from a default avatar, whose own parameters are the fit."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar, write_avatar
from models.avatar_parts import PortraitCamera
from models.head import HeadParams
from models.landmarker import FaceLandmarker
from models.weights import weight_path
from training.clip import Clip, save_observations
from training.driving import Drive, offline
from training.fitted import Fitted
from training.rendering import HeadRenderer, own_backdrop
from training.run_dir import RunDir

MARA = Path(__file__).resolve().parents[1] / "assets" / "avatars" / "mara.avatar"
FPS = 25.0
COPY_DRIVE = """
import pathlib, shutil, sys
shutil.copy({drive!r}, sys.argv[sys.argv.index("--out") + 1])
pathlib.Path({drive!r}).with_suffix(".mode").write_text(sys.argv[sys.argv.index("--mode") + 1])
"""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the clip was made from."""

    run: RunDir
    file: AvatarFile
    clip: Clip
    drive: Drive


def bust_avatar() -> AvatarFile:
    """Mara, with her clothes as the bust, seen from straight ahead."""
    mara = read_avatar(MARA)
    regions = tuple(replace(region, name="bust") if region.name == "cloth" else region for region in mara.regions)
    return replace(mara, regions=regions, camera=PortraitCamera(mara.camera.focal, (0.0, 0.0), mara.camera.translation))


def moving(file: AvatarFile, count: int) -> Fitted:
    """She nods, turns, talks and blinks."""
    phase = np.arange(count) / FPS * 2.0 * np.pi
    wave = np.stack([0.10 * np.sin(0.7 * phase), 0.25 * np.sin(0.5 * phase), 0.05 * np.sin(0.9 * phase)], 1).astype(np.float32)
    names = file.expression_names
    expression = np.zeros((count, len(names)), np.float32)
    expression[:, names.index("jawOpen")] = 0.25 - 0.25 * np.cos(1.7 * phase)
    expression[:, names.index("mouthSmileLeft")] = expression[:, names.index("mouthSmileRight")] = 0.4 + 0.4 * np.sin(0.4 * phase)
    gaze = np.zeros((count, 2, 2), np.float32)
    gaze[:, :, 0] = 0.2 * np.sin(0.8 * phase)[:, None]
    place = np.tile(np.array(file.camera.translation, np.float32), (count, 1))
    still = np.zeros((count, 3), np.float32)
    return Fitted(file.camera.focal, np.zeros(0, np.float32), np.zeros((478, 3), np.float32), expression, wave, still, gaze, place)


def matte_of(renderer: HeadRenderer, params: HeadParams) -> NDArray[np.uint8]:
    """(S, S): how much of a pixel is covered, from two backdrops."""
    dark = np.zeros((renderer.size, renderer.size, 3), np.uint8)
    black, white = renderer.render_over(params, (dark, dark + np.uint8(255)))
    return (255 - (white.astype(int) - black).mean(2).clip(0, 255)).astype(np.uint8)


def make_run(folder: Path, size: int = 256, count: int = 20, held_out: int = 6) -> Truth:
    """A run folder up to the bake stage."""
    run = RunDir(folder)
    file = bust_avatar()
    fitted = moving(file, count)
    pts_s = np.arange(count) / FPS
    drive = offline(fitted, pts_s)
    renderer, backdrop = HeadRenderer(file, size), own_backdrop(file, size)
    landmarker = FaceLandmarker(weight_path("face_landmarker.task"), 1)
    frames = [renderer.render(drive.params(k), backdrop) for k in range(count)]
    mattes = [matte_of(renderer, drive.params(k)) for k in range(count)]
    found = [landmarker.detect_and_landmark(frame) for frame in frames]
    renderer.close()
    clip = Clip(
        frames=np.stack(frames),
        mattes=np.stack(mattes),
        pts_s=pts_s,
        landmarks=np.stack([face.landmarks for face in found if face is not None]),
        coefficients=np.stack([face.coefficients for face in found if face is not None]),
        sharpness=np.ones(count, np.float32),
        origin=np.zeros((count, 2), np.int32),
        held_out=np.arange(count) >= count - held_out,
    )
    with run.work("dataset", "made"):
        data = run.folder("dataset")
        np.save(data / "frames.npy", clip.frames)
        np.save(data / "mattes.npy", clip.mattes)
        save_observations(data, clip)
    with run.work("fit", "made"):
        fitted.save(run.folder("fit") / "fit.npz")
    with run.work("train", "made"):
        run.report("train", made="by a test")
    with run.work("bake", "made"):
        write_avatar(run.avatar, file)
    return Truth(run, file, clip, drive)


def save_drive(path: Path, drive: Drive) -> Path:
    """As the live stages write it."""
    parts: dict[str, Any] = {name: getattr(drive, name) for name in ("pts_s", "expression", "rotation", "neck", "jaw", "gaze", "translation")}
    parts |= {f"{name}_ms": times for name, times in drive.stage_ms.items()}
    np.savez(path, tracking=np.array(drive.tracking), **parts)
    return path


def fake_live(folder: Path, drive: Drive) -> tuple[str, ...]:
    """A command that answers as the live stages do, with this drive."""
    stored, script = save_drive(folder / "fake_drive.npz", drive), folder / "fake_drive.py"
    script.write_text(COPY_DRIVE.format(drive=str(stored)), encoding="utf-8")
    return (sys.executable, str(script))
