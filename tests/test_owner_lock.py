"""The owner lock's rules alone: looks in, states out, by a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.owner_lock import LockSettings, LookLimits, OwnerLock, clear_enough, light_enough
from realtime.packets import Lock

SETTINGS = LockSettings()
FRAME_S = 1.0 / 30.0
ANSWER_S = 0.05
OWNER, STRANGER, UNSURE = 0.8, 0.1, 0.45
Float = NDArray[np.float32]


class Scene:
    """Somebody before the camera, thirty frames a second; each look is answered a little later."""

    def __init__(self) -> None:
        self.lock = OwnerLock()
        self.now_s = 100.0
        self.looks: list[float] = []
        self._due: list[tuple[float, float, float]] = []

    def play(self, seconds: float, likeness: float | None) -> Iterator[Lock]:
        """The state in every frame; `likeness` None: nobody is there."""
        for _ in range(round(seconds / FRAME_S)):
            self.now_s += FRAME_S
            while self._due and self._due[0][0] <= self.now_s:
                _, answer, taken_s = self._due.pop(0)
                self.lock.compare(answer, taken_s)
            if likeness is None:
                self.lock.miss(self.now_s)
            else:
                self.lock.see(self.now_s)
                if self.lock.due(self.now_s):
                    self.lock.look(self.now_s)
                    self.looks.append(self.now_s)
                    self._due.append((self.now_s + ANSWER_S, likeness, self.now_s))
            yield self.lock.state(self.now_s)

    def after(self, seconds: float, likeness: float | None) -> Lock:
        return list(self.play(seconds, likeness))[-1]

    def until(self, state: Lock, likeness: float | None, within_s: float = 20.0) -> float:
        """Seconds until the state comes."""
        begin = self.now_s
        for now in self.play(within_s, likeness):
            if now is state:
                return self.now_s - begin
        raise AssertionError(f"{state} never came")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def opened(scene: Scene) -> Scene:
    scene.until(Lock.OPEN, OWNER)
    return scene


def test_it_is_shut_at_first_and_stays_so_while_nobody_is_there(scene: Scene) -> None:
    assert set(scene.play(30.0, None)) == {Lock.WAITING}
    assert Lock.WAITING.shut
    assert Lock.REFUSED.shut
    assert Lock.UNAVAILABLE.shut
    assert not Lock.OPEN.shut
    assert not Lock.OFF.shut


def test_the_owner_is_let_in_within_a_second_and_not_by_one_look(scene: Scene) -> None:
    assert scene.until(Lock.OPEN, OWNER) < 1.0
    assert len(scene.looks) >= SETTINGS.looks


def test_a_stranger_is_refused_and_looked_at_again_and_again(scene: Scene) -> None:
    assert scene.until(Lock.REFUSED, STRANGER) < 1.0
    assert set(scene.play(30.0, STRANGER)) == {Lock.REFUSED}
    assert 29 <= len([look for look in scene.looks if look > scene.now_s - 30.0]) <= 31


def test_who_is_neither_like_nor_unlike_waits(scene: Scene) -> None:
    assert set(scene.play(30.0, UNSURE)) == {Lock.WAITING}


def test_after_a_refusal_the_owner_is_let_in(scene: Scene) -> None:
    scene.after(5.2, STRANGER)
    assert scene.until(Lock.OPEN, OWNER) < 2.0


def test_a_stranger_who_takes_the_owners_place_unnoticed_is_shut_out_within_two_seconds(opened: Scene) -> None:
    opened.after(7.3, OWNER)
    assert opened.until(Lock.REFUSED, STRANGER) < 2.0


def test_the_owner_stays_let_in_and_is_looked_at_once_a_second(opened: Scene) -> None:
    before = len(opened.looks)
    assert set(opened.play(60.0, OWNER)) == {Lock.OPEN}
    assert 55 <= len(opened.looks) - before <= 62


def test_single_bad_looks_do_not_shut_the_owner_out(opened: Scene) -> None:
    """Two in a row at most, and the next looks come sooner."""
    for _ in range(20):
        assert set(opened.play(2.0, OWNER)) == {Lock.OPEN}
        bad = opened.now_s
        while len([look for look in opened.looks if look > bad]) < SETTINGS.strikes - 1:
            assert set(opened.play(FRAME_S, STRANGER)) == {Lock.OPEN}


def test_what_is_good_enough_to_stay_is_not_good_enough_to_come_in(opened: Scene) -> None:
    assert set(opened.play(30.0, UNSURE)) == {Lock.OPEN}
    opened.after(1.0, None)
    assert set(opened.play(30.0, UNSURE)) == {Lock.WAITING}


def test_a_lost_face_must_be_recognised_again(opened: Scene) -> None:
    """Not one frame of a stranger's gets in between."""
    assert opened.until(Lock.WAITING, None) == pytest.approx(SETTINGS.lost_s, abs=2 * FRAME_S)
    assert Lock.OPEN not in set(opened.play(10.0, STRANGER))
    opened.after(1.0, None)
    assert opened.until(Lock.OPEN, OWNER) < 1.0


def test_a_face_that_comes_back_after_it_was_lost_must_be_recognised_again_however_few_frames_told_so(opened: Scene) -> None:
    opened.after(FRAME_S, None)
    opened.now_s += SETTINGS.lost_s
    assert opened.after(FRAME_S, STRANGER) is Lock.WAITING


