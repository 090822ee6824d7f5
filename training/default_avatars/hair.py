"""Hair as a sculpted shell of locks: it flows from a parting over the scalp to the hairline, and may hang on from there.

Rows run along the strands and columns across them, so that one streaky picture, rows down and columns across, paints all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.head import NECK, ROOT
from training.default_avatars.noise import fractal_noise, value_noise
from training.default_avatars.parts import Part, grid_faces
from training.default_avatars.scalp import Scalp, direction

Float = NDArray[np.float64]
Curve = tuple[tuple[float, float], ...]
"""Control points (azimuth in degrees from the face, value), 0 to 180, the same on both sides; read with straight lines."""

SCALP_ROWS = 14
HANG_ROWS = 8


@dataclass(frozen=True, slots=True)
class HairStyle:
    """One haircut. Angles in degrees, lengths in metres."""

    hairline: Curve
    """Elevation of the edge of the scalp hair, seen from the scalp's centre."""
    thickness: Curve
    """How high the hair stands between parting and hairline."""
    edge_thickness: Curve
    """How high it stands at the hairline (a quiff or a fringe stands out there)."""
    hang: Curve = ((0.0, 0.0), (180.0, 0.0))
    """How far it falls beyond the hairline."""
    flare: float = 0.0
    """How far outwards the hanging tips point, as a share of their length; negative: they turn in to the neck."""
    part_front: tuple[float, float] = (0.0, 55.0)
    """Azimuth and elevation where the parting begins …"""
    part_back: tuple[float, float] = (180.0, 62.0)
    """… and where it ends at the back."""
    part_thickness: float = 0.004
    columns: int = 108
    clumps: int = 40
    clump_depth: float = 0.25
    """Depth of the furrows between locks, as a share of the thickness."""
    wave: float = 0.0
    """How far the locks wander sideways, in columns."""
    curl: float = 0.0
    """Amplitude of round bumps all over, in metres (tight curls)."""
    curl_size: float = 0.012
    tip_raggedness: float = 0.25
    """How much the hanging length differs within and between locks."""
    seed: int = 1


def grow(style: HairStyle, scalp: Scalp) -> Part:
    """The hair of a head whose skull is `scalp`; its texture coordinates fill the unit square, strands along v."""
    azimuth = np.linspace(-180.0, 180.0, style.columns, endpoint=False) + 180.0 / style.columns
    locks = _Locks(style)
    outer = _scalp_rows(style, scalp, azimuth, locks)
    outside = np.concatenate([outer, _hang_rows(style, outer, azimuth, locks)])
    rows = np.concatenate([outside, _inside(outer, outside[-1], scalp)])
    count = len(rows)
    v = np.concatenate([np.linspace(0.0, 0.93, len(outside)), np.linspace(0.945, 1.0, count - len(outside))])
    u = np.arange(style.columns + 1) / style.columns
    uv = np.stack(np.broadcast_arrays(u[None], v[:, None]), -1).reshape(-1, 2)
    cells = grid_faces(count, style.columns, closed=True)
    wide = grid_faces(count, style.columns + 1, closed=False).reshape(-1, 3)
    return Part(rows.reshape(-1, 3), cells, uv, wide, _weights(rows, style).reshape(-1, 5), ("hair",) * len(cells))


class _Locks:
    """Splits the columns into locks of random width; knows where in its lock a column is."""

    def __init__(self, style: HairStyle) -> None:
        rng = np.random.default_rng(style.seed)
        edges = np.cumsum(rng.uniform(0.6, 1.4, style.clumps))
        self._edges = np.concatenate([[0.0], edges / edges[-1]]) * 360.0 - 180.0
        self._length = rng.uniform(-1.0, 1.0, style.clumps)
        self._style = style

    def ridge(self, azimuth: Float, along: Float) -> Float:
        """(rows, columns): 0 in a furrow, 1 on the back of a lock."""
        return self._inside(azimuth, along)[0]

    def length(self, azimuth: Float, along: Float) -> Float:
        """(rows, columns) factor about 1 of the hanging length: a lock is longest in its middle."""
        ridge, lock = self._inside(azimuth, along)
        return 1.0 + self._style.tip_raggedness * (0.6 * (ridge - 0.7) + 0.5 * self._length[lock])

    def _inside(self, azimuth: Float, along: Float) -> tuple[Float, NDArray[np.int64]]:
        sway = self._style.wave * value_noise(np.stack(np.broadcast_arrays(azimuth[None] / 25.0, along[:, None] * 3.0), -1), self._style.seed + 5)
        where = (azimuth[None] + sway * 360.0 / self._style.columns + 180.0) % 360.0 - 180.0
        lock = np.clip(np.searchsorted(self._edges, where, side="right") - 1, 0, len(self._length) - 1)
        left, right = self._edges[lock], self._edges[lock + 1]
        offset = 2.0 * (where - left) / (right - left) - 1.0
        return np.sqrt(np.clip(1.0 - offset**2, 0.0, 1.0)), lock


