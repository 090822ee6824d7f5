"""What every test shares: an installation of its own, whose key signs what tests make; never that of whoever runs them. And which tests may share a machine."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.consent.keys import VARIABLE

ALONE_FOLDERS = {"e2e", "faults", "leaks"}
ALONE_MODULES = {"asyncio", "psutil", "signal", "threading", "time"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as `alone` what another test beside it could disturb: whatever runs on an event loop, or is in a module that knows clocks, threads or signals.

    A module that only waits for a process to end is none of them. Those marked `beside` come first: the long ones, left to the end, would idle a worker.
    """
    for item in items:
        function, module = getattr(item, "function", None), getattr(item, "module", None)
        folder = item.path.parent.name
        if item.get_closest_marker("beside"):
            continue
        if folder in ALONE_FOLDERS or inspect.iscoroutinefunction(function) or ALONE_MODULES & vars(module).keys():
            item.add_marker("alone")
    items.sort(key=lambda item: item.get_closest_marker("beside") is None)


@pytest.fixture(scope="session", autouse=True)
def own_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of keys, of this process and of all that it starts."""
    before = os.environ.get(VARIABLE)
    folder = tmp_path_factory.mktemp("keys")
    os.environ[VARIABLE] = str(folder)
    yield folder
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before
