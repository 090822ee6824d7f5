"""A bad network between two peers of this machine: a UDP relay that loses, delays and throttles, by a seeded random generator.

    async with relaying(seed=1) as relay:
        relay.down = Path(loss=0.05, delay_s=0.02)
        await peer.setRemoteDescription(RTCSessionDescription(await relay.between(answer_sdp), "answer"))

Only the answer is changed: its side sees the relay's address as the other's (peer-reflexive, RFC 8445, section 7.3.1.3).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

LOOPBACK = "127.0.0.1"
MAX_UNDER_WAY = 20_000
"""Datagrams that may be under way in one direction; more are lost, so that a test cannot eat the machine's memory."""
_CANDIDATE = re.compile(r"a=candidate:(\S+) 1 udp (\d+) (\S+) (\d+) typ (\w+).*", re.IGNORECASE)
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Path:
    """One direction of the network; the order of datagrams is kept."""

    loss: float = 0.0
    """Share of the datagrams that is lost, 0…1."""
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to so much more delay, evenly distributed."""
    bandwidth_bps: float | None = None
    """Bits a second; None: no bottleneck."""
    queue_bytes: int = 60_000
    """What waits at the bottleneck at most; beyond that it is lost."""


@dataclass
class Counts:
    """Datagrams of one direction."""

    forwarded: int = 0
    lost: int = 0
    overflowed: int = 0
    """Lost at the bottleneck's full queue."""
    forwarded_bytes: int = 0


@dataclass
class _Direction:
    random: random.Random
    path: Path = field(default_factory=Path)
    drop: Callable[[bytes], bool] | None = None
    counts: Counts = field(default_factory=Counts)
    free_at_s: float = 0.0
    due_s: float = 0.0
    under_way: int = 0

    def schedule(self, size: int, data: bytes, now_s: float) -> float | None:
        """When a datagram that comes in now goes out; None: it is lost."""
        path = self.path
        if (self.drop is not None and self.drop(data)) or self.random.random() < path.loss or self.under_way >= MAX_UNDER_WAY:
            self.counts.lost += 1
            return None
        passed_s = now_s
        if path.bandwidth_bps is not None:
            waiting_bytes = max(0.0, self.free_at_s - now_s) * path.bandwidth_bps / 8
            if waiting_bytes + size > path.queue_bytes:
                self.counts.overflowed += 1
                return None
            passed_s = self.free_at_s = max(self.free_at_s, now_s) + 8 * size / path.bandwidth_bps
        self.due_s = max(self.due_s, passed_s + path.delay_s + path.jitter_s * self.random.random())
        return self.due_s


class _Socket(asyncio.DatagramProtocol):
    """Hands on what comes in."""

    transport: asyncio.DatagramTransport

    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._received(data, addr)


class Relay:
    """See the top. `up` leads to the side that answered, `down` back from it; both may be set at any time."""

    def __init__(self, seed: int) -> None:
        self._up = _Direction(random.Random(seed))
        self._down = _Direction(random.Random(seed + 1))
        self._target: Address | None = None
        self._front: _Socket | None = None
        self._backs: dict[Address, asyncio.Task[_Socket]] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def up(self) -> Path:
        return self._up.path

    @up.setter
    def up(self, path: Path) -> None:
        self._up.path = path

    @property
    def down(self) -> Path:
        return self._down.path

    @down.setter
    def down(self, path: Path) -> None:
        self._down.path = path

    @property
    def drop_up(self) -> Callable[[bytes], bool] | None:
        """Which datagrams to lose on purpose."""
        return self._up.drop

    @drop_up.setter
    def drop_up(self, drop: Callable[[bytes], bool] | None) -> None:
        self._up.drop = drop

    @property
    def drop_down(self) -> Callable[[bytes], bool] | None:
        return self._down.drop

    @drop_down.setter
    def drop_down(self, drop: Callable[[bytes], bool] | None) -> None:
        self._down.drop = drop

    @property
    def counts(self) -> tuple[Counts, Counts]:
        """Up and down."""
        return self._up.counts, self._down.counts

    async def between(self, answer_sdp: str) -> str:
        """Relays to the address in an answer.

        Returns:
            the answer with the relay's address as its only one.

        Raises:
            ValueError: the answer has no IPv4 host candidate.
        """
        found = [(match[3], int(match[4])) for match in _CANDIDATE.finditer(answer_sdp) if match[5] == "host" and "." in match[3]]
        if not found:
            raise ValueError("expected an answer with an IPv4 host candidate")
        self._target = next((address for address in found if address[0] == LOOPBACK), found[0])
        loop = asyncio.get_running_loop()
        _, self._front = await loop.create_datagram_endpoint(lambda: _Socket(self._from_client), local_addr=(LOOPBACK, 0))
        host, port = self._front.transport.get_extra_info("sockname")
        lines, offered = [], False
        for line in answer_sdp.splitlines():
            if line.startswith("m="):
                offered = False
            if _CANDIDATE.fullmatch(line):
                if not offered:
                    lines.append(f"a=candidate:relayed 1 udp 2130706431 {host} {port} typ host")
                offered = True
                continue
            lines.append(line)
        return "\r\n".join(lines) + "\r\n"

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for socket in self._backs.values():
            if socket.done() and not socket.cancelled():
                socket.result().transport.close()
            socket.cancel()
        if self._front is not None:
            self._front.transport.close()

    def _from_client(self, data: bytes, client: Address) -> None:
        if client not in self._backs:
            self._backs[client] = asyncio.ensure_future(self._open_back(client))
        back = self._backs[client]

        def forward(opened: asyncio.Task[_Socket]) -> None:
            if not opened.cancelled():
                opened.result().transport.sendto(data, self._target)

        self._pass(self._up, data, lambda: forward(back) if back.done() else back.add_done_callback(forward))

    async def _open_back(self, client: Address) -> _Socket:
        """A socket of its own for each address of the client, so that the other side can tell them apart."""
        assert self._front is not None
        front = self._front.transport

        def received(data: bytes, _: Address) -> None:
            self._pass(self._down, data, lambda: front.sendto(data, client))

        _, socket = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Socket(received), local_addr=(LOOPBACK, 0))
        return socket

    def _pass(self, direction: _Direction, data: bytes, forward: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = direction.schedule(len(data), data, now)
        if due is None:
            return
        direction.under_way += 1

        def deliver() -> None:
            self._timers.discard(timer)
            direction.under_way -= 1
            direction.counts.forwarded += 1
            direction.counts.forwarded_bytes += len(data)
            forward()

        timer = loop.call_at(due, deliver)
        self._timers.add(timer)


@asynccontextmanager
async def relaying(seed: int = 1) -> AsyncIterator[Relay]:
    """A relay that is closed at the end; it begins with `Relay.between`."""
    relay = Relay(seed)
    try:
        yield relay
    finally:
        relay.close()
