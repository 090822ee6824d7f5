"""The whole way from a camera in a browser to a VTuber program's port."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.e2e.browser import Headcast
from tests.e2e.server_process import ServerProcess
from tests.test_vmc import Message, Receiver, bones, shapes

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def received(receiver: Receiver, seconds: float) -> list[Message]:
    messages, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        messages += receiver.messages()
        time.sleep(0.05)
    return messages


def test_a_session_moves_a_vtuber_programs_model(browser: Browser, tmp_path: Path) -> None:
    receiver = Receiver()
    server = ServerProcess(tmp_path / "log.txt", "--vmc", f"localhost:{receiver.port}")
    try:
        server.start()
        with browser.new_context() as context:
            headcast = Headcast(context.new_page(), server.url).go_live()
            headcast.wait_data("tracking", "ok")
            messages = received(receiver, 4.0)
            headcast.page.click("#power")
            headcast.wait_phase("idle")
            last = received(receiver, 2.0)
            assert received(receiver, 1.0) == [], "nobody is there: nothing is sent"
    finally:
        server.stop()
        receiver.socket.close()
    frames = [index for index, (address, _) in enumerate(messages) if address == "/VMC/Ext/Blend/Apply"]
    assert len(frames) > 20
    told = [messages[start + 1 : end + 1] for start, end in pairwise(frames)]
    values = np.array([list(shapes(frame).values()) for frame in told])
    assert values.shape[1] == 52
    assert values.min() >= 0.0
    assert values.max() <= 1.0
    assert np.ptp(values, axis=0).max() > 0.1, "a face that moves"
    turns = np.array([bones(frame)["Head"] for frame in told])
    assert np.allclose(np.linalg.norm(turns, axis=1), 1.0, atol=1e-5)
    assert set(list(shapes(last).values())[-52:]) == {0.0}, "left at rest"
