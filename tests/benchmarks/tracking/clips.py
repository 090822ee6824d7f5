"""Webcam clips of known truth: the default avatars turn, talk, look about and blink at random before a laptop's camera. Seeded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.baked import BakedAvatar
from models.head import HeadModel, HeadParams
from models.rotations import to_axis_angle, to_matrix
from realtime.gallery import SHIPPED
from realtime.packets import VideoPacket
from realtime.reenactor import load_avatar
from realtime.renderer import AvatarRenderer
from training.default_avatars.people import PEOPLE, Person
from training.regressor.people import resting_face

Double = NDArray[np.float64]

FPS = 30.0
WIDTH, HEIGHT = 640, 480
YAW, PITCH, ROLL = np.radians((40.0, 20.0, 15.0))
GAZE_YAW, GAZE_PITCH = np.radians((20.0, 12.0))
LIDS_FOLLOW_RAD = 0.4
"""A gaze so far down or up is one `eyeLookDown` or `eyeLookUp` of the lids."""
TORSO = 0.3
"""Of a turn; the neck makes the rest."""
SWAY_M = (0.03, 0.02, 0.03)
EVEN = {
    "jawOpen": 0.7, "mouthSmile": 0.8, "mouthPucker": 0.6, "mouthFunnel": 0.5, "mouthStretch": 0.4, "mouthUpperUp": 0.4, "mouthLowerDown": 0.4,
    "browInnerUp": 0.8, "browDown": 0.7, "browOuterUp": 0.6, "eyeSquint": 0.4, "eyeWide": 0.4,
}  # fmt: skip
"""Highest weights of the shapes that move, of both sides where a shape has sides."""
UNEVEN = 0.15
"""How much less of a shape one side may show."""
SHARE_OF_TIME = 0.5
"""In which a shape is active."""
BLINK = (0.35, 0.75, 1.0, 1.0, 0.8, 0.5, 0.25, 0.1)
"""`eyeBlink` of successive frames."""
BLINK_EVERY = 45
REST, TURN, FACE, HOLD = "rest", "turn", "face", "hold"


@dataclass(frozen=True, slots=True)
class Scene:
    """Who sits where before which camera. `focal` over the picture's width."""

    person: str
    seed: int
    focal: float
    distance_m: float
    background: str


SCENES = (
    Scene("mara", 11, 1.0, 0.5, "avatar"),
    Scene("theo", 12, 0.9, 0.4, "#7a8288"),
    Scene("ama", 13, 1.1, 0.6, "gradient"),
    Scene("edith", 14, 1.2, 0.7, "avatar"),
)


@dataclass(frozen=True)
class RenderedClip:
    """N frames, not drawn yet."""

    scene: Scene
    avatar: BakedAvatar
    """As it is shipped, but for the camera."""
    truth: list[HeadParams]
    """(N,) of the open head, with the person's identity and the smile that is in their face at rest."""
    segment: tuple[str, ...]
    """(N,) `rest`, `turn`, `face` or `hold`."""
    resting: HeadParams
    """The person's identity and face at rest."""

    def packets(self) -> Iterator[VideoPacket]:
        """Draws one frame after the other."""
        camera = replace(self.avatar.camera, focal=self.scene.focal)
        renderer = AvatarRenderer(replace(self.avatar, camera=camera), WIDTH, threads=1)
        top = (WIDTH - HEIGHT) // 2
        for index, params in enumerate(self.truth):
            drawn = replace(params, expression=params.expression - self.resting.expression)
            picture = renderer.render(drawn, self.scene.background)[top : top + HEIGHT]
            yield VideoPacket(picture.copy(), index / FPS, index / FPS)
        renderer.close()


def rendered_clip(head: HeadModel, scene: Scene, scale: float = 1.0) -> RenderedClip:
    """Ten seconds, or `scale` times that: a second at rest, turns to the limits, faces, and a second of holding still."""
    frames = {REST: 30, TURN: max(round(120 * scale), 40), FACE: max(round(120 * scale), 40), HOLD: 30}
    segment = tuple(name for name, count in frames.items() for _ in range(count))
    resting = resting_face(head, person_of(scene.person))
    truth = _motion(head, scene, segment, resting)
    return RenderedClip(scene, load_avatar(SHIPPED / f"{scene.person}.avatar"), truth, segment, resting)


