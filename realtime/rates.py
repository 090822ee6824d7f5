"""How much one client may ask for: token buckets, and waits that grow after failures. Time is an argument; memory is bounded."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

MAX_CLIENTS = 4096
"""Remembered of each kind; of more, those that were quiet longest are forgotten."""
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Allowance:
    """A token bucket."""

    burst: float
    """At once, after a quiet time."""
    per_s: float
    """In the long run."""


class Bucket:
    """One client's."""

    def __init__(self, allowance: Allowance, now_s: float) -> None:
        self._allowance = allowance
        self._left = allowance.burst
        self._at_s = now_s

    def take(self, now_s: float, amount: float = 1.0) -> float:
        """0: so much more is fine. Else it is not, and so many seconds from now it will be."""
        self._left = min(self._allowance.burst, self._left + max(0.0, now_s - self._at_s) * self._allowance.per_s)
        self._at_s = now_s
        if self._left >= amount:
            self._left -= amount
            return 0.0
        return (amount - self._left) / self._allowance.per_s

    @property
    def share_left(self) -> float:
        """0…1 of the burst, when it was last asked."""
        return self._left / self._allowance.burst


class Limiter:
    """One allowance for each of many clients."""

    def __init__(self, allowance: Allowance, capacity: int = MAX_CLIENTS) -> None:
        self._allowance = allowance
        self._capacity = capacity
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str, now_s: float) -> float:
        """As `Bucket.take`."""
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = Bucket(self._allowance, now_s)
        self._buckets.move_to_end(client)
        while len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return bucket.take(now_s)


@dataclass(slots=True)
class _Failures:
    count: int
    last_s: float


class BackOff:
    """Failures in a row cost a wait that doubles, from the first after those that are free.

    Args:
        free: so many failures cost nothing.
        longest_s: the longest wait.
        forgotten_s: after so long without a failure, all is as at first.
    """

    def __init__(self, free: int = 8, longest_s: float = 60.0, forgotten_s: float = 900.0, capacity: int = MAX_CLIENTS) -> None:
        self._free, self._longest_s, self._forgotten_s, self._capacity = free, longest_s, forgotten_s, capacity
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def wait_s(self, client: str, now_s: float) -> float:
        """How long the client must wait before its next try; 0: not at all."""
        failures = self._failures.get(client)
        if failures is None or now_s - failures.last_s > self._forgotten_s or failures.count < self._free:
            return 0.0
        wait_s = min(self._longest_s, 2.0 ** (failures.count - self._free))
        return max(0.0, failures.last_s + wait_s - now_s)

    def failed(self, client: str, now_s: float) -> None:
        failures = self._failures.setdefault(client, _Failures(0, now_s))
        if now_s - failures.last_s > self._forgotten_s:
            failures.count = 0
        failures.count = min(failures.count + 1, self._free + 32)
        failures.last_s = now_s
        self._failures.move_to_end(client)
        while len(self._failures) > self._capacity:
            self._failures.popitem(last=False)

    def succeeded(self, client: str) -> None:
        self._failures.pop(client, None)


def client_of(address: IPAddress | None) -> str:
    """What one client's addresses have in common: of IPv6 the first 64 bits, which is what a household or a host is given (RFC 6177)."""
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)
