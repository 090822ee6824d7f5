"""`python -m tests.fuzz TARGET [--runs 1000000] [--engine random|atheris]`: feeds a parser broken inputs until one does what it may not.

random: seeded edits of valid inputs, by tests/fuzz/mutation.py. atheris: guided by which code the inputs reach (libFuzzer), with the same edits beside its own;
needs the extra `fuzz`. An input that breaks something is written to --out, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import platform
import random
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.meter import Meter
from tests.fuzz.mutation import edited, random_edits

INSTRUMENTED = ("realtime", "models", "training", "aiortc", "aioice")


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(arguments)
    logging.disable(logging.CRITICAL)
    os.environ["OPENCV_LOG_LEVEL"] = "OFF"
    if given.engine == "atheris":
        return _guided(given)
    from tests.fuzz.targets import TARGETS

    target = TARGETS[given.target]()
    meter, rng = Meter(target), random.Random(given.seed)
    for data in target.seeds:
        if not _fed(meter, data, given):
            return 1
    while meter.runs < given.runs:
        data = edited(rng.choice(target.seeds), random_edits(rng), target.tokens, target.seeds)
        if not _fed(meter, data, given):
            return 1
        _settle(meter, given.runs)
    _report(meter, given)
    return 0


def _guided(given: argparse.Namespace) -> int:
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[given.target]()
    meter = Meter(target)

    def one(data: bytes) -> None:
        if not _fed(meter, data, given):
            os._exit(1)
        _settle(meter, given.runs)
        if meter.runs >= given.runs:
            _report(meter, given)
            sys.stdout.flush()
            os._exit(0)

    def mutate(data: bytes, limit: int, seed: int) -> bytes:
        rng = random.Random(seed)
        ours = edited(data, random_edits(rng), target.tokens, target.seeds) if rng.random() < 0.7 else data
        return bytes(atheris.Mutate(ours[:limit], limit) if rng.random() < 0.5 else ours)[:limit]

    corpus = Path(given.out) / f"corpus-{given.target}"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    longest = 2 * max(len(seed) for seed in target.seeds) + 1000
    options = [f"-seed={given.seed}", f"-max_len={longest}", "-print_final_stats=0", "-verbosity=0", "-timeout=60", "-rss_limit_mb=4096", str(corpus)]
    atheris.Setup([sys.argv[0], *options], one, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


def _fed(meter: Meter, data: bytes, given: argparse.Namespace) -> bool:
    try:
        meter.feed(data)
    except Exception:
        out = Path(given.out)
        out.mkdir(parents=True, exist_ok=True)
        found = out / f"finding-{given.target}"
        found.write_bytes(data)
        traceback.print_exc()
        print(f"input {meter.runs + 1} of {given.target}, {len(data)} bytes, is in {found}", file=sys.stderr)
        return False
    return True


def _settle(meter: Meter, runs: int) -> None:
    if meter.runs == max(runs // 10, 1):
        gc.collect()
        meter.settle()


def _report(meter: Meter, given: argparse.Namespace) -> None:
    gc.collect()
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    print(json.dumps({"target": given.target, "engine": given.engine, "seed": given.seed, **meter.figures(), **machine}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="see tests/fuzz/targets.py")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("random", "atheris"), default="random")
    parser.add_argument("--out", default="artifacts/fuzz", help="where findings and what was learned go (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
