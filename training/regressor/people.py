"""People whom nobody has seen: looks drawn at random around the shipped ones, each worn by a few identities, so that no face is learned by heart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.head import HeadModel, HeadParams
from training.default_avatars.__main__ import make_avatar
from training.default_avatars.compose import worn_by
from training.default_avatars.people import PEOPLE, Person
from training.default_avatars.sitter import RESTING_SMILE

FIRST_SEED = 10_000
"""Of the identities; the shipped people's are far below."""
STRENGTH = (0.3, 0.85)
"""Standard deviation of their identity weights; the shipped people have 0.55 and 0.6."""
TONES = ((0.90, 0.74, 0.65), (0.83, 0.63, 0.50), (0.66, 0.46, 0.34), (0.40, 0.26, 0.19))
HAIRS = ((0.06, 0.05, 0.045), (0.22, 0.13, 0.08), (0.45, 0.32, 0.18), (0.55, 0.54, 0.53))
IRISES = ((0.16, 0.09, 0.05), (0.30, 0.20, 0.10), (0.30, 0.38, 0.30), (0.24, 0.36, 0.48))
NO_PICTURE = np.zeros((0, 0, 4), np.uint8)
Colour = tuple[float, float, float]


def resting_face(head: HeadModel, person: Person) -> HeadParams:
    """Identity and expression that the person's avatar was modelled with."""
    identity = np.random.default_rng(person.identity_seed).normal(0.0, 1.0, len(head.identity)) * person.identity_strength
    expression = np.zeros(len(head.expression_names), np.float32)
    expression[[head.expression_index(f"mouthSmile{side}") for side in ("Left", "Right")]] = RESTING_SMILE
    return replace(HeadParams.neutral(len(expression)), identity=identity.astype(np.float32), expression=expression)


def random_person(rng: np.random.Generator, number: int) -> Person:
    """The hair, clothes and room of one of the shipped people, with skin, brows, lips, eyes and identity of their own."""
    model = PEOPLE[int(rng.integers(len(PEOPLE)))]
    tone, hair = _between(rng, TONES), _between(rng, HAIRS)
    blush = _scaled(tone, (rng.uniform(0.95, 1.05), rng.uniform(0.65, 0.85), rng.uniform(0.62, 0.85)))
    skin = replace(
        model.skin,
        tone=tone,
        blush=blush,
        lips=_scaled(tone, (rng.uniform(0.78, 1.02), rng.uniform(0.5, 0.85), rng.uniform(0.5, 0.9))),
        lip_strength=float(rng.uniform(0.2, 0.95)),
        brow=_scaled(hair, (rng.uniform(0.5, 1.1),) * 3),
        brow_thickness=float(rng.uniform(0.55, 1.45)),
        brow_strength=float(rng.uniform(0.45, 0.95)),
        liner=float(rng.uniform(0.1, 0.8)),
        stubble=float(rng.choice([0.0, 0.0, rng.uniform(0.1, 0.7)])),
        freckles=float(rng.choice([0.0, rng.uniform(0.0, 0.5)])),
        age=float(rng.choice([0.0, 0.0, rng.uniform(0.1, 0.9)])),
        mottling=float(rng.uniform(0.6, 1.8)),
    )
    iris = _between(rng, IRISES)
    eyes = replace(model.eyes, iris=iris, iris_inner=_scaled(iris, (rng.uniform(1.2, 1.9),) * 3), pupil_radius_rad=float(rng.uniform(0.15, 0.27)))
    return replace(
        model,
        slug=f"somebody-{number}",
        name=f"Somebody {number}",
        identity_seed=FIRST_SEED + number,
        identity_strength=float(rng.uniform(*STRENGTH)),
        skin=skin,
        eyes=eyes,
        hair_look=replace(model.hair_look, root=_scaled(hair, (0.8,) * 3), tip=_scaled(hair, (1.5,) * 3)),
    )


def relatives(head: HeadModel, person: Person, count: int) -> Iterator[tuple[AvatarFile, HeadParams]]:
    """The person's avatar, and those of others with the same painting and another identity, each with its face at rest.

    The shadows of the first are worn by all: baking them is what takes long.
    """
    first = make_avatar(head, person)
    yield first, resting_face(head, person)
    for number in range(1, count):
        other = replace(person, identity_seed=person.identity_seed + 1000 * number)
        figure = worn_by(head, other, NO_PICTURE)
        yield replace(first, mesh=figure.mesh, expression=figure.expression), resting_face(head, other)


def _between(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """Between two neighbours of a row of colours."""
    at = rng.uniform(0.0, len(colours) - 1.0)
    low = min(int(at), len(colours) - 2)
    one, two = np.array(colours[low]), np.array(colours[low + 1])
    return _colour(one + (at - low) * (two - one))


def _scaled(colour: Colour, by: tuple[float, float, float]) -> Colour:
    return _colour(np.array(colour) * np.array(by))


def _colour(values: NDArray[np.float64]) -> Colour:
    red, green, blue = np.clip(values, 0.02, 0.98).tolist()
    return red, green, blue
