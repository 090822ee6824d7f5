"""The avatar does what the driver does: read off the avatar's own pictures, in this process and over WebRTC."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.gallery import FIRST, SHIPPED
from realtime.packets import Tracking, VideoPacket
from realtime.reenactor import StageFactory, load_avatar
from tests.faces import DATA, Image, face_clip
from tests.following import REQUIRED, SIGNALS, Expressions, compare, read_expressions
from tests.processes import server_process
from tests.serving import client

FPS = 25
WEBRTC_SECONDS = 12.0
FRAMES = 500
READ_EVERY = 2
"""Frames of the avatar that are looked at; all of them are made."""
CLIP = DATA / "talking_man_512.mp4"
AVATARS = sorted(path.stem for path in SHIPPED.glob("*.avatar"))


@pytest.fixture(scope="module")
def driver() -> tuple[list[Image], Expressions]:
    frames = face_clip(FRAMES)
    return frames, read_expressions(frames, np.arange(len(frames)) / FPS)


def test_the_measure_sees_a_perfect_and_a_bad_copy(driver: tuple[list[Image], Expressions]) -> None:
    _, expressions = driver
    late = Expressions(expressions.time_s + 0.12, expressions.values)
    copy = compare(expressions, late)
    assert copy.lag_s == pytest.approx(0.12, abs=0.011)
    assert min(copy.correlation[name] for name in expressions.lively()) > 0.999
    shuffled = np.random.default_rng(1).permutation(expressions.values)
    bad = compare(expressions, Expressions(expressions.time_s, shuffled))
    assert max(bad.correlation[name] for name in expressions.lively()) < 0.5


@pytest.mark.beside
@pytest.mark.parametrize("avatar_id", AVATARS)
def test_every_avatar_follows(avatar_id: str, driver: tuple[list[Image], Expressions]) -> None:
    frames, expressions = driver
    factory = StageFactory(lambda name: load_avatar(SHIPPED / f"{name}.avatar"), avatar_id, 512)
    reenactor = factory.create(avatar_id)
    shown = []
    for index, image in enumerate(frames):
        frame = reenactor.step(VideoPacket(image, index / FPS, time.monotonic()))
        assert frame.tracking == Tracking.OK
        if index % READ_EVERY == 0:
            shown.append(rgb(frame.i420))
    reenactor.close()
    held_to = ("jaw",) if avatar_id == FIRST else ()
    assert_follows(expressions, read_expressions(shown, expressions.time_s[::READ_EVERY]), *held_to)


async def test_the_avatar_follows_over_webrtc(driver: tuple[list[Image], Expressions], tmp_path: Path) -> None:
    if not CLIP.exists():
        pytest.skip("needs the clip talking_man_512.mp4 in ../shared/data")
    out = tmp_path / "frames.npz"
    async with server_process("server.py") as server:
        await client(server.url, "--clip", str(CLIP), "--seconds", str(WEBRTC_SECONDS), "--fps", str(FPS), "--out", str(out))
    with np.load(out) as record:
        frames, pts_s = record["frames"], record["pts_s"]
        shown_at = pts_s + np.median(record["received_at"] - pts_s)
        sent_index, sent_at = record["sent_index"], record["sent_at"]
    _, expressions = driver
    kept = sent_index < len(expressions.values)
    sent = Expressions(sent_at[kept], expressions.values[sent_index[kept]])
    assert_follows(sent, read_expressions(frames[::READ_EVERY], shown_at[::READ_EVERY]))


def rgb(i420: NDArray[np.uint8]) -> Image:
    return np.asarray(cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420), np.uint8)


def assert_follows(driver: Expressions, avatar: Expressions, *held_to: str) -> None:
    """The bounds of REQUIRED, for every signal in which the driver does anything at all, and those of `held_to`; the lag is the loop's latency."""
    lively = {*driver.lively(), *held_to}
    assert "yaw" in lively
    followed = compare(driver, avatar)
    print(f"lag {followed.lag_s * 1e3:.0f} ms, face seen in {followed.seen:.0%}", {name: round(followed.correlation[name], 3) for name in SIGNALS})
    assert followed.seen > 0.98
    weak = {name: followed.correlation[name] for name in lively if followed.correlation[name] < REQUIRED[name]}
    assert not weak
