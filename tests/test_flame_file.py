"""models/flame_file.py and flame_pickle.py: FLAME's files come through, nothing in them is executed, bad ones are refused with a reason."""

from __future__ import annotations

import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from models import flame_pickle
from models.errors import BadFile
from models.flame_file import main, read_flame, to_head
from models.flame_pickle import read_flame_pickle
from models.head import HeadParams, load_head
from models.kernels import Bands
from models.raster.cpu import CpuRasterizer
from tests.test_head import random_params, slow_vertices
from tests.tiny_head import tiny_flame, write_flame_pickle

Arrays = dict[str, NDArray[Any]]
WAYS = [(2, True), (2, False), (3, False), (4, False), (5, False)]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return tiny_flame()


@pytest.fixture
def model(arrays: Arrays, tmp_path: Path) -> Path:
    write_flame_pickle(tmp_path / "flame.pkl", arrays, python2=True)
    return tmp_path / "flame.pkl"


# --- what comes through ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "python2"), WAYS)
def test_pickles_of_every_kind_come_through(arrays: Arrays, tmp_path: Path, protocol: int, python2: bool) -> None:
    write_flame_pickle(tmp_path / "flame.pkl", arrays, protocol, python2)
    content = read_flame_pickle(tmp_path / "flame.pkl", (*arrays, "bs_style"))
    for name, wanted in arrays.items():
        np.testing.assert_array_equal(content[name], wanted, err_msg=name)
    assert content["bs_style"] == "lbs"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("code", ["<f4", ">f8", "<i2", ">u4", "|b1"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_keep_their_type_and_layout(tmp_path: Path, code: str, order: Literal["C", "F"], protocol: int) -> None:
    array = (np.arange(24).reshape(2, 3, 4) % 7).astype(code, order=order)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": array, "n": np.float64(2.5), "o": np.array([None, {}]), "s": np.array(["x"])}, protocol))
    content = read_flame_pickle(tmp_path / "x.pkl", "anosz")
    assert "z" not in content
    np.testing.assert_array_equal(content["a"], array)
    assert content["n"] == 2.5
    assert content["o"] is None
    assert content["s"] is None


def test_sparse_by_rows(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    dense = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]])
    for protocol in (2, 5):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps({"r": sparse.csr_matrix(dense), "c": sparse.csc_matrix(dense)}, protocol))
        content = read_flame_pickle(tmp_path / "x.pkl", "rc")
        np.testing.assert_array_equal(content["r"], dense)
        np.testing.assert_array_equal(content["c"], dense)


def test_converted_head_moves_as_flame_does(model: Path, arrays: Arrays, tmp_path: Path) -> None:
    assert main(["convert", str(model), "--out", str(tmp_path / "head.safetensors"), "--identity", "6"]) == 0
    head = load_head(tmp_path / "head.safetensors")
    assert len(head.identity) == 6
    assert head.expression_names == ("expression000", "expression001", "expression002", "expression003")
    np.testing.assert_allclose(head.identity[2], arrays["shapedirs"][:, :, 2], atol=2e-6)
    np.testing.assert_allclose(head.expression[1], arrays["shapedirs"][:, :, 7], atol=2e-6)
    np.testing.assert_allclose(head.pose_correctives[9 + 3 * 1 + 2], arrays["posedirs"][:, :, 14], atol=2e-6)
    params = random_params(head, 5)
    np.testing.assert_allclose(head.vertices(params), slow_vertices(head, params), atol=2e-6)
    assert (head.landmark_faces == -1).all()


def test_converted_head_can_be_drawn(model: Path, tmp_path: Path) -> None:
    head = to_head(read_flame(model), "tiny", 6)
    camera = head.vertices(HeadParams.neutral(len(head.expression)))
    points = np.stack([64 + 300 * camera[:, 0] / -camera[:, 2], 64 - 300 * camera[:, 1] / -camera[:, 2], -camera[:, 2]], 1).astype(np.float32)
    bands = Bands(1)
    seen = CpuRasterizer(128, 128, bands).rasterize(points, head.faces).face_id
    bands.close()
    shown = {head.region_names[region] for region in np.unique(head.face_region[seen[seen >= 0]])}
    assert shown == {"skin", "left_eye", "right_eye"}
    left = np.isin(seen, head.region_faces("left_eye"))
    assert np.nonzero(left)[1].mean() > 64, "the person's left eye is on the right of the picture"