def test_a_face_that_is_missed_for_a_moment_is_looked_at_at_once(opened: Scene) -> None:
    opened.after(2.4, OWNER)
    assert opened.after(0.2, None) is Lock.OPEN
    before = len(opened.looks)
    assert opened.until(Lock.REFUSED, STRANGER) < 0.6
    assert len(opened.looks) > before


def test_frames_that_stop_coming_are_a_face_that_was_lost(opened: Scene) -> None:
    opened.now_s += SETTINGS.gap_s - 2.0 * FRAME_S
    assert opened.after(FRAME_S, OWNER) is Lock.OPEN
    opened.now_s += SETTINGS.gap_s
    assert opened.after(FRAME_S, STRANGER) is Lock.WAITING


def test_it_does_not_stay_open_for_long_unless_somebody_is_looked_at(opened: Scene) -> None:
    """The face turned away, say, or no frames come while the avatar is moved by hand: nobody is compared."""
    opened.now_s += SETTINGS.stale_s - 1.0
    assert opened.lock.state(opened.now_s) is Lock.OPEN
    opened.now_s += 2.0
    assert opened.lock.state(opened.now_s) is Lock.WAITING


def test_whoever_may_be_another_waits_whatever_comes_of_earlier_looks(opened: Scene) -> None:
    opened.lock.start_again(opened.now_s)
    assert opened.lock.state(opened.now_s) is Lock.WAITING
    for _ in range(20):
        opened.lock.compare(OWNER, opened.now_s - 0.01)
    assert opened.lock.state(opened.now_s) is Lock.WAITING


def test_a_clock_that_goes_backwards_shuts_it(opened: Scene) -> None:
    assert opened.lock.state(opened.now_s - 60.0) is Lock.WAITING


def test_every_row_of_looks_opens_only_where_all_are_good_and_most_are_very() -> None:
    for looks in product((OWNER, UNSURE, STRANGER, float("nan"), -float("inf")), repeat=4):
        lock = OwnerLock()
        for number, likeness in enumerate(looks):
            assert lock.state(number * 0.1).shut
            lock.compare(likeness, number * 0.1)
        good = all(np.isfinite(look) and look >= SETTINGS.keep_at for look in looks) and sum(looks) / 4 >= SETTINGS.open_at
        assert (lock.state(0.4) is Lock.OPEN) == good, looks


def test_every_row_of_looks_at_somebody_let_in_shuts_exactly_at_the_third_bad_one_in_a_row() -> None:
    for looks in product((OWNER, STRANGER), repeat=7):
        lock = OwnerLock()
        for number in range(4):
            lock.compare(OWNER, number * 0.1)
        bad = 0
        for number, likeness in enumerate(looks):
            bad = 0 if likeness == OWNER else bad + 1
            lock.compare(likeness, 0.5 + number * 0.1)
            assert lock.state(0.5 + number * 0.1) is (Lock.REFUSED if bad == SETTINGS.strikes else Lock.OPEN), looks
            if bad == SETTINGS.strikes:
                break


def frontal(eyes_px: float = 60.0, yaw_rad: float = 0.0, pitch_rad: float = 0.0) -> Float:
    """(478, 3) landmarks of which those are set that say how a face looks to the camera."""
    points = np.zeros((478, 3))
    for index, place in {
        234: (-1.0, 0.0, 0.0),
        454: (1.0, 0.0, 0.0),
        10: (0.0, -1.2, 0.0),
        152: (0.0, 1.2, 0.0),
        33: (-0.6, -0.3, 0.0),
        263: (0.6, -0.3, 0.0),
    }.items():
        points[index] = place
    for index, place in {133: (-0.3, -0.3, 0.0), 362: (0.3, -0.3, 0.0), 1: (0.0, 0.1, 0.0), 61: (-0.4, 0.6, 0.0), 291: (0.4, 0.6, 0.0)}.items():
        points[index] = place
    cy, sy, cp, sp = np.cos(yaw_rad), np.sin(yaw_rad), np.cos(pitch_rad), np.sin(pitch_rad)
    turn = np.array([[cy, 0.0, -sy], [0.0, 1.0, 0.0], [sy, 0.0, cy]]) @ np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    return (points @ turn.T * eyes_px / 1.2 + (200.0, 200.0, 0.0)).astype(np.float32)


@pytest.mark.parametrize(
    ("face", "presence", "clear"),
    [
        (frontal(), 1.0, True),
        (frontal(), 0.8, False),
        (frontal(eyes_px=14.0), 1.0, False),
        (frontal(yaw_rad=0.5), 1.0, True),
        (frontal(yaw_rad=-0.5), 1.0, True),
        (frontal(yaw_rad=0.9), 1.0, False),
        (frontal(yaw_rad=-0.9), 1.0, False),
        (frontal(pitch_rad=0.8), 1.0, False),
        (frontal(pitch_rad=-0.8), 1.0, False),
        (np.full((478, 3), np.nan, np.float32), 1.0, False),
        (np.zeros((478, 3), np.float32), 1.0, False),
    ],
)
def test_only_a_near_face_seen_from_the_front_is_compared(face: Float, presence: float, clear: bool) -> None:
    assert clear_enough(face, presence) == clear


def test_a_face_in_the_dark_is_not_compared() -> None:
    dim = np.random.default_rng(0).normal(30.0, 1.5, (112, 112, 3)).clip(0, 255).astype(np.uint8)
    assert not light_enough(dim)
    assert light_enough(dim, LookLimits(contrast=0.1))
    assert light_enough(np.repeat(np.linspace(0, 255, 112).astype(np.uint8), 112 * 3).reshape(112, 112, 3))
