"""The authority of this machine's own, and what it signs: who trusts it connects, who does not is refused."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientConnectorError, ClientSession, web
from cryptography import x509

from realtime import certificate
from realtime.certificate import CertificateError, Files, Names, ensure, fingerprint, main
from realtime.config import ConfigError, ServerConfig
from realtime.tls import tls_context

NOW = datetime.now(UTC)
NAMES = Names(frozenset({"localhost", "kitchen", "kitchen.local"}), frozenset({ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("192.168.1.20")}))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path / "certificates")
    assert ensure(files, NAMES, NOW) is True
    return files


@asynccontextmanager
async def serving(files: Files) -> AsyncIterator[int]:
    """A server with the certificate; its port."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    application = web.Application()
    application.add_routes([web.get("/", hello)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    context = tls_context(ServerConfig(cert_file=files.certificate, key_file=files.key))
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_keys_are_for_their_owner_only(files: Files) -> None:
    assert files.folder.stat().st_mode & 0o777 == 0o700
    for key in (files.authority_key, files.key):
        assert key.stat().st_mode & 0o777 == 0o600
    assert not list(files.folder.glob("*.part"))


async def test_who_trusts_the_authority_connects_and_who_does_not_is_refused(files: Files) -> None:
    trusting = ssl.create_default_context(cafile=files.authority)
    async with serving(files) as port, ClientSession() as http:
        for host in ("localhost", "127.0.0.1"):
            async with http.get(f"https://{host}:{port}/", ssl=trusting) as response:
                assert await response.text() == "hello"
        with pytest.raises(ClientConnectorCertificateError):
            await http.get(f"https://localhost:{port}/")


async def test_versions_and_ciphers_are_those_of_today(files: Files) -> None:
    context = tls_context(ServerConfig(cert_file=files.certificate, key_file=files.key))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    for cipher in context.get_ciphers():
        assert cipher["name"].startswith(("TLS_", "ECDHE-"))
        assert cipher["aead"]
    first = ssl.create_default_context(cafile=files.authority)
    first.maximum_version = ssl.TLSVersion.TLSv1_2
    first.set_ciphers("AES128-SHA256:ECDHE-ECDSA-AES128-SHA")
    async with serving(files) as port, ClientSession() as http:
        with pytest.raises(ClientConnectorError):
            await http.get(f"https://localhost:{port}/", ssl=first)


def test_it_is_kept_while_it_will_do_and_made_anew_by_the_same_authority_when_it_will_not(files: Files) -> None:
    authority, first = files.authority.read_bytes(), files.certificate.read_bytes()
    assert ensure(files, NAMES, NOW + timedelta(days=300)) is False
    fewer = replace(NAMES, addresses=frozenset({ipaddress.ip_address("127.0.0.1")}))
    assert ensure(files, fewer, NOW) is False
    elsewhere = replace(NAMES, addresses=NAMES.addresses | {ipaddress.ip_address("10.1.2.3")})
    assert ensure(files, elsewhere, NOW) is True
    second = files.certificate.read_bytes()
    assert ensure(files, elsewhere, NOW + timedelta(days=380)) is True
    assert len({first, second, files.certificate.read_bytes()}) == 3
    assert files.authority.read_bytes() == authority
    files.key.write_bytes(files.authority_key.read_bytes())
    assert ensure(files, elsewhere, NOW) is True, "the key of another certificate"


def test_the_authority_can_sign_for_private_networks_and_this_machine_only(files: Files) -> None:
    found = x509.load_pem_x509_certificate(files.authority.read_bytes())
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    limits = found.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    for stranger in (replace(NAMES, dns=frozenset({"bank.example"})), replace(NAMES, addresses=frozenset({ipaddress.ip_address("203.0.113.7")}))):
        with pytest.raises(CertificateError, match=r"may not sign for (bank|203)"):
            ensure(files, stranger, NOW)


def test_an_authority_that_ends_or_is_damaged_is_not_replaced_in_silence(files: Files) -> None:
    with pytest.raises(CertificateError, match="ends soon"):
        ensure(files, NAMES, NOW + timedelta(days=3640))
    files.authority.write_text("damaged")
    with pytest.raises(CertificateError, match="delete"):
        ensure(files, NAMES, NOW)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CertificateError, match="cannot be used"):
        ensure(Files(tmp_path / "file"), NAMES, NOW)


def test_this_machine_has_names_of_private_networks_only() -> None:
    names = Names.here(["headcast.lan", "203.0.113.7"])
    assert {"localhost", "headcast.lan"} <= names.dns
    assert ipaddress.ip_address("127.0.0.1") in names.addresses
    public = {address for address in names.addresses if not any(address in network for network in certificate.PRIVATE_NETWORKS)}
    assert public == {ipaddress.ip_address("203.0.113.7")}, "only what was asked for"


def test_the_command_says_how_to_trust_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--folder", str(tmp_path / "c"), "--name", "headcast.lan"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert "headcast.lan" in first
    assert fingerprint(Files(tmp_path / "c").authority) in first
    assert "iPhone" in first
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("There is")
    assert main([*arguments, "--name", "other.example"]) == 2
    assert "may not sign for other.example" in capsys.readouterr().err


def test_tls_auto_makes_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    assert tls_context(ServerConfig(tls_auto=True)) is not None
    assert Files(tmp_path / "certificates").certificate.exists()
    assert "python -m realtime.certificate says how" in caplog.text
    caplog.clear()
    assert tls_context(ServerConfig(tls_auto=True)) is not None
    assert not caplog.records
    with pytest.raises(ConfigError, match=r"--tls-auto: .*may not sign for x\.example"):
        tls_context(ServerConfig(tls_auto=True, allowed_hosts=("x.example",)))
    assert tls_context(ServerConfig()) is None
