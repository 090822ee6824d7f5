"""The real server, put through every state while the camera carries the barcode: nothing that a driver or a viewer is sent shows it."""

from __future__ import annotations

import asyncio
import itertools
import re
from functools import partial

import numpy as np
import psutil
import pytest

from models.weights import weights_folder
from realtime.reenactor import LANDMARKER
from tests.leaks.camera import PULSE_HZ, Scene
from tests.leaks.outputs import Output, Stage, pulse
from tests.leaks.parties import Driver, driving, virtual_camera, watching
from tests.peers import until
from tests.processes import ServerProcess, server_process

SIZE = 256
SHORT_S, STEADY_S = 0.7, 2.4
BACKGROUNDS = ("gradient", "green", "checker", "#204060", "avatar")
FAINTEST = 0.5
"""Levels. The swing of the colours around the driver, 105 to either side, may be seen in the avatar by less than this: less than a fiftieth."""
VISIBLE = 4.0
"""Levels by which a state that looks different differs from the one before, over the whole picture."""

pytestmark = pytest.mark.skipif(not (weights_folder() / LANDMARKER).is_file(), reason="the face landmarker is not here; python -m models.weights fetch")


async def put_through(driver: Driver) -> None:
    """Every state that a session can be in, one after the other."""
    stage = driver.output.stage

    async def be(name: str, seconds: float = SHORT_S, ask: str = "", **fields: object) -> None:
        stage.name = name
        if ask:
            await driver.ask(ask, **fields)
        await asyncio.sleep(seconds)

    async def see(scene: Scene, seconds: float = 1.2) -> None:
        driver.camera.scene = scene
        await be(f"camera {scene}", seconds)

    await driver.live()
    await be("driven", 1.5)
    for background in BACKGROUNDS:
        await be(f"background {background}", 0.5, "set_background", background=background)
    for avatar in ("theo", "ama", "mara"):
        await be(f"avatar {avatar}", ask="set_avatar", avatar=avatar)
    await be("mirror", ask="mirror", enabled=True)
    await be("paused", ask="pause", enabled=True)
    await be("after a pause", 0.5, "pause", enabled=False)
    await be("by hand", 0.3, "puppet", enabled=True)
    for value in (0.2, 0.8):
        await be("by hand", 0.3, "pose", set={"jawOpen": value})
    await be("by hand and driven", 0.5, "puppet", enabled=False)
    await be("calibrated", ask="calibrate")
    for scene in (Scene.COVERED, Scene.PAIR, Scene.SMALL, Scene.FACE):
        await see(scene)
    await be("own", ask="drive", mode="own")
    await see(Scene.STEADY)
    await be("steady", STEADY_S)
    driver.camera.scene = Scene.FACE


async def lose_the_renderer(driver: Driver, server: ServerProcess, together: asyncio.Barrier) -> None:
    """Every session's process is killed; each comes back."""
    stage, heard = driver.output.stage, len(driver.states())
    stage.name = "renderer killed"
    if await together.wait() == 0:
        lost = renderers(server)
        assert len(lost) == together.parties, "a process for each session"
        for process in lost:
            process.kill()
    await until(partial(lost_and_back, driver, heard), 30.0)
    stage.name = "after that"
    await asyncio.sleep(SHORT_S)


def lost_and_back(driver: Driver, heard: int) -> bool:
    states = driver.states()[heard:]
    return "restarting" in states and "live" in states[states.index("restarting") :]


def renderers(server: ServerProcess) -> list[psutil.Process]:
    """The server's grandchildren: it has one child, which all of them are forked from."""
    [zygote] = psutil.Process(server.process.pid).children()
    return zygote.children()


def clean(*outputs: Output) -> None:
    assert [leak for output in outputs for leak in output.leaks()] == []


async def kept_out(server: ServerProcess, driver: Driver, thumbnail: bytes) -> None:
    """What else a session leaves: figures, and pictures of avatars."""
    for path in (f"/sessions/{driver.session}/stats", "/metrics", "/healthz", "/readyz", "/avatars"):
        async with driver.http.get(server.url + path) as response:
            assert response.status in (200, 503), path  # the server may be full, or say that it is degraded
            assert_no_picture(await response.text())
    async with driver.http.get(f"{server.url}/avatars/mara/thumbnail") as response:
        assert await response.read() == thumbnail


def assert_no_picture(text: str) -> None:
    """No run of characters that could be a face's pixels: base64, hexadecimal, or a list of numbers."""
    assert not re.search(r"[A-Za-z0-9+/=_-]{120,}", text)
    assert not re.search(r"(?:-?\d+(?:\.\d+)?[,\s]+){60,}", text)


async def visit(server: ServerProcess, together: asyncio.Barrier, codec: str, viewers: str) -> list[Output]:
    """A whole session in one codec, watched in another and as a virtual camera, and a second one that takes its place."""
    stage = Stage()
    async with driving(server.url, codec, stage) as driver, watching(driver, viewers) as seen, virtual_camera(driver, SIZE) as camera:
        async with driver.http.get(f"{server.url}/avatars/mara/thumbnail") as response:
            thumbnail = await response.read()
        await put_through(driver)
        stats = await driver.stats()
        await lose_the_renderer(driver, server, together)
        await kept_out(server, driver, thumbnail)
        stage.name = "replacing"
        async with driving(server.url, codec, Stage("replacement"), replaces=driver.session) as successor:
            await successor.live()
            await asyncio.sleep(SHORT_S)
            successor.output.stage.name = "ended"
            await successor.end()
            await asyncio.sleep(0.5)
    assert (stats["state"], stats["fps_out"] > 3.0) == ("live", True), "the avatar was driven"
    assert {"ok", "lost"} <= {message["state"] for message in driver.heard if message["type"] == "tracking"}, "the face was seen, and lost"
    assert [message for message in driver.heard if message["type"] == "error"] == []
    looked_at_everything(driver.output)
    assert {"driven", "camera covered", "renderer killed", "after that"} <= set(camera.stages), "it showed the session all along"
    return [driver.output, seen, successor.output, camera]


async def test_no_output_shows_the_camera_in_any_state() -> None:
    async with server_process("server.py", "--size", str(SIZE), "--fps", "10", "--max-sessions", "4", "--verbose") as server:
        together = asyncio.Barrier(2)
        async with asyncio.TaskGroup() as visits:
            tasks = [visits.create_task(visit(server, together, *codecs)) for codecs in (("VP8", "H264"), ("H264", "VP8"))]
        outputs = [task.result() for task in tasks]
        _, log = await server.stop()
    assert_no_picture(log)
    for driver, seen, *others in outputs:
        clean(driver, seen, *others)
        for output in (driver, seen):
            assert pulse(output.of("steady"), PULSE_HZ) < FAINTEST


def looked_at_everything(output: Output) -> None:
    """Pictures came in every state, and the states differ: what was asked for was done."""
    assert len(output.stages) >= 24
    assert output.stages[0] == "start"
    shown = [stage for stage in output.stages if stage.startswith(("background", "avatar"))]
    looks = [output.of(stage)[-1].rgb.astype(np.float32) for stage in shown]
    changes = [float(np.abs(later - earlier).mean()) for earlier, later in itertools.pairwise(looks)]
    assert min(changes) > VISIBLE, changes
