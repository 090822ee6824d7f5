"""A server in a process of its own with a bystander: a session that has nothing to do with what breaks, whose frames must keep coming.

    async with house() as house:
        …break something…

On the way out: the bystander's frames came without a gap, and nothing is left of what came and went: no session, process, descriptor or thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from realtime.tracks import IDLE_INTERVAL_S
from tests.processes import ServerProcess, server_process
from tests.serving import ROOT

GAP_S = 1.0
"""No longer is a bystander without a fresh picture: its camera sends 15 a second, and whatever broke is mended with the same two cores."""
FREED_S = 12.0
"""By then nothing is left of a session that ended in any way; a peer that vanished is let go within 5 s."""
POOL_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""Of asyncio's default executor, which makes them one by one and keeps them."""
FAKE = ("-m", "tests.faults.server", "--size", "256")
CAMERA = ("--width", "256", "--height", "256", "--fps", "15")


@dataclass(frozen=True)
class Holdings:
    """What a server has."""

    sessions: int
    processes: int
    descriptors: int
    threads: int

    def within(self, before: Holdings) -> bool:
        """Whether there is no more than before; the pool's threads may have come meanwhile."""
        return (
            self.sessions <= before.sessions
            and self.processes <= before.processes
            and self.descriptors <= before.descriptors
            and self.threads <= before.threads + POOL_THREADS
        )


@dataclass
class Client:
    """A `tests.loopback_client` in a process of its own."""

    process: asyncio.subprocess.Process

    async def say(self, message: dict[str, Any]) -> None:
        """Over its control channel."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()

    async def leave(self) -> dict[str, Any]:
        """Ends its call; what it has to tell."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        output, errors = await asyncio.wait_for(self.process.communicate(), 15)
        assert self.process.returncode == 0, errors.decode()
        report: dict[str, Any] = json.loads(output)
        return report

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def caller(url: str, *arguments: str) -> Client:
    """A client that calls that server, and stays until it is told to leave."""
    command = (sys.executable, "-m", "tests.loopback_client", "--url", url, "--until-eof", "--seconds", "120", *CAMERA, *arguments)
    pipe = asyncio.subprocess.PIPE
    return Client(await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe))


@dataclass
class House:
    """A server and its bystander."""

    server: ServerProcess
    http: aiohttp.ClientSession
    process: psutil.Process
    clients: list[Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url

    async def call(self, *arguments: str) -> Client:
        """Another session, until it is told to leave."""
        client = await caller(self.url, *arguments)
        self.clients.append(client)
        return client

    async def metrics(self) -> dict[str, float]:
        """The sum of every metric over its labels, and each value by `name{value of the only label}`."""
        found: dict[str, float] = {}
        async with self.http.get(f"{self.url}/metrics") as response:
            text = await response.text()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = "".join(f"{{{value}}}" for name, value in sample.labels.items() if name != "le")
                found[sample.name + labels] = sample.value
        return found

    async def sessions(self, state: str = "live") -> int:
        return int((await self.metrics()).get(f"headcast_sessions{{{state}}}", 0))

    async def health(self) -> dict[str, Any]:
        async with self.http.get(f"{self.url}/healthz") as response:
            return {"code": response.status, **(await response.json())}

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.2)

    async def until_live(self, count: int) -> None:
        """So many sessions show driven pictures."""

        async def live() -> bool:
            return await self.sessions() >= count

        await self.until(live)

    def renderers(self) -> list[psutil.Process]:
        """The processes of sessions, and of nothing else."""
        return [child for zygote in self.process.children() for child in zygote.children()]

    async def holdings(self) -> Holdings:
        async with self.http.get(f"{self.url}/readyz") as response:
            sessions = (await response.json())["sessions"]
        descriptors = int((await self.metrics())["process_open_fds"])
        return Holdings(sessions, len(self.process.children(recursive=True)), descriptors, self.process.num_threads())

    async def settled(self, before: Holdings) -> None:
        """Nothing more is held than before."""
        now = await self.holdings()
        deadline = time.monotonic() + FREED_S
        while not now.within(before):
            assert time.monotonic() < deadline, f"left behind: {asdict(before)} became {asdict(now)}"
            await asyncio.sleep(0.3)
            now = await self.holdings()


def fresh_at(report: dict[str, Any], stamped: bool) -> list[float]:
    """When pictures came that show a newer webcam frame than those before. Where they carry no stamp, one that comes as late as a repetition counts as one."""
    rows, newest, found = report["received"], -1, []
    if not stamped:
        return [later[0] for earlier, later in pairwise(rows) if later[0] - earlier[0] < 0.75 * IDLE_INTERVAL_S]
    for at, _, stamp, _ in rows:
        if stamp is not None and stamp > newest:
            newest = stamp
            found.append(at)
    return found


def longest_gap(report: dict[str, Any], since: float, until: float, stamped: bool = True) -> float:
    """Seconds without a fresh picture, between two moments of the machine's monotonic clock."""
    moments = (since, *(at for at in fresh_at(report, stamped) if since <= at <= until), until)
    return max(later - earlier for earlier, later in pairwise(moments))


@asynccontextmanager
async def house(
    *flags: str, command: Sequence[str] = FAKE, prefix: Sequence[str] = (), gap_s: float = GAP_S, ends: bool = False, stamped: bool = True
) -> AsyncIterator[House]:
    """Serves while the block runs.

    Args:
        gap_s: the longest that the bystander may be without a fresh picture.
        stamped: whether pictures carry the stamp of the webcam frame behind them.
        ends: the block ends the server itself: then nothing is looked at afterwards but whether a process is left.
    """
    async with server_process(*command, *flags, prefix=prefix) as server, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as http:
        at = House(server, http, psutil.Process(server.process.pid))
        try:
            bystander = await at.call()
            await at.until_live(1)
            before, begin = await at.holdings(), time.monotonic()
            processes = [at.process, *at.process.children(recursive=True)]
            yield at
            if not ends:
                for each in at.clients:
                    if each is not bystander:
                        await each.kill()
                await at.settled(before)
                end = time.monotonic()
                report = await bystander.leave()
                gap = longest_gap(report, begin, min(end, report["left_at"]), stamped)
                assert gap < gap_s, f"the bystander was without a fresh picture for {gap:.2f} s"
                code, _ = await server.stop()
                assert code == 0
            _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 5.0)
            assert alive == []
        finally:
            for each in at.clients:
                await each.kill()
