"""What every stage of training is given. A stage is a module with `run(run: RunDir, options: Options, progress: Progress) -> None`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.consent.statement import Agreement

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
    """Who agreed."""
    purposes: tuple[str, ...] = ()
    """To what, as in models/consent/statement.py."""
    own_driver_only: bool = False
    """Nobody but the person shown may drive the avatar."""
    expires: str | None = None
    """ISO 8601 day, the last on which the avatar may be used."""
    agreed_at: str = ""
    """ISO 8601, UTC; empty: nobody agreed yet, and so no avatar is baked."""
    threads: int = 2

    @property
    def agreement(self) -> Agreement | None:
        """What was agreed to; None: nothing yet."""
        if not self.agreed_at:
            return None
        return Agreement(self.subject, self.granted_by, self.purposes, self.own_driver_only, self.expires, self.agreed_at)
