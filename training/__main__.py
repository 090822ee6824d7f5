"""`python -m training`: a video in, an avatar file out, stage by stage; and what to do with avatars and runs."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.consent.arguments import add_arguments, at_terminal
from models.errors import BadFile, ModelError
from models.weights import read_manifest, weights_folder
from training.agreeing import with_agreement
from training.errors import MachineError, TrainingError
from training.pipeline import options_of, prepare, run_stages
from training.progress import ConsoleProgress, Progress, duration
from training.run_dir import RunDir
from training.stages import STAGES, Options
from training.supervised import PREVIEWS, JsonProgress, end_with

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130
NAME = re.compile(r"\w[\w .-]{0,63}")
STILL_PX = 512
OPEN_HEAD = Path(__file__).resolve().parents[1] / "assets" / "open_head.safetensors"
REGRESSOR_SAMPLES, LEAST_SAMPLES = 30_000, 2_000


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 1 the machine could not, 2 the input cannot be used."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and given.command != "still":
        parser.error(f"unknown: {' '.join(rest)}")
    given.rest = rest
    command: Callable[[argparse.Namespace], int] = given.run
    try:
        return command(given)
    except (TrainingError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, (TrainingError, BadFile)) and not isinstance(error, MachineError) else FAILED
    except MemoryError:
        print("error: not enough memory. Close other programs, or cut the clip shorter.", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nStopped. Finished stages are kept: the same command goes on from there.", file=sys.stderr)
        return STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="say in seconds whether a clip is good enough, and what to record instead", allow_abbrev=False)
    check.add_argument("clip", type=Path)
    check.add_argument("--threads", type=int, default=_cores())
    check.add_argument("--quiet", action="store_true", help="no progress")
    check.add_argument("--json", action="store_true", help="what is in the clip and the findings, as one JSON object on standard output")
    check.set_defaults(run=_check)

    probe = commands.add_parser("probe", help="whether a file is a video that can be read, told at once, as JSON", allow_abbrev=False)
    probe.add_argument("clip", type=Path)
    probe.set_defaults(run=_probe)

    ready = commands.add_parser("ready", help="whether all is installed that training needs", allow_abbrev=False)
    ready.set_defaults(run=_ready)

    every = commands.add_parser("all", help="all stages: a clip in, an avatar and a report out", allow_abbrev=False)
    _clip_arguments(every, required=True)
    _run_arguments(every)
    for stage in STAGES:
        one = commands.add_parser(stage, help=f"only the stage {stage} of a run", allow_abbrev=False)
        if stage == "dataset":
            _clip_arguments(one, required=False)
        _run_arguments(one)

    compare = commands.add_parser("compare", help="the figures of two runs side by side", allow_abbrev=False)
    compare.add_argument("runs_compared", nargs=2, metavar="RUN", help="names or folders")
    compare.add_argument("--runs", type=Path, default=Path("runs"))
    compare.set_defaults(run=_compare)

    reenact = commands.add_parser("reenact", help="an avatar driven by another video", allow_abbrev=False)
    reenact.add_argument("avatar", type=Path)
    reenact.add_argument("driver", type=Path)
    reenact.add_argument("-o", "--out", type=Path, required=True)
    reenact.add_argument("--side-by-side", action="store_true", help="the driver beside the avatar")
    reenact.add_argument("--quiet", action="store_true", help="no progress")
    reenact.set_defaults(run=_reenact)

    regressor = commands.add_parser("regressor", help="teach the network that reads a head's parameters off a face", allow_abbrev=False)
    regressor.add_argument("--head", type=Path, default=OPEN_HEAD, metavar="FILE", help="a head file, say of FLAME (default: the open head)")
    regressor.add_argument("--out", type=Path, metavar="FILE", help="default: beside the head, where the server looks for it")
    regressor.add_argument("--samples", type=int, default=REGRESSOR_SAMPLES, help=f"how many faces are made up (default: {REGRESSOR_SAMPLES})")
    regressor.add_argument("--painted", type=int, default=0, metavar="N", help="draw N painted people besides: slow, only for the open head")
    regressor.add_argument("--drawn", type=Path, default=Path("runs/regressor"), metavar="DIR", help="where what was drawn is kept (default: runs/regressor)")
    regressor.add_argument("--threads", type=int, default=_cores())
    regressor.add_argument("--quiet", action="store_true", help="no progress")
    regressor.set_defaults(run=_regressor)

    still = commands.add_parser("still", help="a picture from named parameters: --yaw 20 --jaw-open 0.6", allow_abbrev=False)
    still.add_argument("avatar", type=Path)
    still.add_argument("-o", "--out", type=Path, required=True)
    still.add_argument("--size", type=int, default=STILL_PX, help="pixels a side")
    still.set_defaults(run=_still)
    return parser


def _clip_arguments(parser: argparse.ArgumentParser, required: bool) -> None:
    source = parser.add_mutually_exclusive_group(required=required)
    source.add_argument("clip", type=Path, nargs="?", help="the video")
    source.add_argument("--from-nha", type=Path, metavar="DIR", help="a dataset in the layout of Neural Head Avatars instead of a video")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, type=_name, help="of the run, and of the avatar")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept (default: runs)")
    parser.add_argument("--preset", choices=("quick", "full"), help="default: quick")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--road", choices=("auto", "closed-form", "neural"), help="how the appearance is learned; auto: neural where there is a GPU")
    parser.add_argument("--head", type=Path, metavar="FILE", help="a head file, say of FLAME (default: the open head)")
    add_arguments(parser)
    parser.add_argument("--threads", type=int, help="default: as many as there are processors")
    parser.add_argument("--force", action="store_true", help="make anew what is done already; replace a run of another clip")
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--quiet", action="store_true", help="no progress")
    told.add_argument(
        "--supervised", action="store_true", help="for a program: progress as JSON lines, pictures in the run's previews; ends when standard input does"
    )
    parser.set_defaults(run=_train, clip=None, from_nha=None)


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: letters, digits, space, dot, dash and underscore, at most 64, beginning with a letter or digit")
    return text


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _progress(given: argparse.Namespace) -> Progress:
    return Progress() if given.quiet else ConsoleProgress()


def _check(given: argparse.Namespace) -> int:
    from training.check import check

    findings = check(given.clip, _progress(given), given.threads)
    if given.json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}))
        return BAD_INPUT if any(finding.refuses for finding in findings) else DONE
    for finding in findings:
        print(finding)
    if any(finding.refuses for finding in findings):
        return BAD_INPUT
    print(f"{given.clip} can be used.")
    return DONE


def _probe(given: argparse.Namespace) -> int:
    from training.video import open_video

    video = open_video(given.clip)
    print(json.dumps({"width": video.width, "height": video.height, "seconds": round(video.seconds, 2), "frames": len(video.ticks)}))
    return DONE


def _ready(given: argparse.Namespace) -> int:
    missing = [name for name in ("scipy", "threadpoolctl") if importlib.util.find_spec(name) is None]
    missing += [weight.name for weight in read_manifest() if not (weights_folder() / weight.name).is_file()]
    if missing:
        raise MachineError(f"Training is not installed here ({', '.join(missing)} not found). Run once: make install-train")
    return DONE


def _train(given: argparse.Namespace) -> int:
    run = RunDir(given.runs / given.name)
    progress = _progress(given)
    if given.supervised:
        end_with(sys.stdin.fileno())
        progress = JsonProgress(sys.stdout, run.path / PREVIEWS)
    stages = STAGES if given.command == "all" else (given.command,)
    options = with_agreement(_options(run, given), given, run, stages, at_terminal if sys.stdin.isatty() else None)
    with run.locked():
        prepare(run, options, given.force)
        run_stages(run, options, stages, progress, given.force)
        if stages[-1] == "evaluate":
            from training.report import write_report

            write_report(run)
    _tell(run, stages)
    return DONE


def _options(run: RunDir, given: argparse.Namespace) -> Options:
    names = ("preset", "device", "road", "head", "threads")
    wanted: dict[str, Any] = {name: getattr(given, name) for name in names}
    if wanted["head"] is not None and not wanted["head"].is_file():
        raise TrainingError(f"{wanted['head']}: there is no such head file. Convert FLAME's with python -m models.flame_file convert.")
    clip = given.from_nha or given.clip
    if clip is None:
        options = options_of(run, **wanted)
    else:
        if given.from_nha and not clip.is_dir():
            raise TrainingError(f"{clip} is not a folder; --from-nha takes the folder that holds frame_0000 and so on.")
        if given.clip and not clip.is_file():
            raise TrainingError(f"{clip}: there is no such file. Give the path of a video.")
        options = Options(clip, **{"threads": _cores()} | {name: value for name, value in wanted.items() if value is not None})
    if not options.clip.exists():
        raise TrainingError(f"{options.clip}, which the run was made of, is no longer there. Put it back, or name the clip again.")
    return options


def _tell(run: RunDir, stages: Sequence[str]) -> None:
    if stages[-1] != "evaluate":
        print(f"{stages[-1]}: {run.folder(stages[-1])}")
        return
    seconds = sum(run.record(stage).get("seconds", 0.0) for stage in STAGES)
    print(f"avatar: {run.avatar} ({run.avatar.stat().st_size / 1e6:.1f} MB)")
    print(f"serve:  python server.py --avatars-dir {shlex.quote(str(run.path))}")
    print(f"report: {run.path / 'report.html'}")
    print(f"time:   {duration(seconds)}")
    held_out = json.loads((run.path / "report.json").read_text(encoding="utf-8")).get("held_out", {})
    for way in ("offline", "live"):
        regions = held_out.get(way, {})
        shown = [f"{region.replace('_', ' ')} {regions[region]['psnr']:.1f} dB" for region in ("head_box", "mouth", "eyes") if region in regions]
        if shown:
            print(f"held out, {way}: {', '.join(shown)}")


def _regressor(given: argparse.Namespace) -> int:
    from training.regressor import make_regressor

    if given.samples < LEAST_SAMPLES or given.painted < 0:
        raise TrainingError(f"--samples takes {LEAST_SAMPLES} or more, --painted 0 or more; got {given.samples} and {given.painted}")
    figures = make_regressor(given.head, given.out, given.painted, given.samples, given.drawn, given.threads, _progress(given))
    print("on people it never saw: " + ", ".join(f"{name} {value:g}" for name, value in figures.items()))
    return DONE


def _compare(given: argparse.Namespace) -> int:
    from training.compare import compare

    first, second = (Path(name) if Path(name).is_dir() else given.runs / name for name in given.runs_compared)
    compare(first, second)
    return DONE


def _reenact(given: argparse.Namespace) -> int:
    from training.reenact import reenact

    reenact(given.avatar, given.driver, given.out, _progress(given), given.side_by_side)
    return DONE


def _still(given: argparse.Namespace) -> int:
    from training.still import still

    still(given.avatar, given.out, _named_values(given.rest), given.size)
    return DONE


def _named_values(rest: Sequence[str]) -> dict[str, float | str]:
    """`--jaw-open 0.6 --yaw=20` → {"jaw-open": 0.6, "yaw": 20.0}; what is no number stays text."""
    words = [part for word in rest for part in (word.split("=", 1) if word.startswith("--") else [word])]
    values: dict[str, float | str] = {}
    for name, value in zip(words[::2], [*words[1::2], ""], strict=False):
        if not name.startswith("--") or not value:
            raise TrainingError(f"expected pairs such as --jaw-open 0.6, got {' '.join(rest)!r}")
        try:
            values[name[2:]] = float(value)
        except ValueError:
            values[name[2:]] = value
    return values


if __name__ == "__main__":
    sys.exit(main())
