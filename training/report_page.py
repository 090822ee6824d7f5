"""report.html: what was made, how good it is, what to record to make it better."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.avatar_file import read_card
from models.errors import BadFile
from models.image_blob import decode_image
from training import evaluate, plots
from training.advice import advice, grade
from training.clip import load_clip
from training.errors import TrainingError
from training.fitted import Fitted
from training.pictures import data_uri
from training.progress import duration
from training.run_dir import RunDir
from training.stages import STAGES

STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf8;--ink:#22262b;--soft:#5d646d;--rule:#dcd9d3;--a:#1f6fb2;--b:#c2571a;--card:#fff}
@media(prefers-color-scheme:dark){:root{--paper:#15181b;--ink:#e7e5e1;--soft:#a2a8af;--rule:#343a40;--a:#6db3ec;--b:#f0955c;--card:#1d2125}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:980px;margin:0 auto;padding:20px 16px 60px}h1{font-size:1.7rem;margin:.2em 0}h2{font-size:1.2rem;margin:2em 0 .5em}
p,li{max-width:68ch}small,figcaption,.soft{color:var(--soft)}header{display:flex;gap:18px;align-items:center;flex-wrap:wrap}
header img{width:112px;height:112px;border-radius:14px;object-fit:cover}figure{margin:1em 0}img,video{max-width:100%;height:auto;border-radius:8px}
.wide{overflow-x:auto}.wide img{min-width:640px}table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.35em .7em;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;min-width:9em}td.best{font-weight:650}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:14px}.plots>svg{background:var(--card);border:1px solid var(--rule);
border-radius:10px;padding:10px;width:100%}svg text{font:13px system-ui,sans-serif;fill:var(--soft)}svg .title{fill:var(--ink);font-weight:600}
.grid{stroke:var(--rule);fill:none}.fa{fill:var(--a)}.fb{fill:var(--b)}.sa,.sb{fill:none;stroke-width:2;stroke-linejoin:round}.sa{stroke:var(--a)}.sb{stroke:var(--b)}
th{white-space:normal}
@media(max-width:600px){th,td{padding:.3em;font-size:.88rem}th:first-child,td:first-child{min-width:5.6em}
td small{font-size:.74rem;line-height:1.25;display:inline-block}}
.verdict{font-size:1.1rem;border-left:4px solid var(--a);padding-left:14px}
"""
POLICY = "default-src 'none'; img-src data:; media-src 'self' file:; style-src 'unsafe-inline'"
REGION_WORDS = {
    "full": ("Whole picture", "head, shoulders and background, against the whole real frame"),
    "head_box": ("Head", "drawn over the real frame, around the head"),
    "mouth": ("Mouth", "drawn over the real frame"),
    "eyes": ("Eyes", "drawn over the real frame"),
    "black": ("Head alone", "real and rendered before black: the outline counts"),
    "clean": ("Head, strictly", "around the head, before the empty background: nothing real shows through"),
}
WAY_WORDS = {"offline": "offline fit", "live": "live tracking", "static": "fixed texture", "mean_frame": "mean frame"}
LARGEST_SHEET_PX = 1600


