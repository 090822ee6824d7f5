"""`python -m models.watermark detect FILE`: whether a picture or a video bears Headcast's mark, with a score for every two seconds."""

from __future__ import annotations

import os

# Read when numpy is loaded, as in server.py.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from models.errors import BadFile
from models.watermark.detect import THRESHOLD, false_alarm_bound
from models.watermark.files import look

MARKED, UNMARKED, UNREADABLE = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Prints the verdict; 0: marked, 1: not, 2: the file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m models.watermark", description="Finds the mark that Headcast lays into every picture it makes.")
    commands = parser.add_subparsers(dest="command", required=True)
    detect = commands.add_parser("detect", help="say whether a picture or a video bears it; exit code 0: it does, 1: it does not, 2: cannot be read")
    detect.add_argument("file", type=Path, metavar="FILE", help="a video, or a PNG, JPEG or WebP picture")
    detect.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        looks = list(look(options.file))
    except BadFile as error:
        print(f"headcast: {error}", file=sys.stderr)
        return UNREADABLE
    found = sum(each.finding.found for each in looks)
    if options.json:
        windows = [{"begin_s": each.begin_s, "frames": each.frames, "found": each.finding.found, **asdict(each.finding)} for each in looks]
        print(json.dumps({"marked": found > 0, "windows": windows, "threshold": THRESHOLD, "false_alarm_bound": false_alarm_bound()}, indent=1))
    else:
        for each in looks:
            verdict = "marked" if each.finding.found else "no mark found"
            where = f", {100 * each.finding.scale:.0f} % of its size{', mirrored' if each.finding.mirrored else ''}" if each.finding.found else ""
            print(f"{each.begin_s:6.1f} s  {verdict:13s}  score {each.finding.score:.1f} of {THRESHOLD}{where}")
        print(f"{options.file.name}: {'made by Headcast' if found else 'no mark found'} ({found} of {len(looks)} windows)")
    return MARKED if found else UNMARKED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
