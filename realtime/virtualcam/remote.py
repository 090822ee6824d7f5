"""The remote way: a session of a running server, watched over WHEP (draft-ietf-wish-whep) → newest picture.

The one place beside the server that speaks HTTP and WebRTC: a client, on an event loop and a thread of its own. It connects again for as long as it is not
closed; meanwhile a card is shown.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import urljoin

import numpy as np
from aiohttp import ClientConnectorCertificateError, ClientError, ClientResponse, ClientSession, ClientTimeout
from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from realtime.access import TOKEN_VARIABLE
from realtime.metrics import Rate
from realtime.rtc.candidates import Addressing, offer_addresses
from realtime.rtc.farewell import close_peer
from realtime.rtc.uplink import improve_uplink
from realtime.virtualcam.feed import Newest, Shot, SourceFailed
from realtime.virtualcam.options import Options, Watched
from realtime.virtualcam.picture import card

BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""By failures in a row; the last for all that follow."""
SILENCE_S = 3.0
"""A session sends its last picture again several times a second; one that sends nothing for so long is gone."""
FIRST_PICTURE_S = 10.0
REQUEST_S = 10.0
FAREWELL_S = 1.0
STATS_EVERY_S = 1.0
FACES = {"ok": "face found", "lost": "no face", "multiple": "several faces"}


class NotWatching(Exception):
    """The session cannot be watched now; says why."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def back_off_s(failures: int) -> float:
    """How long to wait after that many failures in a row, at least one."""
    return BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1]


class RemoteSource:
    """Watches one session.

    Args:
        watched: which.
        options: how the session is to look, where they say so.
        say: gets what the user should read; called from any thread.
    """

    def __init__(self, watched: Watched, options: Options, newest: Newest, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._watched = watched
        self._wishes = _wishes(options)
        self._credentials = {} if options.token is None else {"Authorization": f"Bearer {options.token}"}
        self._newest = newest
        self._card = Shot(card(options.size.avatar, options.surround))
        self._say = say
        self._said: str | None = None
        self._clock = clock
        self._frames = Rate()
        self._state = "connecting"
        self._failure: Exception | None = None
        self._stopped = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._watching: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="headcast-whep", daemon=True)
        self._thread.start()

    @property
    def fps(self) -> float:
        return self._frames.per_second(self._clock())

    def review(self, now_s: float) -> str:
        if self._failure is not None:
            raise SourceFailed("watching the session failed") from self._failure
        return self._state

    def close(self) -> None:
        self._stopped.set()
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(2 * FAREWELL_S)

    def _cancel(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner, suppress(asyncio.CancelledError):
                runner.run(self._keep_watching())
        except Exception as error:
            self._failure = error

    async def _keep_watching(self) -> None:
        self._watching = asyncio.current_task()
        failures = 0
        async with ClientSession(timeout=ClientTimeout(total=REQUEST_S), headers=self._credentials) as http:
            while not self._stopped.is_set():
                seen, wait_s = self._frames.total, 0.0
                try:
                    await self._watch_once(http)
                except NotWatching as error:
                    self._tell(str(error))
                    wait_s = error.retry_after_s
                finally:
                    self._newest.put(self._card)
                failures = 1 if self._frames.total > seen else failures + 1
                await asyncio.sleep(max(wait_s, back_off_s(failures)))

    async def _watch_once(self, http: ClientSession) -> None:
        """One connection, from the offer to its end.

        Raises:
            NotWatching: it did not come about, or is over.
        """
        async with self._peer(http) as track:
            asking = asyncio.create_task(self._ask_how_it_goes(http))
            try:
                await self._receive(track)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    @asynccontextmanager
    async def _peer(self, http: ClientSession) -> AsyncIterator[MediaStreamTrack]:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=await self._ice_servers(http)))
        receiver = peer.addTransceiver("video", "recvonly").receiver
        uplink = improve_uplink(receiver, self._clock)
        resource = None
        try:
            offer_addresses(peer, Addressing(loopback=True))
            await peer.setLocalDescription(await peer.createOffer())
            answer, resource = await self._post(http, peer.localDescription.sdp)
            try:
                await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            except (ValueError, InvalidStateError) as error:
                raise NotWatching("the server answered with something else than a video; is the link right?") from error
            yield receiver.track
        finally:
            uplink.close()
            if resource is not None:
                with suppress(ClientError, TimeoutError):
                    await http.delete(resource, timeout=ClientTimeout(total=FAREWELL_S))
            await close_peer(peer, "the virtual camera")

    async def _post(self, http: ClientSession, offer: str) -> tuple[str, str | None]:
        """The answer, and where this viewer can be ended."""
        with _as_not_watching():
            async with http.post(self._watched.whep, params=self._wishes, data=offer, headers={"Content-Type": "application/sdp"}) as response:
                _check_let_in(response)
                if response.status == 404:
                    raise NotWatching("waiting for the session: it is not there, or not yet")
                if response.status != 201:
                    raise NotWatching(f"the server refused: {await _detail(response)}", float(response.headers.get("Retry-After", "0")))
                resource = urljoin(f"{self._watched.server}/", response.headers.get("Location", "/"))
                return await response.text(), resource if self._is_ours(resource) else None

    def _is_ours(self, url: str) -> bool:
        """Whether it is the server's own: the token goes nowhere else."""
        return url.startswith(urljoin(f"{self._watched.server}/", "/sessions/"))

    async def _ice_servers(self, http: ClientSession) -> list[RTCIceServer]:
        with _as_not_watching():
            async with http.get(f"{self._watched.server}/ice-servers") as response:
                _check_let_in(response)
                listed: list[dict[str, Any]] = (await response.json())["ice_servers"]
                return [RTCIceServer(**server) for server in listed if "[" not in server["urls"]]

    async def _receive(self, track: MediaStreamTrack) -> None:
        patience_s = FIRST_PICTURE_S
        while True:
            try:
                frame = await asyncio.wait_for(track.recv(), patience_s)
            except TimeoutError:
                raise NotWatching("no video comes from the session; connecting again") from None
            except MediaStreamError:
                raise NotWatching("the session has ended; waiting for it to come back") from None
            if not isinstance(frame, VideoFrame):
                continue
            now = self._clock()
            if patience_s != SILENCE_S:
                patience_s = SILENCE_S
                self._tell("the session is there")
            self._frames.tick(now)
            self._newest.put(Shot(np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8), now))

    async def _ask_how_it_goes(self, http: ClientSession) -> None:
        """For the status line only: whether the server sees a face, and how much it adds."""
        while True:
            self._state = "watching"
            with suppress(ClientError, TimeoutError, ValueError, KeyError):
                async with http.get(f"{self._watched.server}/sessions/{self._watched.name}/stats") as response:
                    stats = await response.json()
                    self._state = f"{FACES.get(stats['tracking'], 'no face')}, the server adds {stats['latency_ms']['p50']:.0f} ms"
            await asyncio.sleep(STATS_EVERY_S)

    def _tell(self, text: str) -> None:
        """To the user, where it is news."""
        self._state = text
        if text != self._said:
            self._said = text
            self._say(text)


