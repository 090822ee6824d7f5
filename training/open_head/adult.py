"""Adults as mixes of MakeHuman's targets: the mean one, and random ones for the identity basis. Decimetres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.open_head.source import Double, MakeHuman

ORIGINS = ("african", "asian", "caucasian")
GENDERS = ("female", "male")
WEIGHTS = ("minweight", "averageweight", "maxweight")
DETAIL_FOLDERS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose", "asym")
OPPOSITES = (
    ("decr", "incr"),
    ("in", "out"),
    ("down", "up"),
    ("backward", "forward"),
    ("compress", "uncompress"),
    ("concave", "convex"),
    ("pointed", "triangle"),
    ("decrease", "increase"),
)
EYE_OPENING = 0.35
"""How much of both eyeWide shapes every adult wears: MakeHuman's own lids hang low."""


@dataclass(frozen=True)
class Axis:
    """One random trait: `plus` (n, 3) for a positive value, `minus` for a negative one (None: the trait has one side only)."""

    name: str
    plus: Double
    minus: Double | None
    deviation: float


@dataclass(frozen=True)
class AdultMixer:
    """Mixes the targets for n chosen vertices of the base mesh."""

    base: Double
    """(n, 3) undressed base, with the lids opened."""
    young: Double
    """(3, 2, n, 3) by origin and gender."""
    ageing: Double
    """(2, n, 3) by gender, from young to old."""
    build: Double
    """(2, 3, n, 3) by gender and weight."""
    axes: tuple[Axis, ...]

    def mean(self) -> Double:
        """(n, 3) the mean adult: half of each gender, a third of each origin, young, of average weight."""
        mean: Double = self.base + self.young.mean((0, 1)) + self.build[:, 1].mean(0)
        return mean

    def samples(self, count: int, seed: int) -> Iterator[Double]:
        """Yields `count` random adults (n, 3)."""
        rng = np.random.default_rng(seed)
        left = {axis.name: k for k, axis in enumerate(self.axes)}
        partner = np.array([left.get(_other_side(axis.name), k) for k, axis in enumerate(self.axes)])
        deviations = np.array([axis.deviation for axis in self.axes])
        for _ in range(count):
            own = rng.normal(size=len(self.axes))
            shared = rng.normal(size=len(self.axes))[np.minimum(partner, np.arange(len(self.axes)))]
            values = np.where(partner == np.arange(len(self.axes)), own, 0.3 * own + 0.95 * shared)
            yield self._body(rng) + self._details(values * deviations)

    def _body(self, rng: np.random.Generator) -> Double:
        male = rng.random()
        gender = np.array([1.0 - male, male])
        origin = rng.dirichlet([0.7] * 3)
        weight = float(np.clip(rng.normal(0.0, 0.5), -1.0, 1.0))
        age = max(0.0, rng.normal(0.0, 0.4))
        sides = np.array([max(-weight, 0.0), 1.0 - abs(weight), max(weight, 0.0)])
        body: Double = self.base + np.einsum("o,g,ognc->nc", origin, gender, self.young)
        body += np.einsum("g,w,gwnc->nc", gender, sides, self.build)
        aged: Double = body + age * np.einsum("g,gnc->nc", gender, self.ageing)
        return aged

    def _details(self, values: Double) -> Double:
        total: Double = np.zeros_like(self.base)
        for axis, value in zip(self.axes, values, strict=True):
            if axis.minus is None:
                total += abs(value) * axis.plus
            else:
                total += min(abs(value), 1.0) * (axis.plus if value > 0.0 else axis.minus)
        return total


def make_mixer(source: MakeHuman, vertices: NDArray[np.int64], with_details: bool = True) -> AdultMixer:
    """The mixer for the given vertices (n,) of the base mesh; without details it only makes the mean adult."""

    def macro(name: str) -> Double:
        chosen: Double = source.target(f"macrodetails/{name}")[vertices]
        return chosen

    young = np.array([[macro(f"{origin}-{gender}-young") for gender in GENDERS] for origin in ORIGINS])
    old = np.array([macro(f"caucasian-{gender}-old") for gender in GENDERS])
    build = np.array([[macro(f"universal-{gender}-young-averagemuscle-{weight}") for weight in WEIGHTS] for gender in GENDERS])
    units = source.face_units()
    base = source.vertices + EYE_OPENING * (units["eyeWideLeft"] + units["eyeWideRight"])
    axes = _axes(source, vertices) if with_details else ()
    return AdultMixer(base[vertices], young, old - young[ORIGINS.index("caucasian")], build, axes)


def _axes(source: MakeHuman, vertices: NDArray[np.int64]) -> tuple[Axis, ...]:
    axes = []
    for folder in DETAIL_FOLDERS:
        names = [name for name in source.targets(folder) if "breast" not in name and "trunk" not in name and "head-trans" not in name]
        shapes = {name: source.target(name)[vertices] for name in names}
        for name in names:
            opposite = _opposite(name, names)
            if opposite is not None and opposite < name and _opposite(opposite, names) == name:
                continue
            minus = None if opposite is None else shapes[opposite]
            deviation = 0.15 if folder == "asym" else 0.25 if folder == "head" and minus is None else 0.4
            axes.append(Axis(name, shapes[name], minus, deviation))
    return tuple(axes)


def _opposite(name: str, names: list[str]) -> str | None:
    for first, second in OPPOSITES:
        for here, there in ((first, second), (second, first)):
            if name.endswith("-" + here) and (other := name.removesuffix(here) + there) in names:
                return other
    return None


def _other_side(name: str) -> str:
    folder, _, trait = name.partition("/")
    swap = {"l-": "r-", "r-": "l-"}
    return f"{folder}/{swap[trait[:2]]}{trait[2:]}" if trait[:2] in swap else name
