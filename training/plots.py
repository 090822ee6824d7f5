"""Three small plots as inline SVG: lines over time, dots, bars. Colours come from the page's style sheet, so that they follow its theme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDE, TALL = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 26, 34
BAR_PX = 26
CLASSES = "ab"
Points = Sequence[tuple[float, float | None]]


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round values within [low, high]: 1, 2 or 5 times a power of ten apart."""
    rough = max(high - low, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def lines(title: str, across: str, series: Mapping[str, Points]) -> str:
    """Up to two named lines; None breaks a line."""
    return _chart(title, across, series, dots=False)


def dots(title: str, across: str, series: Mapping[str, Points]) -> str:
    """Up to two named clouds of dots."""
    return _chart(title, across, series, dots=True)


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """A row for each value, as long as it is large."""
    most = max([*values.values(), 1e-9])
    tall = TOP + BAR_PX * len(values) + 6
    rows = []
    for row, (name, value) in enumerate(values.items()):
        y, long = TOP + BAR_PX * row, (WIDE - 190) * value / most
        rows.append(f'<text x="86" y="{y + 17}" text-anchor="end">{escape(name)}</text>')
        rows.append(f'<rect class="fa" x="94" y="{y + 4}" width="{long:.1f}" height="17" rx="3"/>')
        rows.append(f'<text x="{100 + long:.1f}" y="{y + 17}">{value:.1f} {escape(unit)}</text>')
    return _svg(title, tall, "".join(rows))


def _chart(title: str, across: str, series: Mapping[str, Points], dots: bool) -> str:
    seen = [(x, y) for points in series.values() for x, y in points if y is not None]
    if not seen:
        return ""
    x0, x1 = min(x for x, _ in seen), max(x for x, _ in seen)
    y0, y1 = min(y for _, y in seen), max(y for _, y in seen)
    x1, (y0, y1) = max(x1, x0 + 1e-6), (y0 - 0.06 * (y1 - y0) - 0.1, y1 + 0.06 * (y1 - y0) + 0.1)

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (WIDE - LEFT - RIGHT) * (x - x0) / (x1 - x0), TALL - BOTTOM - (TALL - TOP - BOTTOM) * (y - y0) / (y1 - y0)

    parts = []
    for value in ticks(y0, y1):
        _, y = place(x0, value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDE - RIGHT}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(x0, x1, 6):
        x, _ = place(value, y0)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{TALL - BOTTOM}"/><text x="{x:.1f}" y="{TALL - BOTTOM + 15}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{WIDE - RIGHT}" y="{TALL - 4}" text-anchor="end">{escape(across)}</text>')
    for kind, (name, points) in zip(CLASSES, series.items(), strict=False):
        placed = [None if y is None else place(x, y) for x, y in points]
        parts.append(_dots(kind, placed) if dots else _line(kind, placed))
        mark = LEFT + 130 * CLASSES.index(kind)
        parts.append(f'<circle class="f{kind}" cx="{mark + 5}" cy="{TALL - 9}" r="5"/><text x="{mark + 15}" y="{TALL - 4}">{escape(name)}</text>')
    return _svg(title, TALL, "".join(parts))


def _line(kind: str, placed: Sequence[tuple[float, float] | None]) -> str:
    path, pen_down = "", False
    for point in placed:
        if point is not None:
            path += f"{'L' if pen_down else 'M'}{point[0]:.1f} {point[1]:.1f}"
        pen_down = point is not None
    return f'<path class="s{kind}" d="{path}"/>'


def _dots(kind: str, placed: Sequence[tuple[float, float] | None]) -> str:
    return "".join(f'<circle class="f{kind}" cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="2.6"/>' for point in placed if point is not None)


def _svg(title: str, tall: int, inside: str) -> str:
    said = escape(title)
    return f'<svg viewBox="0 0 {WIDE} {tall}" role="img" aria-label="{said}"><text class="title" x="0" y="14">{said}</text>{inside}</svg>'
