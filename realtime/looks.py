"""How WHIP and WHEP clients, which have no control channel, ask a session to look: in the query, `?avatar=mara&background=green&mirror=1`."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import asdict, dataclass, replace

from realtime.control import BACKGROUNDS, Mirror, SetAvatar, SetBackground
from realtime.errors import BadRequest
from realtime.reenactor import Action

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_SWITCH = {"1": True, "0": False}


def is_background(name: str) -> bool:
    """Whether it is a background's name, or a colour `#rrggbb`."""
    return name in BACKGROUNDS or _COLOUR.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Look:
    """What is asked for; None: as it is."""

    avatar: str | None = None
    background: str | None = None
    mirror: bool | None = None

    @property
    def commands(self) -> tuple[Action, ...]:
        """What makes an avatar look so."""
        avatar = () if self.avatar is None else (SetAvatar(self.avatar),)
        background = () if self.background is None else (SetBackground(self.background),)
        return (*avatar, *background, *(() if self.mirror is None else (Mirror(self.mirror),)))


class Wishes:
    """What those who watch a session have asked for so far. A page sends its own settings as soon as it has connected; they do not undo a wish, later ones do.

    Args:
        clock: seconds.
    """

    OPENING_S = 2.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._connected_s: float | None = None
        self._look = Look()

    def connected(self) -> None:
        """The page has connected now."""
        self._connected_s = self._clock()

    def add(self, look: Look) -> None:
        """The newest of each kind holds."""
        asked = {name: value for name, value in asdict(look).items() if value is not None}
        self._look = replace(self._look, **asked)

    @property
    def after_settings(self) -> Look:
        """What a page's settings leave standing, if they come now."""
        opening = self._connected_s is not None and self._clock() - self._connected_s < self.OPENING_S
        return self._look if opening else Look()


def read_look(query: Mapping[str, str], avatars: Container[str]) -> Look:
    """The look in a query; what else it holds is not looked at.

    Args:
        avatars: identifiers of those that there are.

    Raises:
        BadRequest: with what was expected.
    """
    avatar, background, mirror = (query.get(name) for name in ("avatar", "background", "mirror"))
    if avatar is not None and avatar not in avatars:
        raise BadRequest("avatar: expected an identifier from GET /avatars")
    if background is not None and not is_background(background):
        raise BadRequest(f"background: expected one of {', '.join(BACKGROUNDS)} or #rrggbb")
    if mirror is not None and mirror not in _SWITCH:
        raise BadRequest("mirror: expected 1 or 0")
    return Look(avatar, background, None if mirror is None else _SWITCH[mirror])
