"""Per-frame parameters as one glTF animation clip: morph weights, joint rotations, and where the head is."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.avatar_file import AvatarFile
from models.export.frames import Frames
from models.export.glb import GlbBuilder
from models.export.poses import JOINT_NAMES, joint_quaternions


def add_animation(builder: GlbBuilder, avatar: AvatarFile, frames: Frames, mesh_node: int, first_joint_node: int) -> dict[str, Any]:
    """The animation, which begins at zero seconds; its keys lie at the frames' times, with straight lines between them."""
    times = builder.accessor((frames.time_s - frames.time_s[0]).astype(np.float32), bounds=True)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []

    def animate(node: int, path: str, values: np.ndarray[Any, Any]) -> None:
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
        samplers.append({"input": times, "output": builder.accessor(values.astype(np.float32)), "interpolation": "LINEAR"})

    if frames.expression.shape[1]:
        animate(mesh_node, "weights", frames.expression.ravel())
    turned = np.stack([joint_quaternions(frames.params(index)) for index in range(len(frames))])
    flips = np.cumprod(np.where((turned[1:] * turned[:-1]).sum(-1) < 0.0, -1.0, 1.0), 0)
    turned[1:] *= flips[..., None]
    for joint in range(len(JOINT_NAMES)):
        animate(first_joint_node + joint, "rotation", turned[:, joint])
    animate(first_joint_node, "translation", avatar.mesh.joints[0] + frames.translation - np.array(avatar.camera.translation, np.float32))
    return {"name": "frames", "channels": channels, "samplers": samplers}
