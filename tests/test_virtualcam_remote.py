"""`python -m realtime.virtualcam --session`: a session of a running server becomes a camera; it comes and goes, the camera stays."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from aiohttp import ClientSession, web

from models.yuv import planes
from realtime.access import digest, new_token
from realtime.virtualcam.feed import Newest, Shot
from realtime.virtualcam.options import Options, Size, Watched
from realtime.virtualcam.picture import Picture, card
from realtime.virtualcam.remote import BACK_OFF_S, RemoteSource, back_off_s
from tests import fakes
from tests.peers import until
from tests.serving import serving
from tests.virtual_camera import Machine, Running, fake_backend, running_beside
from tests.whip_client import NAME, OFFER, offering

SIDE = 192
CONFIG = fakes.config(size=SIDE)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with fake_backend() as machine:
        yield machine


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def options(url: str, **changes: object) -> Options:
    return replace(Options(session=Watched(url, NAME), size=Size(SIDE, SIDE)), **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def on_air(url: str, token: str = "") -> AsyncIterator[None]:
    """A camera that sends over WHIP; ended by its client."""
    async with offering("sendonly") as camera, ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        async with http.post(f"{url}/whip/ada?session={NAME}", data=camera.sdp, headers=OFFER) as response:
            assert response.status == 201
            await camera.accept(await response.text())
        yield
        await http.delete(f"{url}/sessions/{NAME}")


async def sees(camera: Running, condition: Callable[[Picture], bool]) -> None:
    """Waits for such a picture among those that are sent from now on."""
    begin = len(camera.machine.pictures)
    await until(lambda: any(condition(picture) for picture in tuple(camera.machine.pictures[begin:])))


async def says(camera: Running, text: str) -> None:
    await until(lambda: text in camera.lines.text)


def is_driven(picture: Picture) -> bool:
    return fakes.read_stamp(planes(picture)[0]) is not None


def is_card(picture: Picture) -> bool:
    return bool((picture == card(SIDE)).all())


async def test_a_session_becomes_a_camera_comes_and_goes(machine: Machine) -> None:
    async with serving(config=CONFIG) as server, running_beside(machine, options(server.url)) as camera:
        await sees(camera, is_card)
        await says(camera, "waiting for the session: it is not there, or not yet")
        async with on_air(server.url):
            await sees(camera, is_driven)
            assert not is_card(camera.last)
        await sees(camera, is_card)
        await says(camera, "the session has ended")
        async with on_air(server.url):
            await sees(camera, is_driven)
    assert camera.codes == [0]
    assert machine.format == "I420"
    assert {picture.shape for picture in machine.pictures} == {(SIDE * 3 // 2, SIDE)}
    assert all(is_grey(picture) for picture in machine.pictures), "the webcam's green never shows"


def is_grey(picture: Picture) -> bool:
    """As the fake avatar and the card are; the camera that these tests send is green."""
    return bool(np.abs(picture[SIDE:].astype(int) - 128).max() < 12)


async def test_the_status_says_what_the_server_sees() -> None:
    async with serving(config=CONFIG) as server, on_air(server.url):
        chosen = options(server.url)
        assert chosen.session is not None
        source = RemoteSource(chosen.session, chosen, Newest(Shot(card(SIDE))), lambda text: None)
        try:
            await until(lambda: source.review(0.0).startswith("face found, the server adds "))
            await until(lambda: source.fps > 10.0)
        finally:
            await asyncio.to_thread(source.close)


async def test_the_camera_outlives_the_server(machine: Machine) -> None:
    port = free_port()
    async with running_beside(machine, options(f"http://127.0.0.1:{port}")) as camera:
        await says(camera, "the server does not answer")
        for _ in range(2):
            async with serving(config=CONFIG, port=port) as server, on_air(server.url):
                await sees(camera, is_driven)
            await sees(camera, is_card)


async def test_the_viewer_leaves_the_server_when_the_camera_ends(machine: Machine) -> None:
    async with serving(config=CONFIG) as server, on_air(server.url):
        async with running_beside(machine, options(server.url)) as camera:
            await sees(camera, is_driven)
            assert len(server.sessions.get(NAME).audience) == 1
        await until(lambda: len(server.sessions.get(NAME).audience) == 0)


async def test_the_session_looks_as_the_camera_asks(machine: Machine) -> None:
    async with serving(config=CONFIG) as server, on_air(server.url):
        async with running_beside(machine, options(server.url, background="green", mirror=True, avatar="bo")) as camera:
            await sees(camera, is_driven)
        assert server.factory.made[0].calls[:2] == [("background", "green"), ("mirror", True)]
        assert server.sessions.get(NAME).stats()["avatar"] == "bo"


async def test_a_larger_camera_shows_the_picture_scaled(machine: Machine) -> None:
    async with serving(config=CONFIG) as server, on_air(server.url):
        async with running_beside(machine, options(server.url, size=Size(640, 2 * SIDE))) as camera:
            await sees(camera, lambda picture: is_driven(np.ascontiguousarray(picture[:, 128:512])))
        assert camera.last.shape == (3 * SIDE, 640)


@pytest.mark.parametrize(
    ("max_viewers", "changes", "message"),
    [(0, {}, "the server refused: all 0 viewers of this session are there"), (8, {"avatar": "nobody"}, "the server refused: avatar: expected an identifier")],
)
async def test_a_refusal_is_told_once(machine: Machine, max_viewers: int, changes: dict[str, str], message: str) -> None:
    async with serving(config=replace(CONFIG, max_viewers=max_viewers)) as server, on_air(server.url):
        async with running_beside(machine, options(server.url, **changes)) as camera:
            await says(camera, message)
            await asyncio.sleep(1.2)
        assert camera.lines.text.count(f"headcast: {message}") == 1
        assert is_card(camera.last)


async def test_a_server_that_lets_in_only_some_gets_a_token(machine: Machine) -> None:
    token = new_token()
    async with serving(config=replace(CONFIG, token=digest(token))) as server:
        async with running_beside(machine, options(server.url)) as camera:
            await says(camera, "the server lets in only people it knows")
        async with on_air(server.url, token), running_beside(machine, options(server.url, token=token)) as camera:
            await sees(camera, is_driven)
            assert token not in camera.lines.text
            assert len(server.sessions.get(NAME).audience) == 1
        await until(lambda: len(server.sessions) == 0)


@pytest.mark.parametrize("answer", ["not json", '{"ice_servers": 1}', '{"ice_servers": []}'])
async def test_another_server_is_no_reason_to_end(machine: Machine, answer: str) -> None:
    async def anything(request: web.Request) -> web.Response:
        return web.Response(text=answer, content_type="application/json", status=201 if request.method == "POST" else 200)

    application = web.Application()
    application.add_routes([web.route("*", "/{path:.*}", anything)])
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with running_beside(machine, options(f"http://127.0.0.1:{port}")) as camera:
            await says(camera, "is the link right?")
            assert camera.codes == []
    finally:
        await runner.cleanup()


def test_it_waits_longer_each_time_and_never_too_long() -> None:
    assert [back_off_s(failures) for failures in range(1, 8)] == [*BACK_OFF_S, BACK_OFF_S[-1], BACK_OFF_S[-1]]
    assert sorted(BACK_OFF_S) == list(BACK_OFF_S)
