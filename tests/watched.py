"""Runs a module while it may talk to this machine only: `python -m tests.watched MODULE ARGUMENTS…`.

An audit hook sees every look-up of a name, every connection and every datagram; what would leave the machine is written to stderr, as `NETWORK …`, and refused.
"""

from __future__ import annotations

import ipaddress
import runpy
import socket
import sys

import psutil

MARK = "NETWORK"
LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
TRAFFIC = {"socket.connect", "socket.sendto", "socket.sendmsg"}


def own_addresses() -> set[str]:
    """Every address of this machine."""
    found = {
        address.address.split("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    }
    return found | {"127.0.0.1", "::1"}


def stays_here(host: object, own: set[str]) -> bool:
    """Whether an address or a name needs nobody outside this machine."""
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host in (None, "", "localhost"):
        return True
    if not isinstance(host, str):
        return False
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or str(address) in own


def watch() -> None:
    """Puts the hook up, for good."""
    own = own_addresses()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in LOOKUPS:
            target = arguments[0][0] if isinstance(arguments[0], tuple) else arguments[0]
        elif event in TRAFFIC:
            address = arguments[1]
            if not isinstance(address, tuple):
                return
            target = address[0]
        else:
            return
        if not stays_here(target, own):
            print(f"{MARK} {event} {target!r}", file=sys.stderr, flush=True)
            raise PermissionError(f"{event} would leave this machine")

    sys.addaudithook(hook)


if __name__ == "__main__":
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    watch()
    runpy.run_module(module, run_name="__main__", alter_sys=True)
