"""The forward pass of models.head and of an avatar's mesh in PyTorch: batched, differentiable, on whatever device its tensors are.

Equal to `HeadModel.vertices` and `BakedAvatar.pose`. Conventions: models/CONVENTIONS.md. B frames, V vertices, F triangles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.avatar_file import AvatarFile
from models.head import JOINT_PARENTS, HeadModel, HeadParams

SMALL_ANGLE = 1e-3
"""Radians below which Rodrigues' coefficients are taken from their series: exact to 1e-13, and smooth at zero."""


@dataclass(frozen=True, slots=True)
class Poses:
    """`HeadParams` of B frames."""

    expression: Tensor
    """(B, E)."""
    rotation: Tensor
    """(B, 3)."""
    neck: Tensor
    """(B, 3)."""
    jaw: Tensor
    """(B, 3)."""
    gaze: Tensor
    """(B, 2, 2)."""
    translation: Tensor
    """(B, 3)."""

    @staticmethod
    def of(params: Sequence[HeadParams], like: Tensor) -> Poses:
        """On the device and of the type of `like`."""

        def stack(name: str) -> Tensor:
            return torch.as_tensor(np.stack([getattr(each, name) for each in params])).to(like)

        return Poses(*(stack(field.name) for field in fields(Poses)))


@dataclass(frozen=True, slots=True)
class TorchHead:
    """What moves a mesh: a head model, or an avatar's mesh with its identity baked in."""

    vertices: Tensor
    """(V, 3) metres, head space."""
    expression: Tensor
    """(E, V, 3)."""
    correctives: Tensor
    """(36 or 0, V, 3)."""
    weights: Tensor
    """(V, 5)."""
    joints: Tensor
    """(5, 3) of `vertices`."""
    identity: Tensor
    """(I, V, 3); (0, V, 3) for an avatar."""
    identity_joints: Tensor
    """(I, 5, 3): how the identity shapes move the joints."""

    @staticmethod
    def of_head(head: HeadModel, like: Tensor) -> TorchHead:
        """On the device and of the type of `like`."""
        regressor = _to(head.joint_regressor, like)
        template, identity = _to(head.template, like), _to(head.identity, like)
        joints = regressor @ template
        moved = torch.einsum("jv,ivc->ijc", regressor, identity)
        return TorchHead(template, _to(head.expression, like), _to(head.pose_correctives, like), _to(head.skinning_weights, like), joints, identity, moved)

    @staticmethod
    def of_avatar(avatar: AvatarFile, like: Tensor) -> TorchHead:
        """On the device and of the type of `like`; dynamic offsets are the caller's to add."""
        mesh, count = avatar.mesh, len(avatar.mesh.vertices)
        correctives = np.zeros((0, count, 3), np.float32) if avatar.pose_correctives is None else avatar.pose_correctives.dense(count)
        return TorchHead(
            _to(mesh.vertices, like),
            _to(avatar.expression.dense(count), like),
            _to(correctives, like),
            _to(mesh.skinning_weights, like),
            _to(mesh.joints, like),
            like.new_zeros(0, count, 3),
            like.new_zeros(0, 5, 3),
        )

    def posed(self, poses: Poses, identity: Tensor | None = None, offsets: Tensor | None = None) -> Tensor:
        """(B, V, 3) camera space, metres.

        Args:
            poses: of B frames.
            identity: (I,) or shorter; None: zero.
            offsets: (B or 1, V, 3) metres, head space, added before the joints move.
        """
        rest, joints = self.vertices, self.joints
        if identity is not None:
            count = len(identity)
            rest = rest + torch.tensordot(identity, self.identity[:count], 1)
            joints = joints + torch.tensordot(identity, self.identity_joints[:count], 1)
        count = poses.expression.shape[1]
        shaped = rest + torch.tensordot(poses.expression, self.expression[:count], 1)
        if offsets is not None:
            shaped = shaped + offsets
        rotations = joint_rotations(poses)
        if len(self.correctives):
            features = (rotations[:, 1:] - torch.eye(3).to(rotations)).flatten(1)
            shaped = shaped + torch.tensordot(features, self.correctives, 1)
        return skin(shaped, joint_transforms(joints, rotations), self.weights) + poses.translation[:, None]


def _to(array: NDArray[np.float32], like: Tensor) -> Tensor:
    return torch.from_numpy(np.array(array)).to(like)


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """(…, 3) radians → (…, 3, 3), Rodrigues' formula; differentiable at zero too."""
    squared = (axis_angle**2).sum(-1)[..., None, None]
    small = squared < SMALL_ANGLE**2
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    first = torch.where(small, 1.0 - squared / 6.0, angle.sin() / angle)
    second = torch.where(small, 0.5 - squared / 24.0, (1.0 - angle.cos()) / angle**2)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3).to(axis_angle) + first * skew + second * (skew @ skew)


def gaze_matrices(gaze: Tensor) -> Tensor:
    """(…, 2) yaw, pitch in radians → (…, 3, 3), as models.rotations.from_gaze."""
    yaw, pitch = gaze.unbind(-1)
    zero = torch.zeros_like(yaw)
    return rotation_matrices(torch.stack([zero, yaw, zero], -1)) @ rotation_matrices(torch.stack([pitch, zero, zero], -1))


def joint_rotations(poses: Poses) -> Tensor:
    """(B, 5, 3, 3) local rotations of root, neck, jaw, left eye, right eye."""
    body = rotation_matrices(torch.stack([poses.rotation, poses.neck, poses.jaw], 1))
    return torch.cat([body, gaze_matrices(poses.gaze)], 1)


def joint_transforms(joints: Tensor, rotations: Tensor) -> Tensor:
    """(5, 3) at rest, (B, 5, 3, 3) local → (B, 5, 3, 4) that carry an unposed point with each joint."""
    turned: list[Tensor] = []
    placed: list[Tensor] = []
    for joint, parent in enumerate(JOINT_PARENTS):
        if parent < 0:
            turned.append(rotations[:, joint])
            placed.append(joints[joint].expand(len(rotations), 3))
        else:
            turned.append(turned[parent] @ rotations[:, joint])
            placed.append(turned[parent] @ (joints[joint] - joints[parent]) + placed[parent])
    rotation, position = torch.stack(turned, 1), torch.stack(placed, 1)
    shift = position - (rotation @ joints[None, :, :, None])[..., 0]
    return torch.cat([rotation, shift[..., None]], -1)


def skin(vertices: Tensor, transforms: Tensor, weights: Tensor) -> Tensor:
    """Linear blend skinning: (B, V, 3) at rest, (B, 5, 3, 4), (V, 5) → (B, V, 3)."""
    blended = torch.tensordot(weights, transforms, dims=([1], [1])).transpose(0, 1)
    return (blended[..., :3] @ vertices[..., None])[..., 0] + blended[..., 3]


def project(vertices: Tensor, focal_px: float, centre_px: tuple[float, float]) -> Tensor:
    """(…, 3) camera space → (…, 3) x_px, y_px, depth in metres. What lies nearer than a millimetre is treated as a millimetre away."""
    depth = -vertices[..., 2]
    near = depth.clamp(min=1e-3)
    return torch.stack([centre_px[0] + focal_px * vertices[..., 0] / near, centre_px[1] - focal_px * vertices[..., 1] / near, depth], -1)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(B, V, 3), (F, 3) → (B, V, 3) of unit length, weighted by area, as models.mesh.vertex_normals; zero where there is no triangle."""
    a, b, c = (vertices[:, faces[:, corner]] for corner in range(3))
    across = torch.cross(b - a, c - a, dim=-1)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(1, faces[:, corner], across)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-20)
