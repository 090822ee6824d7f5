"""`python -m training` as the studio uses it: is it installed, what is this file, is the clip good enough, make an avatar of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime.studio.process import Outcome, run
from realtime.studio.records import Job

PROBE_S, CHECK_S, READY_S = 30.0, 120.0, 60.0
"""Longest that it may take to look at a file, to check a clip, and to say what is installed; a file made to keep us busy is refused then."""
BAD_INPUT = 2
"""Exit status of training for input that cannot be used."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question to training came to."""

    code: int
    said: dict[str, Any]
    """The JSON object that it printed."""
    error: str
    """In words; empty where there was none."""


class Trainer:
    """Args: the command, such as (sys.executable, "-m", "training"), and the folder for what it puts aside."""

    def __init__(self, command: Sequence[str], scratch: Path) -> None:
        self._command, self._scratch = tuple(command), scratch

    async def problem(self) -> str:
        """Why no avatar can be made on this machine; empty: one can."""
        return (await self._ask(READY_S, "ready")).error

    async def probe(self, clip: Path) -> Answer:
        """Whether a file is a video that can be read, and its size and length."""
        return await self._ask(PROBE_S, "probe", str(clip))

    async def check(self, clip: Path) -> Answer:
        """What is to be said about a clip: `findings`."""
        return await self._ask(CHECK_S, "check", "--quiet", "--json", "--threads=1", str(clip))

    async def make(self, job: Job, clip: Path, runs: Path, hear: Callable[[str], None]) -> Outcome:
        """Makes the avatar `runs/NAME/NAME.avatar`, or goes on making it. Every line that is said on the way is heard."""
        asked = [f"--name={job.name}", f"--runs={runs}", f"--preset={job.preset}", f"--subject={job.subject}", f"--granted-by={job.granted_by}"]
        asked += _agreed(job)
        return await run([*self._command, "all", *asked, "--supervised", str(clip)], hear, self._scratch)

    async def _ask(self, within_s: float, *arguments: str) -> Answer:
        lines: list[str] = []
        try:
            async with asyncio.timeout(within_s):
                outcome = await run([*self._command, *arguments], lines.append, self._scratch)
        except TimeoutError:
            return Answer(BAD_INPUT, {}, f"it took longer than {within_s:.0f} s to look at it: expected a plain video of a minute or so")
        except OSError as error:
            return Answer(1, {}, f"training cannot be started ({error.strerror})")
        said = _json_in(lines)
        if outcome.code and not said:
            return Answer(outcome.code, {}, error_in(outcome))
        return Answer(outcome.code, said, "")


def error_in(outcome: Outcome) -> str:
    """What training says went wrong: the line that begins with `error: `, and what follows it."""
    lines = list(outcome.errors)
    begins = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if begins:
        return "\n".join(lines[begins[-1] :]).removeprefix("error: ").strip()
    if outcome.code < 0:
        return f"It was ended by the system (signal {-outcome.code}), perhaps for want of memory. Close other programs, then try again."
    last = next((line.strip() for line in reversed(lines) if line.strip()), "without a word")
    return f"Training ended with exit status {outcome.code}: {last}"


def _agreed(job: Job) -> list[str]:
    """What was agreed to, as flags of training; it makes nothing without them."""
    if not job.agreement:
        return []
    told = json.loads(job.agreement)
    flags = ["--agreed", f"--agreed-at={told['agreed_at']}", f"--purposes={','.join(told['purposes'])}"]
    flags += ["--own-driver-only"] if told["own_driver_only"] else []
    return flags + ([f"--expires={told['expires']}"] if told["expires"] else [])


def _json_in(lines: Sequence[str]) -> dict[str, Any]:
    for line in reversed(lines):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return {}
