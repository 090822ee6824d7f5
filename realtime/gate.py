"""The gate before every request: is this server meant, does a page of its own ask, who is it, may they, and not too often?

    GET  /whoami            {"name", "role", "login"}: whether there is a login that can be ended; 204 for those who are nobody yet
    POST /login {"token"}   a cookie for browsers, which page scripts cannot read and other sites' pages do not send
    POST /logout

All others say who they are by `Authorization: Bearer TOKEN` (RFC 6750, in the header only). A server that nobody said who may enter lets everybody on its own
machine do everything; names and origins are checked there too, since pages of other sites run on that machine.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from realtime.access import EVERYBODY, People, Person, Role
from realtime.bodies import json_object
from realtime.config import LOOPBACK_HOSTS, ServerConfig
from realtime.errors import BadRequest, Forbidden, MisdirectedRequest, RoleLacking, TooManyRequests, Unauthorized
from realtime.guests import Guests, Stay
from realtime.headers import add_security_headers
from realtime.hosts import Hosts, Passed, names_loopback, normal_origin, passed_on
from realtime.logins import LIFETIME_S, Logins
from realtime.permissions import ALLOWANCES, START_PAGE, VIEWERS_START_PAGE, Rule, page_of, rule_of
from realtime.rates import BackOff, Limiter, client_of

logger = logging.getLogger(__name__)

COOKIE, SECURE_COOKIE = "headcast", "__Host-headcast"
"""The second is set over https only, which its name makes browsers enforce (RFC 6265bis, section 4.1.3.2)."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
CORS_METHODS = "GET, POST, PATCH, DELETE"
CORS_HEADERS = "Authorization, Avatar-Keys, Content-Type, If-Match, If-None-Match"
CORS_SECONDS = "600"
PERSON = web.RequestKey("person", Person)
GUESTS = web.AppKey("guests", Guests)
_LOGIN = web.RequestKey("login", str)
"""The secret of the login that was used."""
_PASSED = web.RequestKey("passed", Passed)
_ALLOWED_ORIGIN = web.RequestKey("allowed_origin", str)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def person_of(request: web.Request) -> Person:
    """Who asks, once the gate has let them in."""
    return request[PERSON]


def opened(request: web.Request, stay: Stay) -> None:
    """Ties what a request opened to who asked for it: it ends when they may enter no more."""
    request.app[GUESTS].add(person_of(request), stay)


