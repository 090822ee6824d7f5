"""The slow, obvious renderer: numpy, float64, 4 x 4 samples a pixel, the full texture. What the fast one is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile
from models.avatar_parts import Material, features
from models.head import HeadParams, joint_rotations, skin
from models.image_blob import decode_image
from models.lighting import portrait_lights
from models.mesh import vertex_labels, vertex_normals
from models.raster import Fragments
from models.raster.reference import ReferenceRasterizer

Real = NDArray[np.float64]
SAMPLES = 4


def reference_vertices(avatar: AvatarFile, params: HeadParams) -> NDArray[np.float32]:
    """(V, 3) camera space: offsets, then models.head.skin."""
    mesh = avatar.mesh
    rotations = joint_rotations(params)
    shaped = mesh.vertices + np.tensordot(params.expression, avatar.expression.dense(len(mesh.vertices)), 1)
    if avatar.pose_correctives is not None:
        shaped = shaped + np.tensordot((rotations[1:] - np.eye(3)).ravel(), avatar.pose_correctives.dense(len(mesh.vertices)), 1)
    if avatar.dynamic_offsets is not None and avatar.weights is not None:
        shaped = shaped + np.tensordot(avatar.weights(features(params))[-len(avatar.dynamic_offsets) :], avatar.dynamic_offsets, 1)
    return skin(shaped.astype(np.float32), mesh.joints, rotations, mesh.skinning_weights) + params.translation


def reference_residual(avatar: AvatarFile, params: HeadParams) -> Real | None:
    """(R, R, 4) grey levels that the texture basis adds, texel by texel."""
    basis = avatar.texture_basis
    if basis is None or avatar.weights is None:
        return None
    count, side = len(basis.maps), basis.maps.shape[1]
    weights = avatar.weights(features(params))[: basis.group_count * count].reshape(-1, count)
    block = np.arange(side) // basis.block
    index = block[:, None] * (side // basis.block) + block
    residual = np.zeros((side, side, 4))
    for k in range(count):
        factor = basis.scale[k][index] * weights[:, k][basis.group[index]]
        residual[..., : basis.maps.shape[3]] += factor[..., None] * basis.maps[k].astype(np.float64)
    return residual


def unit(vectors: Real) -> Real:
    """Along the last axis."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def highlight(normals: Real, views: Real, specular: Real, shininess: Real) -> Real:
    """Blinn, of the key light and a third of the fill light."""
    total = np.zeros(len(normals))
    for light, strength in zip(portrait_lights()[:2, :3].astype(np.float64), (1.0, 0.3), strict=True):
        cosine = (normals * unit(light + views)).sum(-1)
        total += strength * np.where(cosine > 0.05, np.maximum(cosine, 1e-3) ** shininess, 0.0) * np.clip(4.0 * normals @ light, 0.0, 1.0)
    return specular * total


def vertex_light(vertices: Real, normals: Real, materials: list[Material]) -> Real:
    """(V, 4): three factors and white."""
    lights = portrait_lights().astype(np.float64)
    key, fill, back, sky, ground = lights
    views = -unit(vertices)

    def column(name: str) -> Real:
        return np.array([getattr(material, name) for material in materials], np.float64)

    edge = np.clip(1.0 - (normals * views).sum(1), 0.0, 1.0)
    rim = column("rim") * edge**3 * np.maximum(normals @ back[:3] + 0.35, 0.0)
    wrap = column("wrap")[:, None] + column("subsurface")

    def wrapped(light: Real) -> Real:
        return np.asarray(np.maximum(((normals @ light[:3])[:, None] + wrap) / (1.0 + wrap), 0.0) * light[3:])

    up = 0.5 + 0.5 * normals[:, 1:2]
    colour = ground[3:] + up * (sky[3:] - ground[3:]) + wrapped(key) + wrapped(fill) + rim[:, None] * back[3:]
    smooth = np.where(column("glossy") > 0, 0.0, highlight(normals, views, column("specular"), column("shininess")))
    light = np.concatenate([colour, (0.12 * rim + smooth)[:, None]], 1)
    light[column("lit") == 0] = (1.0, 1.0, 1.0, 0.0)
    return light


def bilinear(image: Real, uv: Real) -> Real:
    """(N, C) at texture coordinates."""
    size = np.array([image.shape[1], image.shape[0]])
    place = np.clip(uv * size - 0.5, 0.0, size - 1.001)
    low = place.astype(int)
    x, y = low.T
    along, across = (place - low).T[:, :, None]
    upper = image[y, x] * (1 - along) + image[y, x + 1] * along
    return np.asarray(upper * (1 - across) + (image[y + 1, x] * (1 - along) + image[y + 1, x + 1] * along) * across)


