"""The exported GLB in three.js, as anybody's page would load it: the same shapes, the same joints, and a picture beside our own."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar
from models.badge import make_badge
from models.baked import bake
from models.export.frames import Frames
from models.export.gltf import export_glb
from models.export.linear_avatar import texture_at
from models.export.poses import JOINT_NAMES, joint_quaternions
from models.export.primitives import primitives
from models.head import HeadParams
from realtime.gallery import SHIPPED
from realtime.renderer import AvatarRenderer
from tests.e2e.browser import WAIT_MS
from tests.e2e.conftest import MakeBrowser, missing
from tests.flame_avatar import flame_avatar

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

VIEWER = Path(__file__).resolve().parents[1] / "gltf"
PLACE = "http://viewer.test/"
TYPES = {".html": "text/html", ".js": "text/javascript", ".glb": "model/gltf-binary"}
SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SIZE = 512
Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def viewer_browser(make_browser: MakeBrowser) -> Iterator[Browser]:
    if not (VIEWER / "node_modules" / "three").is_dir():
        missing("three.js is not installed: npm ci --prefix tests/gltf")
    with make_browser(None, *SOFTWARE_GL) as browser:
        yield browser


class Viewer:
    """A page of three.js that shows one GLB; its requests are answered from tests/gltf, and no other is made."""

    def __init__(self, page: Page, glb: bytes) -> None:
        self.page, self.glb = page, glb
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.route("**/*", self._answer)
        page.goto(PLACE + "viewer.html")
        page.wait_for_function("window.viewer")
        self.summary: dict[str, Any] = page.evaluate("viewer.summary()")

    def _answer(self, route: Route) -> None:
        name = route.request.url.removeprefix(PLACE)
        if name == "model.glb":
            route.fulfill(body=self.glb, content_type=TYPES[".glb"])
        elif (VIEWER / name).is_file():
            route.fulfill(body=(VIEWER / name).read_bytes(), content_type=TYPES[Path(name).suffix])
        else:
            route.abort()

    def pose(self, file: AvatarFile, params: HeadParams) -> None:
        weights = dict(zip(file.expression_names, params.expression.astype(float).tolist(), strict=True))
        rotations = dict(zip(JOINT_NAMES, joint_quaternions(params).tolist(), strict=True))
        self.page.evaluate("each => viewer.pose(each)", {"weights": weights, "rotations": rotations})

    def positions(self) -> list[NDArray[np.float32]]:
        """(N, 3) metres of every mesh, morphed and skinned by three.js."""
        return [np.frombuffer(base64.b64decode(text), np.float32).reshape(-1, 3) for text in self.page.evaluate("viewer.positions()")]

    def picture(self) -> Picture:
        """(512, 512, 3) RGB, over black."""
        self.page.evaluate("viewer.draw()")
        drawn = cv2.imdecode(np.frombuffer(self.page.screenshot(), np.uint8), cv2.IMREAD_COLOR_RGB)
        assert drawn is not None
        return np.asarray(drawn, np.uint8)


@pytest.fixture
def page(viewer_browser: Browser) -> Iterator[Page]:
    with viewer_browser.new_context(viewport={"width": SIZE, "height": SIZE}) as context:
        yield context.new_page()


def placed(file: AvatarFile, params: HeadParams) -> list[NDArray[np.float32]]:
    """Where Headcast puts the vertices of every mesh in the GLB."""
    baked = bake(file)
    vertices = baked.pose(params) - np.array(file.camera.translation, np.float32)
    return [vertices[part.vertex] for part in primitives(file.mesh, file.regions, texture_at(baked, baked.neutral()))]


def furthest_mm(found: list[NDArray[np.float32]], wanted: list[NDArray[np.float32]]) -> float:
    return max(float(np.abs(one - two).max()) for one, two in zip(found, wanted, strict=True)) * 1e3


def side_by_side(ours: Picture, theirs: Picture, path: Path) -> None:
    cv2.imwrite(str(path), np.hstack([ours, theirs])[..., ::-1])


def rendered(file: AvatarFile, params: HeadParams) -> Picture:
    renderer = AvatarRenderer(bake(file), SIZE, 1)
    picture = renderer.render(params, "green").copy()
    renderer.close()
    return picture


def test_a_shipped_avatar_in_three_js(page: Page, artefacts: Path) -> None:
    file = read_avatar(SHIPPED / "mara.avatar")
    viewer = Viewer(page, export_glb(file))
    for mesh in viewer.summary["meshes"]:
        assert mesh["targets"] == {name: index for index, name in enumerate(file.expression_names)}
        assert mesh["kind"] == "MeshStandardMaterial"
    assert len(file.expression_names) == 52
    assert viewer.summary["joints"] == ["root", "neck", "jaw", "left_eye", "right_eye"]
    assert viewer.summary["extras"]["mark"] == "AI avatar: synthetic"
    assert viewer.summary["extras"]["consent"]["synthetic"] is True
    rest = bake(file).neutral()
    still = placed(file, rest)
    for name, least_mm in (("jawOpen", 15.0), ("eyeBlinkLeft", 4.0)):
        params = replace(rest, expression=np.eye(52, dtype=np.float32)[file.expression_names.index(name)])
        viewer.pose(file, params)
        found = viewer.positions()
        assert furthest_mm(found, placed(file, params)) < 1e-3
        assert furthest_mm(found, still) > least_mm
    turn: NDArray[np.float32] = np.array([0.1, 0.45, -0.1], np.float32)
    params = replace(params, neck=turn, rotation=turn * np.float32(0.3), jaw=turn * np.float32(0.2), gaze=np.array([[0.2, 0.1], [0.25, 0.1]], np.float32))
    viewer.pose(file, params)
    assert furthest_mm(viewer.positions(), placed(file, params)) < 1e-3
    look(viewer, file, params, artefacts / "gltf-mara-turned.png")
    viewer.pose(file, rest)
    look(viewer, file, rest, artefacts / "gltf-mara.png")
    assert not [each for each in viewer.complaints if "GPU stall" not in each]


def look(viewer: Viewer, file: AvatarFile, params: HeadParams, path: Path) -> None:
    """Keeps both pictures, and compares what they cover: one camera, one outline."""
    ours, theirs = rendered(file, params), viewer.picture()
    side_by_side(ours, theirs, path)
    covered = np.abs(ours.astype(int) - ours[4, 4]).max(2) > 40
    drawn = theirs.max(2) > 8
    badge, margin = make_badge(len(ours))
    beneath = np.s_[len(ours) - margin - len(badge) - 2 :, : margin + badge.shape[1] + 2]
    covered[beneath] = drawn[beneath]
    assert (covered & drawn).sum() / (covered | drawn).sum() > 0.97


def test_a_head_with_a_jaw_joint_and_a_clip_of_it(page: Page) -> None:
    file = replace(flame_avatar(), pose_correctives=None)
    rest = bake(file).neutral()
    open_wide = replace(rest, jaw=np.array([0.35, 0.0, 0.0], np.float32), translation=rest.translation + np.float32(0.01))
    frames = [Frames.of(each, file.expression_names) for each in (rest, open_wide)]
    parts = {name: np.concatenate([getattr(each, name) for each in frames]) for name in ("expression", "rotation", "neck", "jaw", "gaze", "translation")}
    viewer = Viewer(page, export_glb(file, frames=Frames(np.array([2.0, 2.5]), file.expression_names, **parts)))
    assert viewer.summary["animations"] == [{"name": "frames", "duration": 0.5, "tracks": viewer.summary["animations"][0]["tracks"]}]
    assert {mesh["kind"] for mesh in viewer.summary["meshes"]} == {"MeshBasicMaterial"}
    assert list(viewer.summary["meshes"][0]["targets"]) == list(file.expression_names)
    for seconds, params in ((0.0, rest), (0.4999999, open_wide)):
        viewer.page.evaluate("seconds => viewer.seek(seconds)", seconds)
        assert furthest_mm(viewer.positions(), placed(file, params)) < 2e-3
    assert furthest_mm(placed(file, open_wide), placed(file, rest)) > 15.0
    assert not viewer.complaints
