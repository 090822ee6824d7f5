"""Stands for `python -m training` in tests of the studio: does what the clip's first word says, in no time. Knows nothing but the standard library.

good, refused (by the check), notvideo, bomb (never answers), slow (makes the avatar once `go` is in the studio's folder), broken (fails once, then works).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

AVATAR = Path(__file__).resolve().parents[1] / "assets" / "avatars" / "theo.avatar"
FINDING = {"refuses": False, "found": "the face is dim", "needed": "light", "instead": "Face a window"}


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)


def fail(message: str, code: int) -> int:
    print(f"a line before\nerror: {message}", file=sys.stderr)
    return code


def end_with_standard_input() -> None:
    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(os.getpid(), 9)

    threading.Thread(target=watch, daemon=True).start()


def probe(clip: Path, word: str) -> int:
    if word == "bomb":
        time.sleep(60)
    if word == "notvideo":
        return fail(f"{clip} is not a video that can be read. Record it again.", 2)
    say(width=640, height=480, seconds=12.5, frames=300)
    return 0


def check(word: str) -> int:
    refused = word == "refused"
    say(findings=[FINDING | {"refuses": refused}])
    return 2 if refused else 0


def make(given: dict[str, Any], clip: Path, word: str) -> int:
    end_with_standard_input()
    run = Path(given["runs"]) / given["name"]
    (run / "previews").mkdir(parents=True, exist_ok=True)
    (run / "dataset").mkdir(exist_ok=True)
    with (run / "started").open("a") as file:
        file.write(f"{os.getpid()}\n")
    say(stage="dataset", step="looking for the face", share=0.1)
    (run / "previews" / "0001.jpg").write_bytes(b"\xff\xd8picture")
    say(preview=1)
    if word == "slow":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (clip.parents[2] / "go").exists():
            time.sleep(0.02)
    if word == "broken" and len((run / "started").read_text().split()) == 1:
        return fail(f"{run} has no room. Free some.", 1)
    say(stage="evaluate", step="judging", share=1.0)
    (run / "evaluate").mkdir(exist_ok=True)
    (run / "evaluate" / "side_by_side.mp4").write_bytes(b"a video")
    (run / "report.json").write_text(json.dumps({"held_out": {"offline": {"head_box": {"psnr": 30.5, "ssim": 0.9, "l1": 1}}}, "advice": ["More light."]}))
    (run / "asked.json").write_text(json.dumps(given))
    shutil.copyfile(AVATAR, run / f"{given['name']}.avatar")
    return 0


def main(command: str, *arguments: str) -> int:
    if command == "ready":
        return 0
    given: dict[str, Any] = dict(each[2:].split("=", 1) for each in arguments if "=" in each and each.startswith("--"))
    given["flags"] = [each for each in arguments if each.startswith("--") and "=" not in each]
    clip = Path(arguments[-1])
    word = clip.read_bytes()[:40].split()[0].decode()
    return probe(clip, word) if command == "probe" else check(word) if command == "check" else make(given, clip, word)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[3:]))
