"""`python -m training.default_avatars --out assets/avatars`: makes the synthetic people anew, each a file of its own.

Nobody signs them, for the key would have to be kept: `digests` beside them says which files are meant, and a Headcast believes only its own list.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar_tensors, write_avatar
from models.avatar_parts import AvatarCard, Consent, PortraitCamera, TrainedRange
from models.consent.signature import content_digest
from models.head import HeadModel, load_head
from models.image_blob import encode_image
from training.default_avatars.backdrop import paint_room
from training.default_avatars.compose import REGIONS, Figure, compose
from training.default_avatars.people import PEOPLE, Person
from training.default_avatars.portrait import portrait

CAMERA = PortraitCamera(focal=1.62, translation=(0.0, 0.020, -0.62))
"""A head with hair fills six tenths of the picture's height; the shoulders run out of it."""
TEXTURE_QUALITY = 92
THUMBNAIL_PX = 512
STATEMENT = "An invented person, modelled and painted by a program from an open head; no one's likeness was used."


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.default_avatars", description="Makes the synthetic people that Headcast ships.")
    parser.add_argument("--head", type=Path, default=Path("assets/open_head.safetensors"), help="the open head, with its landmarks")
    parser.add_argument("--out", type=Path, default=Path("assets/avatars"), help="folder for the .avatar files")
    parser.add_argument("--only", choices=[person.slug for person in PEOPLE], help="just this one")
    options = parser.parse_args(arguments)
    head = load_head(options.head)
    for person in PEOPLE:
        if options.only in (None, person.slug):
            started = time.monotonic()
            path = options.out / f"{person.slug}.avatar"
            write_avatar(path, make_avatar(head, person))
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB in {time.monotonic() - started:.0f} s", file=sys.stderr)
    write_digests(options.out)
    return 0


def write_digests(folder: Path) -> None:
    """Lists the avatars of a folder, as models/consent/keys.py reads it."""
    lines = [f"{content_digest(read_avatar_tensors(path))}  {path.stem}" for path in sorted(folder.glob("*.avatar"))]
    (folder / "digests").write_text("# SHA-256 of each avatar without its name and consent (models/consent/signature.py)\n" + "\n".join(lines) + "\n", "utf-8")


def make_avatar(head: HeadModel, person: Person) -> AvatarFile:
    """The whole avatar of one person."""
    figure = compose(head, person)
    room = paint_room(person.room, person.identity_seed)
    return AvatarFile(
        card=_card(person, figure, room),
        head_layout=head.name,
        expression_names=head.expression_names,
        regions=REGIONS,
        camera=CAMERA,
        ranges=TrainedRange.usual(len(head.expression_names)),
        mesh=figure.mesh,
        expression=figure.expression,
        texture=encode_image(figure.texture, TEXTURE_QUALITY),
        background=encode_image(room, TEXTURE_QUALITY),
    )


def _card(person: Person, figure: Figure, room: NDArray[np.uint8]) -> AvatarCard:
    consent = Consent(synthetic=True, subject="nobody", granted_by="the Headcast authors", statement=STATEMENT, date="2026-11-22")
    thumbnail = encode_image(portrait(figure, CAMERA, room, THUMBNAIL_PX), 88)
    return AvatarCard(person.name, person.description, "CC0-1.0", "python -m training.default_avatars", consent, thumbnail)


if __name__ == "__main__":
    sys.exit(main())
