"""STUN and TURN servers: what clients are told, what this server itself asks, and credentials that expire.

Browsers use every server of a list. aiortc uses the first STUN and the first TURN server of it, and neither STUN over TLS nor addresses of IPv6: so the order
matters for this server's own candidates. Where no server is configured none is asked, by this server or by its page.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace

from aiortc import RTCConfiguration, RTCIceServer

from realtime.config import IceServer, ServerConfig

LIFETIME_S = 3600
"""How long a credential lets its holder ask for a relay."""
USER = "headcast"


@dataclass(frozen=True, slots=True)
class IceServers:
    """Servers as they may be used from now on."""

    servers: tuple[IceServer, ...]
    """Each TURN server with a username and a credential."""
    expires_in_s: int | None
    """Seconds until the first credential ends; None: none of them ends."""


def turn_credentials(secret: str, now_s: float, lifetime_s: int = LIFETIME_S, user: str = USER) -> tuple[str, str]:
    """Username and password that a TURN server with the same secret accepts until the time in the username.

    As in "A REST API for Access to TURN Services" (draft-uberti-behave-turn-rest-00, section 2.2), which coturn calls `use-auth-secret`.

    Args:
        now_s: seconds since 1970.
    """
    username = f"{int(now_s) + lifetime_s}:{user}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def with_credentials(servers: Iterable[IceServer], secret: str | None, now_s: float, lifetime_s: int = LIFETIME_S) -> IceServers:
    """The servers with fresh credentials for the TURN servers that have none of their own.

    Args:
        secret: shared with the TURN servers; None where every one has a username and a credential.
        now_s: seconds since 1970.
    """
    if secret is None:
        return IceServers(tuple(servers), None)
    username, credential = turn_credentials(secret, now_s, lifetime_s)
    filled = [replace(each, username=username, credential=credential) if _lacks_credentials(each) else each for each in servers]
    return IceServers(tuple(filled), lifetime_s)


def as_json(found: IceServers) -> dict[str, object]:
    """What GET /ice-servers holds: `ice_servers` is what RTCPeerConnection takes as `iceServers`."""
    listed = []
    for each in found.servers:
        secrets = {} if each.username is None else {"username": each.username, "credential": each.credential}
        listed.append({"urls": each.url, **secrets})
    return {"ice_servers": listed, "expires_in_s": found.expires_in_s}


def link_headers(servers: Iterable[IceServer]) -> tuple[str, ...]:
    """Values of the `Link` headers, one a server, that tell a WHIP or WHEP client of them (RFC 9725, section 4.6)."""
    return tuple(_link(each) for each in servers)


def configured_servers(config: ServerConfig, now_s: float) -> IceServers:
    """What the owner of this server asked for, with credentials for a session that begins now.

    Args:
        now_s: seconds since 1970, `time.time()`.
    """
    return with_credentials(config.ice_servers, config.turn_secret, now_s)


def own_configuration(config: ServerConfig, now_s: float) -> RTCConfiguration:
    """What one of this server's own peer connections is made with: no server at all unless one was configured.

    Args:
        now_s: seconds since 1970, `time.time()`.
    """
    servers = configured_servers(config, now_s).servers
    return RTCConfiguration(iceServers=[RTCIceServer(each.url, each.username, each.credential) for each in servers if "[" not in each.url])


def _lacks_credentials(server: IceServer) -> bool:
    return server.url.startswith("turn") and server.username is None


def _link(server: IceServer) -> str:
    values = [f"<{server.url}>", 'rel="ice-server"']
    if server.username is not None:
        values += [f"username={_quoted(server.username)}", f"credential={_quoted(server.credential or '')}", 'credential-type="password"']
    return "; ".join(values)


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110, section 5.6.4)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
