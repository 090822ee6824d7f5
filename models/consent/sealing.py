"""Writing a signed record into an avatar file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from models.avatar_file import parse_avatar, read_avatar_tensors
from models.consent.keys import KeyFolder
from models.consent.signature import content_digest, key_text, sign
from models.errors import NotAgreed
from models.tensor_file import TensorFile, write_tensor_file


def seal(path: Path, consent: Mapping[str, Any], keys: KeyFolder, now: datetime) -> str:
    """Signs an avatar file with that record (as `avatar_header.pack_consent` gives it); returns this installation's public key.

    Raises:
        NotAgreed: it was altered since it was signed, or withdrawn; the file is as it was.
        BadFile: it is no avatar file.
        KeyProblem: there is no key to be had.
    """
    file = read_avatar_tensors(path)
    if content_digest(file) in keys.known().withdrawn:
        raise NotAgreed(f"{path.name}: the person it shows has withdrawn their consent; delete the file")
    key = keys.signing_key()
    header = sign(file, consent, key, now)
    parse_avatar(TensorFile(file.arrays, header, path.name))
    write_tensor_file(path, file.arrays, header)
    return key_text(key.public_key())
