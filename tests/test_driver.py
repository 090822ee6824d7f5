"""An avatar's own person as a driver: the optional section of the avatar file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import driver
from models.avatar_file import AvatarFile, read_avatar, write_avatar
from models.baked import bake
from models.driver import DriverProfile, Registration, RegistrationStage
from models.errors import BadFile
from models.tensor_file import TensorFile
from tests.tiny_avatar import NAMES, tiny_avatar

UNKNOWNS, POINTS = 10 + len(NAMES), 40


def profile(avatar: AvatarFile, with_registration: bool = True) -> DriverProfile:
    rng = np.random.default_rng(3)
    vertices = np.sort(rng.choice(len(avatar.mesh.vertices), POINTS, replace=False)).astype(np.int32)

    def stage() -> RegistrationStage:
        matrix = rng.normal(0.0, 1e-6, (UNKNOWNS, 3 * POINTS)).astype(np.float32)
        return RegistrationStage(rng.normal(0.0, 1.0, 3 * POINTS).astype(np.float32), matrix, rng.normal(0.0, 0.01, UNKNOWNS).astype(np.float32))

    registration = Registration(vertices, (stage(), stage())) if with_registration else None
    identity, offsets = rng.normal(0.0, 1.0, 50).astype(np.float32), rng.normal(0.0, 0.002, (478, 3)).astype(np.float32)
    return DriverProfile("open head", identity, offsets, 1.37, registration)


@pytest.fixture(scope="module")
def plain() -> AvatarFile:
    return tiny_avatar(12)


def test_it_comes_back_from_the_file_and_into_the_fast_form(tmp_path: Path, plain: AvatarFile) -> None:
    given = profile(plain)
    write_avatar(tmp_path / "own.avatar", replace(plain, driver=given))
    found = bake(read_avatar(tmp_path / "own.avatar")).driver
    assert found is not None
    assert (found.head, found.focal) == ("open head", 1.37)
    np.testing.assert_array_equal(found.identity, given.identity)
    np.testing.assert_array_equal(found.offsets, given.offsets)
    assert found.registration is not None
    assert given.registration is not None
    np.testing.assert_array_equal(found.registration.vertices, given.registration.vertices)
    assert len(found.registration.stages) == 2
    for one, two in zip(found.registration.stages, given.registration.stages, strict=True):
        np.testing.assert_allclose(one.matrix, two.matrix, rtol=1e-3, atol=1e-9)
        np.testing.assert_allclose(one.mean, two.mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(one.bias, two.bias)


def test_a_file_without_it_says_so(tmp_path: Path, plain: AvatarFile) -> None:
    write_avatar(tmp_path / "plain.avatar", plain)
    assert read_avatar(tmp_path / "plain.avatar").driver is None
    write_avatar(tmp_path / "own.avatar", replace(plain, driver=profile(plain, with_registration=False)))
    found = read_avatar(tmp_path / "own.avatar").driver
    assert found is not None
    assert found.registration is None


def test_a_later_version_of_the_section_is_left_alone(plain: AvatarFile) -> None:
    arrays, header = driver.pack(profile(plain))
    later = TensorFile({}, {"driver": {"version": 2, "whatever": 1}}, "own.avatar")
    assert driver.read(later, 1000, len(NAMES)) is None
    assert driver.read(TensorFile(arrays, {"driver": header}, "own.avatar"), len(plain.mesh.vertices), len(NAMES)) is not None


def broken(given: DriverProfile, case: str) -> DriverProfile:
    registration = given.registration
    assert registration is not None
    first = registration.stages[0]
    nan = np.full_like(given.identity, np.nan)
    if case in ("'head'", "'focal'", "driver_identity", "'driver_identity'", "driver_offsets", "'driver_offsets'"):
        changes = {
            "'head'": replace(given, head=" "),
            "'focal'": replace(given, focal=0.0),
            "driver_identity": replace(given, identity=nan),
            "'driver_identity'": replace(given, identity=np.full(50, 100.0, np.float32)),
            "driver_offsets": replace(given, offsets=given.offsets[:400]),
            "'driver_offsets'": replace(given, offsets=given.offsets + np.float32(0.2)),
        }
        return changes[case]
    stages = {
        "registration_mean_0": replace(first, mean=first.mean[:-1]),
        "registration_matrix_0": replace(first, matrix=first.matrix[:, :-1]),
        "registration_bias_0": replace(first, bias=np.full_like(first.bias, np.inf)),
        "stage 0": replace(first, bias=first.bias + 100.0),
    }
    changed = {
        "rising": replace(registration, vertices=registration.vertices[::-1].copy()),
        "points outside": replace(registration, vertices=registration.vertices + 100_000),
        "1 to 4 stages": replace(registration, stages=()),
    }
    return replace(given, registration=changed.get(case) or replace(registration, stages=(stages[case], *registration.stages[1:])))


CASES = ["'head'", "'focal'", "driver_identity", "'driver_identity'", "driver_offsets", "'driver_offsets'", "rising", "points outside", "1 to 4 stages"]
CASES += ["registration_mean_0", "registration_matrix_0", "registration_bias_0", "stage 0"]


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_section_is_refused_with_its_name(tmp_path: Path, plain: AvatarFile, case: str) -> None:
    with pytest.raises(BadFile, match=case):
        write_avatar(tmp_path / "bad.avatar", replace(plain, driver=broken(profile(plain), case)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("header", [7, [], {}, {"version": 0, "head": "a", "focal": 1.0}, {"version": True, "head": "a", "focal": 1.0}])
def test_an_odd_header_is_refused(plain: AvatarFile, header: object) -> None:
    arrays, _ = driver.pack(profile(plain))
    with pytest.raises(BadFile, match=r"'driver'|'version'"):
        driver.read(TensorFile(arrays, {"driver": header}, "own.avatar"), len(plain.mesh.vertices), len(NAMES))
