"""A person before the camera whose every parameter is known, and an avatar of the same person: Mara, rendered; and what her file would know of her."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import read_avatar
from models.baked import BakedAvatar, bake
from models.driver import DriverProfile
from models.head import LANDMARK_COUNT, NECK, HeadModel, HeadParams, load_head
from models.landmarker import FaceLandmarker
from models.rotations import to_matrix
from models.solving.landmark_model import LandmarkModel, landmark_model
from models.solving.residuals import FrameState, Rest, Subject, project
from models.weights import weight_path
from realtime.gallery import SHIPPED
from realtime.packets import VideoPacket
from realtime.reenactor import HEAD, LANDMARKER
from realtime.renderer import AvatarRenderer
from training.default_avatars.people import PEOPLE

Image = NDArray[np.uint8]
MARA = SHIPPED / "mara.avatar"
SIZE, FPS = 512, 30.0
OFFSET_PRECISION = 3e6
"""Of a landmark's offset, against 1e6 for what a frame says of it in picture sides: 1.5 mm against 0.015 inter-ocular distances, as in the solver."""
EVEN = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "mouthPucker", "eyeBlinkLeft", "eyeBlinkRight")


def motion(avatar: BakedAvatar, frame: int) -> HeadParams:
    """Talking, nodding, blinking; the root is never turned."""
    t = frame / FPS
    expression = np.zeros(len(avatar.expression_names), np.float32)
    smile, blink = 0.3 + 0.3 * np.sin(1.1 * t), max(0.0, np.sin(2.4 * t + 1.0)) ** 20
    weights = (0.2 + 0.2 * np.sin(5.0 * t), smile, smile, 0.3 + 0.3 * np.sin(0.9 * t + 2.0), max(0.0, 0.4 * np.sin(2.1 * t)), blink, blink)
    expression[[avatar.expression_names.index(name) for name in EVEN]] = weights
    neck = (0.05 + 0.05 * np.sin(1.3 * t), 0.05 + 0.25 * np.sin(0.9 * t), 0.03 + 0.08 * np.sin(0.7 * t + 1.0))
    place = np.array([0.012 * np.sin(0.8 * t), 0.01 * np.sin(0.6 * t + 2.0), 0.02 * np.sin(0.5 * t)])
    look = 0.15 * np.sin(np.array([1.7 * t, 1.1 * t]))
    return replace(
        avatar.neutral(),
        expression=expression,
        neck=np.array(neck, np.float32),
        gaze=np.stack([look, look]).astype(np.float32),
        translation=(np.array(avatar.camera.translation) + place).astype(np.float32),
    )


@dataclass(frozen=True)
class OwnPair:
    """`avatar` knows its own person; `frames` (N) show her with the parameters `truth`, the first `known` of which she was learned from."""

    avatar: BakedAvatar
    truth: list[HeadParams]
    frames: list[Image]
    known: int

    def packet(self, frame: int) -> VideoPacket:
        return VideoPacket(self.frames[frame], frame / FPS, frame / FPS)


def own_pair(count: int, known: int) -> OwnPair:
    """Renders `count` frames, and learns where the landmarker sees Mara's landmarks from every other of the first `known`."""
    file, head = read_avatar(MARA), load_head(HEAD)
    plain = bake(file)
    renderer = AvatarRenderer(plain, SIZE)
    truth = [motion(plain, frame) for frame in range(count)]
    frames = [renderer.render(params).copy() for params in truth]
    renderer.close()
    profile = profile_of(head, plain, truth[:known:2], frames[:known:2])
    return OwnPair(bake(replace(file, driver=profile)), truth, frames, known)


def profile_of(head: HeadModel, avatar: BakedAvatar, truth: list[HeadParams], frames: list[Image]) -> DriverProfile:
    """Mara's identity is the one she was made with; her offsets are what best explains the landmarks in these frames."""
    person = next(person for person in PEOPLE if person.slug == "mara")
    weights = np.random.default_rng(person.identity_seed).normal(0.0, 1.0, len(head.identity)) * person.identity_strength
    identity = weights.astype(np.float32)
    bare = DriverProfile(head.name, identity, np.zeros((LANDMARK_COUNT, 3), np.float32), avatar.camera.focal)
    model = landmark_model(head, len(identity))
    subject = Subject(weights, np.zeros((len(model.indices), 3)), avatar.camera.focal)
    rest = Rest.of(model, subject)
    landmarker = FaceLandmarker(weight_path(LANDMARKER))
    curvature, gradient = np.tile(OFFSET_PRECISION * np.eye(3), (len(model.indices), 1, 1)), np.zeros((len(model.indices), 3))
    for params, image in zip(truth, frames, strict=True):
        seen = landmarker.detect_and_landmark(image)
        assert seen is not None
        state = state_of(params, avatar, model)
        points, camera = project(model, subject, rest, state)
        view = np.zeros((len(points), 2, 3))
        view[:, 0, 0], view[:, 1, 1] = subject.focal / -camera[:, 2], subject.focal / camera[:, 2]
        view[:, :, 2] = points / -camera[:, 2:]
        by_head = view @ state.rotation
        error = (seen.landmarks[model.indices, :2] - 0.5 * SIZE) / SIZE - points
        curvature += 1e6 * np.einsum("lic,lid->lcd", by_head, by_head)
        gradient += 1e6 * np.einsum("lic,li->lc", by_head, error)
    offsets = bare.offsets.copy()
    offsets[model.indices] = np.linalg.solve(curvature, gradient[..., None])[..., 0]
    return replace(bare, offsets=offsets)


def state_of(params: HeadParams, avatar: BakedAvatar, model: LandmarkModel) -> FrameState:
    """What the solver would have to find."""
    rotation, neck = to_matrix(params.neck), avatar.joints[NECK]
    expression = params.expression[model.expression_indices].astype(np.float64)
    return FrameState(rotation, params.translation - rotation @ neck + neck, expression, params.gaze.astype(np.float64), np.zeros(3))
