"""The rooms and the one direction of imports (docs/architecture.md), read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    "server.py", "realtime", "training", "web", "assets", "models", "tests", "Dockerfile", "pyproject.toml",
    "README.md", "SECURITY.md", "LICENSE", "CHANGELOG.md", "Makefile", "docs", ".ci", ".gitignore", ".dockerignore",
}  # fmt: skip
MAY_IMPORT = {
    "server": {"realtime", "models"},
    "realtime": {"realtime", "models"},
    "models": {"models"},
    "training": {"training", "models"},
}
ONLY_IN = {
    # the page's HTTP, that of WHIP and WHEP clients, and a WHEP client: the virtual camera of a running session
    "aiohttp": {
        "server.py",
        "realtime/bodies.py",
        "realtime/connections.py",
        "realtime/gate.py",
        "realtime/health_http.py",
        "realtime/credentials_http.py",
        "realtime/signaling.py",
        "realtime/whip.py",
        "realtime/studio/http.py",
        "realtime/virtualcam/remote.py",
    },
    "aiortc": {"realtime/channel.py", "realtime/session.py", "realtime/tracks.py", "realtime/viewer.py", "realtime/rtc/", "realtime/virtualcam/remote.py"},
    "aioice": {"realtime/rtc/"},
    "ai_edge_litert": {"models/landmarker.py", "models/litert.py"},
    "anny": {"training/"},
    "c2pa": {"models/credentials/manifest.py"},
    "prometheus_client": {"realtime/exposition.py"},
    "pyvirtualcam": {"realtime/virtualcam/device.py"},
    "torch": {"models/head_torch.py", "models/networks.py", "models/raster/pytorch3d.py", "training/neural/", "training/regressor/learn.py"},
    "onnx": {"training/regressor/onnx_file.py"},
    "onnxruntime": {"models/onnx_session.py"},
    "pytorch3d": {"models/raster/pytorch3d.py"},
}
MAY_USE_ASYNCIO = {
    "bodies.py", "connections.py", "credentials_http.py", "fanout.py", "guests.py", "lapses.py", "listener.py", "session.py", "sessions.py", "signaling.py",
    "tasks.py", "tracks.py", "viewer.py", "watch.py",
}  # fmt: skip
LADDER = ("signaling", "whip", "session", "viewer", "fanout", "tracks", "worker", "seat", "reenactor")
STAGES = {"tracking", "regression", "retarget", "renderer", "vmc"}


def sources() -> list[Path]:
    folders = [ROOT / name for name in ("realtime", "models", "training")]
    return [ROOT / "server.py", *sorted(path for folder in folders for path in folder.rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Dotted names of every module that a file imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    room = name_of(path).split("/")[0].removesuffix(".py")
    ours = {name.split(".")[0] for name in imports(path)} & {"server", "realtime", "models", "training", "tests"}
    assert ours <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    for library in {name.split(".")[0] for name in imports(path)} & ONLY_IN.keys():
        assert any(name_of(path).startswith(place) for place in ONLY_IN[library]), f"{library} in {name_of(path)}"


def test_the_realtime_ladder_only_goes_down() -> None:
    for height, module in enumerate(LADDER):
        above = {f"realtime.{name}" for name in LADDER[:height]}
        assert not imports(ROOT / "realtime" / f"{module}.py") & above, module
    for stage in STAGES:
        others = {f"realtime.{name}" for name in (*LADDER, *STAGES)} - {f"realtime.{stage}"}
        assert not imports(ROOT / "realtime" / f"{stage}.py") & others, stage


def test_no_asyncio_below_the_worker() -> None:
    for path in (ROOT / "realtime").glob("*.py"):
        assert path.name in MAY_USE_ASYNCIO or "asyncio" not in imports(path), path.name
    for path in (ROOT / "realtime" / "renderers").glob("*.py"):
        assert "asyncio" not in imports(path), path.name
    for path in (ROOT / "realtime" / "virtualcam").glob("*.py"):
        assert path.name == "remote.py" or "asyncio" not in imports(path), path.name


def test_the_top_level_is_fixed() -> None:
    listed = subprocess.run(["git", "ls-files", "--cached"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {line.split("/")[0] for line in listed} <= TOP_LEVEL


def test_importing_models_loads_nothing_heavy() -> None:
    code = "import sys, models, models.head, models.avatar_file; print(sorted({'torch', 'numba', 'ai_edge_litert', 'mediapipe'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_server_file_is_short() -> None:
    assert len((ROOT / "server.py").read_text(encoding="utf-8").splitlines()) < 120