def test_npz(arrays: Arrays, model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "flame.npz", allow_pickle=False, **{**arrays, "other": np.array(["text"])})
    one, two = read_flame(tmp_path / "flame.npz"), read_flame(model)
    for name in ("template", "shapes", "pose", "regressor", "weights", "faces"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


def test_counts_of_shapes(arrays: Arrays, model: Path, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds 10 shapes, not 400"):
        to_head(read_flame(model), "tiny")
    with pytest.raises(BadFile, match="11 of them cannot be identity"):
        to_head(read_flame(model), "tiny", 11)
    full = arrays | {"shapedirs": np.zeros((len(arrays["v_template"]), 3, 400))}
    write_flame_pickle(tmp_path / "full.pkl", full)
    head = to_head(read_flame(tmp_path / "full.pkl"), "full")
    assert (len(head.identity), len(head.expression)) == (300, 100)


# --- texture coordinates -----------------------------------------------------------------------------------------------------------------------------


def test_default_texture_has_room_for_all(model: Path) -> None:
    head = to_head(read_flame(model), "tiny", 6)
    assert head.uv.min() >= 0.0
    assert head.uv.max() <= 1.0
    corners = head.uv[head.uv_faces].astype(float)
    for name in head.region_names:
        across = np.ptp(corners[head.region_faces(name)], axis=1)[:, 0]
        assert across.max() < 0.5, "no triangle may reach back over the seam"
        assert (across > 0.3).mean() < 0.05, "only those at the top and the bottom of the head reach far around it"
    boxes = {name: (corners[head.region_faces(name)].min((0, 1)), corners[head.region_faces(name)].max((0, 1))) for name in head.region_names}
    for one, two in (("skin", "left_eye"), ("skin", "right_eye"), ("left_eye", "right_eye")):
        (low, high), (other_low, other_high) = boxes[one], boxes[two]
        assert (high < other_low).any() or (other_high < low).any(), f"{one} and {two} overlap"


def write_obj(path: Path, faces: NDArray[np.int32], shift: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    uv = rng.random((faces.size, 2)).round(4)
    lines = [f"vt {u} {v}" for u, v in uv]
    order = rng.permutation(len(faces))
    for k in order:
        corners = [(int(faces[k, c]) + 1 + shift, 3 * int(k) + c + 1) for c in (1, 2, 0)]
        lines.append("f " + " ".join(f"{vertex}/{corner}" for vertex, corner in corners))
    path.write_text("\n".join(["# template", "v 0 0 0", *lines, ""]), encoding="utf-8")
    return np.column_stack([uv[:, 0], 1.0 - uv[:, 1]]).astype(np.float32)


def test_texture_of_the_template_file(model: Path, tmp_path: Path) -> None:
    flame = read_flame(model)
    uv = write_obj(tmp_path / "t.obj", flame.faces)
    head = to_head(flame, "tiny", 6, tmp_path / "t.obj")
    np.testing.assert_allclose(head.uv[head.uv_faces].reshape(-1, 2), uv, atol=1e-6)
    write_obj(tmp_path / "other.obj", flame.faces, shift=1)
    with pytest.raises(BadFile, match=r"other.obj: should be an OBJ of the same triangles"):
        to_head(flame, "tiny", 6, tmp_path / "other.obj")
    with pytest.raises(BadFile, match="cannot be read"):
        to_head(flame, "tiny", 6, tmp_path / "none.obj")


# --- what is refused ---------------------------------------------------------------------------------------------------------------------------------


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile(marker: Path) -> dict[str, bytes]:
    text = str(marker)
    return {
        "os.system": pickle.dumps({"v_template": Calls(os.system, f"touch {text}")}),
        "eval": pickle.dumps({"v_template": Calls(eval, f"open({text!r}, 'w')")}),
        "exec in protocol 0": pickle.dumps(Calls(exec, f"open({text!r}, 'w')"), 0),
        "open": pickle.dumps([Calls(open, text, "w")]),
        "numpy.save": pickle.dumps(Calls(np.save, text, 1)),
        "numpy.fromfile": b"cnumpy\nfromfile\n(S'/etc/hostname'\ntR.",
        "dotted": b"\x80\x04\x8c\x08builtins\x8c\x0elist.__class__\x93.",
        "getattr": b"cbuiltins\ngetattr\n(cbuiltins\nlist\nS'append'\ntR.",
        "INST": f"(S'touch {text}'\nios\nsystem\n.".encode(),
        "persistent id": b"Pabc\n.",
        "extension": b"\x82\x01.",
        "attribute of a class": b"c__builtin__\nobject\n(N}S'x'\nI1\nstb.",
        "attribute of a function": b"c_codecs\nencode\n(N}S'__defaults__'\n(I1\ntstb.",
        "other codec": b"c_codecs\nencode\n(VAAAA\nVrot13\ntR.",
        "great bytearray": b"c__builtin__\nbytearray\n(I99999999999\ntR.",
        "rebuilt class": b"ccopy_reg\n_reconstructor\n(c__builtin__\nlist\nc__builtin__\nobject\nNtR.",
    }


@pytest.mark.parametrize("name", list(hostile(Path("x"))))
def test_nothing_is_executed(tmp_path: Path, name: str) -> None:
    marker, out = tmp_path / "marker", tmp_path / "head.safetensors"
    (tmp_path / "evil.pkl").write_bytes(hostile(marker)[name])
    with pytest.raises(BadFile, match=r"evil.pkl: refused: .*nothing was executed"):
        read_flame(tmp_path / "evil.pkl")
    assert main(["convert", str(tmp_path / "evil.pkl"), "--out", str(out)]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pkl"]


def test_the_hostile_ones_do_work_elsewhere(tmp_path: Path) -> None:
    """So that the test above can fail."""
    pickle.loads(hostile(tmp_path / "marker")["eval"])["v_template"].close()
    assert (tmp_path / "marker").exists()


def test_cut_and_damaged_files_are_bad_files(model: Path, tmp_path: Path) -> None:
    data = model.read_bytes()
    rng = np.random.default_rng(0)
    cuts = [data[:length] for length in (0, 1, 2, 3, 50, 300, len(data) // 2, len(data) - 1)]
    flips = []
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, 2000, 3):
            damaged[place] = rng.integers(256)
        flips.append(bytes(damaged))
    refused = 0
    for content in [*cuts, *flips]:
        (tmp_path / "bad.pkl").write_bytes(content)
        try:
            to_head(read_flame(tmp_path / "bad.pkl"), "bad", 6)
        except BadFile:
            refused += 1
    assert refused >= len(cuts)


TOWER = b"2\x86" * 200
"""DUP and TUPLE2: a tuple of twice the same, two hundred times over."""
BOMBS = {
    "a tower of tuples as a key": b"\x80\x02})" + TOWER + b"K\x01s.",
    "a tower of tuples in a set": b"\x80\x02c__builtin__\nset\n])" + TOWER + b"a\x85R.",
    "a tower by a name": b"\x80\x02)" + (b"q\x010c__builtin__\ntuple\n](h\x01h\x01e\x85R" * 200) + b".",
    "a tower for a type": b"\x80\x02cnumpy\ndtype\n]" + TOWER + b"\x85R.",
    "a tower for an encoding": b"c_codecs\nencode\n(VAA\n]" + TOWER + b"tR.",
    "a list of bytes, again and again": b"\x80\x04B\x00\x00\x01\x00" + bytes(65_536) + b"q\x01(" + b"c__builtin__\nlist\nh\x01\x85R" * 5000 + b"l.",
    "text encoded again and again": b"\x80\x04X\x00\x00\x01\x00" + b"A" * 65_536 + b"q\x01(" + b"c_codecs\nencode\nh\x01\x8c\x06latin1\x86R" * 5000 + b"l.",
    "an integer without end": b"\x80\x02\x8b\x00\x00\x01\x00" + b"\x01" * 65_536 + b".",
}


@pytest.mark.parametrize("name", BOMBS)
def test_little_files_that_would_take_hours_or_all_memory(tmp_path: Path, name: str) -> None:
    (tmp_path / "bomb.pkl").write_bytes(BOMBS[name])
    with pytest.raises(BadFile, match="refused"):
        read_flame(tmp_path / "bomb.pkl")


def test_a_bytearray_is_as_long_as_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x05\x96" + (2**36).to_bytes(8, "little") + b"abc.")
    tracemalloc.start()
    try:
        with pytest.raises(BadFile):
            read_flame(tmp_path / "x.pkl")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_parts_are_counted_inside_of_frames_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flame_pickle, "MAX_READS", 500)
    content = b"]" * 1000 + b"."
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04\x95" + len(content).to_bytes(8, "little") + content)
    with pytest.raises(BadFile, match="more than 500 parts"):
        read_flame(tmp_path / "x.pkl")


def test_sparse_matrices_that_would_fill_the_memory(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"J_regressor": sparse.csr_matrix((10_000, 10_000))}, 5))
    with pytest.raises(BadFile, match="do not fit together"):
        read_flame(tmp_path / "x.pkl")


def test_lies_about_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x."
    memo = b"\x80\x02K\x01r\xff\xff\xff\x7f."
    array = pickle.dumps({"v_template": np.zeros((3, 3))}, 2).replace(b"K\x03K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86")
    assert b"J\xff" in array
    for content in (huge, memo, array, b"]" * 1000):
        (tmp_path / "x.pkl").write_bytes(content)
        with pytest.raises(BadFile):
            read_flame(tmp_path / "x.pkl")
    monkeypatch.setattr(flame_pickle, "MAX_READS", 500)
    (tmp_path / "x.pkl").write_bytes(b"]" * 1000 + b".")
    with pytest.raises(BadFile, match="more than 500 parts"):
        read_flame(tmp_path / "x.pkl")
    monkeypatch.setattr(flame_pickle, "MAX_FILE_BYTES", 500)
    with pytest.raises(BadFile, match="at most 500"):
        read_flame(tmp_path / "x.pkl")
    with pytest.raises(BadFile, match="cannot be read"):
        read_flame(tmp_path / "none.pkl")


def changed(name: str, change: Any) -> Any:
    return lambda arrays: arrays | {name: change(arrays[name])}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed("v_template", lambda a: a[:, :2]), "'v_template' should have shape"),
        (changed("v_template", lambda a: a * 1000), "m across"),
        (changed("v_template", lambda a: a * np.nan), "not finite"),
        (changed("v_template", lambda a: a[:3]), "4 to 100000 vertices"),
        (changed("shapedirs", lambda a: a[:-1]), "'shapedirs' should have shape"),
        (changed("posedirs", lambda a: a[:, :, :27]), "'posedirs' should have shape"),
        (changed("J_regressor", lambda a: a[:4]), "'J_regressor' should have shape"),
        (changed("weights", lambda a: a * 0.5), "sum to one"),
        (changed("weights", lambda a: np.pad(a, ((0, 0), (0, 1)))), "'weights' should have shape"),
        (changed("f", lambda a: a + 5000), "'f' points outside"),
        (changed("f", lambda a: a.astype(float)), "should hold triangles 'f'"),
        (changed("kintree_table", lambda a: a[:, :4]), "kintree_table"),
        (changed("kintree_table", lambda a: a[:, ::-1]), "kintree_table"),
        (lambda arrays: {name: array for name, array in arrays.items() if name != "posedirs"}, "'posedirs', it holds nothing of the kind"),
    ],
)
def test_arrays_that_do_not_fit(arrays: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, words: str) -> None:
    write_flame_pickle(tmp_path / "flame.pkl", change(arrays))
    out = tmp_path / "head.safetensors"
    out.write_bytes(b"the old file")
    with pytest.raises(BadFile, match=words):
        read_flame(tmp_path / "flame.pkl")
    assert main(["convert", str(tmp_path / "flame.pkl"), "--out", str(out), "--identity", "6"]) == 1
    assert "flame.pkl" in capsys.readouterr().err
    assert out.read_bytes() == b"the old file"


def test_not_a_dictionary(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(BadFile, match="should hold a dictionary"):
        read_flame(tmp_path / "x.pkl")


def test_bad_npz(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no zip", encoding="utf-8")
    np.savez(tmp_path / "object.npz", v_template=np.array([{}], object), allow_pickle=True)
    for name, method, descriptor in (
        ("large", zipfile.ZIP_DEFLATED, "<f8"),
        ("nested", zipfile.ZIP_LZMA, "(" * 200),
        ("code", zipfile.ZIP_STORED, "__import__"),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w", method) as archive:
            header = f"{{'descr': '{descriptor}', 'fortran_order': False, 'shape': ({10**12}, 3), }}".encode()
            archive.writestr("v_template.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    locked = bytearray((tmp_path / "code.npz").read_bytes())
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.npz").write_bytes(locked)
    for name in ("text.npz", "object.npz", "none.npz", "large.npz", "nested.npz", "code.npz", "locked.npz"):
        with pytest.raises(BadFile, match=name):
            read_flame(tmp_path / name)
