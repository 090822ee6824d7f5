"""Cuts a part in two along the zero line of a function on its vertices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.default_avatars.parts import Float, Int, Part


def cut(part: Part, height: Float) -> tuple[Part, Part]:
    """Splits triangles exactly where `height` (V,), linear along edges, is zero.

    Returns:
        The part where it is positive, and the part where it is negative. Both keep all (and the new) vertices of `part`.
    """
    builder = _Builder(part, height)
    above, below = builder.split()
    whole = builder.grown()
    return _pick(whole, builder, above), _pick(whole, builder, below)


class _Builder:
    def __init__(self, part: Part, height: Float) -> None:
        self._part, self._height = part, height
        self._edges: dict[tuple[int, int], int] = {}
        self._uv_edges: dict[tuple[int, int, float], int] = {}
        self._blends: list[tuple[int, int, float]] = []
        self._uv_blends: list[tuple[int, int, float]] = []
        self.faces: list[tuple[int, ...]] = []
        self.uv_faces: list[tuple[int, ...]] = []
        self.source: list[int] = []

    def split(self) -> tuple[list[int], list[int]]:
        """Indices into the new faces, above and below."""
        above: list[int] = []
        below: list[int] = []
        sign = self._height > 0.0
        for index, (face, uv_face) in enumerate(zip(self._part.faces.tolist(), self._part.uv_faces.tolist(), strict=True)):
            corners = [bool(sign[v]) for v in face]
            if all(corners) or not any(corners):
                (above if corners[0] else below).append(self._add(face, uv_face, index))
                continue
            alone = next(k for k in range(3) if corners.count(corners[k]) == 1)
            a, b, c = (face[(alone + k) % 3] for k in range(3))
            ua, ub, uc = (uv_face[(alone + k) % 3] for k in range(3))
            ab, uab = self._between(a, b, ua, ub)
            ac, uac = self._between(a, c, ua, uc)
            tip, rest = (above, below) if corners[alone] else (below, above)
            tip.append(self._add([a, ab, ac], [ua, uab, uac], index))
            rest.append(self._add([ab, b, c], [uab, ub, uc], index))
            rest.append(self._add([ab, c, ac], [uab, uc, uac], index))
        return above, below

    def grown(self) -> Part:
        """The part with the new vertices and texture coordinates, still with its old faces."""
        part = self._part
        first, second, share = _columns(self._blends)
        uv_first, uv_second, uv_share = _columns(self._uv_blends)
        expression = part.expression
        if expression is not None:
            expression = np.concatenate([expression, _mix(expression[:, first], expression[:, second], share)], 1)
        return replace(
            part,
            vertices=np.concatenate([part.vertices, _mix(part.vertices[first], part.vertices[second], share)]),
            weights=np.concatenate([part.weights, _mix(part.weights[first], part.weights[second], share)]),
            uv=np.concatenate([part.uv, _mix(part.uv[uv_first], part.uv[uv_second], uv_share)]),
            expression=expression,
        )

    def _add(self, face: list[int], uv_face: list[int], source: int) -> int:
        self.faces.append(tuple(face))
        self.uv_faces.append(tuple(uv_face))
        self.source.append(source)
        return len(self.faces) - 1

    def _between(self, a: int, b: int, ua: int, ub: int) -> tuple[int, int]:
        first, second = min(a, b), max(a, b)
        share = float(self._height[first] / (self._height[first] - self._height[second]))
        key = (first, second)
        if key not in self._edges:
            self._edges[key] = len(self._part.vertices) + len(self._blends)
            self._blends.append((first, second, share))
        uv_first, uv_second = (ua, ub) if first == a else (ub, ua)
        uv_key = (uv_first, uv_second, share)
        if uv_key not in self._uv_edges:
            self._uv_edges[uv_key] = len(self._part.uv) + len(self._uv_blends)
            self._uv_blends.append((uv_first, uv_second, share))
        return self._edges[key], self._uv_edges[uv_key]


def _columns(blends: list[tuple[int, int, float]]) -> tuple[NDArray[np.int64], NDArray[np.int64], Float]:
    table = np.array(blends, np.float64).reshape(-1, 3)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]


def _mix(first: Float, second: Float, share: Float) -> Float:
    mixed: Float = first + (second - first) * share[:, None]
    return mixed


def _pick(whole: Part, builder: _Builder, chosen: list[int]) -> Part:
    faces: Int = np.array([builder.faces[k] for k in chosen], np.int32).reshape(-1, 3)
    uv_faces: Int = np.array([builder.uv_faces[k] for k in chosen], np.int32).reshape(-1, 3)
    return replace(whole, faces=faces, uv_faces=uv_faces, region=tuple(whole.region[builder.source[k]] for k in chosen))


def compact(part: Part) -> Part:
    """The same surface without the vertices and texture coordinates that no face uses."""
    used, faces = np.unique(part.faces, return_inverse=True)
    uv_used, uv_faces = np.unique(part.uv_faces, return_inverse=True)
    return replace(
        part,
        vertices=part.vertices[used],
        faces=faces.reshape(-1, 3).astype(np.int32),
        uv=part.uv[uv_used],
        uv_faces=uv_faces.reshape(-1, 3).astype(np.int32),
        weights=part.weights[used],
        expression=None if part.expression is None else part.expression[:, used],
    )
