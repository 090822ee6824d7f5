"""An avatar of the gallery as a file for other programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from models.avatar_file import AvatarFile, read_avatar
from models.errors import BadFile
from models.export.frames import Frames
from models.export.gltf import export_glb
from models.export.obj import export_obj, zipped
from models.export.tables import write_json
from models.rest_pose import rest_pose
from realtime.errors import BadRequest, NotFound
from realtime.gallery import Entry


@dataclass(frozen=True, slots=True)
class Download:
    """A file to be saved."""

    name: str
    media_type: str
    data: bytes


def _json(avatar: AvatarFile, _: str) -> bytes:
    """Its card, the names and ranges of what it can do, and its rest pose."""
    rest = rest_pose(avatar.camera, avatar.ranges, avatar.weights)
    return write_json(avatar, Frames.of(rest, avatar.expression_names))


FORMATS: dict[str, tuple[str, str, Callable[[AvatarFile, str], bytes]]] = {
    "glb": (".glb", "model/gltf-binary", lambda avatar, _: export_glb(avatar)),
    "obj": (".zip", "application/zip", lambda avatar, stem: zipped(export_obj(avatar, stem))),
    "json": (".json", "application/json", _json),
}
"""Name → suffix, media type, and what makes it of an avatar and the stem of its files."""


def export(entry: Entry, name: str | None, today: date) -> Download:
    """Makes the file; takes up to seconds, so not on the event loop.

    Args:
        name: one of FORMATS.

    Raises:
        BadRequest: no such format.
        NotFound: the avatar can no longer be read, or its person's consent has ended.
    """
    if name not in FORMATS:
        raise BadRequest(f"format: expected one of {', '.join(FORMATS)}")
    suffix, media_type, make = FORMATS[name]
    try:
        avatar = read_avatar(entry.path)
        if not avatar.card.consent.valid_on(today):
            raise NotFound(f"the consent of the person it shows ended on {avatar.card.consent.expires}")
        return Download(f"{entry.id}{suffix}", media_type, make(avatar, entry.id))
    except BadFile as error:
        raise NotFound(f"the avatar cannot be used: {error}") from error
