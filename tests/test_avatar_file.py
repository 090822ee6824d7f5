"""The avatar file: what is written is read, and what is wrong is refused with a clear word."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import avatar_file
from models.avatar_file import AvatarFile, read_avatar, read_card, rename_avatar, write_avatar
from models.avatar_header import table
from models.avatar_parts import Consent, Material, Region, SparseBasis, features
from models.errors import BadFile
from models.head import HeadParams
from models.image_blob import decode_image, encode_image, image_size
from models.tensor_file import read_tensor_file
from tests.tiny_avatar import tiny_avatar, tiny_texture


def assert_same(one: Any, two: Any, tolerance: float = 2e-4) -> None:
    if is_dataclass(one):
        assert type(one) is type(two)
        for part in fields(one):
            assert_same(getattr(one, part.name), getattr(two, part.name), tolerance)
    elif isinstance(one, np.ndarray):
        assert one.dtype == two.dtype
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=tolerance * 0.05)
    elif isinstance(one, tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b, tolerance)
    else:
        assert one == two


@pytest.mark.parametrize("trained", [False, True])
def test_round_trip(tmp_path: Path, trained: bool) -> None:
    avatar = tiny_avatar(trained=trained)
    path = tmp_path / "ball.safetensors"
    write_avatar(path, avatar)
    assert_same(avatar, read_avatar(path))
    first = path.read_bytes()
    write_avatar(path, read_avatar(path))
    assert len(path.read_bytes()) == len(first)
    assert read_card(path) == avatar.card


def test_sparse_basis_is_the_dense_one() -> None:
    dense = np.random.default_rng(0).normal(size=(4, 30, 3)).astype(np.float32) * (np.arange(30) % 3 == 0)[None, :, None]
    basis = SparseBasis.from_dense(dense)
    assert len(basis) == 4
    assert len(basis.vertex) == 40
    np.testing.assert_array_equal(basis.dense(30), dense)
    assert len(SparseBasis.empty()) == 0


def test_weight_function_standardises_clips_and_bends() -> None:
    weights = tiny_avatar(trained=True).weights
    assert weights is not None
    params = replace(HeadParams.neutral(3), rotation=np.array([0.1, 9.0, -9.0], np.float32), expression=np.array([1.0, 0.2, 0.0], np.float32))
    x = np.clip((features(params) - 0.05) / 0.4, -1.8, 1.8)
    assert x[1] == pytest.approx(1.8)
    (w1, b1), (w2, b2) = weights.layers
    np.testing.assert_allclose(weights(features(params)), w2 @ np.where(w1 @ x + b1 > 0, w1 @ x + b1, 0) + b2, atol=1e-5)


def broken(avatar: AvatarFile, case: str) -> AvatarFile:
    mesh = avatar.mesh
    nan = mesh.vertices.copy()
    nan[0, 0] = np.nan
    changes: dict[str, dict[str, Any]] = {
        "vertices": {"mesh": replace(mesh, vertices=nan)},
        "faces": {"mesh": replace(mesh, faces=mesh.faces + 1)},
        "uv should": {"mesh": replace(mesh, uv=mesh.uv + 1.0)},
        "face_layer": {"mesh": replace(mesh, face_layer=mesh.face_layer + 2)},
        "face_region": {"regions": avatar.regions[:2]},
        "skinning_weights": {"mesh": replace(mesh, skinning_weights=mesh.skinning_weights * 0.9)},
        "expression names": {"expression_names": (*avatar.expression_names, "more"), "ranges": type(avatar.ranges).usual(4)},
        "'expression' should be numbers": {"ranges": type(avatar.ranges).usual(4)},
        "'texture' should be a PNG": {"texture": b"GIF89a" + bytes(40)},
        "'licence'": {"card": replace(avatar.card, licence=" ")},
        "'granted_by'": {"card": replace(avatar.card, consent=Consent(False, subject="Somebody", statement="yes", date="2026-01-31"))},
        "'date'": {"card": replace(avatar.card, consent=Consent(False, "Somebody", "Somebody", "yes", "yesterday"))},
        "'shininess'": {"regions": (*avatar.regions[:4], Region("photo", Material(shininess=0.0)))},
        "'focal'": {"camera": replace(avatar.camera, focal=float("nan"))},
        "in front of it": {"camera": replace(avatar.camera, translation=(0.0, 0.0, 0.6))},
        "joints should lie": {"mesh": replace(mesh, joints=mesh.joints + 1e6)},
        "'name' should be text": {"card": replace(avatar.card, name="anna\u202egnp.exe")},
        "'description' should be text": {"card": replace(avatar.card, description="bell\a")},
        "should give 8 weights": {"texture_basis": None, "dynamic_offsets": np.zeros((8, len(mesh.vertices), 3), np.float32)},
    }
    if case.startswith("should give"):
        assert avatar.weights is not None
        changes[case]["weights"] = replace(avatar.weights, layers=((avatar.weights.layers[0][0][:3], avatar.weights.layers[0][1][:3]),))
    return replace(avatar, **changes[case])


CASES = ["vertices", "faces", "uv should", "face_layer", "face_region", "skinning_weights", "expression names", "'expression' should be numbers"]
CASES += ["'texture' should be a PNG", "'licence'", "'granted_by'", "'date'", "'shininess'", "'focal'", "in front of it", "should give 8 weights"]
CASES += ["joints should lie", "'name' should be text", "'description' should be text"]


@pytest.mark.parametrize("case", CASES)
def test_wrong_content_is_refused_with_its_name(tmp_path: Path, case: str) -> None:
    with pytest.raises(BadFile, match=case):
        write_avatar(tmp_path / "bad.safetensors", broken(tiny_avatar(12, trained=True), case))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("values", [["1", "2"], [10**400, 1], [True, False], {"0": 1}, [[1], [2, 3]]])
def test_tables_are_of_numbers(values: object) -> None:
    with pytest.raises(BadFile, match="should be numbers of shape"):
        table({"t": values}, "t", (2,), 0.0, 2.0, "x")


def test_shapes_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    avatar = tiny_avatar(12)
    monkeypatch.setattr(avatar_file, "MAX_SHAPE_ENTRIES", len(avatar.expression) * len(avatar.mesh.vertices) - 1)
    with pytest.raises(BadFile, match="vertices of all shapes"):
        write_avatar(tmp_path / "bad.safetensors", avatar)


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "ball.safetensors"
    write_avatar(path, tiny_avatar(12))
    whole = path.read_bytes()
    for bad in (whole[:-50], whole[:200], b"", b"\xff" * 100):
        path.write_bytes(bad)
        for read in (read_avatar, read_card):
            with pytest.raises(BadFile):
                read(path)
    for read in (read_avatar, read_card):
        with pytest.raises(BadFile, match="read"):
            read(tmp_path / "none.safetensors")


def test_consent_ends() -> None:
    consent = Consent(False, "Somebody", "Somebody", "May be used.", "2026-01-31", "2026-12-31")
    assert consent.valid_on(date(2026, 12, 31))
    assert not consent.valid_on(date(2027, 1, 1))


@pytest.mark.parametrize("quality", [None, 90, 101])
@pytest.mark.parametrize("channels", [3, 4])
def test_picture_sizes_are_read_before_decoding(quality: int | None, channels: int) -> None:
    image = np.ascontiguousarray(tiny_texture(64)[:48, :, :channels])
    blob = encode_image(image, quality)
    assert image_size(blob) == (64, 48)
    decoded = decode_image(blob, "picture", channels, 64)
    visible = image[..., -1] > 200 if channels == 4 else np.ones(image.shape[:2], bool)
    assert np.abs(decoded.astype(int) - image)[visible].mean() < (0.1 if quality in (None, 101) else 8)
    with pytest.raises(BadFile, match="at most 32 pixels"):
        decode_image(blob, "picture", channels, 32)
    with pytest.raises(BadFile, match="damaged"):
        decode_image(blob[:40], "picture", channels, 64)


def png_chunk(kind: bytes, claimed: int, data: bytes = b"") -> bytes:
    return claimed.to_bytes(4, "big") + kind + data + bytes(4)


def test_a_picture_is_as_long_as_it_says() -> None:
    """OpenCV makes room for what a chunk claims: this one cost 4 GB and five seconds."""
    still = encode_image(np.zeros((12, 16, 3), np.uint8))
    header, rest = still[:33], still[33:]
    webp = encode_image(np.zeros((12, 16, 3), np.uint8), 101)
    bad = [
        header + png_chunk(b"IDAT", 0xFF000020, rest[8:]),
        header + png_chunk(b"tEXt", 1000) + rest,
        header + png_chunk(b"acTL", 8, (2).to_bytes(4, "big") * 2) + rest,
        header + png_chunk(b"none", 0) * 20_000 + rest,
        webp[:16] + (2**31).to_bytes(4, "little") + webp[20:],
        still[:-12],
    ]
    for blob in bad:
        with pytest.raises(BadFile, match="it is damaged, or is a moving picture"):
            decode_image(blob, "it", 3, 64)
    for blob in (still + b"what comes after", webp):
        assert decode_image(blob, "it", 3, 64).shape == (12, 16, 3)


def test_renaming_changes_the_card_only(tmp_path: Path) -> None:
    path = tmp_path / "avatar.avatar"
    write_avatar(path, tiny_avatar())
    before, arrays = read_avatar(path), read_tensor_file(path, "avatar", 1).arrays
    rename_avatar(path, "Another")
    after = read_avatar(path)
    assert after.card == replace(before.card, name="Another")
    assert all(np.array_equal(array, arrays[name]) for name, array in read_tensor_file(path, "avatar", 1).arrays.items())
    content = path.read_bytes()
    for name in ("", "n" * 2001):
        with pytest.raises(BadFile, match="name"):
            rename_avatar(path, name)
    assert path.read_bytes() == content
