"""The report of a finished run: report.json for machines, report.html for people (one file, no script, nothing from elsewhere; only the video is beside it)."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from training.advice import advice, grade
from training.pictures import write_bytes
from training.report_page import page
from training.run_dir import RunDir
from training.stages import STAGES

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "numba", "scipy", "opencv-python-headless", "av", "ai-edge-litert", "torch", "pytorch3d", "flip-evaluator")
REPORT_JSON, REPORT_HTML = "report.json", "report.html"
EVALUATED = ("held_out", "baselines", "landmarks", "live", "worst", "frames_judged", "held_out_frames", "notes")


def write_report(run: RunDir) -> None:
    """Writes report.json and report.html into the run's folder, from what the stages reported and left there."""
    report = gather(run)
    write_bytes(run.path / REPORT_JSON, json.dumps(report, indent=1, ensure_ascii=False).encode())
    write_bytes(run.path / REPORT_HTML, page(run, report).encode())


def gather(run: RunDir) -> dict[str, Any]:
    """What report.json holds; what a stage did not say is absent."""
    records = {stage: run.record(stage) for stage in STAGES}
    seconds = {stage: float(record["seconds"]) for stage, record in records.items() if "seconds" in record}
    evaluated = records["evaluate"]["values"]
    report = {
        "name": run.name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "about": run.about,
        "seconds": {"total": round(sum(seconds.values()), 3), **seconds},
        "peak_memory_mib": max((float(record["peak_memory_mib"]) for record in records.values() if "peak_memory_mib" in record), default=0.0),
        "avatar_bytes": run.avatar.stat().st_size if run.avatar.is_file() else 0,
        **{name: evaluated[name] for name in EVALUATED if name in evaluated},
        **{stage: record["values"] for stage, record in records.items() if stage != "evaluate"},
        "machine": machine(),
    }
    return {**report, "grade": grade(report), "advice": advice(report)}


def machine() -> dict[str, Any]:
    """What the run was made on and with."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _cpu() -> str:
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        described = []
    return next((line.split(":", 1)[1].strip() for line in described if line.startswith("model name")), platform.processor())


def _commit() -> str | None:
    """Of the program, where it runs from a checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
