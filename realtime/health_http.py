"""Health over HTTP, for supervisors, balancers and Prometheus, and the count of what is refused.

GET /healthz    {"status": loading | ok | degraded | error, "reasons": […]}; 503 in error, else 200
GET /readyz     {"ready", "warm", "stopping", "sessions", "max_sessions"}; 503 unless a session would be taken now
GET /metrics    Prometheus' text format
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from realtime.exposition import CONTENT_TYPE
from realtime.watch import Watch

OFFERS = ("/offer", "/whip/", "/whep/")
REASONS = {
    400: "malformed",
    401: "no_token",
    403: "forbidden",
    404: "not_found",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    415: "media_type",
    421: "host",
    422: "unprocessable",
    429: "too_many",
    500: "failed",
    503: "full",
}
"""What an offer's refusal counts as, by its status; any other is `other`."""
NO_STORE = {str(hdrs.CACHE_CONTROL): "no-store"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HealthHttp:
    """The handlers."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def routes(self) -> list[web.RouteDef]:
        """To be added before those of the page."""
        return [web.get("/healthz", self._health), web.get("/readyz", self._ready), web.get("/metrics", self._metrics)]

    async def _health(self, request: web.Request) -> web.Response:
        verdict = self._watch.verdict()
        return web.json_response({"status": verdict.health, "reasons": verdict.reasons}, status=verdict.status, headers=NO_STORE)

    async def _ready(self, request: web.Request) -> web.Response:
        found = self._watch.readiness()
        body = {
            "ready": found.ready,
            "warm": found.warm,
            "stopping": found.stopping,
            "sessions": found.sessions,
            "max_sessions": found.max_sessions,
        }
        return web.json_response(body, status=200 if found.ready else 503, headers=NO_STORE)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._watch.text(), headers={**NO_STORE, str(hdrs.CONTENT_TYPE): CONTENT_TYPE})


def counting(watch: Watch) -> Middleware:
    """A middleware around all others, which tells the watch of refused offers and failed requests."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if response.status == 500:
            watch.request_failed()
        if response.status >= 400 and request.method == hdrs.METH_POST and request.path.startswith(OFFERS):
            watch.refused(REASONS.get(response.status, "other"))
        return response

    return count
