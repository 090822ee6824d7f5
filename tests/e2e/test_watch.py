"""Watching an avatar that somebody else drives: the page for OBS's browser source, and any page that speaks WHEP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.browser import Headcast, eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

PLAY = """async ([url, codec]) => {
  const peer = new RTCPeerConnection();
  const transceiver = peer.addTransceiver('video', { direction: 'recvonly' });
  const codecs = RTCRtpReceiver.getCapabilities('video').codecs;
  transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === `video/${codec}`));
  const video = document.createElement('video');
  video.muted = video.autoplay = true;
  video.srcObject = new MediaStream([transceiver.receiver.track]);
  document.body.append(video);
  const shown = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
  await peer.setLocalDescription();
  const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: peer.localDescription.sdp });
  await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  await shown;
  const stats = [...(await peer.getStats()).values()];
  const inbound = stats.find(({ type }) => type === 'inbound-rtp');
  return { status: response.status, codec: stats.find(({ id }) => id === inbound.codecId).mimeType, width: video.videoWidth };
}"""


def session_of(headcast: Headcast) -> str:
    return str(headcast.page.evaluate("sessionStorage.getItem('headcast.session')"))


@contextmanager
def another_tab(headcast: Headcast) -> Iterator[Page]:
    page = headcast.page.context.new_page()
    try:
        yield page
    finally:
        page.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_bare_page_plays_whep(headcast: Headcast, codec: str) -> None:
    headcast.go_live()
    with another_tab(headcast) as page:
        page.goto(f"{headcast.url}/watch.html")
        played: dict[str, Any] = page.evaluate(PLAY, [f"{headcast.url}/whep/{session_of(headcast)}", codec])
        assert played == {"status": 201, "codec": f"video/{codec}", "width": 512}


def test_the_watching_page_comes_and_goes_with_its_session(headcast: Headcast, artefacts: Path) -> None:
    headcast.go_live()
    with another_tab(headcast) as page:
        page.goto(f"{headcast.url}/watch.html?session={session_of(headcast)}")
        page.wait_for_selector("body[data-phase=live]")
        frames = "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames"
        eventually(lambda: page.evaluate(frames) > 10, "the avatar to move")
        page.screenshot(path=artefacts / "watching.png", omit_background=True)
        headcast.page.goto("about:blank")
        page.wait_for_selector("body[data-phase=waiting]")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
