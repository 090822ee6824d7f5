"""Two finished runs side by side: their figures on the terminal and in compare.html, and the same held-out frames of both where the clip is the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from training import evaluate
from training.errors import TrainingError
from training.judging import REGIONS
from training.pictures import GAIN, STRIP_PX, data_uri, difference, grid, write_bytes, write_png
from training.report import REPORT_JSON
from training.report_page import POLICY, STYLE

Picture = NDArray[np.uint8]
COMPARE_HTML, COMPARE_SHEET = "compare.html", "compare.png"
FIGURES = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 4), "l1": ("L1", 4)}
SHEET_FRAMES, SHEET_PX = 6, 320
SAME_TIME_S = 0.002


def compare(run_a: Path, run_b: Path) -> None:
    """Prints a table and writes compare.html, and compare.png where both runs were judged on the same frames, into the first run's folder.

    Raises:
        TrainingError: one of them is not a finished run.
    """
    first, second = _report(run_a), _report(run_b)
    names = (run_a.resolve().name, run_b.resolve().name)
    rows = list(figures(first, second))
    for line in text_table(names, rows):
        print(line)
    sheet = _sheet(run_a, run_b, names) if _same_clip(first, second) else None
    if sheet is None:
        print("The clips or the judged frames differ: no pictures side by side, and the figures are of different frames.")
    else:
        write_png(run_a / COMPARE_SHEET, sheet)
    write_bytes(run_a / COMPARE_HTML, _page(names, rows, sheet).encode())
    print(run_a / COMPARE_HTML)


def _report(run: Path) -> dict[str, Any]:
    path = run / REPORT_JSON
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{run} is not a finished run: {path.name} cannot be read ({error}). Run all stages, then compare.") from error
    if not isinstance(report, dict) or not isinstance(report.get("seconds"), dict):
        raise TrainingError(f"{path} is not the report of a run.")
    return report


def figures(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, float, float, int]]:
    """(name, value of the first, value of the second, decimals) of everything that both have."""
    for way in evaluate.DRIVEN:
        for region in REGIONS:
            one, two = (report.get("held_out", {}).get(way, {}).get(region, {}) for report in (first, second))
            for figure, (words, decimals) in FIGURES.items():
                if figure in one and figure in two:
                    yield f"{way}, {region.replace('_', ' ')}: {words}", float(one[figure]), float(two[figure]), decimals
    for way in evaluate.DRIVEN:
        one, two = ((report.get("landmarks") or {}).get(way) or {} for report in (first, second))
        for figure, words in (("distance_percent", "landmark distance, % of eye distance"), ("rendered_jitter_percent", "jitter, % of eye distance")):
            if figure in one and figure in two:
                yield f"{way}: {words}", float(one[figure]), float(two[figure]), 3
    for stage in first["seconds"]:
        if stage in second["seconds"]:
            yield f"seconds: {stage}", float(first["seconds"][stage]), float(second["seconds"][stage]), 1
    for name, words, unit in (("peak_memory_mib", "peak memory, MiB", 1.0), ("avatar_bytes", "avatar, MB", 1e6)):
        if name in first and name in second:
            yield words, first[name] / unit, second[name] / unit, 2


def text_table(names: tuple[str, str], rows: list[tuple[str, float, float, int]]) -> list[str]:
    """Lines of a table: both values, and the second less the first."""
    wide = max([len(name) for name, *_ in rows] + [6])
    columns = [max(len(name), 10) for name in names]
    lines = [f"{'':{wide}}  {names[0]:>{columns[0]}}  {names[1]:>{columns[1]}}  {'difference':>10}"]
    for name, one, two, decimals in rows:
        lines.append(f"{name:{wide}}  {one:>{columns[0]}.{decimals}f}  {two:>{columns[1]}.{decimals}f}  {two - one:>+10.{decimals}f}")
    return lines


def _same_clip(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    one, two = (report.get("about", {}).get("clip", {}).get("sha256") for report in (first, second))
    return one is not None and one == two


def _sheet(run_a: Path, run_b: Path, names: tuple[str, str]) -> Picture | None:
    """The same moments of both side-by-side videos; None where they have none in common, or one cannot be read."""
    try:
        one, two = (_moments(run) for run in (run_a, run_b))
        both = [moment for moment in one if any(abs(moment - other) < SAME_TIME_S for other in two)]
        if not both:
            return None
        chosen = [both[round(place)] for place in np.linspace(0, len(both) - 1, min(SHEET_FRAMES, len(both)))]
        real, offline_a, live_a = _panels(run_a, [moment - one[0] for moment in chosen])
        _, offline_b, live_b = _panels(run_b, [moment - two[0] for moment in chosen])
    except (OSError, ValueError, KeyError, av.error.FFmpegError):
        return None
    if not all(len(row) == len(chosen) for row in (real, offline_b)):
        return None
    rows = (
        ("Real frames, held out", real),
        (f"{names[0]}: AI avatar, offline fit", offline_a),
        (f"{names[1]}: AI avatar, offline fit", offline_b),
        (f"{names[0]}: AI avatar, live tracker", live_a),
        (f"{names[1]}: AI avatar, live tracker", live_b),
        (f"Difference between the two, offline, times {GAIN}", [difference(one, two) for one, two in zip(offline_a, offline_b, strict=True)]),
    )
    return grid(rows, SHEET_PX)


def _moments(run: Path) -> list[float]:
    """Times of the judged frames in the clip, in seconds."""
    curves = json.loads((run / "evaluate" / evaluate.METRICS).read_text(encoding="utf-8"))["curves"]
    return [float(at_s) for at_s in curves["pts_s"]]


def _panels(run: Path, wanted: list[float]) -> tuple[list[Picture], list[Picture], list[Picture]]:
    """Real, offline and live pictures at those times of the side-by-side video, SHEET_PX wide."""
    columns: tuple[list[Picture], list[Picture], list[Picture]] = ([], [], [])
    left = list(wanted)
    with av.open(str((run / "evaluate" / evaluate.VIDEO).resolve()), options={"protocol_whitelist": "file"}) as container:
        for frame in container.decode(video=0):
            if not left:
                break
            if frame.time is not None and frame.time > left[0] - SAME_TIME_S:
                left.pop(0)
                picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)[STRIP_PX:]
                for column, panel in zip(columns, np.split(picture, 3, axis=1), strict=True):
                    column.append(np.asarray(cv2.resize(panel, (SHEET_PX, SHEET_PX), interpolation=cv2.INTER_AREA), np.uint8))
    return columns


def _page(names: tuple[str, str], rows: list[tuple[str, float, float, int]], sheet: Picture | None) -> str:
    title = escape(f"{names[0]} and {names[1]}")
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{one:.{decimals}f}</td><td>{two:.{decimals}f}</td><td>{two - one:+.{decimals}f}</td></tr>"
        for name, one, two, decimals in rows
    )
    picture = f'<figure class="wide"><img src="{data_uri(sheet)}" alt="The same frames of both runs"></figure>' if sheet is not None else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{title}</title><style>{STYLE}</style></head>'
        f'<body><main><h1>{title}</h1>{picture}<div class="wide"><table><tr><th></th>{head}<th>difference</th></tr>{body}</table></div></main></body></html>\n'
    )
