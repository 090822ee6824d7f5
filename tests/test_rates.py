"""How often one may ask, by whom, and how much of it is remembered."""

from __future__ import annotations

import ipaddress

import pytest

from realtime.rates import Allowance, BackOff, Bucket, Limiter, client_of


def test_a_burst_and_then_a_steady_rate() -> None:
    bucket = Bucket(Allowance(3, 2.0), 10.0)
    assert [bucket.take(10.0) for _ in range(3)] == [0.0] * 3
    assert bucket.take(10.0) == pytest.approx(0.5)
    assert bucket.take(10.25) == pytest.approx(0.25), "asking costs nothing"
    assert bucket.take(10.5) == 0.0
    assert [bucket.take(100.0) for _ in range(4)].count(0.0) == 3, "no more is saved up than a burst"


def test_a_clock_that_steps_back_gives_and_takes_nothing() -> None:
    bucket = Bucket(Allowance(1, 1.0), 100.0)
    assert bucket.take(100.0) == 0.0
    assert bucket.take(50.0) > 0
    assert bucket.take(51.0) == 0.0


def test_clients_do_not_pay_for_each_other() -> None:
    limiter = Limiter(Allowance(1, 0.1))
    assert limiter.take("one", 0.0) == 0.0
    assert limiter.take("one", 0.0) > 0
    assert limiter.take("other", 0.0) == 0.0


def test_memory_is_bounded_and_those_who_ask_are_not_forgotten() -> None:
    limiter, back_off = Limiter(Allowance(1, 1e-6), capacity=100), BackOff(free=1, capacity=100)
    limiter.take("busy", 0.0)
    for number in range(10_000):
        assert limiter.take(f"client {number}", 0.0) == 0.0
        assert limiter.take("busy", 0.0) > 0
        back_off.failed(f"client {number}", 0.0)
    assert len(limiter) == len(back_off) == 100


def test_failures_cost_more_and_more_and_are_forgotten() -> None:
    back_off = BackOff(free=3, longest_s=60.0, forgotten_s=900.0)
    waits = []
    for _ in range(12):
        back_off.failed("client", 0.0)
        waits.append(back_off.wait_s("client", 0.0))
    assert waits == [0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
    assert back_off.wait_s("client", 59.0) == 1.0
    assert back_off.wait_s("client", 60.0) == 0.0
    assert back_off.wait_s("other", 0.0) == 0.0
    back_off.failed("client", 901.0)
    assert back_off.wait_s("client", 901.0) == 0.0
    for _ in range(3):
        back_off.failed("client", 901.0)
    back_off.succeeded("client")
    assert back_off.wait_s("client", 901.0) == 0.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ],
)
def test_who_is_one_client(one: str, other: str, same: bool) -> None:
    clients = {client_of(ipaddress.ip_address(text)) for text in (one, other)}
    assert (len(clients) == 1) is same
    assert client_of(None) == "unknown"
