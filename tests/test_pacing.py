from __future__ import annotations

import itertools
import random

import pytest
from aiortc.utils import uint32_add

from realtime.pacing import CLOCK_HZ, FrameRateCap, OutputClock


def admitted(camera_fps: float, cap_fps: float, seconds: float = 20.0, jitter_s: float = 0.0) -> int:
    cap, random_ = FrameRateCap(cap_fps), random.Random(3)
    return sum(cap.admit(index / camera_fps + random_.uniform(-jitter_s, jitter_s)) for index in range(round(camera_fps * seconds)))


@pytest.mark.parametrize("camera_fps", [5, 24, 25, 29.97, 30])
def test_frames_at_or_below_the_cap_all_pass(camera_fps: float) -> None:
    assert admitted(camera_fps, 30) == round(camera_fps * 20)


@pytest.mark.parametrize(("camera_fps", "cap_fps"), [(60, 30), (50, 30), (30, 15), (30, 20), (120, 30), (31, 30), (30, 1)])
def test_more_are_thinned_to_the_cap(camera_fps: float, cap_fps: float) -> None:
    assert admitted(camera_fps, cap_fps) == pytest.approx(cap_fps * 20, abs=2)


def test_a_camera_that_jitters_is_not_thinned() -> None:
    assert admitted(30, 30, jitter_s=0.003) == 600


def test_a_clock_that_jumps_starts_anew() -> None:
    cap = FrameRateCap(10)
    assert cap.admit(100.0)
    assert not cap.admit(100.01)
    assert cap.admit(3.0)
    assert not cap.admit(3.01)
    assert cap.admit(5000.0)


def test_output_stamps_follow_the_source() -> None:
    clock = OutputClock()
    now = [0.0, 0.031, 0.071, 0.1]
    stamps = [clock.stamp(at, 7.0 + index / 30) for index, at in enumerate(now)]
    assert stamps == [0, 3000, 6000, 9000]


def test_output_stamps_always_grow_whatever_comes() -> None:
    clock, random_ = OutputClock(), random.Random(5)
    now, last = 50.0, clock.stamp(50.0)
    for _ in range(3000):
        now += random_.choice([0.0, 0.001, 0.03, 0.2, 2.0])
        source = random_.choice([None, now, now - 0.02, random_.uniform(-1e5, 1e5)])
        stamp = clock.stamp(now, source)
        assert stamp > last
        last = stamp
    assert last / CLOCK_HZ == pytest.approx(now - 50.0, abs=1.0)


def test_output_stamps_go_on_where_placeholders_left_off() -> None:
    clock = OutputClock()
    placeholders = [clock.stamp(0.2 * index) for index in range(4)]
    first = clock.stamp(0.65, 1234.5)
    second = clock.stamp(0.70, 1234.5 + 1 / 30)
    assert placeholders == [0, 18000, 36000, 54000]
    assert first == 58500
    assert second - first == 3000


@pytest.mark.parametrize("jump_s", [0.0, -(2**32) / CLOCK_HZ, 2**32 / CLOCK_HZ, -0.04, 3600.0])
def test_output_stamps_over_placeholders_repeats_and_a_source_whose_clock_jumps_or_wraps(jump_s: float) -> None:
    """Two seconds driven, one of placeholders, two driven after the jump, with repeats between: time goes on as the wall clock's."""
    clock, random_ = OutputClock(), random.Random(1)
    stamped: list[tuple[float, int, bool]] = []
    for index in range(150):
        now = 100 + index / 30 + random_.uniform(0, 0.02)
        driven = not 60 <= index < 90 and index % 7 != 3
        source = (10 + index / 30 + (jump_s if index >= 90 else 0.0)) if driven else None
        stamped.append((now, clock.stamp(now, source), driven))
    steps = [after - before for (_, before, _), (_, after, _) in itertools.pairwise(stamped)]
    assert min(steps) >= 1
    assert max(steps) <= 0.1 * CLOCK_HZ
    assert all(abs(stamp / CLOCK_HZ - (now - stamped[0][0])) < 0.1 for now, stamp, _ in stamped)
    second_run = [stamp for _, stamp, driven in stamped[95:] if driven]
    assert sum(after - before in (3000, 6000) for before, after in itertools.pairwise(second_run)) > 0.6 * (len(second_run) - 1)


def test_rtp_wraps_the_stamps_as_the_protocol_does() -> None:
    """A contract with aiortc: after 13 hours a stamp no longer fits 32 bits."""
    assert uint32_add(2**32 - 10, 2**32 + 30) == 20
