"""What every stage of training is given. A stage is a module with `run(run: RunDir, options: Options, progress: Progress) -> None`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

STAGES = ("dataset", "fit", "train", "bake", "evaluate")
Preset = Literal["quick", "full"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; the same for all stages of a run."""

    clip: Path
    """The video, or the folder of a dataset in NHA's layout."""
    preset: Preset = "quick"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    road: Literal["auto", "closed-form", "neural"] = "auto"
    """How the appearance is learned; auto: neural where there is a GPU and PyTorch."""
    head: Path | None = None
    """A head file; None: the open head."""
    subject: str = ""
    """Who is shown, for the consent record."""
    granted_by: str = ""
    """Who agreed; empty: the subject."""
    threads: int = 2