@contextmanager
def _as_not_watching() -> Iterator[None]:
    """Turns what goes wrong on the way to the server into NotWatching, which names no address."""
    try:
        yield
    except ClientConnectorCertificateError as error:
        raise NotWatching("the server's certificate is not known here: name its file in the environment variable SSL_CERT_FILE") from error
    except (ClientError, TimeoutError, OSError) as error:
        raise NotWatching("the server does not answer: is it running, and is the link right?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotWatching("what answers is no Headcast server: is the link right?") from error


def _check_let_in(response: ClientResponse) -> None:
    """Raises NotWatching: the server wants to know who asks."""
    if response.status == 401:
        raise NotWatching(f"the server lets in only people it knows: put your token into a file (--token-file) or the variable {TOKEN_VARIABLE}, or check it")


async def _detail(response: ClientResponse) -> str:
    """Why, in the words of the server's problem details (RFC 9457)."""
    with suppress(ClientError, ValueError, KeyError, TypeError):
        return str((await response.json(content_type=None))["detail"])
    return f"status {response.status}"


def _wishes(options: Options) -> dict[str, str]:
    """How the session is to look, as the query of POST /whep."""
    wishes = {"avatar": options.avatar, "background": options.background, "mirror": "1" if options.mirror else None}
    return {name: value for name, value in wishes.items() if value is not None}
