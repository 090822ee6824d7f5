"""The avatar while it is learned: the start, moved by the offset network and coloured over by the texture network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.head_torch import Poses, rotation_matrices
from models.networks import Conditioning, NetworkSizes, NormalEncoder, OffsetNetwork, TextureNetwork
from training.neural.frames import Frames, mouth_features
from training.neural.sampling import interpolate
from training.neural.scene import Scene
from training.neural.view import View, box_around, normal_picture

POSE_RESIDUALS = 10
"""neck 3, jaw 3, gaze 4: what follows the expression in a frame's residual parameters."""


class NeuralAvatar(nn.Module):
    """Networks and residual parameters; the scene and the frames are given, and stay as they are."""

    def __init__(self, scene: Scene, frames: Frames, expression_names: tuple[str, ...], sizes: NetworkSizes, conditioning: Conditioning) -> None:
        super().__init__()
        self.scene, self.frames = scene, frames
        count = frames.poses.expression.shape[1]
        mouth = mouth_features(expression_names)
        self.register_buffer("mouth_features", torch.from_numpy(mouth), persistent=False)
        self.register_buffer("learned", torch.from_numpy(~frames.watched), persistent=False)
        self.offset = OffsetNetwork(len(scene.topology.movable), sizes)
        self.encoder = NormalEncoder(sizes)
        self.texture = TextureNetwork(frames.conditions.shape[1], len(mouth), sizes, conditioning)
        self.residual = nn.Parameter(torch.zeros(len(frames), count + POSE_RESIDUALS))
        self.residual_translation = nn.Parameter(torch.zeros(len(frames), 3))

    def offset_parameters(self) -> list[nn.Parameter]:
        return list(self.offset.parameters())

    def texture_parameters(self) -> list[nn.Parameter]:
        return [*self.texture.parameters(), *self.encoder.parameters()]

    def residuals(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """(B, E + 10) and (B, 3) of frames: zero on average, so that what all frames ask for goes to the geometry, which others share; zero if watched."""
        learned = self.learned[:, None]
        share = self.learned.sum()

        def centred(values: Tensor) -> Tensor:
            return torch.where(learned, values - (values * learned).sum(0) / share, torch.zeros_like(values))[chosen]

        return centred(self.residual), centred(self.residual_translation)

    def poses(self, chosen: Tensor) -> Poses:
        """The fit's, with what was learned about it."""
        fit = self.frames.poses_of(chosen)
        change, shift = self.residuals(chosen)
        expression, neck, jaw, gaze = change.split([fit.expression.shape[1], 3, 3, 4], 1)
        return Poses(fit.expression + expression, fit.rotation, fit.neck + neck, fit.jaw + jaw, fit.gaze + gaze.unflatten(1, (2, 2)), fit.translation + shift)

    def local_offsets(self, neck: Tensor) -> Tensor:
        """(B, M, 3) metres in the vertices' frames, for (B, 3) axis-angle of the neck."""
        topology = self.scene.topology
        moved: Tensor = self.offset(topology.canonical[topology.movable], rotation_matrices(neck), topology.neck)
        return moved

    def vertices(self, poses: Poses, offsets: Tensor, dynamic_weights: Tensor) -> Tensor:
        """(B, V, 3) camera space, with (B, M, 3) local offsets and (B, D) weights of the start's dynamic ones."""
        dynamic = torch.tensordot(dynamic_weights, self.scene.dynamic, 1)
        return self.scene.head.posed(poses, offsets=self.scene.spread(offsets) + dynamic)

    def codes(self, view: View, vertices: Tensor) -> Tensor:
        """(code, S, S) of the normals of (V, 3); zero out of reach of the surface."""
        with torch.no_grad():
            picture = normal_picture(self.scene, view, vertices)
        rows, columns = box_around(view)
        code = self.encoder(picture[None, :, rows, columns])[0]
        whole = code.new_zeros(len(code), view.size, view.size)
        whole[:, rows, columns] = code
        return whole

    def added(self, corners: Tensor, barycentrics: Tensor, uv: Tensor, code: Tensor, condition: Tensor) -> Tensor:
        """(N, 3) what the texture network adds to the start's colours at surface points; `condition` (13 + E,)."""
        topology = self.scene.topology
        canonical = interpolate(topology.canonical, corners, barycentrics)
        mouth = (topology.mouth[corners] * barycentrics).sum(1)
        colour: Tensor = self.texture(canonical, uv, mouth, code, condition, condition[self.mouth_features])
        return colour

    def colours(self, frame: int, view: View, vertices: Tensor, condition: Tensor) -> Tensor:
        """(N, 4) straight RGBA of what a view shows of the frame."""
        start = self.scene.colours(view.uv, view.level, self.frames.texture_weights[frame])
        code = view.gathered(self.codes(view, vertices))
        added = self.added(view.corners, view.barycentrics, view.uv, code, condition)
        return torch.cat([start[:, :3] + added * self.scene.learned[view.face, None], start[:, 3:]], 1)