class Gate:
    """Args: the server's configuration; seconds, for rates.

    Raises:
        AccessError: the file of users cannot be used.
    """

    def __init__(self, config: ServerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._hosts = Hosts.of(config)
        self._people = People(config.token, config.users)
        self._logins = Logins(self._people)
        self.guests = Guests(self._people)
        self._back_off = BackOff()
        for warning in _openings(config):
            logger.warning(warning)
        self._limiters = {cost: Limiter(allowance) for cost, allowance in ALLOWANCES.items()}

    def routes(self) -> list[web.RouteDef]:
        """To be added before those of the page."""
        return [web.get("/whoami", self._whoami), web.post("/login", self._log_in), web.post("/logout", self._log_out)]

    def middleware(self) -> Middleware:
        """To be put around every handler, within what turns errors into answers."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            passed = request[_PASSED] = self._passed(request)
            own_origin = self._check_origin(request, passed)
            if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
                return self._preflight(request)
            if request.match_info.http_exception is None:
                self._let_in(request, passed, own_origin)
            return await handler(request)

        return guard

    async def complete(self, request: web.Request, response: web.StreamResponse) -> None:
        """Adds what every answer has; for `on_response_prepare`."""
        passed = request.get(_PASSED)
        secure = request.secure if passed is None else passed.secure
        add_security_headers(response.headers, request.headers.get(hdrs.HOST, ""), secure, request.get(_ALLOWED_ORIGIN))

    def _passed(self, request: web.Request) -> Passed:
        """Where the request came from; only if it means this server.

        Raises:
            MisdirectedRequest, Forbidden: it does not, or it came through a proxy that nobody spoke of.
        """
        reached = request.transport.get_extra_info("sockname") if request.transport is not None else None
        named = request.headers.getall(hdrs.HOST, [])
        address = reached[0] if isinstance(reached, tuple) else None
        named_too = request.host  # by the request line, where it names one (RFC 9112, section 3.2.2)
        if len(named) != 1 or not all(self._hosts.admits(name, address) for name in (named[0], named_too)):
            raise MisdirectedRequest("this server does not go by that name: open it by its address, or start it with --allowed-host NAME")
        if self._config.private and any(name in request.headers for name in FORWARDED[:3]):
            raise Forbidden("this server is open to all of its own machine and was reached through a proxy: start it with --token-file and --trust-proxy")
        headers = request.headers
        return passed_on(request.remote, request.secure, headers.getall("X-Forwarded-For", []), headers.get("X-Forwarded-Proto"), self._config.trust_proxy)

    def _check_origin(self, request: web.Request, passed: Passed) -> bool:
        """Whether one of this server's own pages asks, as far as browsers tell (`Origin`, `Sec-Fetch-Site`).

        Raises:
            Forbidden: another site's page does, which is not on the list.
        """
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None:
            spelled = normal_origin(origin)
            if spelled is not None and spelled == normal_origin(f"{'https' if passed.secure else 'http'}://{request.headers[hdrs.HOST]}"):
                return site in (None, "same-origin", "none")
            if spelled not in self._config.allowed_origins:
                raise Forbidden("pages of another site may not use this server: if they should, start it with --allowed-origin (behind a proxy: --trust-proxy)")
            request[_ALLOWED_ORIGIN] = origin
            return False
        page = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in SAFE_METHODS and self._page(request) is not None
        if site in ("cross-site", "same-site") and not page:
            raise Forbidden("pages of another site may only link to this server's pages")
        return site == "same-origin" or (site == "none" and request.method in SAFE_METHODS)

    def _preflight(self, request: web.Request) -> web.Response:
        """May another site's page ask (Fetch, CORS-preflight request)? The request itself is checked as any other."""
        if request.get(_ALLOWED_ORIGIN) is None:
            raise Forbidden("there is nothing to ask for: only pages of other sites do, and this one is none")
        headers = {
            str(hdrs.ACCESS_CONTROL_ALLOW_METHODS): CORS_METHODS,
            str(hdrs.ACCESS_CONTROL_ALLOW_HEADERS): CORS_HEADERS,
            str(hdrs.ACCESS_CONTROL_MAX_AGE): CORS_SECONDS,
        }
        return web.Response(status=204, headers=headers)

    def _let_in(self, request: web.Request, passed: Passed, own_origin: bool) -> None:
        """Raises Unauthorized, Forbidden, TooManyRequests; web.HTTPSeeOther: a person is shown the way."""
        path = _route(request)
        rule = rule_of(request.method, path, request.match_info.get("path", ""))
        person, login = self._identify(request, passed, own_origin)
        if person is None:
            if rule.role is not None and not (rule.near and self._is_near(request, passed)):
                self._show_login(request)
            return
        request[PERSON] = person
        if login is not None:
            request[_LOGIN] = login
        if rule.role is not None and not person.role.covers(rule.role):
            self._refuse(request, rule.role, person)
        if login is not None and request.method not in SAFE_METHODS and not own_origin:
            raise Forbidden("this needs a page of this server (Origin or Sec-Fetch-Site), or Authorization: Bearer TOKEN")
        self._charge(rule, f"user {person.name}" if person.known else client_of(passed.address))

    def _identify(self, request: web.Request, passed: Passed, own_origin: bool) -> tuple[Person | None, str | None]:
        """Who asks, and the secret of their login; None, None: nobody known.

        Raises:
            Unauthorized: a token that is not known. TooManyRequests: too many of those.
        """
        if self._people.everybody:
            return EVERYBODY, None
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(token.strip(), passed)[0], None
        secret = request.cookies.get(SECURE_COOKIE if passed.secure else COOKIE)
        if secret is None or request.get(_ALLOWED_ORIGIN) is not None:
            return None, None
        person = self._logins.person(secret, self._clock())
        return person, secret if person is not None else None

    def _by_token(self, token: str, passed: Passed) -> tuple[Person, str]:
        client, now_s = client_of(passed.address), self._clock()
        wait_s = self._back_off.wait_s(client, now_s)
        if wait_s > 0:
            raise TooManyRequests("too many wrong tokens came from there; wait a little", math.ceil(wait_s))
        found = self._people.identify(token)
        if found is None:
            self._back_off.failed(client, now_s)
            raise Unauthorized("this token is not known here: check that all of it was copied", "invalid_token")
        self._back_off.succeeded(client)
        return found

    def _is_near(self, request: web.Request, passed: Passed) -> bool:
        """Whether a program of this machine asks for this machine, and no proxy on its behalf that could not be seen through."""
        hidden = not passed.trusted and any(name in request.headers for name in FORWARDED)
        return passed.address is not None and passed.address.is_loopback and not hidden and names_loopback(request.headers[hdrs.HOST])

    def _page(self, request: web.Request) -> str | None:
        return page_of(request.method, _route(request), request.match_info.get("path", ""))

    def _show_login(self, request: web.Request) -> None:
        """Raises web.HTTPSeeOther for people, Unauthorized for programs."""
        if self._page(request) is not None and hdrs.AUTHORIZATION not in request.headers:
            home = "../" * (request.path.count("/") - 1)
            raise web.HTTPSeeOther(f"{home}login?next={quote(request.raw_path.lstrip('/'), safe='')}")
        raise Unauthorized("say who you are: Authorization: Bearer TOKEN, or sign in at /login")

    def _refuse(self, request: web.Request, needed: Role, person: Person) -> None:
        """Raises RoleLacking; web.HTTPSeeOther: to what a viewer may see instead of the start page."""
        if self._page(request) == START_PAGE:
            raise web.HTTPSeeOther("../" * (request.path.count("/") - 1) + VIEWERS_START_PAGE)
        raise RoleLacking(f"this needs the role {needed}, and yours is {person.role}: ask the owner of this server")

    def _charge(self, rule: Rule, client: str) -> None:
        if rule.cost is not None and (wait_s := self._limiters[rule.cost].take(client, self._clock())) > 0:
            raise TooManyRequests(f"too many {rule.cost} at once; slow down", math.ceil(wait_s))

    async def _whoami(self, request: web.Request) -> web.Response:
        person = request.get(PERSON)
        return web.Response(status=204) if person is None else self._told(person, request.get(_LOGIN) is not None)

    async def _log_in(self, request: web.Request) -> web.Response:
        token = (await json_object(request, "token")).get("token")
        if not isinstance(token, str) or not token.strip():
            raise BadRequest("token: expected text")
        if self._people.everybody:
            return self._told(EVERYBODY, False)
        person, presented = self._by_token(token.strip(), request[_PASSED])
        response = self._told(person, True)
        self._set_cookie(request, response, self._logins.open(presented, self._clock()), LIFETIME_S)
        return response

    async def _log_out(self, request: web.Request) -> web.Response:
        if (secret := request.get(_LOGIN)) is not None:
            self._logins.close(secret)
        response = web.Response(status=204)
        self._set_cookie(request, response, "", 0)
        return response

    def _set_cookie(self, request: web.Request, response: web.Response, value: str, seconds: int) -> None:
        secure = request[_PASSED].secure
        response.set_cookie(SECURE_COOKIE if secure else COOKIE, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="Strict")

    def _told(self, person: Person, login: bool) -> web.Response:
        body = {"name": person.name, "role": person.role, "login": login}
        return web.json_response(body, headers={hdrs.CACHE_CONTROL: "no-store"})


def _openings(config: ServerConfig) -> list[str]:
    """What the owner of a server should know of how open it is."""
    if config.insecure:
        return ["--insecure: EVERYBODY who reaches this server may drive, watch and delete whatever is here"]
    if not config.private and not config.encrypted and config.host not in LOOPBACK_HOSTS and not config.trust_proxy:
        return ["tokens travel unencrypted, and browsers open no camera: serve https with --tls-auto, with --cert-file and --key-file, or behind a proxy"]
    return []


def _route(request: web.Request) -> str:
    """Its path as the route has it."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical
