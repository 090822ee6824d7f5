"""The signed record of consent: what it holds, and that nothing of an avatar can be changed, moved or used beyond it unnoticed."""

from __future__ import annotations

import copy
import json
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from models.avatar_file import read_avatar, read_avatar_tensors, rename_avatar, write_avatar
from models.avatar_header import pack_consent
from models.avatar_parts import Consent
from models.consent.keys import SIGNING, KeyFolder, KeyProblem
from models.consent.opening import OWN, open_avatar, open_card
from models.consent.sealing import seal
from models.consent.signature import MAX_EARLIER, content_digest, verify
from models.consent.statement import Agreement, Disagreement, Purpose, agreement, words
from models.errors import BadFile, NotAgreed, UnknownSigner
from models.tensor_file import HEADER_KEY, write_tensor_file
from realtime.gallery import SHIPPED
from tests.consents import NOW, agreed, write_signed
from tests.tiny_avatar import tiny_avatar

TODAY = date(2026, 11, 22)
Header = dict[str, Any]


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """Anna's avatar, signed by this installation, with every part that a file may have."""
    return write_signed(tmp_path / "anna.avatar", tiny_avatar(12, trained=True), agreed("2027-01-31"))


def altered(path: Path, arrays: Mapping[str, Any] | None = None, change: Callable[[Header], object] = lambda header: None) -> Path:
    """The same file with other arrays or another header, as somebody with a text editor would make it."""
    file = read_avatar_tensors(path)
    header = copy.deepcopy(dict(file.header))
    change(header)
    write_tensor_file(path, {**file.arrays, **(arrays or {})}, header)
    return path


def flipped(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    data = bytearray(array.tobytes())
    data[len(data) // 2] ^= 1
    return np.frombuffer(bytes(data), array.dtype).reshape(array.shape)


def test_a_signed_avatar_is_opened(signed: Path) -> None:
    assert open_avatar(signed, TODAY).card.consent == agreed("2027-01-31")
    shown = open_card(signed, TODAY)
    assert (shown.card.consent.subject, shown.provenance.whose, shown.provenance.signed_at) == ("Anna B.", OWN, "2026-11-22T20:30:00Z")
    assert shown.provenance.key == KeyFolder.of().known().own
    assert read_avatar(signed).card.consent == agreed("2027-01-31")


def test_a_byte_of_any_array_is_seen(signed: Path) -> None:
    whole, names = signed.read_bytes(), sorted(read_avatar_tensors(signed).arrays)
    assert len(names) >= 25
    for name in names:
        altered(signed, {name: flipped(read_avatar_tensors(signed).arrays[name])})
        for use in (open_avatar, open_card):
            with pytest.raises(NotAgreed, match="altered"):
                use(signed, TODAY)
        signed.write_bytes(whole)
    open_avatar(signed, TODAY)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every plain value of nested lists and objects."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key], (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for index in range(len(value)) for leaf in leaves(value[index], (*path, index))]
    return [path]


def other(value: Any) -> Any:
    """A value of the same kind that a reader would take as well."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("x" if value[-1:] != "x" else "y")
    return ["more"] if value == [] else "now"


def test_any_field_of_the_header_is_signed_but_the_name(signed: Path) -> None:
    whole, header = signed.read_bytes(), read_avatar_tensors(signed).header
    fields = [path for path in leaves(header) if path not in (("name",), ("kind",), ("version",))]
    assert {"consent", "signature", "licence", "description", "regions", "camera", "ranges", "head_layout"} <= {path[0] for path in fields}
    for path in fields:

        def change(header: Header, path: tuple[Any, ...] = path) -> None:
            part: Any = header
            for step in path[:-1]:
                part = part[step]
            part[path[-1]] = other(part[path[-1]])

        altered(signed, change=change)
        with pytest.raises(NotAgreed):
            open_card(signed, TODAY)
        signed.write_bytes(whole)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header.pop("signature"), "nobody signed that Anna B. agreed"),
        (lambda header: header["consent"].update(expires="2030-01-01"), "altered"),
        (lambda header: header["consent"].update(own_driver_only=True), "altered"),
        (lambda header: header["consent"].update(synthetic=True), "altered"),
        (lambda header: header.update(more="text"), "altered"),
        (lambda header: header.update(signature=None, consent={"synthetic": True}), "nobody's likeness, and nobody signed that"),
        (lambda header: header["signature"].update(version=2), "version 1: update Headcast"),
        (lambda header: header["signature"].update(value="AAAA"), "altered"),
        (lambda header: header["signature"].update(key="ed25519-" + "A" * 43), "altered"),
        (lambda header: header["signature"].update(key="none"), "damaged"),
        (lambda header: header["signature"].update(earlier=[[]] * (MAX_EARLIER + 1)), "version"),
        (lambda header: header.update(signature="text"), "version"),
    ],
)
def test_what_was_changed_is_refused_with_the_reason(signed: Path, change: Callable[[Header], object], reason: str) -> None:
    altered(signed, change=change)
    with pytest.raises(NotAgreed, match=reason):
        open_avatar(signed, TODAY)


def test_a_signature_fits_one_face_only(signed: Path, tmp_path: Path) -> None:
    lena = write_signed(tmp_path / "lena.avatar", replace(tiny_avatar(12, trained=True), texture=tiny_avatar(12).texture), agreed())
    texture, signature = read_avatar_tensors(lena).arrays["texture"], read_avatar_tensors(lena).header["signature"]
    whole = signed.read_bytes()
    with pytest.raises(NotAgreed, match="altered"):
        open_avatar(altered(signed, {"texture": texture}), TODAY)
    signed.write_bytes(whole)
    with pytest.raises(NotAgreed, match="altered"):
        open_avatar(altered(signed, change=lambda header: header.update(signature=signature)), TODAY)


def test_arrays_cannot_be_added_or_left_out(signed: Path) -> None:
    with pytest.raises(NotAgreed, match="altered"):
        open_avatar(altered(signed, {"more": np.zeros(3, np.float32)}), TODAY)
    file = read_avatar_tensors(signed)
    write_tensor_file(signed, {name: array for name, array in file.arrays.items() if name not in ("more", "plate")}, file.header)
    with pytest.raises(NotAgreed, match="altered"):
        open_avatar(signed, TODAY)


def test_another_name_leaves_the_signature_valid(signed: Path) -> None:
    rename_avatar(signed, "Ännchen")
    assert open_avatar(signed, TODAY).card.name == "Ännchen"


def test_consent_ends_after_its_last_day(signed: Path) -> None:
    open_avatar(signed, date(2027, 1, 31))
    with pytest.raises(NotAgreed, match="ended on 2027-01-31"):
        open_avatar(signed, date(2027, 2, 1))


def test_an_avatar_is_used_only_for_what_was_agreed_to(tmp_path: Path) -> None:
    path = write_signed(tmp_path / "anna.avatar", tiny_avatar(12), agreed(purposes=(Purpose.RECORDINGS,)))
    open_avatar(path, TODAY, Purpose.RECORDINGS)
    for purpose, words_of in ((Purpose.LIVE, "not shown live"), (Purpose.EXPORT, "not exported"), (Purpose.TRAINING, "taught")):
        with pytest.raises(NotAgreed, match=f"{words_of}.*Anna B. agreed to recordings"):
            open_avatar(path, TODAY, purpose)


def test_whose_keys_are_believed(signed: Path, tmp_path: Path) -> None:
    here = KeyFolder(tmp_path / "elsewhere")
    with pytest.raises(UnknownSigner, match=r"python -m models\.consent trust ed25519-") as refused:
        open_avatar(signed, TODAY, known=here.known())
    here.trust(refused.value.key, "Bert’s studio")
    assert open_card(signed, TODAY, known=here.known()).provenance.whose == "Bert’s studio"
    assert here.distrust(refused.value.key)
    assert not here.distrust(refused.value.key)
    with pytest.raises(UnknownSigner):
        open_avatar(signed, TODAY, known=here.known())
    with pytest.raises(KeyProblem, match="expected a public key"):
        here.trust("../x", "")


def test_somebody_elses_key_under_a_believed_name_is_seen(signed: Path, tmp_path: Path) -> None:
    """Signed anew by a stranger, who then writes this installation's key into the file."""
    own = KeyFolder.of().known().own
    write_signed(signed, tiny_avatar(12), agreed(), KeyFolder(tmp_path / "stranger"))
    with pytest.raises(UnknownSigner):
        open_avatar(signed, TODAY)
    with pytest.raises(NotAgreed, match="altered"):
        open_avatar(altered(signed, change=lambda header: header["signature"].update(key=own)), TODAY)


def test_what_was_withdrawn_is_refused_whatever_its_name_record_or_signature(signed: Path, tmp_path: Path) -> None:
    here = KeyFolder(tmp_path / "keys")
    seal(signed, pack_consent(agreed()), here, NOW)
    here.withdraw(content_digest(read_avatar_tensors(signed)), TODAY)
    rename_avatar(signed, "Nobody")
    with pytest.raises(NotAgreed, match="withdrawn"):
        open_avatar(signed, TODAY, known=here.known())
    with pytest.raises(NotAgreed, match="withdrawn"):
        seal(signed, pack_consent(agreed()), here, NOW)


def test_what_comes_with_headcast_is_known_by_its_digest(tmp_path: Path) -> None:
    files = sorted(SHIPPED.glob("*.avatar"))
    assert {open_card(path, TODAY).provenance.whose for path in files} == {"comes with Headcast"}
    assert set(KeyFolder.of().known().shipped.values()) == {path.stem for path in files}
    for purpose in Purpose:
        open_avatar(files[0], TODAY, purpose)
    copied = tmp_path / "mara.avatar"
    copied.write_bytes((SHIPPED / "mara.avatar").read_bytes())
    with pytest.raises(NotAgreed, match="sign FILE --synthetic"):
        open_avatar(altered(copied, change=lambda header: header.update(description="Somebody you know")), TODAY)
    copied.write_bytes((SHIPPED / "mara.avatar").read_bytes())
    claimed = {"synthetic": False, "subject": "Anna", "granted_by": "Anna", "statement": "yes", "date": "2026-01-01"}
    with pytest.raises(NotAgreed, match="nobody signed that Anna agreed"):
        open_avatar(altered(copied, change=lambda header: header.update(consent=claimed)), TODAY)


def test_files_of_before_are_read_and_wait_for_a_signature(tmp_path: Path) -> None:
    before = Consent(False, "Anna", "Anna", "Agreed to this.", "2026-01-31")
    write_avatar(tmp_path / "old.avatar", replace(tiny_avatar(12), card=replace(tiny_avatar(12).card, consent=before)))
    assert set(read_avatar_tensors(tmp_path / "old.avatar").header["consent"]) == {"synthetic", "subject", "granted_by", "statement", "date", "expires"}
    assert read_avatar(tmp_path / "old.avatar").card.consent == before
    with pytest.raises(NotAgreed, match=r"python -m models\.consent sign FILE"):
        open_avatar(tmp_path / "old.avatar", TODAY)
    write_signed(tmp_path / "ball.avatar", tiny_avatar(12))
    assert open_card(tmp_path / "ball.avatar", TODAY).provenance.whose == OWN


def test_renewing_keeps_what_was_signed_before(signed: Path, tmp_path: Path) -> None:
    first = read_avatar_tensors(signed).header["signature"]
    seal(signed, pack_consent(agreed("2028-01-01")), KeyFolder(tmp_path / "other"), NOW)
    file = read_avatar_tensors(signed)
    (before,) = file.header["signature"]["earlier"]
    assert (before["key"], before["value"], before["consent"]["expires"]) == (first["key"], first["value"], "2027-01-31")
    found = verify(file, content_digest(file))
    assert found is not None
    assert (found.earlier, found.key) == (1, KeyFolder(tmp_path / "other").known().own)
    altered(signed, change=lambda header: header["signature"]["earlier"][0]["consent"].update(expires="2020-01-01"))
    with pytest.raises(NotAgreed, match="altered"):
        verify(read_avatar_tensors(signed), content_digest(read_avatar_tensors(signed)))


def test_an_altered_file_is_not_signed_again(signed: Path) -> None:
    altered(signed, {"texture": read_avatar_tensors(signed).arrays["thumbnail"]})
    whole = signed.read_bytes()
    with pytest.raises(NotAgreed, match="altered"):
        seal(signed, pack_consent(agreed()), KeyFolder.of(), NOW)
    assert signed.read_bytes() == whole


def test_a_record_is_renewed_only_so_often(signed: Path) -> None:
    for _ in range(MAX_EARLIER):
        seal(signed, pack_consent(agreed()), KeyFolder.of(), NOW)
    open_avatar(signed, TODAY)
    with pytest.raises(NotAgreed, match="make the avatar anew"):
        seal(signed, pack_consent(agreed()), KeyFolder.of(), NOW)


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "new" / "keys")
    assert folder.known().own is None
    made = folder.signing_key().private_bytes_raw()
    assert KeyFolder(folder.path).signing_key().private_bytes_raw() == made
    assert [path.name for path in folder.path.iterdir()] == [SIGNING]
    assert (stat.S_IMODE(folder.path.stat().st_mode), stat.S_IMODE((folder.path / SIGNING).stat().st_mode)) == (0o700, 0o600)
    (folder.path / SIGNING).write_text("no key")
    with pytest.raises(KeyProblem, match="expected an Ed25519 key"):
        folder.known()
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyProblem, match="HEADCAST_KEYS_DIR"):
        KeyFolder(tmp_path / "file" / "keys").signing_key()


def test_where_keys_are_kept(tmp_path: Path) -> None:
    assert KeyFolder.of({"HEADCAST_KEYS_DIR": str(tmp_path)}).path == tmp_path
    assert KeyFolder.of({"XDG_CONFIG_HOME": str(tmp_path)}).path == tmp_path / "headcast"
    assert KeyFolder.of({}).path == Path.home() / ".config" / "headcast"


def test_the_statement_says_what_was_chosen() -> None:
    usual = agreement("Anna", "Anna", ["live", "recordings"], False, None, datetime(2026, 11, 22, 23, 30, tzinfo=UTC))
    assert usual.statement == (
        "I am the person shown in the video, or may decide for them. I agree that an avatar of this face is made from the video, and that it is used for "
        "live video, moved by the person shown and by those they let; recordings and still pictures; and for nothing else. This holds until it is withdrawn. "
        "Whoever agreed may withdraw at any time: the avatar is then deleted, and refused where a copy of it comes back."
    )
    assert "nobody else; 3D files" in words(["export", "live"], True, None)
    assert "until the end of 2027-01-31." in words(["live"], False, "2027-01-31")
    record = usual.record()
    assert (record.statement, record.agreed_at, record.date, record.purposes) == (usual.statement, "2026-11-22T23:30:00Z", "2026-11-22", ("live", "recordings"))
    assert len(words(list(Purpose), True, "2027-01-31")) < 2000


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"subject": ""}, "subject"),
        ({"granted_by": "a\nb"}, "granted_by"),
        ({"purposes": ["sale"]}, "purposes: .* got sale"),
        ({"purposes": []}, "purposes: .* got none"),
        ({"purposes": ["export"], "own_driver_only": True}, "own_driver_only"),
        ({"expires": "soon"}, "expires: expected a day"),
        ({"expires": "2026-11-20"}, "expires: expected today or later"),
    ],
)
def test_an_agreement_that_cannot_be_recorded(given: dict[str, Any], reason: str) -> None:
    fields: dict[str, Any] = {"subject": "Anna", "granted_by": "Anna", "purposes": ["live"], "own_driver_only": False, "expires": None, "now": NOW}
    assert isinstance(agreement(**fields), Agreement)
    with pytest.raises(Disagreement, match=reason):
        agreement(**(fields | given))


@pytest.mark.parametrize("purposes", [[], "live", [1], ["x" * 65], ["live"] * 17])
def test_purposes_that_are_no_words(signed: Path, purposes: object) -> None:
    altered(signed, change=lambda header: header["consent"].update(purposes=purposes))
    with pytest.raises(BadFile, match="'purposes' should be"):
        read_avatar(signed)


def test_a_purpose_of_tomorrow_allows_nothing_today(tmp_path: Path) -> None:
    path = write_avatar_with(tmp_path / "anna.avatar", ("holograms",))
    with pytest.raises(NotAgreed, match="agreed to holograms"):
        open_avatar(path, TODAY)


def write_avatar_with(path: Path, purposes: tuple[str, ...]) -> Path:
    write_avatar(path, tiny_avatar(12))
    seal(path, pack_consent(replace(agreed(), purposes=purposes)), KeyFolder.of(), NOW)
    return path


def test_headers_that_are_made_to_hurt(signed: Path) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    file = read_avatar_tensors(signed)
    header = {**file.header, "more": [json.loads("NaN"), "\ud800", deep]}
    signed.write_bytes(save(dict(file.arrays), {HEADER_KEY: json.dumps(header)}))
    with pytest.raises(BadFile, match="damaged"):
        open_avatar(signed, TODAY)
    del header["signature"]
    whole = save(dict(file.arrays), {HEADER_KEY: json.dumps(header)})
    signed.write_bytes(whole)
    with pytest.raises(BadFile, match="damaged"):
        seal(signed, pack_consent(agreed()), KeyFolder.of(), NOW)
    assert signed.read_bytes() == whole
