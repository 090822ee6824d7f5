"""What people opened ends when their token does, or the role that they had."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from realtime import guests
from realtime.access import Role, User, digest, write_users
from realtime.gate import GUESTS
from realtime.signaling import SESSIONS
from tests.guarded import ANNA, OWNER, VERA, Client, bearer, guarded
from tests.peers import calling, until
from tests.whip_client import NAME, OFFER, offering

EVERYONE = (User("anna", Role.PUPPETEER, digest(ANNA)), User("vera", Role.VIEWER, digest(VERA)))


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users.json"
    write_users(path, EVERYONE)
    return path


@pytest.fixture
async def client(users: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(guests, "LOOK_EVERY_S", 0.02)
    async with guarded(users, max_sessions=3) as client:
        yield client


@pytest.mark.parametrize(
    "anna",
    [None, User("anna", Role.VIEWER, digest(ANNA)), User("anna", Role.PUPPETEER, digest(VERA * 2))],
    ids=["removed", "of another role", "with another token"],
)
async def test_sessions_end_with_their_token(client: Client, users: Path, anna: User | None) -> None:
    sessions = client.app[SESSIONS]
    async with calling() as page, offering("sendonly") as camera, offering("sendonly") as other:
        for token, offer, name in ((ANNA, camera, NAME), (OWNER, other, "owners-camera")):
            assert (await client.post(f"/whip/ada?session={name}", data=offer.sdp, headers=OFFER | bearer(token))).status == 201
        assert (await client.post("/offer", json={"sdp": page.sdp, "type": "offer"}, headers=bearer(ANNA))).status == 200
        assert len(sessions) == 3
        write_users(users, [*([] if anna is None else [anna]), EVERYONE[1]])
        await until(lambda: len(sessions) == 1)
        assert sessions.get("owners-camera")


async def test_who_watches_is_shown_out_alone(client: Client, users: Path) -> None:
    async with offering("sendonly") as camera, offering("recvonly") as hers, offering("recvonly") as his:
        assert (await client.post(f"/whip/ada?session={NAME}", data=camera.sdp, headers=OFFER | bearer(ANNA))).status == 201
        for viewer, token in ((hers, VERA), (his, OWNER)):
            assert (await client.post(f"/whep/{NAME}", data=viewer.sdp, headers=OFFER | bearer(token))).status == 201
        session = client.app[SESSIONS].get(NAME)
        assert len(session.audience) == 2
        write_users(users, EVERYONE[:1])
        await until(lambda: len(session.audience) == 1)
        assert len(client.app[SESSIONS]) == 1


async def test_others_stay_when_the_file_changes(client: Client, users: Path) -> None:
    async with offering("sendonly") as camera:
        assert (await client.post(f"/whip/ada?session={NAME}", data=camera.sdp, headers=OFFER | bearer(ANNA))).status == 201
        write_users(users, [*EVERYONE, User("bo", Role.VIEWER, digest("somebody-elses-token"))])
        client.app[GUESTS].look()
        assert len(client.app[SESSIONS]) == 1