def person_of(slug: str) -> Person:
    """Who the default avatar of that name shows."""
    return next(person for person in PEOPLE if person.slug == slug)


def wander(rng: np.random.Generator, time_s: Double, quickest_s: float, strength: Double) -> Double:
    """A smooth random curve over `time_s` (N,), between -1 and 1, times `strength` (N,), the product 1 or -1 somewhere; no period below `quickest_s`."""
    periods = quickest_s * np.array([1.0, 1.6, 2.7])
    phases = rng.uniform(0.0, 2.0 * np.pi, 3)
    curve = strength * (np.sin(2.0 * np.pi * time_s[:, None] / periods + phases) @ np.array([0.4, 0.7, 1.0]))
    return np.asarray(curve / np.abs(curve).max(), np.float64)


def _motion(head: HeadModel, scene: Scene, segment: tuple[str, ...], resting: HeadParams) -> list[HeadParams]:
    rng, time_s = np.random.default_rng(scene.seed), np.arange(len(segment)) / FPS
    turning, acting = _strength(segment, {TURN: 1.0, FACE: 0.2}), _strength(segment, {TURN: 0.3, FACE: 1.0})
    angles = np.stack([size * wander(rng, time_s, 1.5, turning) for size in (PITCH, YAW, ROLL)], 1)
    sway = np.stack([size * wander(rng, time_s, 3.0, turning) for size in SWAY_M], 1)
    look = np.stack([size * wander(rng, time_s, 1.2, acting) for size in (GAZE_YAW, GAZE_PITCH)], 1)
    expression = resting.expression + _expressions(head, rng, time_s, acting, look, segment)
    place = np.array([0.0, 0.0, -scene.distance_m]) + sway
    frames = []
    for k in range(len(segment)):
        turn = to_matrix((0.0, angles[k, 1], 0.0)) @ to_matrix((angles[k, 0], 0.0, 0.0)) @ to_matrix((0.0, 0.0, angles[k, 2]))
        vector = to_axis_angle(turn)
        frames.append(
            replace(
                resting,
                expression=np.clip(expression[k], 0.0, 1.0).astype(np.float32),
                rotation=(TORSO * vector).astype(np.float32),
                neck=((1.0 - TORSO) * vector).astype(np.float32),
                gaze=np.stack([look[k], look[k]]).astype(np.float32),
                translation=place[k].astype(np.float32),
            )
        )
    held = segment.index(HOLD)
    return [*frames[:held], *[frames[held - 1]] * (len(frames) - held)]


def _expressions(head: HeadModel, rng: np.random.Generator, time_s: Double, acting: Double, look: Double, segment: tuple[str, ...]) -> Double:
    """(N, E) beyond the face at rest."""
    weights = np.zeros((len(time_s), len(head.expression_names)))
    for name, highest in EVEN.items():
        curve = wander(rng, time_s, 0.8 if name.startswith(("mouth", "jaw")) else 1.5, np.ones(len(time_s)))
        rare = np.quantile(curve, 1.0 - SHARE_OF_TIME)
        active = highest * acting * np.clip((curve - rare) / (curve.max() - rare), 0.0, 1.0)
        sided = [head.expression_names.index(each) for each in (name, f"{name}Left", f"{name}Right") if each in head.expression_names]
        weights[:, sided] = active[:, None] * rng.uniform(1.0 - UNEVEN, 1.0, len(sided))
    for name, pitch in (("eyeLookDown", look[:, 1]), ("eyeLookUp", -look[:, 1])):
        for side in ("Left", "Right"):
            weights[:, head.expression_index(name + side)] = np.clip(pitch / LIDS_FOLLOW_RAD, 0.0, 1.0)
    for start in range(BLINK_EVERY, len(time_s) - len(BLINK), BLINK_EVERY):
        if segment[start + len(BLINK)] != HOLD:
            for side in ("Left", "Right"):
                at = head.expression_index(f"eyeBlink{side}")
                weights[start : start + len(BLINK), at] = BLINK
    return weights


def _strength(segment: tuple[str, ...], of: dict[str, float]) -> Double:
    """(N,) softened over a third of a second, up to where the clip holds still."""
    plain = np.array([of.get(FACE if name == HOLD else name, 0.0) for name in segment])
    return np.asarray(np.convolve(np.pad(plain, 5, mode="edge"), np.full(11, 1.0 / 11.0), mode="valid"), np.float64)