@dataclass
class ReferenceScene:
    """One posed, lit frame, and the picture under way, `SAMPLES` times as large."""

    avatar: AvatarFile
    vertices: Real
    normals: Real
    light: Real
    texture: Real
    residual: Real | None
    points: NDArray[np.float32]
    picture: Real

    def lay(self, seen: Fragments, where: NDArray[np.bool_]) -> None:
        """Blends what the chosen pixels see over the picture."""
        faces, mesh = seen.face_id[where], self.avatar.mesh
        weights = seen.barycentrics[where].astype(np.float64)
        uv = np.einsum("nk,nkc->nc", weights, mesh.uv[mesh.uv_faces[faces]].astype(np.float64))
        colour = bilinear(self.texture, uv)
        if self.residual is not None:
            colour = colour + bilinear(self.residual, uv)
        corners = mesh.faces[faces]
        light = np.einsum("nk,nkc->nc", weights, self.light[corners])
        light[:, 3] += self.gloss(faces, np.einsum("nk,nkc->nc", weights, self.normals[corners]), np.einsum("nk,nkc->nc", weights, self.vertices[corners]))
        rgb = np.clip(colour[:, :3] * light[:, :3] + 255.0 * light[:, 3:], 0.0, 255.0)
        alpha = np.clip(colour[:, 3:] / 255.0, 0.0, 1.0)
        self.picture[where] = rgb * alpha + self.picture[where] * (1.0 - alpha)

    def gloss(self, faces: NDArray[np.int32], normals: Real, places: Real) -> Real:
        """White to add in glossy regions."""
        materials = [self.avatar.regions[region].material for region in self.avatar.mesh.face_region]
        specular = np.array([material.specular * (material.glossy and material.lit) for material in materials])[faces]
        shininess = np.array([material.shininess for material in materials])[faces]
        return np.asarray(np.minimum(1.8 * highlight(unit(normals), -unit(places), specular, shininess), specular))


def reference_scene(avatar: AvatarFile, params: HeadParams, backdrop: NDArray[np.uint8]) -> ReferenceScene:
    """Pose, light and projection for a picture of the backdrop's size."""
    size, mesh, camera = len(backdrop), avatar.mesh, avatar.camera
    vertices = reference_vertices(avatar, params)
    normals = vertex_normals(vertices, mesh.faces).astype(np.float64)
    labels = vertex_labels(mesh.faces, mesh.face_region, len(vertices), len(avatar.regions))
    light = vertex_light(vertices.astype(np.float64), normals, [avatar.regions[label].material for label in labels])
    depth = -vertices[:, 2]
    focal = camera.focal * size
    x = size * (0.5 + camera.principal[0]) + focal * vertices[:, 0] / depth
    y = size * (0.5 + camera.principal[1]) - focal * vertices[:, 1] / depth
    points = np.stack([x * SAMPLES, y * SAMPLES, depth], 1).astype(np.float32)
    picture = backdrop.repeat(SAMPLES, 0).repeat(SAMPLES, 1).astype(np.float64)
    texture = decode_image(avatar.texture, "texture", 4, 2048).astype(np.float64)
    return ReferenceScene(avatar, vertices.astype(np.float64), normals, light, texture, reference_residual(avatar, params), points, picture)


def render_reference(avatar: AvatarFile, params: HeadParams, backdrop: NDArray[np.uint8], bias_m: float = 0.0008) -> Real:
    """(size, size, 3) 0…255, without badge, over a (size, size, 3) backdrop."""
    scene, mesh = reference_scene(avatar, params, backdrop), avatar.mesh
    rasterizer = ReferenceRasterizer(*scene.picture.shape[1::-1])
    for layer in (2, 0):
        surface = np.flatnonzero(mesh.face_layer == layer)
        if not len(surface):
            continue
        seen = rasterizer.rasterize(scene.points, mesh.faces[surface])
        hit = seen.face_id >= 0
        scene.lay(Fragments(np.where(hit, surface[seen.face_id], -1).astype(np.int32), seen.barycentrics, seen.depth), hit)
    overlay = np.flatnonzero(mesh.face_layer == 1)
    for face in overlay[np.argsort(-scene.points[mesh.faces[overlay], 2].sum(1), kind="stable")]:
        for turned in (slice(None), slice(None, None, -1)):
            over = rasterizer.rasterize(scene.points, mesh.faces[face : face + 1, turned])
            shown = (over.face_id >= 0) & (over.depth - bias_m <= seen.depth)
            scene.lay(Fragments(np.where(shown, face, -1).astype(np.int32), over.barycentrics[..., turned], over.depth), shown)
    size = len(backdrop)
    return np.asarray(scene.picture.reshape(size, SAMPLES, size, SAMPLES, 3).mean((1, 3)))
