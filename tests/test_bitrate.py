"""The governor of the bitrate and the ladder of sizes, in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from realtime.rtc.bitrate import BitrateGovernor, BitrateRange
from realtime.rtc.ladder import STEPS, Ladder, Step, scaled

RANGE = BitrateRange(start=2_500_000, lowest=100_000, highest=4_000_000)
PACKETS_A_SECOND = 240
PIXEL_RATE = 512 * 512 * 30


def run(governor: BitrateGovernor, seconds: float, estimate: Callable[[float], int | None], used: float = 1.0, begin_s: float = 0.0) -> list[tuple[float, int]]:
    """Sends `used` of the target, hears an estimate ten times a second; (time, target) after each packet."""
    seen = []
    for step in range(round(seconds * PACKETS_A_SECOND)):
        now = begin_s + step / PACKETS_A_SECOND
        governor.sent(round(used * governor.target / 8 / PACKETS_A_SECOND), now)
        if step % (PACKETS_A_SECOND // 10) == 0 and (bitrate := estimate(now)) is not None:
            governor.estimate(bitrate, now)
        seen.append((now, governor.target))
    return seen


def test_the_bitrate_holds_while_little_is_sent() -> None:
    governor = BitrateGovernor(RANGE)
    seen = run(governor, 10, lambda now: 300_000 + round(20_000 * now), used=0.1)
    assert {target for _, target in seen} == {RANGE.start}


def test_a_low_estimate_that_rises_is_no_jam() -> None:
    """As Chromium's first ones, which begin at 300 kbit/s."""
    governor = BitrateGovernor(RANGE)
    run(governor, 5, lambda now: 300_000 + round(100_000 * now))
    assert governor.target >= RANGE.start


def test_a_keyframe_after_little_else_is_no_jam() -> None:
    governor = BitrateGovernor(RANGE)
    run(governor, 3, lambda _: 450_000, used=0.1)
    governor.sent(80_000, 3.0)
    governor.estimate(450_000, 3.05)
    assert governor.target == RANGE.start


def path(capacity: int, governor: BitrateGovernor) -> Callable[[float], int]:
    """A receiver that answers overuse with 0.85 of what comes through, and else half as much again as it gets."""
    return lambda now: round(0.85 * capacity) - round(now * 10) % 2 if governor.sending(now) > capacity else round(1.5 * governor.sending(now)) + 10_000


def test_the_bitrate_gives_way_to_a_jam_at_once_and_comes_back_in_seconds() -> None:
    governor = BitrateGovernor(RANGE)
    run(governor, 3, path(5_000_000, governor))
    narrow = run(governor, 6, path(400_000, governor), begin_s=3)
    first = next(now for now, target in narrow if target <= 340_000)
    assert first - 3 < 0.8
    late = [target for now, target in narrow if now > 4.5]
    assert min(late) >= 300_000
    assert max(late) < 550_000
    wide = run(governor, 15, path(5_000_000, governor), begin_s=9)
    back = next(now for now, target in wide if target >= RANGE.start)
    assert back - 9 < 9
    assert all(after >= before for (_, before), (_, after) in itertools.pairwise(wide))


def test_an_estimate_that_falls_but_leaves_room_is_no_jam() -> None:
    governor = BitrateGovernor(RANGE)
    run(governor, 3, lambda now: 2_000_000 - round(400_000 * now), used=0.1)
    assert governor.target == RANGE.start


def test_loss_in_a_jam_does_not_lower_a_second_time() -> None:
    governor = BitrateGovernor(RANGE)
    governor.sent(1_000_000, 0.0)
    governor.estimate(2_300_000, 0.0)
    governor.estimate(2_000_000, 0.1)
    governor.report(0.5, 0.6)
    assert governor.target == 2_000_000
    governor.report(0.5, 3.0)
    assert governor.target == 1_500_000


def test_one_estimate_halves_at_most() -> None:
    governor = BitrateGovernor(RANGE)
    governor.sent(1_000_000, 0.0)
    governor.estimate(2_000_000, 0.0)
    governor.estimate(50_000, 0.1)
    assert governor.target == RANGE.start // 2
    for step in range(10):
        governor.estimate(50_000, 0.2 + step / 100)
    assert governor.target == RANGE.lowest


def test_near_the_rate_that_jammed_it_grows_slowly() -> None:
    governor = BitrateGovernor(BitrateRange(5_000_000, 100_000, 5_000_000))
    governor.sent(1_000_000, 0.0)
    for step in range(8):
        governor.estimate(970_000 - 10_000 * step, step / 100)
    assert governor.target == pytest.approx(900_000, abs=10)
    seen = dict(run(governor, 8, lambda _: None, begin_s=1))
    by_second = [seen[float(second)] for second in range(1, 9)]
    assert by_second[1] == pytest.approx(900_000, abs=10)
    assert by_second[3] < 1.15 * by_second[2] < 1.3 * 900_000
    assert by_second[6] == pytest.approx(1.8 * by_second[5], rel=0.01)


def test_beyond_the_start_only_what_is_used_grows() -> None:
    governor = BitrateGovernor(RANGE)
    run(governor, 5, lambda _: None, used=0.5)
    assert governor.target == RANGE.start
    run(governor, 5, lambda _: None, used=0.9, begin_s=5)
    assert governor.target == pytest.approx(1.08**4.9 * RANGE.start, rel=0.03)
    run(governor, 5, lambda _: None, used=0.9, begin_s=10)
    assert governor.target == RANGE.highest


