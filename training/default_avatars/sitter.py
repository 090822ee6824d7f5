"""One person's bare head: the identity applied, and what the painters and hairdressers measure on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.head import HeadModel
from training.default_avatars.parts import Float
from training.default_avatars.people import Person
from training.default_avatars.scalp import Scalp, fit_scalp

RESTING_SMILE = 0.14
"""How much of a smile is in the face at rest: none at all looks sullen."""


@dataclass(frozen=True, slots=True)
class Sitter:
    """`vertices` (V, 3), `joints` (5, 3), `landmarks` (478, 3): metres, head space, at rest."""

    head: HeadModel
    person: Person
    vertices: Float
    joints: Float
    landmarks: Float
    scalp: Scalp


def sit(head: HeadModel, person: Person) -> Sitter:
    """Draws the person's identity from their seed."""
    rng = np.random.default_rng(person.identity_seed)
    identity = (rng.normal(0.0, 1.0, len(head.identity)) * person.identity_strength).astype(np.float32)
    friendly = np.zeros(len(head.expression_names), np.float32)
    friendly[[head.expression_index(name) for name in ("mouthSmileLeft", "mouthSmileRight")]] = RESTING_SMILE
    vertices = head.shaped(identity, friendly)
    return Sitter(
        head,
        person,
        vertices.astype(np.float64),
        head.joints(vertices).astype(np.float64),
        head.landmarks(vertices).astype(np.float64),
        fit_scalp(vertices[head.region_vertices("skin")].astype(np.float64)),
    )
