"""Every target on broken inputs that hypothesis draws, the same each time: nothing but the documented errors, and no input takes a second."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import meter
from tests.fuzz.meter import Meter, TooSlow
from tests.fuzz.mutation import Edit, Kind, edited
from tests.fuzz.target import Target
from tests.fuzz.targets import SLOW, TARGETS

EXAMPLES, SLOW_EXAMPLES = 100, 10
EDITS = st.lists(st.builds(Edit, st.sampled_from(Kind), st.integers(0, 1 << 24), st.integers(0, 1 << 24)), min_size=1, max_size=8)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@cache
def made(name: str) -> Target:
    return TARGETS[name]()


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning", "ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_broken_inputs(name: str) -> None:
    target, counted = made(name), Meter(made(name))
    for seed in target.seeds:
        counted.feed(seed)

    @settings(
        max_examples=SLOW_EXAMPLES if name in SLOW else EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, len(target.seeds) - 1), EDITS)
    def on(number: int, edits: list[Edit]) -> None:
        counted.feed(edited(target.seeds[number], edits, target.tokens, target.seeds))

    on()


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in SLOW])
def test_inputs_that_were_never_valid(name: str) -> None:
    counted = Meter(made(name))
    for data in (b"", b"\0", b"\xff" * 100, b"\n" * 1000, bytes(range(256)), "ä\u202e𝄞".encode() * 50, b"[" * 50_000, b"9" * 20_000, b"a=" * 30_000):
        counted.feed(data)


def test_a_wrong_target_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness: what a parser may not raise comes out, and what takes too long."""

    def brittle(data: bytes) -> None:
        _ = data[3]

    def busy(data: bytes) -> None:
        sorted(data)

    with pytest.raises(IndexError):
        Meter(Target(brittle, (b"abcd",))).feed(b"abc")
    monkeypatch.setattr(meter, "LONGEST_S", 1e-6)
    with pytest.raises(TooSlow):
        Meter(Target(busy, (b"",))).feed(bytes(10_000_000))
