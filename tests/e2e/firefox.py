"""Firefox without a window, moved over Marionette: the protocol of its own tests, commands as JSON over a socket that only this machine reaches."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.browser import eventually

START_S = 60.0
ANSWER_S = 30.0
PREFERENCES = {
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "marionette.port": 0,
    "media.autoplay.default": 0,
    "media.gmp-manager.updateEnabled": False,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}
"""A fake camera without a question, and nobody called."""
_COMPLAINTS = """
const errors = Services.console.getMessageArray().filter((one) => one instanceof Ci.nsIScriptError && one.sourceName.startsWith(arguments[0]));
return errors.map((one) => one.errorMessage);
"""


class Firefox:
    """One tab.

    Args:
        port: where Marionette listens.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), ANSWER_S)
        self._rest = b""
        self._last = 0
        self._receive()
        self.command("WebDriver:NewSession", {})

    def command(self, name: str, fields: dict[str, Any]) -> Any:
        """What the browser answers.

        Raises:
            AssertionError: it refused; with its words.
        """
        self._last += 1
        message = json.dumps([0, self._last, name, fields]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, answer = self._receive()
        assert error is None, f"{name}: {error}"
        return answer

    def _receive(self) -> Any:
        """The next message: its length in bytes, a colon, JSON."""
        while b":" not in self._rest:
            self._more()
        length, _, self._rest = self._rest.partition(b":")
        while len(self._rest) < int(length):
            self._more()
        message, self._rest = self._rest[: int(length)], self._rest[int(length) :]
        return json.loads(message)

    def _more(self) -> None:
        more = self._socket.recv(1 << 20)
        assert more, "Firefox hung up"
        self._rest += more

    def open(self, url: str) -> None:
        self.command("WebDriver:Navigate", {"url": url})

    def evaluate(self, expression: str) -> Any:
        """A value of the page."""
        return self.command("WebDriver:ExecuteScript", {"script": f"return {expression}", "args": []})["value"]

    def wait(self, expression: str) -> None:
        """Until it holds in the page."""
        eventually(lambda: self.evaluate(expression), f"{expression} in Firefox", 30.0)

    def wait_data(self, name: str, value: str) -> None:
        """Until the body's `data-NAME` is `value`."""
        self.wait(f"document.body.getAttribute('data-{name}') === '{value}'")

    def click(self, selector: str) -> None:
        self.command("WebDriver:ElementClick", {"id": self._element(selector)})

    def type(self, selector: str, text: str) -> None:
        """Into a field; for one that takes a file, its path."""
        self.command("WebDriver:ElementSendKeys", {"id": self._element(selector), "text": text})

    def press(self, key: str) -> None:
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.command("WebDriver:PerformActions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def _element(self, selector: str) -> str:
        (identifier,) = self.command("WebDriver:FindElement", {"using": "css selector", "value": selector})["value"].values()
        return str(identifier)

    def complaints(self, url: str) -> list[str]:
        """What the browser itself holds against pages and scripts below `url`: errors nobody caught, what it refused or warns of."""
        self.command("Marionette:SetContext", {"value": "chrome"})
        found = self.command("WebDriver:ExecuteScript", {"script": _COMPLAINTS, "args": [url], "sandbox": "system"})["value"]
        self.command("Marionette:SetContext", {"value": "content"})
        return list(found)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def firefox(executable: str, folder: Path) -> Iterator[Firefox]:
    """A fresh one.

    Args:
        executable: its path.
        folder: an empty one, for its profile.
    """
    (folder / "user.js").write_text("".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()))
    command = [executable, "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", str(folder)]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | {"HOME": str(folder)}, stdout=output, stderr=output)
    try:
        tab = Firefox(_port(folder / "MarionetteActivePort", process))
        try:
            yield tab
        finally:
            tab.close()
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        finally:
            process.kill()
            process.wait()


def _port(path: Path, process: subprocess.Popen[bytes]) -> int:
    """What Firefox writes down once it listens."""
    deadline = time.monotonic() + START_S
    while not path.is_file() or not (text := path.read_text().strip()):
        assert process.poll() is None, f"Firefox ended with {process.returncode}"
        assert time.monotonic() < deadline, f"Firefox was not there in {START_S} s"
        time.sleep(0.05)
    return int(text)
