"""Who has signed in with a browser: a random secret in a cookie stands for the token, so that the token itself is neither kept nor sent again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from realtime.access import People, Person, digest, new_token

LIFETIME_S = 7 * 24 * 3600
MAX_LOGINS = 1024
"""Of more, the oldest end."""
MOST_OF_ONE = 32
"""With one token: whoever signs in again and again ends nobody else's."""


@dataclass(frozen=True, slots=True)
class _Login:
    token: str
    """Digest of the token that it was opened with: it ends with that."""
    until_s: float


class Logins:
    """Args: those who may enter, who are asked again each time."""

    def __init__(self, people: People, capacity: int = MAX_LOGINS) -> None:
        self._people = people
        self._capacity = capacity
        self._logins: OrderedDict[str, _Login] = OrderedDict()

    def __len__(self) -> int:
        return len(self._logins)

    def open(self, token: str, now_s: float) -> str:
        """A new one's secret. `token`: the digest that `People.identify` gave."""
        secret = new_token()
        own = [key for key, login in self._logins.items() if login.token == token]
        if len(own) >= MOST_OF_ONE:
            del self._logins[own[0]]
        self._logins[digest(secret)] = _Login(token, now_s + LIFETIME_S)
        while len(self._logins) > self._capacity:
            self._logins.popitem(last=False)
        return secret

    def person(self, secret: str, now_s: float) -> Person | None:
        """Whose it is; None: nobody's, or nobody's any more."""
        key = digest(secret)
        login = self._logins.get(key)
        person = None if login is None or now_s > login.until_s else self._people.again(login.token)
        if person is None:
            self._logins.pop(key, None)
        return person

    def close(self, secret: str) -> None:
        self._logins.pop(digest(secret), None)
