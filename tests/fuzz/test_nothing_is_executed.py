"""No file or message of anybody's is unpickled, evaluated or unpacked to where it says: the source has no call that could."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "server.py", *(path for room in ("models", "realtime", "training") for path in sorted((ROOT / room).rglob("*.py"))))
MODULES = frozenset({"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "jsonpickle", "runpy"})
PICKLE_READER = ROOT / "models" / "flame_pickle.py"
"""The one that takes pickles apart with a reader of its own; what it refuses, and at what cost, is in tests/test_flame_file.py."""
OWN_PROCESSES = frozenset(ROOT / "realtime" / "renderers" / name for name in ("nursery.py", "zygote.py", "messages.py", "serving.py", "remote.py"))
"""Talk with processes that the server has started itself, over socket pairs that nobody else has."""
BARE = frozenset({"eval", "exec", "compile", "__import__"})
EXTRACTING = frozenset({"extractall", "extract", "unpack_archive"})


def offences(source: str, may_import_pickle: bool = False) -> Iterator[str]:
    """What a module does that none may."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in {name.split(".")[0] for name in names} & MODULES:
                if not (may_import_pickle and isinstance(node, ast.Import) and name == "pickle"):
                    yield f"line {node.lineno}: imports {name}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle":
            if node.attr != "_Unpickler" and not node.attr.isupper():
                yield f"line {node.lineno}: pickle.{node.attr}"
        elif isinstance(node, ast.Call):
            yield from _of_call(node)


def _of_call(node: ast.Call) -> Iterator[str]:
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}

    def says(name: str, value: bool) -> bool:
        given = keywords.get(name)
        return isinstance(given, ast.Constant) and given.value is value

    if isinstance(node.func, ast.Name) and node.func.id in BARE:
        yield f"line {node.lineno}: {node.func.id}()"
    if not isinstance(node.func, ast.Attribute):
        return
    called = ast.unparse(node.func)
    if called in ("np.load", "numpy.load", "np.lib.format.read_array") and "allow_pickle" in keywords and not says("allow_pickle", False):
        yield f"line {node.lineno}: {called} with allow_pickle"
    if called == "torch.load" and not says("weights_only", True):
        yield f"line {node.lineno}: torch.load without weights_only=True"
    if node.func.attr in EXTRACTING:
        yield f"line {node.lineno}: {called}() writes where an archive says"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source(path: Path) -> None:
    found = [each for each in offences(path.read_text(encoding="utf-8"), path == PICKLE_READER) if path not in OWN_PROCESSES or "pickle" not in each]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "import yaml.loader",
        "pickle.loads(data)",
        "pickle.Unpickler(file).load()",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "eval(text)",
        "archive.extractall(folder)",
        "shutil.unpack_archive(path)",
    ],
)
def test_what_would_be_found(line: str) -> None:
    assert len(list(offences(line))) == 1


def test_what_is_well() -> None:
    assert not list(offences("import pickle\nclass R(pickle._Unpickler): pass\npickle.REDUCE[0]", True))
    assert not list(offences("np.load(path)\nnp.load(path, allow_pickle=False)\nmodel.eval()\ntorch.load(p, weights_only=True)"))
    assert list(offences("import pickle\npickle.load(f)", True)) == ["line 2: pickle.load"]