def page(run: RunDir, report: Mapping[str, Any]) -> str:
    """The whole document."""
    title = f"Avatar report: {run.name}"
    parts = [_header(run, report), _judgement(report), _pictures(run), _plots(run, report), _advice(report), _details(report)]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{escape(title)}</title><style>{STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _header(run: RunDir, report: Mapping[str, Any]) -> str:
    name, picture, consent = run.name, "", ""
    try:
        card = read_card(run.avatar)
        name = card.name
        thumbnail = data_uri(decode_image(card.thumbnail, "thumbnail", 3, 512))
        picture = f'<img src="{thumbnail}" alt="The avatar">'
        agreed = "nobody's likeness" if card.consent.synthetic else f"shows {card.consent.subject}; {card.consent.granted_by} agreed on {card.consent.date}"
        consent = f'<br><span class="soft">{escape(agreed)}</span>'
    except BadFile:
        pass
    data, seconds = report.get("dataset", {}), report["seconds"]
    made = f"made in {duration(seconds['total'])}" if seconds["total"] else "made"
    of = f" of {data['frames']} frames from {duration(data['seconds_of_video'])} of video" if {"frames", "seconds_of_video"} <= data.keys() else ""
    size = f"{report['avatar_bytes'] / 1e6:.1f} MB" if report["avatar_bytes"] else "not baked"
    return f"<header>{picture}<div><h1>{escape(name)}</h1><p>An avatar {made}{of}: one file, {size}.{consent}</p></div></header>"


def _judgement(report: Mapping[str, Any]) -> str:
    words = grade(report)
    verdict = f'<p class="verdict">{escape(words)}</p>' if words else ""
    table = figures_table({**report.get("held_out", {}), **report.get("baselines", {})})
    if not table:
        return f"<h2>How good it is</h2>{verdict}<p>It was not measured yet: run the evaluate stage.</p>"
    explained = (
        "<p>The last fifth of the clip was kept from the avatar while it was made. Here it had to show these frames: moved by the slow, exact fit "
        "(<em>offline fit</em>), and by the tracker of a video call (<em>live tracking</em>). PSNR is in decibels: each 3 dB more halve the squared error. "
        "The small number is SSIM, 1 is equal. <em>Fixed texture</em> and <em>mean frame</em> are what one gets without learning expressions, or at all.</p>"
    )
    return f"<h2>How good it is</h2>{verdict}{explained}{table}{_motion(report)}"


def _motion(report: Mapping[str, Any]) -> str:
    """A sentence on how exactly and how fast it follows; empty without figures."""
    said = []
    for way in evaluate.DRIVEN:
        figures = (report.get("landmarks") or {}).get(way)
        if figures:
            said.append(
                f"{WAY_WORDS[way]}: the face's points lie {figures['distance_percent']:.1f} % of the distance between the eyes from where they should, and "
                f"tremble by {figures['rendered_jitter_percent']:.2f} % a frame (the real ones: {figures['real_jitter_percent']:.2f} %)"
            )
    times = report.get("live", {}).get("stage_ms", {})
    if times:
        said.append(f"tracking took {sum(stage['median'] for stage in times.values()):.0f} ms a frame on this machine")
    return f"<p>{escape('; '.join(said)).capitalize()}.</p>" if said else ""


def figures_table(ways: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """PSNR and SSIM, a row a region, a column a way; empty without figures."""
    if not ways:
        return ""
    head = "".join(f"<th>{escape(WAY_WORDS.get(way, way))}</th>" for way in ways)
    rows = []
    for region, (name, meaning) in REGION_WORDS.items():
        cells = [_cell(way, regions.get(region)) for way, regions in ways.items()]
        rows.append(f"<tr><td>{name}<br><small>{meaning}</small></td>{''.join(cells)}</tr>")
    return f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _cell(way: str, found: Mapping[str, float] | None) -> str:
    if not found:
        return "<td>–</td>"
    return f"<td{' class=best' if way == 'offline' else ''}>{found['psnr']:.1f}<br><small>{found['ssim']:.3f}</small></td>"


def _pictures(run: RunDir) -> str:
    folder, parts = run.path / "evaluate", []
    sheet, worst = _embedded(folder / evaluate.SHEET), _embedded(folder / evaluate.WORST)
    if sheet:
        parts.append(f'<h2>Side by side</h2><figure class="wide"><img src="{sheet}" alt="Real and rendered frames"></figure>')
    if (folder / evaluate.VIDEO).is_file():
        place = f"evaluate/{evaluate.VIDEO}"
        parts.append(f'<video controls preload="metadata" src="{place}"></video><p><a href="{place}">The video: real, offline fit, live tracking</a></p>')
    if worst:
        parts.append(f'<h2>The worst frames</h2><figure class="wide"><img src="{worst}" alt="The frames that came out worst"></figure>')
    return "".join(parts)


def _embedded(path: Path) -> str:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None:
        return ""
    scale = min(1.0, LARGEST_SHEET_PX / picture.shape[1])
    smaller = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1.0 else picture
    return data_uri(np.asarray(cv2.cvtColor(smaller, cv2.COLOR_BGR2RGB), np.uint8))


def _plots(run: RunDir, report: Mapping[str, Any]) -> str:
    shown = [*_curves(run), _poses(run), plots.bars("Time of the stages", {name: report["seconds"][name] for name in STAGES if name in report["seconds"]}, "s")]
    return f'<h2>Over the clip</h2><div class="plots">{"".join(shown)}</div>'


def _curves(run: RunDir) -> list[str]:
    try:
        curves = json.loads((run.path / "evaluate" / evaluate.METRICS).read_text(encoding="utf-8"))["curves"]
    except (OSError, ValueError, KeyError):
        return []
    return [
        plots.lines(f"{name}: PSNR in dB", "seconds", {way: list(zip(curves["pts_s"], curves[way][region], strict=True)) for way in evaluate.DRIVEN})
        for region, name in (("head_box", "Head"), ("mouth", "Mouth"), ("eyes", "Eyes"))
    ]


def _poses(run: RunDir) -> str:
    """Where the head was turned to, training frames against held-out ones."""
    try:
        neck, clip = np.degrees(Fitted.load(run.path / "fit" / "fit.npz").neck), load_clip(run.path / "dataset")
    except (OSError, ValueError, KeyError, TypeError, TrainingError):
        return ""
    groups = {"learned from": ~clip.held_out, "held out": clip.held_out}
    clouds = {name: [(float(turn[1]), float(-turn[0])) for turn in neck[chosen]] for name, chosen in groups.items()}
    return plots.dots("Head poses: up, and to its own left, degrees", "left", clouds)


def _advice(report: Mapping[str, Any]) -> str:
    return f"<h2>What to record to make it better</h2><ul>{''.join(f'<li>{escape(words)}</li>' for words in advice(report))}</ul>"


def _details(report: Mapping[str, Any]) -> str:
    about = {name: report[name] for name in ("fit", "landmarks", "live", "peak_memory_mib", "notes", "machine") if report.get(name)}
    told = escape(json.dumps(about, indent=1, ensure_ascii=False))
    summary = "Figures of the fit, the tracker and the machine; all of them are in report.json"
    return f'<h2>Details</h2><details><summary>{summary}</summary><pre class="wide">{told}</pre></details>'
