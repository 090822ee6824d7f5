"""What every exported file says of the avatar that it was made from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from models.avatar_file import AvatarFile
from models.badge import TEXT

GENERATOR = "Headcast (models.export)"


def describe(avatar: AvatarFile) -> dict[str, Any]:
    """Who it shows, who agreed, the licence, and that it is synthetic."""
    card = avatar.card
    return {
        "name": card.name,
        "description": card.description,
        "licence": card.licence,
        "createdBy": card.created_by,
        "mark": f"{TEXT}: synthetic",
        "consent": asdict(card.consent),
    }


def left_out(avatar: AvatarFile) -> list[str]:
    """What of the avatar a glTF file cannot hold."""
    parts = {
        "changes of the texture with pose and expression: it is the one at rest": avatar.texture_basis is not None,
        "changes of the shape with head, jaw and gaze beyond what the joints do; those with the expression are made linear": avatar.dynamic_offsets is not None,
        "pose correctives": avatar.pose_correctives is not None,
        "the plate between background and head": avatar.plate is not None,
        "the background": avatar.background is not None,
    }
    return [name for name, there in parts.items() if there]