@pytest.mark.parametrize(("loss", "expected"), [(0.3, 0.85), (0.11, 0.945), (0.10, 1.0), (0.05, 1.0), (0.0, 1.0)])
def test_heavy_loss_lowers(loss: float, expected: float) -> None:
    governor = BitrateGovernor(RANGE)
    governor.report(loss, 1.0)
    assert governor.target == pytest.approx(expected * RANGE.start, abs=1)
    assert governor.loss == loss


def test_some_loss_holds_and_little_lets_grow() -> None:
    def after(loss: float) -> int:
        governor = BitrateGovernor(BitrateRange(1_000_000, 100_000, 2_000_000))
        governor.report(0.5, 0.0)
        for second in range(3, 10):
            governor.report(loss, float(second))
            run(governor, 1, lambda _: None, begin_s=second)
        return governor.target

    assert after(0.05) == 750_000
    assert after(0.01) > 1_000_000


def test_the_bitrate_keeps_within_its_bounds() -> None:
    governor = BitrateGovernor(RANGE)
    for second in range(100):
        governor.report(1.0, float(second))
    assert governor.target == RANGE.lowest
    seen = run(governor, 60, lambda _: None, begin_s=100)
    assert max(target for _, target in seen) == RANGE.highest


def test_a_clock_that_stands_still_or_jumps_does_no_harm() -> None:
    governor = BitrateGovernor(BitrateRange(1_000_000, 100_000, 10_000_000))
    governor.report(0.9, 0.0)
    low = governor.target
    governor.sent(1000, 5.0)
    for _ in range(1000):
        governor.sent(1000, 5.0)
    assert governor.target == low
    governor.sent(1000, 10_000.0)
    assert governor.target <= 2 * low


def choose(ladder: Ladder, bitrate: int, seconds: float, begin_s: float) -> list[Step]:
    return [ladder.choose(bitrate, PIXEL_RATE, begin_s + index / 30) for index in range(round(30 * seconds))]


def test_steps_go_down_after_a_moment_and_up_after_a_while() -> None:
    ladder = Ladder()
    assert set(choose(ladder, 2_500_000, 2, 0)) == {STEPS[0]}
    down = choose(ladder, 400_000, 2, 2)
    assert down[0] == STEPS[0]
    assert down[10] == STEPS[1]
    assert choose(ladder, 200_000, 1, 4)[-1] == STEPS[2]
    assert choose(ladder, 100_000, 2, 5)[-1] == STEPS[3]
    up = choose(ladder, 2_500_000, 4, 7)
    assert up[50] == STEPS[3]
    assert up[-1] == STEPS[0]


def test_a_falling_target_settles_before_a_step_is_taken() -> None:
    ladder = Ladder()
    targets = [2_500_000, 1_250_000, 550_000, 400_000, 300_000, 200_000, *([160_000] * 30)]
    steps = [ladder.choose(target, PIXEL_RATE, index / 30) for index, target in enumerate(targets)]
    assert [step for step, _ in itertools.groupby(steps)] == [STEPS[0], STEPS[2]]


def test_a_quivering_target_stays_on_its_step() -> None:
    ladder = Ladder()
    choose(ladder, 550_000, 2, 0)
    assert ladder.step == STEPS[1]
    steps = [ladder.choose(700_000 if index // 15 % 2 else 550_000, PIXEL_RATE, 2 + index / 30) for index in range(600)]
    assert set(steps) == {STEPS[1]}


def test_what_a_step_just_needs_does_not_lead_back_to_it() -> None:
    ladder = Ladder()
    choose(ladder, 550_000, 2, 0)
    assert set(choose(ladder, 650_000, 10, 2)) == {STEPS[1]}
    assert choose(ladder, 900_000, 4, 12)[-1] == STEPS[0]


def test_smaller_pictures_need_less() -> None:
    ladder = Ladder()
    for index in range(60):
        ladder.choose(150_000, 256 * 256 * 30, index / 30)
    assert ladder.step == STEPS[0]


def test_sizes_are_even() -> None:
    assert [scaled(512, step) for step in STEPS] == [512, 384, 256, 256]
    assert all(scaled(length, step) % 2 == 0 for length in range(2, 1025, 2) for step in STEPS)
    assert [step.cost for step in STEPS] == sorted((step.cost for step in STEPS), reverse=True)


def test_an_estimate_that_stands_still_is_no_jam_for_long() -> None:
    """As Chromium's after one: 312 kbit/s for ten seconds, while a little more is sent and arrives."""
    governor = BitrateGovernor(BitrateRange(2_500_000, 100_000, 2_500_000))
    governor.sent(1_000_000, 0.0)
    for step in range(8):
        governor.estimate(312_000 - 2000 * step, step / 100)
    assert governor.target == 298_000
    run(governor, 12, lambda _: 298_000, used=1.1, begin_s=1)
    assert governor.target == 2_500_000


def test_a_queue_on_the_way_holds_the_target_and_a_long_one_lowers_it() -> None:
    def after(delay_s: float) -> int:
        governor = BitrateGovernor(RANGE)
        for second in range(8):
            governor.queueing(delay_s, float(second))
            run(governor, 1, lambda _: None, begin_s=second)
        return governor.target

    assert after(0.02) == RANGE.highest
    assert after(0.1) == RANGE.start
    assert 0.4 * RANGE.start < after(0.4) < 0.75 * RANGE.start


def test_what_left_long_ago_is_forgotten_even_if_nobody_asks() -> None:
    governor = BitrateGovernor(BitrateRange(start=2_500_000, lowest=100_000, highest=2_500_000))
    for step in range(10_000):
        governor.sent(1200, step / 240)
    assert len(governor._sent) < 300
