"""The search itself: how often it is wrong, and what it still finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from realtime.gallery import SHIPPED, Gallery, scan
from realtime.reenactor import load_avatar
from realtime.renderer import AvatarRenderer
from tests.faces import Image, face_clip
from tests.leaks.barcode import SURE_WHOLE, search, stamped
from tests.leaks.camera import FPS, PULSE_HZ, Scene, pictures
from tests.leaks.outputs import Sight, leaks_in, pulse

BACKGROUNDS = ("avatar", "gradient", "green", "checker", "#c03028")
CODECS = {
    "libvpx": ("vp8", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "libx264": ("h264", {"preset": "ultrafast", "tune": "zerolatency"}),
}


@pytest.fixture(scope="module")
def avatars() -> list[Image]:
    """Every avatar that comes with Headcast on every kind of background, in poses at random: 24 pictures."""
    gallery, rng, images = Gallery(scan([SHIPPED], date.today()), None, load_avatar), np.random.default_rng(0), list[Image]()
    for entry in gallery.entries:
        avatar = gallery.load(entry.id)
        renderer = AvatarRenderer(avatar, 512)
        for number in range(len(BACKGROUNDS) + 1):
            rest = avatar.neutral()
            moved = rng.uniform(0.0, 0.5, rest.expression.shape) * (rng.random(rest.expression.shape) < 0.15)
            pose = replace(
                rest, expression=(rest.expression + moved).astype(np.float32), neck=(rest.neck + rng.normal(0.0, 0.15, rest.neck.shape)).astype(np.float32)
            )
            planes = renderer.render_i420(pose, BACKGROUNDS[number % len(BACKGROUNDS)], bool(number % 2)).copy()
            images.append(np.asarray(av.VideoFrame.from_ndarray(planes, format="yuv420p").to_ndarray(format="rgb24"), np.uint8))
        renderer.close()
    return images


def coded(images: Sequence[Image], name: str, kilobits: int) -> Image:
    """The last of them, after a live codec at so many kbit/s at 30 Hz."""
    decoder, options = CODECS[name]
    encode, decode = av.CodecContext.create(name, "w"), av.CodecContext.create(decoder, "r")
    assert isinstance(encode, av.VideoCodecContext)
    assert isinstance(decode, av.VideoCodecContext)
    encode.height, encode.width = images[0].shape[:2]
    encode.pix_fmt, encode.bit_rate, encode.time_base, encode.framerate, encode.options = "yuv420p", 1000 * kilobits, Fraction(1, 30), Fraction(30), options
    shown = images[0]
    for number, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        for packet in encode.encode(frame):
            for decoded in decode.decode(packet):
                shown = np.asarray(decoded.to_ndarray(format="rgb24"), np.uint8)
    return shown


def cornered(leak: Image, over: Image, share: float) -> Image:
    shown, edge = over.copy(), round(over.shape[0] * share)
    shown[-edge:, -edge:] = cv2.resize(leak, (edge, edge), interpolation=cv2.INTER_AREA)
    return shown


def blended(leak: Image, over: Image, opacity: float) -> Image:
    return np.asarray(cv2.addWeighted(leak, opacity, over, 1.0 - opacity, 0.0), np.uint8)


def squeezed(leak: Image) -> Image:
    """A 4:3 picture in a square."""
    return np.asarray(cv2.resize(leak, (512, 512), interpolation=cv2.INTER_AREA), np.uint8)


def test_no_other_picture_is_taken_for_it(avatars: list[Image]) -> None:
    """None of 30: what comes closest reaches three quarters of what is needed."""
    images = (*avatars, *face_clip(60)[::10])
    assert max(search(image, parts=False).correlation for image in images) < 0.8 * SURE_WHOLE
    assert max(search(image).margin for image in images) < 0.85


@pytest.mark.parametrize("codec", list(CODECS))
def test_it_is_found(avatars: list[Image], codec: str) -> None:
    """After a codec at 500 kbit/s: whole, mirrored, at a quarter of the edge in a corner, at a quarter of the opacity, as nothing but the face or a side."""
    cameras = pictures(Scene.FACE)[:4]
    for over in avatars[::25]:
        for change in (
            lambda leak, over: leak,
            lambda leak, over: leak[:, ::-1],
            lambda leak, over: cornered(leak, over, 0.25),
            lambda leak, over: cornered(leak[:, ::-1], over, 0.4),
            lambda leak, over: blended(leak, over, 0.25),
            lambda leak, over: np.where(np.arange(512)[None, :, None] < 300, leak, over),
            lambda leak, over: np.where((np.hypot(*(np.mgrid[0:512, 0:512] - 256)) < 170)[..., None], leak, over),
        ):
            found = search(coded([np.ascontiguousarray(change(leak, over)) for leak in cameras], codec, 500))
            assert found.sure, found


@pytest.mark.parametrize("scene", [Scene.COVERED, Scene.PAIR, Scene.SMALL])
def test_every_scene_carries_it(scene: Scene, avatars: list[Image]) -> None:
    leak = pictures(scene)[0]
    assert search(leak).sure
    assert search(squeezed(leak)).sure
    assert search(blended(squeezed(leak), avatars[1], 0.3)).sure


def test_one_picture_among_many_is_found_and_one_too_dim_for_a_single_picture_is_found_in_the_mean(avatars: list[Image]) -> None:
    leak = stamped(face_clip(1)[0])
    assert leaks_in([avatars[0]] * 20) == []
    assert leaks_in([*[avatars[0]] * 10, blended(leak, avatars[0], 0.25), *[avatars[0]] * 10]) != []
    rng = np.random.default_rng(1)
    noisy = [np.clip(avatars[0] + rng.normal(0.0, 40.0, avatars[0].shape), 0, 255).astype(np.uint8) for _ in range(30)]
    assert leaks_in([blended(leak, image, 0.2) for image in noisy]) != []


def test_two_percent_of_a_blurred_camera_is_seen_by_its_beat(avatars: list[Image]) -> None:
    """A leak without any shape: the colour that the camera's mean is, a fiftieth of it, under the codec's noise."""
    swings = [np.asarray(cv2.GaussianBlur(each, (0, 0), 60), np.float32) for each in pictures(Scene.STEADY)]
    rng = np.random.default_rng(2)

    def sights(opacity: float) -> list[Sight]:
        shown = []
        for number in range(30):
            noisy = avatars[0] * (1.0 - opacity) + swings[number % len(swings)] * opacity + rng.normal(0.0, 2.0, avatars[0].shape)
            frame = av.VideoFrame.from_ndarray(np.clip(noisy, 0, 255).astype(np.uint8), format="rgb24")
            shown.append(Sight("steady", number / FPS, np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)))
        return shown

    assert pulse(sights(0.0), PULSE_HZ) < 0.25
    assert pulse(sights(0.02), PULSE_HZ) > 0.5
