"""In a real browser: an avatar of the form that training makes, put into a folder, is in the gallery, says whose it is, and follows the camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.avatar_file import AvatarFile, read_avatar
from models.avatar_parts import POSE_FEATURES, AvatarMesh, Material, Region, TextureBasis, WeightFunction
from models.consent.__main__ import main as consent
from models.consent.statement import Purpose
from models.driver import DriverProfile, Registration, RegistrationStage
from models.head import LANDMARK_COUNT
from realtime.gallery import SHIPPED
from tests.consents import agreed, write_signed
from tests.e2e.browser import DESKTOP, Headcast, eventually
from tests.e2e.conftest import MakeBrowser
from tests.e2e.server_process import ServerProcess
from tests.e2e.test_following import calm_recording, side_by_side
from tests.following import compare, read_expressions

ANNA = agreed("2100-12-31")
POINTS = 16
UNDER = 2


def learned() -> AvatarFile:
    """Mara as if learned from a video: texture basis, weight function, a bust beneath the head, and what is known of her as a driver."""
    file = read_avatar(SHIPPED / "mara.avatar")
    shapes = len(file.expression_names)
    maps = np.random.default_rng(0).integers(-20, 20, (2, 64, 64, 3), np.int8)
    basis = TextureBasis(maps, np.full((2, 16), 0.05, np.float32), 16, np.zeros(16, np.uint8))
    mean = np.zeros(POSE_FEATURES + shapes, np.float32)
    mean[3] = -0.1
    layer = (np.full((2, len(mean)), 0.05, np.float32), np.zeros(2, np.float32))
    stage = RegistrationStage(np.zeros(3 * POINTS, np.float32), np.zeros((10 + shapes, 3 * POINTS), np.float32), np.zeros(10 + shapes, np.float32))
    driver = DriverProfile(
        file.head_layout, np.zeros(8, np.float32), np.zeros((LANDMARK_COUNT, 3), np.float32), 1.5, Registration(np.arange(POINTS, dtype=np.int32), (stage,))
    )
    return replace(
        file,
        card=replace(file.card, name="Anna", consent=ANNA),
        mesh=with_bust(file.mesh, len(file.regions)),
        regions=(*file.regions, Region("bust", Material(lit=False))),
        texture_basis=basis,
        weights=WeightFunction(mean, np.ones(len(mean), np.float32), 2.0, (layer,)),
        driver=driver,
    )


def with_bust(mesh: AvatarMesh, region: int) -> AvatarMesh:
    """A card beneath everything, low in the picture."""
    count, looks = len(mesh.vertices), len(mesh.uv)
    card = np.array([(x, y, -0.1) for y in (-0.15, -0.4) for x in (-0.4, 0.4)], np.float32)
    faces = np.array([(0, 2, 3), (0, 3, 1)], np.int32)
    weights = np.zeros((4, 5), np.float32)
    weights[:, 0] = 1.0
    return AvatarMesh(
        vertices=np.concatenate([mesh.vertices, card]),
        faces=np.concatenate([mesh.faces, faces + count]),
        uv=np.concatenate([mesh.uv, np.full((4, 2), 0.5, np.float32)]),
        uv_faces=np.concatenate([mesh.uv_faces, faces + looks]),
        face_region=np.concatenate([mesh.face_region, np.full(2, region, np.uint8)]),
        face_layer=np.concatenate([mesh.face_layer, np.full(2, UNDER, np.uint8)]),
        skinning_weights=np.concatenate([mesh.skinning_weights, weights]),
        joints=mesh.joints,
    )


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def own_server(chromium: str, own_folder: Path) -> Iterator[ServerProcess]:
    """Serves a run of training, beside a damaged file and one whose consent has ended."""
    folder, file = own_folder, learned()
    (folder / "Anna B").mkdir()
    write_signed(folder / "Anna B" / "Anna B.avatar", file)
    write_signed(folder / "former.avatar", file, agreed("2026-02-01"))
    write_signed(
        folder / "shy.avatar", replace(file, card=replace(file.card, name="Shy", description="Agreed to live video only.")), agreed(purposes=(Purpose.LIVE,))
    )
    (folder / "broken.avatar").write_bytes((folder / "former.avatar").read_bytes()[:5000])
    process = ServerProcess(folder / "log.txt", "--avatars-dir", str(folder))
    try:
        process.start()
        yield process
    finally:
        process.stop()


def test_only_what_can_be_used_is_served_and_the_log_says_why(own_server: ServerProcess) -> None:
    listed = own_server.get("/avatars")[1]
    assert [avatar["id"] for avatar in listed["avatars"]] == ["Anna-B", "shy", "mara", "ama", "edith", "theo"]
    assert listed["default"] == "Anna-B"
    assert listed["avatars"][0]["consent"]["expires"] == "2100-12-31"
    log = own_server.output()
    assert "broken.avatar is left out: " in log
    assert "former.avatar is left out: the consent of the person it shows ended on 2026-02-01" in log


def test_it_is_shown_and_follows_the_camera(own_server: ServerProcess, make_browser: MakeBrowser, face_camera: Path, artefacts: Path) -> None:
    with make_browser(face_camera) as browser, browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), own_server.url).go_live()
        headcast.wait_data("applied-avatar", "Anna-B")
        assert "Shows Anna B., who agreed until 2100-12-31" in headcast.text("body")
        loaded = "[...document.querySelectorAll('.avatar-choice img')].map((image) => image.complete && image.naturalWidth > 0)"
        assert headcast.page.evaluate(loaded)[0]
        headcast.press("m")
        headcast.wait_data("applied-mirror", "false")
        recording = calm_recording(headcast)
        headcast.shoot(artefacts, "own-avatar")
        assert headcast.complaints == []
    side_by_side(recording.preview, recording.avatar, artefacts / "own-avatar-following.png")
    followed = compare(read_expressions(recording.preview, recording.time_s), read_expressions(recording.avatar, recording.time_s))
    assert followed.seen > 0.98
    assert followed.correlation["yaw"] > 0.9
    assert followed.correlation["mouth"] > 0.7


def test_nothing_is_kept_of_somebody_who_agreed_to_live_video_only(own_server: ServerProcess, make_browser: MakeBrowser, face_camera: Path) -> None:
    with make_browser(face_camera) as browser, browser.new_context(viewport=DESKTOP, accept_downloads=True) as context:
        headcast = Headcast(context.new_page(), own_server.url).go_live()
        page = headcast.page
        with page.expect_download():
            page.click("#snapshot")
        page.click(".avatar-choice:has-text('Shy')")
        headcast.wait_data("applied-avatar", "shy")
        for button in ("#snapshot", "#record"):
            page.click(button)
            page.wait_for_selector("text=Whom this avatar shows did not agree to recordings and pictures")
            assert page.locator("body[data-recording]").count() == 0
        page.click(".avatar-choice:has-text('Anna')")
        headcast.wait_data("applied-avatar", "Anna-B")
        page.click("#record")
        page.wait_for_selector("body[data-recording]")
        page.wait_for_timeout(1500)
        with page.expect_download():
            page.click(".avatar-choice:has-text('Shy')")
        page.wait_for_selector("body:not([data-recording])")


def test_it_is_taken_off_when_she_withdraws(own_server: ServerProcess, make_browser: MakeBrowser, face_camera: Path, own_folder: Path, artefacts: Path) -> None:
    with make_browser(face_camera) as browser, browser.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), own_server.url).go_live()
        headcast.wait_data("applied-avatar", "Anna-B")
        assert consent(["withdraw", str(own_folder / "Anna B" / "Anna B.avatar"), "--yes"]) == 0
        headcast.page.wait_for_selector("text=Anna is not shown any more: the person it shows has withdrawn their consent")
        headcast.shoot(artefacts, "own-avatar-withdrawn")
        eventually(lambda: headcast.page.locator(".avatar-choice").count() == 5, "the gallery without her")
        before = headcast.frames_shown()
        eventually(lambda: headcast.frames_shown() > before + 10, "ten frames of somebody else")
    assert [avatar["id"] for avatar in own_server.get("/avatars")[1]["avatars"]] == ["shy", "mara", "ama", "edith", "theo"]
