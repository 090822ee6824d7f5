"""By which names this server may be called, from which pages, and who a request came from when a proxy passed it on.

A page of another site can make its own name resolve to this machine (DNS rebinding): its requests then name that site in `Host`, and are refused. Pages of
other origins name theirs in `Origin` (RFC 6454, Fetch), and are refused too.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from realtime.config import LOOPBACK_HOSTS, WILDCARD_HOSTS, ServerConfig
from realtime.rates import IPAddress

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?")


def host_name(header: str) -> str | None:
    """The name or address in a `Host` header, in lower case, without port, brackets and final dot; None: it is none."""
    match = _HOST.fullmatch(header)
    return None if match is None else match["name"].strip("[]").rstrip(".").lower() or None


def address_of(text: str | None) -> IPAddress | None:
    """None: it is no address."""
    try:
        return None if text is None else ipaddress.ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None


def names_loopback(header: str) -> bool:
    """Whether a `Host` header names the machine that the request was made on."""
    name = host_name(header)
    address = address_of(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def normal_origin(text: str) -> str | None:
    """`https://example.org` of whatever spells it; None: it is no origin of a page that came over HTTP."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.rstrip(".")
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, DEFAULT_PORTS[parts.scheme]) else "")


def own_names() -> frozenset[str]:
    """What other machines of the network call this one."""
    name = socket.gethostname().rstrip(".").lower()
    short = name.partition(".")[0]
    return frozenset({name, short, f"{short}.local"} - {""})


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names of this server, in lower case; and addresses."""

    names: frozenset[str]

    @classmethod
    def of(cls, config: ServerConfig) -> Hosts:
        names = {*config.allowed_hosts, *config.public_ips}
        if config.host not in WILDCARD_HOSTS:
            names.add(config.host.lower())
        if config.host not in LOOPBACK_HOSTS:
            names |= own_names()
        return cls(frozenset(names))

    def admits(self, header: str, reached: str | None) -> bool:
        """Whether a request means this server.

        Args:
            header: its `Host`.
            reached: the address of this machine that it came to, which may always be named.
        """
        name = host_name(header)
        if name is None:
            return False
        if name in self.names or name == "localhost" or name.endswith(".localhost"):
            return True
        address = address_of(name)
        if address is None:
            return False
        return address.is_loopback or address == address_of(reached) or str(address) in self.names or _unmapped(address_of(reached)) == address


def _unmapped(address: IPAddress | None) -> IPAddress | None:
    """An IPv4 client of an IPv6 socket comes to ::ffff:192.0.2.7."""
    return address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None


@dataclass(frozen=True, slots=True)
class Passed:
    """Where a request came from, as far as it can be known."""

    address: IPAddress | None
    secure: bool
    """Whether it was encrypted on its way from there."""
    trusted: bool
    """Whether a proxy that is believed said so."""


def passed_on(peer: str | None, secure: bool, forwarded_for: Sequence[str], forwarded_proto: str | None, proxies: Collection[IPNetwork]) -> Passed:
    """Follows `X-Forwarded-For` from its end for as long as each hop is a proxy that is believed.

    Args:
        peer: the address at the other end of the connection.
        secure: whether the connection itself is encrypted.
        forwarded_for, forwarded_proto: the headers' values; for what was never believed they are ignored.
        proxies: the networks of proxies that are believed.
    """
    address = address_of(peer)
    hops = [hop for value in forwarded_for for hop in value.split(",")]
    trusted = False
    while address is not None and _within(address, proxies) and hops:
        trusted, address = True, address_of(hops.pop())
    return Passed(address, forwarded_proto == "https" if trusted and forwarded_proto else secure, trusted)


def _within(address: IPAddress, networks: Collection[IPNetwork]) -> bool:
    plain = _unmapped(address) or address
    return any(plain in network for network in networks)
