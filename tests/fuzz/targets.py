"""Every target by name; made only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz import files, media, texts
from tests.fuzz.target import Target

TARGETS: dict[str, Callable[[], Target]] = {
    "offer": texts.offer,
    "answer": texts.answer,
    "fragment": texts.fragment,
    "control": texts.messages,
    "body": texts.bodies,
    "query": texts.queries,
    "users": texts.users,
    "picture": files.pictures,
    "avatar": files.avatars,
    "avatar-header": files.avatar_headers,
    "consent": files.consents,
    "flame-pickle": files.flame_pickles,
    "flame-npz": files.flame_archives,
    "obj": files.texture_objects,
    "video": files.videos,
    "rtp": media.rtp,
    "rtcp": media.rtcp,
    "coded-size": media.coded_sizes,
    "coded-picture": media.coded_pictures,
}
SLOW = frozenset({"answer", "video", "coded-picture"})
"""Whose work is mostly not ours, or takes milliseconds an input: fewer inputs."""
