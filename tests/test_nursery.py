"""The process that renderers are forked from, and the server's hand on it: what fails there costs at most the one who asked, and leaves nothing behind."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from realtime.errors import RendererLost
from realtime.renderers import nursery
from realtime.renderers.factory import RendererFactory
from realtime.renderers.nursery import Nursery
from tests.desks import until
from tests.kitchens import barren, changing, recipe, stuck
from tests.test_renderers import PATIENCE, SIZE, children, descriptors, made, packet, path_of

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="renderers have processes of their own on Linux only")


@pytest.fixture
def started() -> Iterator[Nursery]:
    started = Nursery(lambda: recipe(SIZE), SIZE)
    started.start()
    yield started
    started.close()


def test_a_fork_that_fails_is_the_trouble_of_who_asked(tmp_path: Path) -> None:
    sign = tmp_path / "no more processes"
    factory = RendererFactory(lambda: partial(barren, SIZE, sign), SIZE, path_of, patience=PATIENCE)
    factory.warm()
    zygote, bystander, open_files = factory.nursery.pid, made(factory), descriptors()
    sign.touch()
    with pytest.raises(RendererLost, match="no process"):
        made(factory)
    assert descriptors() == open_files
    sign.unlink()
    anew = made(factory)
    assert anew.step(packet()).i420[0, 0] == bystander.step(packet()).i420[0, 0] == 1
    assert factory.nursery.pid == zygote
    factory.close()


def test_a_file_that_changes_between_its_trial_and_its_use_does_no_harm(tmp_path: Path) -> None:
    factory = RendererFactory(lambda: partial(changing, SIZE, tmp_path / "there once"), SIZE, path_of, patience=PATIENCE)
    factory.warm()
    zygote, bystander = factory.nursery.pid, made(factory)
    until(lambda: (tmp_path / "after all").is_file() and len((tmp_path / "after all").read_text()) == 2)
    assert bystander.step(packet()).i420[0, 0] == 1
    assert factory.nursery.pid == zygote
    factory.close()


def test_memory_that_cannot_be_had_leaves_nothing_open(started: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("cannot allocate memory")

    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", full)
        with pytest.raises(RendererLost):
            started.fork()
    assert descriptors() == before
    started.end(started.fork())
    assert descriptors() == before


def test_a_process_that_cannot_be_started_is_started_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before, kindergarten = descriptors(), Nursery(lambda: recipe(SIZE), SIZE)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/no/such/python")
        with pytest.raises(RendererLost):
            kindergarten.fork()
    assert descriptors() == before
    kindergarten.end(kindergarten.fork())
    kindergarten.close()
    assert descriptors() == before


def test_a_renderer_of_a_former_process_is_never_taken_for_a_new_one(started: Nursery) -> None:
    old = started.fork()
    assert started.pid is not None
    os.kill(started.pid, 9)
    until(lambda: not old.connection.poll(0) or started.pid is None)
    with pytest.raises(RendererLost):
        started.fork()
    anew = started.fork()
    assert started.end(replace(old, pid=anew.pid)) is None, "identifiers of processes come again"
    assert anew.pid in children()
    started.end(anew)


def test_one_that_never_gets_warm_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "WARM_S", 0.3)
    before, kindergarten = children(), Nursery(lambda: partial(stuck, 1000.0), SIZE)
    with pytest.raises(RendererLost):
        kindergarten.fork()
    assert children() == before
    kindergarten.close()


def test_closing_does_not_wait_for_one_that_is_just_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    kindergarten = Nursery(lambda: partial(stuck, 1000.0), SIZE)
    before, popen, closing = children(), subprocess.Popen, threading.Thread(target=kindergarten.close)

    def meanwhile(*arguments: object, **named: object) -> object:
        closing.start()
        time.sleep(0.1)
        return popen(*arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", meanwhile)
    with pytest.raises(RendererLost):
        kindergarten.start()
    closing.join(5.0)
    assert not closing.is_alive()
    assert children() == before
