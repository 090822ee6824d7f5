"""Names, origins, proxies."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from realtime.config import ServerConfig
from realtime.headers import add_security_headers
from realtime.hosts import Hosts, Passed, host_name, normal_origin, own_names, passed_on

PROXIES = (ip_network("127.0.0.1"), ip_network("172.18.0.0/16"), ip_network("fd00::/64"))


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Example.ORG:5000", "example.org"),
        ("example.org.", "example.org"),
        ("[::1]:5000", "::1"),
        ("::1", None),
        ("a b", None),
        ("a,b", None),
        ("user@a", None),
        (".", None),
        ("a:b", None),
        ("a:", None),
        ("é.example", None),
        ("a" * 300, None),
    ],
)
def test_host_names(header: str, name: str | None) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize(
    ("config", "header", "reached", "admitted"),
    [
        (ServerConfig(), "localhost:5000", "127.0.0.1", True),
        (ServerConfig(), "192.168.1.20", "127.0.0.1", False),
        (ServerConfig(), min(own_names()), "127.0.0.1", False),
        (ServerConfig(host="0.0.0.0"), "192.168.1.20:5000", "192.168.1.20", True),
        (ServerConfig(host="0.0.0.0"), "192.168.1.21:5000", "192.168.1.20", False),
        (ServerConfig(host="0.0.0.0"), min(own_names()), "192.168.1.20", True),
        (ServerConfig(host="::"), "[fd00::2]:5000", "fd00::2", True),
        (ServerConfig(host="::"), "192.168.1.20", "::ffff:192.168.1.20", True),
        (ServerConfig(host="::"), "[fd00::2]", "fd00::2%eth0", True),
        (ServerConfig(host="192.168.1.20"), "192.168.1.20", None, True),
        (ServerConfig(host="0.0.0.0"), "0.0.0.0", "192.168.1.20", False),
        (ServerConfig(host="0.0.0.0", public_ips=("203.0.113.7",)), "203.0.113.7", "172.17.0.2", True),
        (ServerConfig(allowed_hosts=("headcast.example.org",)), "headcast.example.org", "127.0.0.1", True),
        (ServerConfig(allowed_hosts=("headcast.example.org",)), "evil.headcast.example.org", "127.0.0.1", False),
    ],
)
def test_which_names_are_this_servers(config: ServerConfig, header: str, reached: str | None, admitted: bool) -> None:
    assert Hosts.of(config).admits(header, reached) is admitted


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Example.org", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:80", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("null", None),
        ("file://", None),
        ("https://user@example.org", None),
        ("https://example.org/", None),
        ("https://example.org:99999", None),
        ("chrome-extension://abc", None),
        ("https://", None),
        ("", None),
    ],
)
def test_origins(text: str, origin: str | None) -> None:
    assert normal_origin(text) == origin


@pytest.mark.parametrize(
    ("peer", "forwarded", "proto", "address", "secure"),
    [
        ("203.0.113.7", [], None, "203.0.113.7", False),
        ("203.0.113.7", ["198.51.100.1"], "https", "203.0.113.7", False),
        ("127.0.0.1", [], "https", "127.0.0.1", False),
        ("127.0.0.1", ["198.51.100.1"], "https", "198.51.100.1", True),
        ("127.0.0.1", ["6.6.6.6, 198.51.100.1"], "http", "198.51.100.1", False),
        ("127.0.0.1", ["6.6.6.6", "198.51.100.1, 172.18.0.9"], "https", "198.51.100.1", True),
        ("::ffff:127.0.0.1", ["198.51.100.1"], None, "198.51.100.1", False),
        ("fd00::7", ["2001:db8::1"], "https", "2001:db8::1", True),
        ("127.0.0.1", ["nonsense"], "https", None, True),
        (None, ["198.51.100.1"], "https", None, False),
    ],
)
def test_a_proxy_is_believed_as_far_as_it_is_on_the_list(peer: str | None, forwarded: list[str], proto: str | None, address: str | None, secure: bool) -> None:
    found = passed_on(peer, False, forwarded, proto, PROXIES)
    assert found == Passed(None if address is None else ip_address(address), secure, found.trusted)
    assert passed_on(peer, True, [], None, PROXIES).secure


@pytest.mark.parametrize(
    ("host", "secure", "strict"),
    [
        ("headcast.example.org", True, True),
        ("headcast.example.org:5000", True, True),
        ("headcast.example.org", False, False),
        ("localhost:5000", True, False),
        ("kitchen.local", True, False),
        ("kitchen", True, False),
        ("192.168.1.20", True, False),
        ("[2001:db8::1]", True, False),
    ],
)
def test_only_public_names_are_bound_to_https(host: str, secure: bool, strict: bool) -> None:
    """A browser that was told so of localhost would refuse every other server there."""
    headers: dict[str, str] = {}
    add_security_headers(headers, host, secure, None)
    assert ("Strict-Transport-Security" in headers) is strict
