"""Eye contact: who looks at their camera, or where they looked at rest, looks at the avatar's viewer, also with the head turned.

Eyes make up for what the head does (the vestibulo-ocular reflex); what is measured of them, and what an avatar's limits and gains leave of a turn, is degrees
off, and people are quick to notice eyes that miss theirs (Chen, "Leveraging the asymmetric sensitivity of eye contact for videoconference", CHI 2002). So the
nearer a gaze is to contact, the more it is drawn there; a glance away is let go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.rotations import from_gaze, to_matrix
from realtime.neutral import Neutral, face_at, sight
from realtime.one_euro import Double
from realtime.presence import ease


@dataclass(frozen=True, slots=True)
class EyeContactSettings:
    full_rad: float = 0.06
    """A gaze this near to where it rests is contact;"""
    none_rad: float = 0.18
    """from here on it is none. Zero for both: eyes are never drawn."""


def nearness(frame: Neutral, rest: Neutral, settings: EyeContactSettings) -> float:
    """How far the driver's eyes are where they are at rest, seen from their camera: 0 not at all, 1 they are."""
    if settings.none_rad <= 0.0:
        return 0.0
    cosine = float(towards(to_matrix(frame.turn), frame.gaze) @ towards(to_matrix(rest.turn), rest.gaze))
    angle = float(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return 1.0 - ease((angle - settings.full_rad) / max(settings.none_rad - settings.full_rad, 1e-6))


def contact_gaze(head: Double, place: Double, rest_head: Double, rest_place: Double, rest_gaze: Double) -> Double:
    """(4,) the gaze with which a head looks at its viewer as it does at rest; yaw, pitch of the left and of the right eye, radians.

    Args:
        head: (3, 3) its rotation.
        place: (3,) metres, camera space: where its neck is.
        rest_head, rest_place, rest_gaze: the same at rest, and its gaze (4,) there.
    """
    at_rest = sight(face_at(rest_place, rest_head)).T @ towards(rest_head, rest_gaze)
    wanted = head.T @ sight(face_at(place, head)) @ at_rest
    angles = np.array([np.arctan2(wanted[0], wanted[2]), -np.arcsin(np.clip(wanted[1], -1.0, 1.0))])
    return np.tile(angles, 2) + rest_gaze - np.tile(rest_gaze.reshape(2, 2).mean(0), 2)


def towards(head: Double, gaze: Double) -> Double:
    """(3,) where the eyes of a head (3, 3) look, both together; `gaze` (4,)."""
    yaw, pitch = gaze.reshape(2, 2).mean(0)
    direction: Double = head @ from_gaze(float(yaw), float(pitch))[:, 2]
    return direction
