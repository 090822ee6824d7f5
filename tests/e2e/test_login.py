"""A server that lets in only people it knows, over https by its own authority: signing in and out, a viewer, and the end of a session in which nobody moves."""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from realtime.access import Role, User, digest, new_token, write_users
from realtime.certificate import Files, Names, ensure
from tests.e2e.browser import DESKTOP, PHONE, Headcast, eventually
from tests.e2e.conftest import MakeBrowser
from tests.e2e.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OWNER, ANNA, VERA = new_token(), new_token(), new_token()
TOKENS = (OWNER, ANNA, VERA)
IDLE_S = 16


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    files = Files(tmp_path_factory.mktemp("certificates"))
    ensure(files, Names(frozenset({"localhost"}), frozenset({ipaddress.ip_address("127.0.0.1")})), datetime.now(UTC))
    return files


@pytest.fixture(scope="module")
def guarded(chromium: str, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(OWNER)
    write_users(folder / "users.json", [User("anna", Role.PUPPETEER, digest(ANNA)), User("vera", Role.VIEWER, digest(VERA))])
    entrance = ("--token-file", str(folder / "token"), "--users", str(folder / "users.json"), "--idle-timeout", str(IDLE_S))
    process = ServerProcess(folder / "log.txt", *entrance, "--cert-file", str(files.certificate), "--key-file", str(files.key))
    process.url = process.url.replace("http:", "https:")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "SSL_CERT_FILE", str(files.authority))
        try:
            process.start()
            yield process
        finally:
            process.stop()


@pytest.fixture(scope="module")
def trusting(make_browser: MakeBrowser, face_camera: Path, files: Files) -> Iterator[Browser]:
    """A browser that takes this server's certificate, by the hash of its key, and no other unknown one."""
    key = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_key()
    hashed = hashes.Hash(hashes.SHA256())
    hashed.update(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    with make_browser(face_camera, f"--ignore-certificate-errors-spki-list={base64.b64encode(hashed.finalize()).decode()}") as browser:
        yield browser


def sign_in(page: Page, token: str) -> None:
    """By keyboard, as a person whose token is in the clipboard does."""
    page.wait_for_selector("body[data-phase=ready]")
    page.keyboard.insert_text(token)
    page.keyboard.press("Enter")


def test_a_browser_that_does_not_trust_the_authority_is_warned(browser: Browser, guarded: ServerProcess) -> None:
    from playwright.sync_api import Error

    with browser.new_context() as context, pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        context.new_page().goto(guarded.url)


def test_sign_in_go_live_and_sign_out(trusting: Browser, guarded: ServerProcess, artefacts: Path) -> None:
    with trusting.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), guarded.url)
        page = headcast.page
        page.goto(f"{guarded.url}/?session=annas-camera")
        assert page.url.startswith(f"{guarded.url}/login?next=")
        sign_in(page, "wrong-token-0123456789")
        page.wait_for_selector("#problem:not(:empty)")
        assert "not known here" in headcast.text("#problem")
        assert page.get_attribute("#token", "aria-invalid") == "true"
        assert page.evaluate("document.activeElement.id") == "token"
        headcast.shoot(artefacts, "login-wrong")
        page.focus("#token")
        page.keyboard.press("Control+A")
        sign_in(page, ANNA)
        page.wait_for_selector("body[data-phase=idle]")
        page.wait_for_load_state()
        assert page.url == f"{guarded.url}/?session=annas-camera", "back where they came from"
        (cookie,) = context.cookies()
        assert cookie["name"] == "__Host-headcast"
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
        assert page.evaluate("document.cookie") == ""

        headcast.start()
        headcast.wait_phase("live")
        headcast.wait_picture()
        before = headcast.frames_shown()
        eventually(lambda: headcast.frames_shown() > before + 10, "ten more frames of the avatar")

        stored = str(page.evaluate("JSON.stringify([localStorage, sessionStorage])"))
        seen = "\n".join([*headcast.requests, *headcast.complaints, stored, guarded.output(), page.content()])
        assert not any(token in seen for token in TOKENS)

        headcast.press("Escape")
        headcast.wait_phase("idle")
        page.wait_for_selector("#sign-out:visible")
        assert page.get_attribute("#sign-out", "title") == "Sign out (anna, puppeteer)"
        page.click("#sign-out")
        page.wait_for_url(f"{guarded.url}/login")
        page.goto(guarded.url)
        assert page.url.startswith(f"{guarded.url}/login"), "it is over"


def test_a_session_in_which_nobody_moves_ends_and_stays_ended(trusting: Browser, guarded: ServerProcess, artefacts: Path) -> None:
    with trusting.new_context(viewport=DESKTOP) as context:
        headcast = Headcast(context.new_page(), guarded.url)
        headcast.page.goto(guarded.url)
        sign_in(headcast.page, OWNER)
        headcast.page.wait_for_selector("body[data-phase=idle]")
        headcast.page.wait_for_load_state()
        headcast.page.check("input[value=sliders]", force=True)
        headcast.start()
        headcast.wait_phase("live")
        headcast.page.wait_for_selector("#toast-text:has-text('Nobody moves')")
        headcast.wait_phase("error")
        assert headcast.text("#message-title") == "Ended, since nobody moved"
        headcast.shoot(artefacts, "ended-idle")
        headcast.page.wait_for_timeout(2500)
        assert headcast.page.get_attribute("body", "data-phase") == "error", "it does not come back by itself"
        assert guarded.sessions() == 0
        headcast.page.click("#message-action")
        headcast.wait_phase("live")


def test_a_viewer_watches_and_cannot_drive(trusting: Browser, guarded: ServerProcess, artefacts: Path) -> None:
    with trusting.new_context(viewport=DESKTOP) as drivers, trusting.new_context(viewport=PHONE) as viewers:
        driver = Headcast(drivers.new_page(), guarded.url)
        driver.page.goto(f"{guarded.url}/?session=annas-camera")
        sign_in(driver.page, ANNA)
        driver.page.wait_for_selector("body[data-phase=idle]")
        driver.page.wait_for_load_state()
        driver.start()
        driver.wait_phase("live")

        viewer = Headcast(viewers.new_page(), guarded.url)
        viewer.page.goto(f"{guarded.url}/obs/annas-camera")
        viewer.shoot(artefacts, "login-phone")
        viewer.page.focus("#token")
        sign_in(viewer.page, VERA)
        viewer.page.wait_for_url(f"{guarded.url}/obs/annas-camera")
        viewer.page.wait_for_selector("body[data-phase=live]")
        viewer.page.goto(guarded.url)
        assert viewer.page.url == f"{guarded.url}/viewer.html"
        viewer.shoot(artefacts, "viewer-phone")
        statuses = viewer.page.evaluate(
            """async () => Promise.all([['offer', 'POST'], ['whip/mara', 'POST'], ['sessions/annas-camera', 'DELETE'], ['studio/avatars', 'GET']]
            .map(async ([path, method]) => (await fetch(`/${path}`, { method })).status))"""
        )
        assert statuses == [403] * 4
        viewer.page.fill("#session", f"{guarded.url}/obs/annas-camera")
        viewer.page.keyboard.press("Enter")
        viewer.page.wait_for_url(f"{guarded.url}/watch.html?session=annas-camera")
        viewer.page.wait_for_selector("body[data-phase=live]")
