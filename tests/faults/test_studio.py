"""A studio whose disk is full or whose database is locked: told so, nothing half-kept, and the live sessions do not notice."""

from __future__ import annotations

import asyncio
import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.house import House, house
from tests.studios import ANNA, CLIP, training_command

pytestmark = pytest.mark.faults

MOST_BYTES = 8 << 20
"""A little more than what a server and a renderer share, which counts too."""
LIMITED = ("sh", "-c", f'ulimit -f {MOST_BYTES >> 9} && exec "$@"', "sh")
"""No file of the server gets larger; to a program that writes, this is as a full disk (dash counts in 512 bytes)."""


def flags(folder: Path) -> tuple[str, ...]:
    """Of a server with a studio in there."""
    return ("--studio-dir", str(folder / "studio"), "--training-python", training_command(folder))


async def sent(at: House, content: bytes) -> tuple[int, dict[str, Any]]:
    async with at.http.post(f"{at.url}/studio/uploads", params={"name": "me.mp4"}, data=io.BytesIO(content)) as response:
        return response.status, await response.json(content_type=None)


async def checked(at: House) -> str:
    """The identifier of an upload that was found to be good."""
    status, upload = await sent(at, CLIP)
    assert status == 201, upload
    path = f"{at.url}/studio/uploads/{upload['id']}"
    async with asyncio.timeout(20.0):
        while True:
            async with at.http.get(path) as response:
                if (await response.json())["state"] == "good":
                    return str(upload["id"])
            await asyncio.sleep(0.1)


async def begun(at: House, upload: str) -> tuple[int, dict[str, Any]]:
    async with at.http.post(f"{at.url}/studio/jobs", json={"upload": upload, **ANNA}) as response:
        return response.status, await response.json(content_type=None)


async def test_a_full_disk_refuses_an_upload_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    async with house(*flags(tmp_path), prefix=LIMITED) as at:
        before = sorted(path for path in (tmp_path / "studio" / "uploads").rglob("*"))
        status, problem = await sent(at, b"x" * (MOST_BYTES + (2 << 20)))
        assert (status, problem["title"]) == (507, "Insufficient storage")
        assert "nothing was kept" in problem["detail"]
        assert sorted(path for path in (tmp_path / "studio" / "uploads").rglob("*")) == before
        await checked(at)


async def test_a_locked_database_is_told_and_waited_for(tmp_path: Path) -> None:
    async with house(*flags(tmp_path)) as at:
        upload = await checked(at)
        with closing(sqlite3.connect(tmp_path / "studio" / "studio.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            status, problem = await begun(at, upload)
            assert (status, problem["title"]) == (503, "Unavailable")
            assert "try again in a moment" in problem["detail"]
            other.execute("ROLLBACK")
        status, job = await begun(at, upload)
        assert status == 201, job
        async with asyncio.timeout(20.0):
            while job["state"] != "done":
                await asyncio.sleep(0.1)
                async with at.http.get(f"{at.url}/studio/jobs/{job['id']}") as response:
                    job = await response.json()
