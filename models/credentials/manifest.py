"""Writes and reads C2PA manifests with c2pa-python. Nobody is asked anything: no timestamp authority, no remote manifest, no revocation list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, BinaryIO

from models.credentials.identity import Identity
from models.errors import BadFile

PNG, MP4 = "image/png", "video/mp4"
MEDIA_TYPES = {".png": PNG, ".mp4": MP4, ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
"""Suffix → what is read; PNG and MP4 are also signed."""
SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SYNTHETIC, COMPOSITE = f"{SOURCES}trainedAlgorithmicMedia", f"{SOURCES}compositeWithTrainedAlgorithmicMedia"
"""IPTC's words for a picture made by a model, and for one joined with something else, such as what a microphone heard."""
AVATAR = "org.headcast.avatar"
ALONE = {
    "core": {"allowed_network_hosts": []},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a recording or a still. No name of anybody."""

    composite: bool = False
    """Whether something is in it that was not made here: a microphone's sound, say."""
    transcoded: bool = False
    """Whether pictures or sound were encoded anew on the way."""
    avatar: str | None = None
    """Digest of the avatar that the recorder named: models/consent/signature.py."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file's credentials say."""

    state: str
    """`Trusted`: whole, and by somebody whose authority was given; `Valid`: whole, by whoever; `Invalid`: altered or damaged; `None`: there are none."""
    problems: tuple[str, ...] = ()
    signer: str | None = None
    generator: str | None = None
    source: str | None = None
    """Digital source type, IPTC's word."""
    avatar: str | None = None

    @property
    def holds(self) -> bool:
        """Whether the file is as it was signed."""
        return self.state in ("Valid", "Trusted")


def sign(source: BinaryIO, media_type: str, out: BinaryIO, about: About, by: Identity) -> None:
    """Writes the file with a manifest.

    Args:
        source: a PNG or MP4, at its beginning.
        out: readable too, empty.

    Raises:
        BadFile: it cannot be signed.
    """
    import c2pa

    try:
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", by.chain, by.key, None))
        builder = c2pa.Builder(_manifest(media_type, about), context=c2pa.Context.from_dict(ALONE))
        builder.sign(signer, media_type, source, out)
    except c2pa.C2paError as error:
        raise BadFile(f"the {media_type} could not be signed: {error}") from error


def verify(file: BinaryIO, media_type: str, trusted: str | None = None) -> Verdict:
    """Checks the manifest in a file, and the file against it.

    Args:
        trusted: PEM of authorities that are believed.

    Raises:
        BadFile: it cannot be read.
    """
    import c2pa

    settings: dict[str, Any] = dict(ALONE)
    if trusted is not None:
        settings["trust"] = {"trust_anchors": trusted, "verify_trust_list": True}
    try:
        reader = c2pa.Reader.try_create(media_type, file, context=c2pa.Context.from_dict(settings))
        if reader is None:
            return Verdict("None")
        with reader:
            return _verdict(json.loads(reader.json()))
    except c2pa.C2paError as error:
        raise BadFile(f"expected {media_type}, with content credentials or without, got what cannot be read: {str(error)[:200]}") from error


def _manifest(media_type: str, about: About) -> dict[str, Any]:
    agent = {"name": "Headcast", "version": _version()}
    actions: list[dict[str, Any]] = [
        {"action": "c2pa.created", "digitalSourceType": COMPOSITE if about.composite else SYNTHETIC, "softwareAgent": agent},
    ]
    if about.transcoded:
        actions.append({"action": "c2pa.transcoded", "softwareAgent": agent})
    assertions: list[dict[str, Any]] = [{"label": "c2pa.actions.v2", "data": {"actions": actions}}]
    if about.avatar is not None:
        assertions.append({"label": AVATAR, "data": {"digest": f"sha256:{about.avatar}"}})
    return {"claim_generator_info": [agent], "title": "Headcast avatar", "format": media_type, "assertions": assertions}


def _version() -> str:
    try:
        return version("headcast")
    except PackageNotFoundError:
        return "unknown"


def _verdict(store: dict[str, Any]) -> Verdict:
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    data = {each["label"]: each.get("data", {}) for each in manifest.get("assertions", ())}
    actions = data.get("c2pa.actions.v2", {}).get("actions", ())
    source = next((action["digitalSourceType"] for action in actions if "digitalSourceType" in action), None)
    generator = next((f"{each.get('name')} {each.get('version', '')}".strip() for each in manifest.get("claim_generator_info", ())), None)
    return Verdict(
        str(store.get("validation_state", "Invalid")),
        tuple(f"{each['code']}: {each.get('explanation', '')}" for each in store.get("validation_status", ())),
        manifest.get("signature_info", {}).get("common_name"),
        generator,
        None if source is None else source.removeprefix(SOURCES),
        data.get(AVATAR, {}).get("digest"),
    )
