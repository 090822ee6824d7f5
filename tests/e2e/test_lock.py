"""A locked avatar in a real browser: it rests until its own person sits before the camera, and again when somebody else does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.avatar_file import read_avatar
from models.baked import bake
from realtime.gallery import SHIPPED
from realtime.renderer import AvatarRenderer
from tests.consents import agreed, write_signed
from tests.e2e.browser import DESKTOP, Headcast
from tests.e2e.conftest import MakeBrowser
from tests.e2e.fake_camera import FPS, HEIGHT, WIDTH, faceless_frames, write_camera_file
from tests.e2e.server_process import ServerProcess
from tests.faces import Image, moving_portrait

OWNER_S, NOBODY_S, STRANGER_S = 6.0, 1.0, 8.0
PATIENCE_MS = 120_000


def on_camera(picture: Image) -> Image:
    """A square picture in the middle of a camera's."""
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    left = (WIDTH - HEIGHT) // 2
    frame[:, left : left + HEIGHT] = cv2.resize(picture, (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA)
    return frame


def mara(seconds: float) -> Iterator[Image]:
    """The painted person herself, as if she sat there: she turns and talks."""
    avatar = bake(read_avatar(SHIPPED / "mara.avatar"))
    renderer, rest, jaw = AvatarRenderer(avatar, HEIGHT, threads=1), avatar.neutral(), avatar.expression_names.index("jawOpen")
    for index in range(round(seconds * FPS)):
        phase = 2.0 * np.pi * index / FPS
        expression = rest.expression.copy()
        expression[jaw] = 0.2 * (1.0 - np.cos(2.0 * phase))
        turn = np.array([0.0, 0.12 * np.sin(phase), 0.0], np.float32)
        yield on_camera(renderer.render(replace(rest, expression=expression, rotation=rest.rotation + turn)))
    renderer.close()


def people() -> Iterator[Image]:
    yield from mara(OWNER_S)
    yield from faceless_frames(NOBODY_S)
    for picture in moving_portrait(round(STRANGER_S * FPS), HEIGHT):
        yield on_camera(picture)
    yield from faceless_frames(NOBODY_S)


@pytest.fixture(scope="module")
def locked_server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("locked")
    write_signed(folder / "mara-herself.avatar", read_avatar(SHIPPED / "mara.avatar"), agreed(own_driver_only=True))
    process = ServerProcess(tmp_path_factory.mktemp("server") / "log.txt", "--avatars-dir", str(folder))
    try:
        process.start()
        yield process
    finally:
        process.stop()


def test_only_the_owner_drives(make_browser: MakeBrowser, locked_server: ServerProcess, tmp_path: Path, artefacts: Path) -> None:
    camera = write_camera_file(tmp_path / "people.mjpeg", people())
    with make_browser(camera) as browser, browser.new_page(viewport=DESKTOP) as page:
        headcast = Headcast(page, locked_server.url)
        page.set_default_timeout(PATIENCE_MS)
        headcast.go_live()
        page.wait_for_selector('body[data-lock="waiting"] #hint-title:has-text("locked to its owner; waiting to recognise you")')
        headcast.shoot(artefacts, "desktop-locked-waiting")
        page.wait_for_selector('body[data-lock="open"] #status-text:has-text("Live")')
        page.wait_for_selector('body[data-lock="refused"] #hint-text:has-text("not that of the person it shows")')
        page.wait_for_selector('body[data-lock="refused"] #status-text:has-text("Locked")')
        headcast.shoot(artefacts, "desktop-locked-refused")
        assert headcast.complaints == []
    assert "likeness" not in locked_server.output()
