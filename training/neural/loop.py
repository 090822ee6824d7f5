"""The training loop: stages, epochs, steps; what is kept after every epoch, and what happens when a number is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.errors import TrainingError
from training.neural.avatar import NeuralAvatar
from training.neural.objective import Objective
from training.neural.schedule import NeuralSettings, Stage
from training.progress import Progress

CHECKPOINT = "checkpoint.pt"
MOST_SETBACKS = 3
"""A stage that so often came to a number that is none ends with the best it had."""
TRANSLATION_SHARE = 0.1
State = dict[str, Any]
_log = logging.getLogger(__name__)


@dataclass
class Standing:
    """Where training is: what a checkpoint holds beside the optimisers."""

    stage: int = 0
    epoch: int = -1
    """Epochs of the stage that are done; -1: the stage is not set up."""
    stale: int = 0
    """Epochs since the watched frames last got better."""
    setbacks: int = 0
    best: float = float("inf")
    history: list[list[float]] = field(default_factory=list)
    """stage, epoch, mean loss of the learned and of the watched frames."""


class Trainer:
    """Runs the stages of the settings on an avatar, in place."""

    def __init__(self, avatar: NeuralAvatar, objective: Objective, settings: NeuralSettings, folder: Path, mark: str, progress: Progress) -> None:
        """`mark` names what is trained from what: a checkpoint with another one is not gone on with."""
        self.avatar, self._objective, self._settings = avatar, objective, settings
        self._path, self._mark, self._progress = folder / CHECKPOINT, mark, progress
        self.standing = Standing()
        self._best: State = {}
        self._optimisers: list[torch.optim.Optimizer] = []

    def run(self) -> None:
        """Goes through the stages, from the checkpoint on if there is one."""
        self._resume()
        while self.standing.stage < len(self._settings.stages):
            stage = self._settings.stages[self.standing.stage]
            self._progress.start(f"neural {stage.name}", stage.epochs)
            if self.standing.epoch < 0:
                self._set_up(stage)
            self._progress.advance(self.standing.epoch)
            while self.standing.epoch < stage.epochs and self.standing.stale < self._settings.patience and self.standing.setbacks < MOST_SETBACKS:
                self._epoch(stage)
                self._progress.advance()
            self.avatar.load_state_dict(self._best)
            self.standing.stage, self.standing.epoch = self.standing.stage + 1, -1
            self._save()

    def _set_up(self, stage: Stage) -> None:
        """New optimisers; the start counts as the best so far, so that no stage leaves things worse than it found them."""
        standing = self.standing
        self._optimisers = optimisers(self.avatar, stage)
        self._best = deepcopy(self.avatar.state_dict())
        standing.epoch, standing.stale, standing.setbacks = 0, 0, 0
        standing.best = self.watched_loss(stage)

    def _epoch(self, stage: Stage) -> None:
        standing = self.standing
        good = deepcopy((self.avatar.state_dict(), [each.state_dict() for each in self._optimisers]))
        learned = self._learn(stage)
        watched = self.watched_loss(stage) if learned is not None else float("nan")
        if learned is None or watched != watched:
            self.avatar.load_state_dict(good[0])
            for optimiser, state in zip(self._optimisers, good[1], strict=True):
                optimiser.load_state_dict(state)
                for group in optimiser.param_groups:
                    group["lr"] *= 0.5
            standing.setbacks += 1
            self._progress.note(f"neural {stage.name}: a loss was not a number; back to the last good epoch, at half the rate")
            _log.warning("stage %s, epoch %d: loss not finite; restored", stage.name, standing.epoch)
        else:
            better = watched < standing.best
            standing.stale = 0 if better else standing.stale + 1
            if better:
                standing.best, self._best = watched, deepcopy(self.avatar.state_dict())
            standing.history.append([standing.stage, standing.epoch, learned, watched])
        standing.epoch += 1
        self._save()

    def _learn(self, stage: Stage) -> float | None:
        """One pass over the learned frames; their mean loss, or None as soon as a number is none."""
        total, steps = 0.0, 0
        for chosen, noise in self._batches(stage):
            for optimiser in self._optimisers:
                optimiser.zero_grad(set_to_none=True)
            loss = self._objective(chosen, stage, noise)
            if not bool(torch.isfinite(loss)):
                return None
            loss.backward()
            for optimiser in self._optimisers:
                given = [each for group in optimiser.param_groups for each in group["params"] if each.grad is not None]
                norm = torch.nn.utils.clip_grad_norm_(given, self._settings.gradient_norm)
                if not bool(torch.isfinite(norm)):
                    return None
                optimiser.step()
            total, steps = total + float(loss.detach()), steps + 1
        return total / max(steps, 1)

    def _batches(self, stage: Stage) -> Iterator[tuple[Tensor, Tensor]]:
        """Frames in an order, and noise, that depend on nothing but seed, stage and epoch: so a resumed run sees the same."""
        settings, frames = self._settings, self.avatar.frames
        source = torch.Generator().manual_seed(settings.seed + 1_000_003 * self.standing.stage + 97 * self.standing.epoch)
        learned = torch.from_numpy(~frames.watched).nonzero()[:, 0]
        order = learned[torch.randperm(len(learned), generator=source)]
        device = frames.conditions.device
        for chosen in order.split(stage.batch):
            noise = settings.condition_noise * torch.randn(len(chosen), frames.conditions.shape[1], generator=source)
            yield chosen.to(device), noise.to(frames.conditions)

    @torch.no_grad()
    def watched_loss(self, stage: Stage) -> float:
        """Mean loss of the frames that nothing is learned from."""
        frames = self.avatar.frames
        watched = torch.from_numpy(frames.watched).nonzero()[:, 0]
        total = sum(float(self._objective(chosen.to(frames.conditions.device), stage)) * len(chosen) for chosen in watched.split(stage.batch))
        return total / len(watched)

    def _save(self) -> None:
        """Whole or not at all."""
        state = {
            "mark": self._mark,
            "standing": vars(self.standing),
            "avatar": self.avatar.state_dict(),
            "best": self._best,
            "optimisers": [each.state_dict() for each in self._optimisers],
        }
        part = self._path.with_suffix(".part")
        try:
            torch.save(state, part)
            part.replace(self._path)
        except (OSError, RuntimeError) as error:
            with suppress(OSError):
                part.unlink()
            raise TrainingError(f"the checkpoint could not be written ({error}); make room on the disk and start the same command again") from error

    def _resume(self) -> None:
        if not self._path.exists():
            return
        try:
            state: State = torch.load(self._path, map_location=self.avatar.frames.conditions.device, weights_only=True)
            known = state["mark"] == self._mark
        except Exception:
            known = False
        if not known:
            self._progress.note("neural: the checkpoint is damaged or of another training; starting anew")
            return
        self.standing = Standing(**state["standing"])
        self.avatar.load_state_dict(state["avatar"])
        self._best = state["best"]
        if self.standing.epoch >= 0:
            self._optimisers = optimisers(self.avatar, self._settings.stages[self.standing.stage])
            for optimiser, kept in zip(self._optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(kept)


def optimisers(avatar: NeuralAvatar, stage: Stage) -> list[torch.optim.Optimizer]:
    """One for each part that the stage moves."""
    chosen: list[torch.optim.Optimizer] = []
    if stage.offset_rate > 0.0:
        chosen.append(torch.optim.Adam(avatar.offset_parameters(), stage.offset_rate))
    if stage.texture_rate > 0.0:
        chosen.append(torch.optim.Adam(avatar.texture_parameters(), stage.texture_rate, weight_decay=stage.texture_decay))
    if stage.parameter_rate > 0.0:
        residuals = [
            {"params": [avatar.residual], "lr": stage.parameter_rate},
            {"params": [avatar.residual_translation], "lr": TRANSLATION_SHARE * stage.parameter_rate},
        ]
        chosen.append(torch.optim.SGD(residuals, stage.parameter_rate))
    return chosen
