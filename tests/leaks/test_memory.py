"""Memory that a session's frames pass through: nobody else's process has it, and it ends with its session."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from models.weights import weights_folder
from realtime.reenactor import LANDMARKER
from tests.faces import Image
from tests.leaks.barcode import search
from tests.leaks.camera import Scene
from tests.leaks.outputs import Stage
from tests.leaks.parties import Driver, driving
from tests.peers import until
from tests.processes import ServerProcess, server_process

SIDE = 512
"""Of the camera's pictures, in pixels."""

pytestmark = [
    pytest.mark.skipif(not (weights_folder() / LANDMARKER).is_file(), reason="the face landmarker is not here; python -m models.weights fetch"),
    pytest.mark.skipif(sys.platform != "linux", reason="sessions have processes of their own on Linux only"),
    pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() != 0, reason="only root may look into a discreet process"),
]


@dataclass(frozen=True)
class Memory:
    """Frames that a process holds on to: by a descriptor, or mapped."""

    inode: int
    path: Path

    def camera(self) -> Image:
        """The newest webcam frame in it."""
        with self.path.open("rb") as file:
            return np.frombuffer(file.read(3 * SIDE * SIDE), np.uint8).reshape(SIDE, SIDE, 3)


def memories(process: psutil.Process) -> dict[int, Memory]:
    """By inode."""
    found = {}
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        if "memfd:headcast-frames" in os.readlink(path):
            inode = path.stat().st_ino
            found[inode] = Memory(inode, path)
    return found


def mapped(process: psutil.Process) -> set[int]:
    lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    return {int(line.split()[4]) for line in lines if "memfd:headcast-frames" in line}


def family(server: ServerProcess) -> tuple[psutil.Process, psutil.Process, list[psutil.Process]]:
    """The server, what renderers are forked from, and those, oldest first."""
    process = psutil.Process(server.process.pid)
    [zygote] = process.children()
    return process, zygote, sorted(zygote.children(), key=lambda each: each.create_time())


async def with_code(memories: dict[int, Memory]) -> list[int]:
    """Those in which the camera's picture carries the barcode; the sessions go on meanwhile."""
    cameras = {inode: memory.camera() for inode, memory in memories.items()}
    return await asyncio.to_thread(lambda: [inode for inode, camera in cameras.items() if search(camera).sure])


async def showing(driver: Driver, scene: Scene) -> None:
    driver.camera.scene = scene
    await driver.live()
    seen = len(driver.output.sights)
    await until(lambda: len(driver.output.sights) > seen + 8, 60.0)


async def test_a_session_has_its_frames_for_itself() -> None:
    async with (
        server_process("server.py", "--size", "128", "--fps", "10", "--max-sessions", "3") as server,
        driving(server.url, "VP8", Stage()) as one,
        driving(server.url, "VP8", Stage()) as two,
    ):
        await asyncio.gather(showing(one, Scene.FACE), showing(two, Scene.STEADY))
        process, zygote, renderers = family(server)
        theirs = [memories(renderer) for renderer in renderers]
        assert len(theirs) >= 2, "two sessions', and what else is forked"
        assert max(len(each) for each in theirs) == 1, "its own and no other"
        assert [mapped(renderer) for renderer in renderers] == [set(each) for each in theirs]
        everybodys = {inode: memory for each in theirs for inode, memory in each.items()}
        assert len(everybodys) == sum(len(each) for each in theirs), "nobody shares"
        assert (memories(zygote), mapped(zygote)) == ({}, set()), "a fork begins clean"
        assert set(memories(process)) == set(everybodys)
        [ended] = await with_code(everybodys)  # the first one's camera is where it is looked for, and nowhere else
        await one.end()
        await until(lambda: ended not in memories(process))
        async with driving(server.url, "H264", Stage()) as three:
            await showing(three, Scene.STEADY)
            left = {inode: memory for each in (process, *family(server)[2]) for inode, memory in memories(each).items()}
            assert ended not in {*left, *mapped(process)}
            assert await with_code(left) == []
        assert three.output.leaks() == []
        assert two.output.leaks() == []
