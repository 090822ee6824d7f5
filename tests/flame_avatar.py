"""An avatar of a head in FLAME's shape: a jaw that is a joint, shapes without ARKit names, pose correctives."""

from __future__ import annotations

import numpy as np

from models.avatar_file import AvatarFile
from models.avatar_parts import AvatarCard, AvatarMesh, Consent, Material, PortraitCamera, Region, SparseBasis, TrainedRange
from models.image_blob import encode_image
from tests.flame_like import open_head_as_flame
from tests.tiny_avatar import tiny_texture


def flame_avatar() -> AvatarFile:
    """Unlit, of somebody who agreed."""
    head = open_head_as_flame()
    mesh = AvatarMesh(
        vertices=head.template,
        faces=head.faces,
        uv=head.uv,
        uv_faces=head.uv_faces,
        face_region=head.face_region,
        face_layer=np.zeros(len(head.faces), np.uint8),
        skinning_weights=head.skinning_weights,
        joints=head.joints(head.template),
    )
    consent = Consent(False, "Anna B.", "Anna B.", "Agreed to tests.", "2026-01-31", "2031-01-31")
    picture = tiny_texture(64)
    picture[..., 3] = 255
    return AvatarFile(
        card=AvatarCard("Anna\n# not a comment", "made for tests", "All rights reserved", "tests", consent, encode_image(picture)),
        head_layout=head.name,
        expression_names=head.expression_names,
        regions=tuple(Region(name, Material(lit=False)) for name in head.region_names),
        camera=PortraitCamera(1.9, (0.0, 0.0), (0.01, 0.02, -0.6)),
        ranges=TrainedRange.usual(len(head.expression_names)),
        mesh=mesh,
        expression=SparseBasis.from_dense(head.expression),
        texture=encode_image(picture),
        pose_correctives=SparseBasis.from_dense(head.pose_correctives),
    )
