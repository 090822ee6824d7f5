"""A bad network between a page and the server: what the page's offers are answered with leads through a relay."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.relay import Path, Relay

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route


class RelayedPage:
    """One relay for each connection that the page makes.

    Args:
        up, down: the network of the connections to come.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, up: Path, down: Path) -> None:
        self._loop = loop
        self._up = up
        self._down = down
        self.relays: list[Relay] = []

    def answer(self, route: Route) -> None:
        """Lays a relay in the way of the connection that is being made."""
        response = route.fetch()
        body = response.json()
        if response.ok:
            body["sdp"] = asyncio.run_coroutine_threadsafe(self._relay(body["sdp"]), self._loop).result(10)
        route.fulfill(response=response, json=body)

    @staticmethod
    def hide_addresses(route: Route) -> None:
        """Takes the page's own addresses, which it sends after its offer: knowing them, the server would go round the relay."""
        if route.request.method == "PATCH":
            route.fulfill(status=204)
        else:
            route.continue_()

    def cut(self) -> None:
        """Nothing passes any more on the connections that there are."""
        for relay in self.relays:
            relay.drop_up = relay.drop_down = lambda data: True

    async def _relay(self, sdp: str) -> str:
        relay = Relay(seed=len(self.relays))
        relay.up, relay.down = self._up, self._down
        self.relays.append(relay)
        return await relay.between(sdp)

    async def aclose(self) -> None:
        for relay in self.relays:
            relay.close()


@contextmanager
def relayed(page: Page, up: Path | None = None, down: Path | None = None) -> Iterator[RelayedPage]:
    """Every connection of the page goes through a relay of its own while the block runs. Begin it before the page connects."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relays", daemon=True)
    thread.start()
    network = RelayedPage(loop, up or Path(), down or Path())
    page.route("**/offer", network.answer)
    page.route("**/sessions/*", network.hide_addresses)
    try:
        yield network
    finally:
        if not page.is_closed():
            page.unroute("**/offer")
            page.unroute("**/sessions/*")
        asyncio.run_coroutine_threadsafe(network.aclose(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
