"""Curves of driver and avatar over time, as one SVG that needs no style sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.benchmarks.tracking.puppet import SIGNALS, Signals
from training.plots import TALL, WIDE, lines

SHOWN = {
    "lip_gap": ("Opening of the mouth, percent of the eye distance", 100.0),
    "lid_gap": ("Opening of the eyes, percent of the eye distance", 100.0),
    "smile": ("Coefficient mouthSmile, percent", 100.0),
    "yaw": ("Turn to the side, degrees", 180.0 / np.pi),
}
"""Title and scale of each."""
LONGEST_S = 10.0
ACROSS = 2
GUTTER = 24
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}.grid{stroke:#d0d7de;stroke-width:1}"
    "path{fill:none}.sa{stroke:#0969da;stroke-width:1.6}.sb{stroke:#cf5b16;stroke-width:1.6}.fa{fill:#0969da}.fb{fill:#cf5b16}"
)


def write_curves(path: Path, driver: Signals, avatar: Signals, name: str) -> None:
    """The signals of SHOWN over the first seconds, as they were read off the two pictures; nothing is fitted to the other or shifted."""
    panels = []
    for index, (signal, (title, scale)) in enumerate(SHOWN.items()):
        series = {who: _points(each, SIGNALS.index(signal), scale) for who, each in (("driver", driver), (name, avatar))}
        row, column = divmod(index, ACROSS)
        place = f'<svg x="{column * (WIDE + GUTTER)}" y="{row * (TALL + GUTTER)}" width="{WIDE}" height="{TALL}"'
        panels.append(lines(title, "seconds", series).replace("<svg", place, 1))
    rows = -(-len(SHOWN) // ACROSS)
    wide, tall = ACROSS * (WIDE + GUTTER) - GUTTER, rows * (TALL + GUTTER) - GUTTER
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -12 {wide + 24} {tall + 24}" width="{wide + 24}" height="{tall + 24}">'
    paper = f'<style>{STYLE}</style><rect x="-12" y="-12" width="{wide + 24}" height="{tall + 24}" fill="#ffffff"/>'
    path.write_text(head + paper + "".join(panels) + "</svg>\n")


def _points(signals: Signals, column: int, scale: float) -> list[tuple[float, float | None]]:
    kept = signals.time_s <= LONGEST_S
    values = [None if np.isnan(value) else float(scale * value) for value in signals.values[kept, column]]
    return list(zip(signals.time_s[kept].tolist(), values, strict=True))
