"""Whose face a run shows and what they agreed to, asked for before any work is done: without it no avatar is baked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace

from models.consent.arguments import Ask, confirmed, proposed
from models.consent.statement import Agreement, Disagreement
from training.errors import TrainingError
from training.pipeline import fingerprint_of_file
from training.run_dir import RunDir
from training.stages import Options

FLAGS = ("subject", "granted_by", "purposes", "own_driver_only", "expires")
ASKING = "bake"


def with_agreement(options: Options, given: argparse.Namespace, run: RunDir, stages: Sequence[str], ask: Ask | None) -> Options:
    """The options with what was agreed to: now, or when the run was begun.

    Args:
        given: the flags of models/consent/arguments.py.
        run: whose record of before holds as long as the flags say nothing else.
        ask: puts the question; None: there is nobody to be asked.

    Raises:
        TrainingError: the avatar is to be baked, and nobody agreed; or a flag cannot be used.
    """
    before = _before(run, options)
    told = given.agreed or any(getattr(given, name) is not None for name in FLAGS)
    if not told and before is not None:
        return _with(options, before)
    if ASKING not in stages and not given.agreed:
        return options if before is None else _with(options, before)
    try:
        made = proposed(given, None if before is None else before.record())
    except Disagreement as error:
        raise TrainingError(f"An avatar is made only of somebody who agrees to it. {error}") from error
    if before is not None and replace(before, agreed_at="") == replace(made, agreed_at=""):
        return _with(options, before)
    if not confirmed(given, made, ask):
        raise TrainingError(f"An avatar is made only of somebody who agrees to it. If {made.granted_by} agrees to this, add --agreed:\n{made.statement}")
    return _with(options, made)


def _with(options: Options, agreement: Agreement) -> Options:
    return replace(options, **asdict(agreement))


def _before(run: RunDir, options: Options) -> Agreement | None:
    """What the run was begun with; None: nobody had agreed, or it was made of another clip."""
    stored = run.about.get("options")
    if not isinstance(stored, dict) or not stored.get("agreed_at") or run.about["clip"]["sha256"] != fingerprint_of_file(options.clip):
        return None
    fields = {name: stored[name] for name in (*FLAGS, "agreed_at")}
    return Agreement(**fields | {"purposes": tuple(stored["purposes"])})
