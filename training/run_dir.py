"""The folder of one run: what it is made of (run.json), one folder a stage, and the avatar. Made so that a kill at any moment loses one stage at most.

A stage works in `<stage>.partial/`, which takes the stage's name when it is done; run.json is always written whole. What a stage was made from is its
fingerprint (the options that matter to it and the fingerprints of the stages before it) and the edition of the stage before it: every time that a stage is made
gives it a new edition, so that what was made from an earlier one is stale. Fingerprint and edition stand in run.json and in the folder itself; only where both
agree is the stage done.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.errors import MachineError, TrainingError
from training.memory import PeakMemory
from training.stages import STAGES

VERSION = 1
RUN_FILE, LOCK_FILE, FINGERPRINT_FILE = "run.json", ".lock", ".fingerprint"
PARTIAL, OLD, SCRATCH = ".partial", ".old", ".scratch"
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class RunDir:
    """One run. Opening reads run.json where there is one; nothing is written before it is asked for."""

    def __init__(self, path: Path) -> None:
        """Raises TrainingError: there is a run.json that is none, or of another version."""
        self.path = path
        self._working: str | None = None
        self._state = _read(path / RUN_FILE)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def avatar(self) -> Path:
        """Where the avatar file is, once baked."""
        return self.path / f"{self.name}.avatar"

    @property
    def about(self) -> dict[str, Any]:
        """What the run is made of, as `describe` was given it; empty for a new run."""
        about: dict[str, Any] = self._state["about"]
        return about

    def describe(self, about: dict[str, Any]) -> None:
        """Writes down what the run is made of: the clip and the options."""
        self._state["about"] = about
        self._write()

    def folder(self, stage: str) -> Path:
        """The stage's folder, made where there is none; while the stage is at work, the folder that it works in."""
        folder = self.path / (stage + PARTIAL if stage == self._working else stage)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def scratch(self, stage: str) -> Path:
        """A folder of the stage at work that survives a kill: there when the stage is begun again with the same fingerprint, gone when it is done."""
        folder = self.path / (stage + SCRATCH)
        folder.mkdir(parents=True, exist_ok=True)
        if stage == self._working:
            (folder / FINGERPRINT_FILE).write_text(_mark(self._state["running"][stage], "made_from"), encoding="ascii")
        return folder

    def record(self, stage: str) -> dict[str, Any]:
        """`state` (missing, running, done), `seconds`, `peak_memory_mib`, what it was made from, and `values`: what the stage reported. A copy."""
        if stage == self._working or stage not in self._state["stages"]:
            running = self._state["running"].get(stage)
            return json.loads(json.dumps(running)) if running else {"state": "missing", "values": {}}
        return json.loads(json.dumps(self._state["stages"][stage]))

    def report(self, stage: str, **values: Any) -> None:
        """Adds what a stage has to say of itself: JSON values, shown in the report and by `compare`."""
        kind = "running" if stage == self._working else "stages"
        record = self._state[kind].setdefault(stage, {"state": "missing", "values": {}})
        record["values"] |= json.loads(json.dumps(values))
        self._write()

    def is_done(self, stage: str, fingerprint: str) -> bool:
        """Whether the stage was finished from exactly this and from the stage before it as that is now, and is still there."""
        record = self._state["stages"].get(stage, {})
        if record.get("state") != "done" or record.get("fingerprint") != fingerprint or record.get("made_from", "") != self._edition_before(stage):
            return False
        there = _text(self.path / stage / FINGERPRINT_FILE) == _mark(record, "edition")
        return there and (stage != "bake" or self._avatar_hash() == record.get("avatar_sha256"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of the folder while it lasts; the system lets go of it however the process ends.

        Raises:
            MachineError: another process works in it.
        """
        with _told_if_full(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / LOCK_FILE).open("a+", encoding="ascii")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                owner = file.read(32).strip() or "unknown"
                raise MachineError(f"{self.path} is in use by another run (process {owner}). Wait for it, or choose another --name.") from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self._state = _read(self.path / RUN_FILE)
            yield

    @contextmanager
    def work(self, stage: str, fingerprint: str) -> Iterator[None]:
        """Within it `folder(stage)` is a clean folder of the stage's own; after it, the finished stage. What goes wrong inside leaves the earlier state.

        Raises:
            MachineError: the disk is full.
        """
        with _told_if_full(self.path):
            self._begin(stage, fingerprint)
            began, memory = time.monotonic(), PeakMemory()
            try:
                yield
                self._finish(stage, time.monotonic() - began, memory.mib())
            finally:
                self._working = None
                self._state["running"] = {}
                shutil.rmtree(self.path / (stage + PARTIAL), ignore_errors=True)
        self._write()

    def _begin(self, stage: str, fingerprint: str) -> None:
        for leftover in (stage + PARTIAL, stage + OLD):
            shutil.rmtree(self.path / leftover, ignore_errors=True)
        scratch = self.path / (stage + SCRATCH)
        running = {"state": "running", "fingerprint": fingerprint, "edition": uuid.uuid4().hex, "made_from": self._edition_before(stage), "values": {}}
        if scratch.exists() and _text(scratch / FINGERPRINT_FILE) != _mark(running, "made_from"):
            shutil.rmtree(scratch)
        self._working = stage
        self._state["running"] = {stage: running}
        self._write()
        self.folder(stage)

    def _edition_before(self, stage: str) -> str:
        """Of the stage before, as it is now; empty where there is none."""
        place = STAGES.index(stage)
        edition: str = self._state["stages"].get(STAGES[place - 1], {}).get("edition", "") if place else ""
        return edition

    def _avatar_hash(self) -> str:
        """Of the avatar file; empty where there is none."""
        try:
            return hashlib.sha256(self.avatar.read_bytes()).hexdigest()
        except FileNotFoundError:
            return ""

    def _finish(self, stage: str, seconds: float, peak_mib: float) -> None:
        partial, final, old = (self.path / (stage + end) for end in (PARTIAL, "", OLD))
        running = self._state["running"][stage]
        (partial / FINGERPRINT_FILE).write_text(_mark(running, "edition"), encoding="ascii")
        if final.exists():
            final.rename(old)
        partial.rename(final)
        record = running | {"state": "done", "seconds": round(seconds, 3), "peak_memory_mib": round(peak_mib, 1)}
        if stage == "bake":
            record["avatar_sha256"] = self._avatar_hash()
        self._state["stages"][stage] = record
        self._state["running"] = {}
        self._write()
        for leftover in (old, self.path / (stage + SCRATCH)):
            shutil.rmtree(leftover, ignore_errors=True)

    def _write(self) -> None:
        """Next to the file, then into its place, so that nobody ever reads half of it."""
        self.path.mkdir(parents=True, exist_ok=True)
        part = self.path / f".{RUN_FILE}-{os.getpid()}"
        try:
            with part.open("w", encoding="utf-8") as file:
                json.dump(self._state, file, indent=1, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path / RUN_FILE)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _told_if_full(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise MachineError(f"No room is left on the disk of {path}. Free some (a run needs about 2 GB), then start again: finished stages are kept.") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"version": VERSION, "about": {}, "stages": {}, "running": {}}
    advice = "Choose another --name, or remove the folder."
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = state["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is not the run.json of a training run: {error}. {advice}") from error
    if version != VERSION:
        raise TrainingError(f"{path} is of version {version!r}; this Headcast reads version {VERSION}. {advice}")
    shapes = (isinstance(state.get(key), dict) for key in ("about", "stages", "running"))
    if not all(shapes) or not state["stages"].keys() <= set(STAGES):
        raise TrainingError(f"{path} is damaged: it should hold about, stages and running. {advice}")
    return state


def _mark(record: dict[str, Any], edition: str) -> str:
    """What a folder says of itself."""
    return f"{record['fingerprint']} {record.get(edition, '')}".strip()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
