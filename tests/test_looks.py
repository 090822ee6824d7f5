"""How a session looks, in the query of a WHIP or WHEP request."""

from __future__ import annotations

import pytest

from realtime.errors import BadRequest
from realtime.looks import Look, Wishes, read_look
from tests import fakes
from tests.peers import calling, house, until
from tests.test_signaling import problem_of
from tests.whip_client import NAME, OFFER, offering, studio

AVATARS = ("ada", "bo")


def test_a_whole_look() -> None:
    look = read_look({"avatar": "bo", "background": "#00ff00", "mirror": "1", "session": "x"}, AVATARS)
    assert look == Look("bo", "#00ff00", True)
    reenactor = fakes.FakeReenactor(fakes.Behaviour(), "ada", 64)
    for command in look.commands:
        command.apply(reenactor)
    assert reenactor.avatar_id == "bo"
    assert reenactor.calls == [("background", "#00ff00"), ("mirror", True)]


def test_what_is_not_asked_for_stays() -> None:
    assert read_look({}, AVATARS).commands == ()


@pytest.mark.parametrize(("name", "value"), [("avatar", "nobody"), ("avatar", ""), ("background", "blue"), ("background", "#00ff0"), ("mirror", "yes")])
def test_what_cannot_be_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=f"^{name}: expected"):
        read_look({name: value}, AVATARS)


async def test_cameras_and_viewers_say_how_it_looks() -> None:
    async with studio(fakes.config(size=192)) as house, offering("sendonly") as camera, offering("recvonly") as viewer:
        response = await house.http.post(f"/whip/ada?session={NAME}&background=green", data=camera.sdp, headers=OFFER)
        assert response.status == 201
        await camera.accept(await response.text())
        response = await house.http.post(f"/whep/{NAME}?background=%23102030&mirror=1&avatar=bo", data=viewer.sdp, headers=OFFER)
        assert response.status == 201
        [reenactor] = house.factory.made
        await until(lambda: ("mirror", True) in reenactor.calls)
        assert reenactor.calls == [("background", "green"), ("background", "#102030"), ("mirror", True)]
        await until(lambda: house.session().stats()["avatar"] == "bo")


@pytest.mark.parametrize("path", ["/whip/ada?background=blue", f"/whep/{NAME}?background=blue"])
async def test_a_look_that_cannot_be_opens_nothing(path: str) -> None:
    async with studio(fakes.config(size=192)) as house, offering("sendonly") as camera, offering("recvonly") as viewer:
        await house.publish(camera)
        offer = camera.sdp if "whip" in path else viewer.sdp
        await problem_of(await house.http.post(path, data=offer, headers=OFFER), 400)
        assert len(house.sessions) == 1
        assert len(house.session().audience) == 0


async def test_the_settings_that_a_page_opens_with_do_not_undo_a_wish_and_later_ones_do() -> None:
    now = 100.0
    async with house() as server, calling() as page:
        session = await server.call(page)
        session._wishes = Wishes(lambda: now)
        session.wear(Look(background="green"))
        await until(lambda: page.of("state"))
        page.say({"type": "set_background", "background": "avatar", "id": 1})
        await until(lambda: page.of("ack"))
        [reenactor] = server.factory.made
        await until(lambda: len(reenactor.calls) == 3)
        assert reenactor.calls == [("background", "green"), ("background", "avatar"), ("background", "green")]
        now += Wishes.OPENING_S
        page.say({"type": "set_background", "background": "checker", "id": 2})
        await until(lambda: len(page.of("ack")) == 2)
        assert reenactor.calls[3:] == [("background", "checker")]


def test_of_two_wishes_the_newer_holds() -> None:
    wishes = Wishes(lambda: 0.0)
    wishes.add(Look(background="green", mirror=True))
    assert wishes.after_settings == Look()
    wishes.connected()
    wishes.add(Look(background="#102030"))
    assert wishes.after_settings == Look(background="#102030", mirror=True)
