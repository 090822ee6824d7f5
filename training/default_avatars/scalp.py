"""The skull as a smooth function of direction, so that hair can be grown over it without ears or pores in the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
DEGREE = 6


@dataclass(frozen=True, slots=True)
class Scalp:
    """`centre` (3,) metres in head space; `coefficients` of the radius over a polynomial of the direction."""

    centre: Float
    coefficients: Float

    def radius(self, directions: Float) -> Float:
        """(…, 3) unit directions → (…) metres from the centre to the skin."""
        return _basis(directions) @ self.coefficients

    def point(self, directions: Float, thickness: Float) -> Float:
        """(…, 3): the skin lifted by `thickness` (…) metres along the direction."""
        return self.centre + directions * (self.radius(directions) + thickness)[..., None]


def fit_scalp(vertices: Float, ear_side: float = 0.9) -> Scalp:
    """Least squares over the skin of the cranium, (V, 3) in head space; ears (|x| beyond `ear_side` of the widest) and face are left out."""
    top = vertices[:, 1].max()
    cranium_back = vertices[(vertices[:, 1] > 0.0)][:, 2].min()
    centre = np.array([0.0, 0.3 * top, 0.45 * cranium_back])
    offset = vertices - centre
    length = np.linalg.norm(offset, axis=1)
    direction = offset / length[:, None]
    temple = np.abs(vertices[vertices[:, 1] > 0.35 * top][:, 0]).max()
    keep = (vertices[:, 1] > -0.45 * top) & (np.abs(vertices[:, 0]) < temple * ear_side + 0.02) & ((vertices[:, 2] < 0.0) | (vertices[:, 1] > 0.25 * top))
    keep &= ~((np.abs(vertices[:, 0]) > temple * 0.97) & (vertices[:, 1] < 0.25 * top))
    basis = _basis(direction[keep])
    coefficients = np.linalg.lstsq(basis.T @ basis + 1e-3 * np.eye(basis.shape[1]), basis.T @ length[keep], rcond=None)[0]
    return Scalp(centre, coefficients)


def direction(azimuth: Float, elevation: Float) -> Float:
    """Unit directions: azimuth 0 is the face, positive to the person's left; elevation from the horizon up; radians."""
    return np.stack([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], -1)


def _basis(directions: Float) -> Float:
    """Monomials of x², y, z up to DEGREE: symmetric left to right."""
    x, y, z = directions[..., 0] ** 2, directions[..., 1], directions[..., 2]
    terms = [y**b * z**c * x**a for a in range(DEGREE // 2 + 1) for b in range(DEGREE + 1) for c in range(DEGREE + 1) if 2 * a + b + c <= DEGREE]
    return np.stack(terms, -1)
