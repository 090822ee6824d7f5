"""The bake stage: everything in one avatar file, with name, licence, consent and a picture, checked against what it was made of."""

from __future__ import annotations

import datetime
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar, write_avatar
from models.avatar_header import pack_consent
from models.avatar_parts import AvatarCard, WeightFunction
from models.baked import BakedAvatar
from models.consent.keys import KeyFolder
from models.consent.sealing import seal
from models.consent.statement import Agreement
from models.driver import DriverProfile
from models.image_blob import encode_image
from models.texture import Texture
from training.clip import Clip, load_clip
from training.errors import TrainingError
from training.fit import FITTED, LANDMARKS_ONLY, USED, the_head
from training.fitted import Fitted
from training.metrics import Box, Score
from training.portrait.capture_mesh import capture_mesh
from training.portrait.features import parameters_of
from training.portrait.portrait import Portrait, View, picture
from training.previews import calmest, of_file
from training.progress import Progress
from training.registration import RegistrationPlan, learn_registration
from training.rendering import HeadRenderer, Mark, own_backdrop
from training.run_dir import RunDir
from training.stages import Options
from training.train import DRAFT, PORTRAIT

MAX_BYTES = 5_000_000
THUMBNAIL_PX, THUMBNAIL_QUALITY = 256, 85
LICENCE = "All rights reserved by the person shown; use only as they agreed."
PLANS = {"quick": RegistrationPlan(points=500, starts=6), "full": RegistrationPlan()}
PARITY_FRAMES = 8
LEAST_PARITY_DB = 35.0


def run(run: RunDir, options: Options, progress: Progress) -> None:
    """Writes the avatar of a run, with the record of who agreed to it, signed.

    Raises:
        TrainingError: nobody agreed, or it grew larger than an avatar should be.
    """
    agreement = options.agreement
    if agreement is None:
        raise TrainingError(f"nobody agreed to this avatar: python -m training bake --name {run.name} --subject NAME --agreed")
    clip, head = load_clip(run.folder("dataset")), the_head(options)
    fit = run.folder("fit")
    fitted, landmarks, used = Fitted.load(fit / FITTED), Fitted.load(fit / LANDMARKS_ONLY), np.load(fit / USED)
    draft = read_avatar(run.folder("train") / DRAFT)
    registration = learn_registration(draft, clip, landmarks, fitted, used, PLANS[options.preset], progress)
    profile = DriverProfile(head.name, fitted.identity, fitted.offsets, fitted.focal, registration)
    named = replace(draft, head_layout=head.name, driver=profile)
    progress.picture(partial(of_file, named, fitted, calmest(fitted, used)))
    avatar = replace(named, card=_card(run.name, agreement, _thumbnail(named, fitted, used)))
    folder = run.folder("bake")
    write_avatar(folder / "avatar", avatar)
    seal(folder / "avatar", pack_consent(avatar.card.consent), KeyFolder.of(), datetime.datetime.now(datetime.UTC))
    size = (folder / "avatar").stat().st_size
    if size > MAX_BYTES:
        raise TrainingError(f"the avatar would be {size / 1e6:.1f} MB; {MAX_BYTES / 1e6:.0f} MB is the limit: choose a head with fewer vertices or shapes")
    report: dict[str, object] = {"bytes": size, "points": len(registration.vertices)}
    if run.record("train")["values"].get("road") == "closed-form":
        portrait = Portrait.load(run.folder("train") / PORTRAIT, capture_mesh(head, fitted.identity))
        kept = parity(read_avatar(folder / "avatar"), portrait, clip, fitted, used)
        report["parity_db"] = kept
        if kept < LEAST_PARITY_DB:
            progress.note(f"the baked avatar differs from what it was made of: {kept:.1f} dB")
    run.report("bake", **report)
    (folder / "avatar").replace(run.avatar)


def parity(avatar: AvatarFile, portrait: Portrait, clip: Clip, fitted: Fitted, frames: NDArray[np.int64]) -> float:
    """PSNR, dB, between pictures of the avatar as it is stored and of what it was made of, over black, around the head; the mean over a few frames."""
    renderer = HeadRenderer(avatar, clip.size)
    exact = portrait.baked()
    black = np.zeros((clip.size, clip.size, 3), np.uint8)
    found = []
    for frame in frames[np.unique(np.linspace(0, len(frames) - 1, PARITY_FRAMES).astype(int))]:
        params = fitted.params(int(frame))
        texture = Texture.of(picture(portrait.texture_at(parameters_of(fitted)[frame])))
        unbaked = View(replace(exact, texture=texture, texture_basis=None, weights=_only_dynamic(exact)), clip.size)
        truth, made = unbaked.draw(params, black), renderer.render(params, black, "head")
        rows, columns = np.nonzero(unbaked.face_id >= 0)
        box = Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        found.append(Score.of(truth, made, box).psnr)
    renderer.close()
    return float(np.mean(found))


def _only_dynamic(avatar: BakedAvatar) -> WeightFunction | None:
    """The avatar's weight function without the texture's rows."""
    count = len(avatar.dynamic_offsets)
    if avatar.weights is None or count == 0:
        return None
    (matrix, bias), *rest = avatar.weights.layers[::-1]
    return replace(avatar.weights, layers=(*rest[::-1], (matrix[-count:], bias[-count:])))


def _card(name: str, agreement: Agreement, thumbnail: bytes) -> AvatarCard:
    """What a gallery shows."""
    return AvatarCard(name, f"Made from a video of {agreement.subject}.", LICENCE, "Headcast", agreement.record(), thumbnail)


def _thumbnail(avatar: AvatarFile, fitted: Fitted, frames: NDArray[np.int64]) -> bytes:
    """The frame with the least expression and the most usual pose, marked as synthetic."""
    renderer = HeadRenderer(avatar, THUMBNAIL_PX)
    shown = renderer.render(fitted.params(calmest(fitted, frames)), own_backdrop(avatar, THUMBNAIL_PX))
    renderer.close()
    return encode_image(Mark(THUMBNAIL_PX).lay(shown), THUMBNAIL_QUALITY)
