"""An avatar that is deleted is worn by nobody from then on."""

from __future__ import annotations

from realtime.session import SessionState
from tests.fakes import FakeFactory
from tests.peers import calling, house, until


async def test_whoever_wears_an_avatar_that_is_gone_wears_another() -> None:
    async with house(FakeFactory(128)) as server, calling() as peer:
        session = await server.call(peer)
        await until(lambda: session.state is SessionState.LIVE)
        assert session.stats()["avatar"] == "ada"
        server.sessions.take_off("bo", "ada", "bo is gone")
        server.sessions.take_off("ada", "bo", "ada is gone")
        await until(lambda: session.stats()["avatar"] == "bo")
        assert [reenactor.avatar_id for reenactor in server.factory.made] == ["bo"]
