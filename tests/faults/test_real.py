"""The real server with the real stages: an avatar's file is damaged while it runs, and its own processes go with it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models.weights import weights_folder
from realtime.gallery import SHIPPED
from realtime.reenactor import LANDMARKER
from tests.faults.house import house

pytestmark = pytest.mark.faults

GAP_S = 2.0
"""The real stages want more of two cores than fakes."""


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "overwritten": lambda whole: b"x" * len(whole),
    "emptied": lambda whole: b"",
}


@pytest.mark.skipif(not (weights_folder() / LANDMARKER).is_file(), reason="the face landmarker is not on this machine; python -m models.weights fetch")
async def test_an_avatar_that_is_damaged_under_a_running_server_is_refused_and_the_old_one_stays_on(tmp_path: Path) -> None:
    shutil.copy(SHIPPED / "theo.avatar", damaged := tmp_path / "broken.avatar")
    flags = ("--avatars-dir", str(tmp_path), "--avatar", "mara", "--size", "256")
    async with house(*flags, command=("server.py",), stamped=False, gap_s=GAP_S) as at:
        client = await at.call()
        await at.until_live(2)
        whole = damaged.read_bytes()
        for number, damage in enumerate(DAMAGES.values()):
            damaged.write_bytes(damage(whole))
            await client.say({"v": 1, "type": "set_avatar", "avatar": "broken", "id": number})
            await asyncio.sleep(1.5)
        assert await at.sessions() == 2
        report = await client.leave()
        errors = [message for message in report["messages"] if message["type"] == "error"]
        assert [(error["of"], error["id"]) for error in errors] == [("set_avatar", number) for number in range(len(DAMAGES))]
        for error in errors:
            assert "cannot be used" in error["message"]
            assert str(tmp_path) not in error["message"]
        assert (report["stats"]["avatar"], report["stats"]["state"]) == ("mara", "live")