def _scalp_rows(style: HairStyle, scalp: Scalp, azimuth: Float, locks: _Locks) -> Float:
    """(SCALP_ROWS, columns, 3) from the parting to the hairline."""
    along = np.linspace(0.0, 1.0, SCALP_ROWS)
    turned = np.abs(azimuth) / 180.0
    smooth = turned * turned * (3.0 - 2.0 * turned)
    start = _slerp(_toward(*style.part_front), _toward(*style.part_back), smooth)
    end = direction(np.radians(azimuth), np.radians(_read(style.hairline, azimuth)))
    ways = np.stack([_slerp(start, end, np.full(len(azimuth), t)) for t in along])
    body, edge = _read(style.thickness, azimuth), _read(style.edge_thickness, azimuth)
    rise = np.minimum(along / 0.22, 1.0)[:, None] ** 0.6
    toward_edge = np.clip((along - 0.45) / 0.55, 0.0, 1.0)[:, None] ** 2
    thickness = style.part_thickness + (body - style.part_thickness) * rise
    thickness = thickness * (1.0 - toward_edge) + edge * toward_edge
    ridge = locks.ridge(azimuth, along)
    depth = style.clump_depth * np.minimum(along / 0.3, 1.0)[:, None]
    thickness = thickness * (1.0 - depth * (1.0 - ridge))
    points = scalp.point(ways, thickness)
    if style.curl > 0.0:
        bumps = fractal_noise(points / style.curl_size, style.seed + 11, octaves=2)
        points = points + ways * (style.curl * np.abs(bumps) * np.minimum(along / 0.1, 1.0)[:, None])[..., None]
    return points


def _hang_rows(style: HairStyle, outer: Float, azimuth: Float, locks: _Locks) -> Float:
    """(HANG_ROWS, columns, 3) beyond the hairline: the last direction of the strand bends down to the ground. No rows where no hair hangs."""
    length = _read(style.hang, azimuth)
    if not length.any():
        return np.empty((0, len(azimuth), 3))
    fall = np.linspace(0.0, 1.0, HANG_ROWS + 1)[1:]
    length = length * locks.length(azimuth, np.array([1.0]))[0]
    tangent = outer[-1] - outer[-2]
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    outward = np.stack([np.sin(np.radians(azimuth)), np.zeros_like(azimuth), np.cos(np.radians(azimuth))], -1)
    down = np.array([0.0, -1.0, 0.0])
    point, rows = outer[-1], []
    for t in fall:
        bend = min(t * 2.2, 1.0)
        heading = tangent * (1.0 - bend) + (down + style.flare * outward * t) * bend
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        point = point + heading * (length / HANG_ROWS)[:, None]
        rows.append(point)
    hanging = np.stack(rows)
    ridge = locks.ridge(azimuth, 1.0 + fall)
    return hanging - outward * (0.006 * style.clump_depth * (1.0 - ridge) * (length > 0.02))[..., None]


def _inside(outer: Float, tips: Float, scalp: Scalp) -> Float:
    """(4, columns, 3): the tips fold over and run back up to below the skin, so that no one looks into an empty shell."""
    inward = (scalp.centre - tips) * (1.0, 0.0, 1.0)
    inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-9)
    under_tip = tips + inward * 0.006
    edge_inward = scalp.centre - outer[-1]
    edge_inward /= np.linalg.norm(edge_inward, axis=1, keepdims=True)
    ray = outer[-1] - scalp.centre
    distance = np.linalg.norm(ray, axis=1)
    thickness = distance - scalp.radius(ray / distance[:, None])
    lifted = outer[-1] + edge_inward * np.minimum(0.008, thickness * 0.6)[:, None]
    rooted = outer[-2] + edge_inward * (thickness + 0.014)[:, None]
    return np.stack([under_tip, 0.5 * (under_tip + lifted), lifted, rooted])


def _weights(rows: Float, style: HairStyle) -> Float:
    """(rows, columns, 5): hair goes with the head; long tips rest a little on the shoulders."""
    weights = np.zeros((*rows.shape[:2], 5))
    low = np.clip((-0.10 - rows[..., 1]) / 0.12, 0.0, 1.0) * 0.6
    weights[..., NECK], weights[..., ROOT] = 1.0 - low, low
    return weights


def _toward(azimuth: float, elevation: float) -> Float:
    return direction(np.radians(np.array(azimuth)), np.radians(np.array(elevation)))


def _slerp(start: Float, end: Float, share: Float) -> Float:
    """Unit (…, 3) on the great circle from `start` to `end`."""
    angle = np.arccos(np.clip((start * end).sum(-1), -1.0, 1.0))
    angle = np.maximum(angle, 1e-6)
    a, b = np.sin((1.0 - share) * angle) / np.sin(angle), np.sin(share * angle) / np.sin(angle)
    mixed: Float = a[..., None] * start + b[..., None] * end
    return mixed


def _read(curve: Curve, azimuth: Float) -> Float:
    knots = np.array(curve)
    values: Float = np.interp(np.abs(azimuth), knots[:, 0], knots[:, 1])
    return values
