"""The recorder that other tests measure with: it must see both pictures move, in step."""

from __future__ import annotations

import numpy as np

from tests.e2e.browser import Headcast
from tests.e2e.capture import record
from tests.e2e.fake_camera import HEIGHT, WIDTH


def test_records_both_pictures_in_step(headcast: Headcast) -> None:
    recording = record(headcast.go_live().page, seconds=3.0)
    count = len(recording.time_s)
    assert count > 5
    assert recording.avatar.shape == (count, 512, 512, 3)
    assert recording.preview.shape == (count, HEIGHT, WIDTH, 3)
    assert np.all(np.diff(recording.time_s) > 0)
    assert np.all(np.diff(recording.avatar_time_s) > 0)
    assert np.all(np.diff(recording.preview_time_s) >= 0)
    for pictures in (recording.avatar, recording.preview):
        assert pictures.mean() > 20, "a picture, not a black screen"
        assert np.abs(np.diff(pictures[::2].astype(np.int16), axis=0)).mean(axis=(1, 2, 3)).max() > 0.2, "it moves"
