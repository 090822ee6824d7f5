"""What every test shares: an installation of its own, whose key signs what tests make; never that of whoever runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.consent.keys import VARIABLE


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
