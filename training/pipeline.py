"""The stages in their order, on one run folder: what is finished and still fits is passed over, anything else is made anew."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.progress import Progress, duration
from training.run_dir import RunDir
from training.stages import STAGES, Options

Stage = Callable[[RunDir, Options, Progress], None]

MATTERS = {
    "dataset": ("preset",),
    "fit": ("preset", "head"),
    "train": ("preset", "device", "road"),
    "bake": ("subject", "granted_by", "purposes", "own_driver_only", "expires"),
    "evaluate": ("preset",),
}
"""The options that a stage's result depends on, beside what it takes from the stages before it."""
BLOCK = 1 << 20


def load_stage(name: str) -> Stage:
    """The stage's own module, loaded only now: some load numba, torch or both."""
    stage: Stage = importlib.import_module(f"training.{name}").run
    return stage


def prepare(run: RunDir, options: Options, force: bool) -> None:
    """Writes down what the run is made of, after making sure that an earlier run of that name was made of the same clip.

    Raises:
        TrainingError: there is a run of another clip, and no force.
    """
    clip = fingerprint_of_file(options.clip)
    earlier = run.about.get("clip", {})
    begun = any(run.record(stage)["state"] == "done" for stage in STAGES)
    if begun and earlier.get("sha256") != clip and not force:
        raise TrainingError(
            f"{run.path} holds a run of another clip, {earlier.get('path')}. Choose another --name for {options.clip}, or add --force to replace that run."
        )
    run.describe({"name": run.name, "clip": {"path": str(options.clip.resolve()), "size": _size(options.clip), "sha256": clip}, "options": _as_json(options)})


def options_of(run: RunDir, **given: Any) -> Options:
    """The options that a run was begun with, changed where others are given (None: not given).

    Raises:
        TrainingError: there is no such run.
    """
    stored = run.about.get("options")
    if not isinstance(stored, dict):
        raise TrainingError(f"{run.path} holds no run yet. Begin one: python -m training all CLIP --name {run.name}")
    known = {field.name for field in fields(Options)}
    values = {name: value for name, value in stored.items() if name in known}
    values["clip"] = Path(values["clip"])
    values["head"] = Path(values["head"]) if values.get("head") else None
    values["purposes"] = tuple(values.get("purposes", ()))
    return replace(Options(**values), **{name: value for name, value in given.items() if value is not None})


def run_stages(
    run: RunDir, options: Options, wanted: Sequence[str], progress: Progress, force: bool = False, load: Callable[[str], Stage] | None = None
) -> None:
    """Runs the wanted stages, in order, each unless it is done already. `load` finds a stage by its name; None: `load_stage`.

    Raises:
        TrainingError: a stage that the first wanted one needs is missing, or a stage cannot do its work; what was finished before is kept.
    """
    prints = fingerprints(run, options)
    for needed in STAGES[: STAGES.index(wanted[0])]:
        if not run.is_done(needed, prints[needed]):
            made_otherwise = run.record(needed)["state"] == "done"
            why = "was made of something else (another preset, head or clip, or a stage before it was made anew)" if made_otherwise else "has not been run"
            raise TrainingError(f"{wanted[0]} needs the stage {needed}, which {why}. Run: python -m training all CLIP --name {run.name}")
    for number, name in enumerate(wanted, 1):
        progress.stage(name, number, len(wanted))
        if not force and run.is_done(name, prints[name]):
            progress.note("done already")
            continue
        stage = (load or load_stage)(name)
        with run.work(name, prints[name]):
            stage(run, options, progress)
            progress.close()
        record = run.record(name)
        progress.note(f"done in {duration(record['seconds'])}, {record['peak_memory_mib']:.0f} MiB")


def fingerprints(run: RunDir, options: Options) -> dict[str, str]:
    """Of every stage: a hash of the clip, of the options that matter to it, and of those of the stages before it."""
    chain = str(run.about["clip"]["sha256"])
    result = {}
    for stage in STAGES:
        values: dict[str, Any] = {name: getattr(options, name) for name in MATTERS[stage]}
        if values.get("head") is not None:
            values["head"] = fingerprint_of_file(values["head"])
        if stage == "bake":
            values["name"] = run.name
        chain = hashlib.sha256(json.dumps([chain, stage, values], sort_keys=True).encode()).hexdigest()
        result[stage] = chain
    return result


def fingerprint_of_file(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names.

    Raises:
        TrainingError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file in sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]:
            if path.is_dir():
                digest.update(str(file.relative_to(path)).encode() + b"\0")
            with file.open("rb") as opened:
                while block := opened.read(BLOCK):
                    digest.update(block)
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}.") from error
    return digest.hexdigest()


def _size(path: Path) -> int:
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file()) if path.is_dir() else path.stat().st_size


def _as_json(options: Options) -> dict[str, Any]:
    values = asdict(options)
    values["clip"] = str(options.clip.resolve())
    values["head"] = str(options.head.resolve()) if options.head else None
    return values
