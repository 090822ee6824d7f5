"""The objective of a batch: poses, looks at and compares its frames, as far as a stage's weights ask for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.head import NECK
from models.head_torch import Poses, joint_rotations, joint_transforms, project
from models.raster import Rasterizer
from training.neural import losses
from training.neural.avatar import NeuralAvatar
from training.neural.landmarks import LIDS_LOWER, LIDS_UPPER, Places
from training.neural.sampling import sample
from training.neural.schedule import LossWeights, Stage
from training.neural.view import View, look, normal_picture, projected

OPAQUE = 0.5
RELIEF_SIZE = 50.0
"""Normals are compared in what a blur of the picture's side divided by this takes away."""


@dataclass(frozen=True)
class Objective:
    """What a batch of frames is judged by."""

    avatar: NeuralAvatar
    places: Places
    rasterizer: Rasterizer

    def __call__(self, chosen: Tensor, stage: Stage, noise: Tensor | None = None) -> Tensor:
        """The weighted sum for (B,) frames; `noise` (B, 13 + E) is added to the networks' conditions."""
        avatar, weights = self.avatar, stage.weights
        conditions = avatar.frames.conditions[chosen]
        if noise is not None:
            conditions = conditions + noise
        with torch.set_grad_enabled(stage.geometry and torch.is_grad_enabled()):
            poses = avatar.poses(chosen)
            offsets = avatar.local_offsets(poses.neck)
            vertices = avatar.vertices(poses, offsets, avatar.frames.dynamic_weights[chosen])
        total = self._geometry(chosen, poses, offsets, vertices, weights)
        seen = weights.colour or weights.pyramid or weights.silhouette or (weights.normals and avatar.frames.normals is not None)
        for row, frame in enumerate(chosen.tolist() if seen else []):
            view = look(avatar.scene, vertices[row], avatar.frames.focal_px, avatar.frames.size, self.rasterizer)
            total = total + self._picture(frame, row, view, vertices[row], poses, conditions[row], stage) / len(chosen)
        return total

    def _geometry(self, chosen: Tensor, poses: Poses, offsets: Tensor, vertices: Tensor, weights: LossWeights) -> Tensor:
        """Terms that need no picture."""
        avatar, mesh = self.avatar, self.avatar.scene.topology
        frames = avatar.frames
        total = vertices.new_zeros(())
        if weights.laplacian:
            total = total + weights.laplacian * losses.laplacian(offsets, mesh.neighbours, mesh.stiffness, mesh.edge_m)
        if weights.edges:
            total = total + weights.edges * losses.edge_length(vertices, mesh.edges, mesh.rest_m)
        if weights.consistency:
            total = total + weights.consistency * losses.consistency(offsets)
        if weights.prior:
            total = total + weights.prior * losses.prior(torch.cat(avatar.residuals(chosen), 1))
        centre = (frames.size / 2.0, frames.size / 2.0)
        truth = frames.landmarks[chosen]
        if weights.landmarks and bool(self.places.weight.any()):
            points = project(self.places.points(vertices), frames.focal_px, centre)[..., :2]
            total = total + weights.landmarks * losses.landmarks(points, truth, self.places.weight, frames.size)
        if weights.eyes and self.places.lids_known:
            still = avatar.vertices(_only_expression(poses), offsets.detach(), frames.dynamic_weights[chosen])
            points = project(self.places.points(still), frames.focal_px, centre)[..., :2]
            opening = truth[:, LIDS_LOWER, 1] - truth[:, LIDS_UPPER, 1]
            trusted = losses.trust(poses.neck[:, 1].detach(), poses.neck[:, 0].detach())
            total = total + weights.eyes * losses.eye_closure(points[:, LIDS_UPPER], points[:, LIDS_LOWER], opening, trusted, frames.size)
        return total

    def _picture(self, frame: int, row: int, view: View, vertices: Tensor, poses: Poses, condition: Tensor, stage: Stage) -> Tensor:
        """Terms of one frame that compare pictures."""
        avatar, weights = self.avatar, stage.weights
        rgb, matte = avatar.frames.picture(frame)
        places = projected(view, vertices, avatar.frames.focal_px)
        total = vertices.new_zeros(())
        if weights.colour or weights.pyramid:
            colours = avatar.colours(frame, view, vertices, condition)
            target = sample(rgb, places)
            weight = colours[:, 3].detach() * view.gathered(matte[None])[:, 0] * avatar.scene.learned[view.face]
            if weights.colour:
                total = total + weights.colour * losses.masked_l1(colours[:, :3], target, weight)
            if weights.pyramid:
                difference = view.picture(colours[:, :3] - target.detach())
                total = total + weights.pyramid * losses.pyramid(difference, view.picture(weight[:, None])[0])
        if weights.silhouette:
            total = total + weights.silhouette * self._silhouette(frame, row, view, places, matte, poses)
        predicted = avatar.frames.normal_picture(frame) if weights.normals else None
        if predicted is not None:
            known = ((predicted != 0.0).any(0) & ~view.overlay).to(matte) * matte
            rendered = normal_picture(avatar.scene, view, vertices)
            shown = known * (rendered.detach() != 0.0).any(0)
            total = total + weights.normals * losses.normals(rendered, predicted, shown, max(rgb.shape[1:]) / RELIEF_SIZE)
        return total

    def _silhouette(self, frame: int, row: int, view: View, places: Tensor, matte: Tensor, poses: Poses) -> Tensor:
        """Above the neck's joint: below it are shoulders, which may be a fixed plate of the start's, or missing."""
        avatar = self.avatar
        scene = avatar.scene
        with torch.no_grad():
            alpha = scene.colours(view.uv, view.level, avatar.frames.texture_weights[frame])[:, 3]
            solid = alpha > OPAQUE
            rendered = view.picture(solid[:, None].to(alpha))[0] > 0.0
            transforms = joint_transforms(scene.head.joints, joint_rotations(poses)[row : row + 1])[0, NECK]
            joint = transforms[:, :3] @ scene.head.joints[NECK] + transforms[:, 3] + poses.translation[row]
            lowest = project(joint, avatar.frames.focal_px, (view.size / 2.0, view.size / 2.0))[1]
            above = torch.arange(view.size, device=alpha.device)[:, None] + 0.5 < lowest
            counted = above & ~view.overlay
        return losses.silhouette(places[solid], rendered, matte > OPAQUE, counted)


def _only_expression(poses: Poses) -> Poses:
    """The same, but only the expression carries gradients: lids are closed by lids, not by nodding."""
    return Poses(poses.expression, *(each.detach() for each in (poses.rotation, poses.neck, poses.jaw, poses.gaze, poses.translation)))
