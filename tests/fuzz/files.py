"""Targets that are files: avatars, their headers and pictures, FLAME's models, videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from models.avatar_file import KIND, VERSION, _arrays, parse_avatar, read_avatar, read_avatar_tensors, read_card, write_avatar
from models.avatar_header import pack
from models.consent.keys import KeyFolder
from models.consent.signature import content_digest, verify
from models.errors import ModelError
from models.flame_file import read_flame, read_obj_uv
from models.image_blob import decode_image, encode_image
from models.strict_json import loads
from models.tensor_file import TensorFile
from tests.consents import agreed, write_signed
from tests.fuzz.target import Target, scratch
from tests.tiny_avatar import tiny_avatar
from tests.tiny_head import tiny_flame, write_flame_pickle
from training.errors import TrainingError
from training.video import open_video, read_frames


def _at(name: str) -> Path:
    return scratch() / name


def _of_file(path: Path, read: Callable[[Path], object], *errors: type[Exception]) -> Callable[[bytes], None]:
    def feed(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(*errors):
            read(path)

    return feed


def pictures() -> Target:
    """Thumbnails, textures and plates."""

    def feed(data: bytes) -> None:
        with suppress(ModelError):
            assert decode_image(data, "it", 3 + len(data) % 2, 64).size <= 4 * 64 * 64

    colours = np.arange(16 * 12 * 4, dtype=np.uint8).reshape(12, 16, 4)
    made = [encode_image(np.ascontiguousarray(colours[..., :channels]), quality) for channels in (3, 4) for quality in (None, 60, 101)]
    return Target(feed, tuple(made), (b"IHDR", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"eXIf", b"VP8X", b"VP8L", b"ALPH", b"ANIM", b"ANMF"))


def avatars() -> Target:
    """Whole avatar files, as a gallery, an import and a session read them."""
    path = _at("x.avatar")
    seeds = []
    for trained in (False, True):
        write_avatar(path, tiny_avatar(6, trained=trained))
        seeds.append(path.read_bytes())

    def read(path: Path) -> None:
        with suppress(ModelError):
            read_card(path)
        read_avatar(path)

    tokens = (b'"shape":[', b'"dtype":"F16"', b'"dtype":"BF16"', b'"data_offsets":[0,0]', b'"__metadata__"', b"\\ud800", b'\\"consent\\"')
    return Target(_of_file(path, read, ModelError), tuple(seeds), tokens)


def avatar_headers() -> Target:
    """The JSON in an avatar file, beside arrays that are well."""
    avatar = tiny_avatar(6, trained=True)
    arrays = _arrays(avatar)
    seed = json.dumps({"kind": KIND, "version": VERSION, **pack(avatar)}).encode()

    def feed(data: bytes) -> None:
        try:
            header = loads(data)
        except ValueError:
            return
        if isinstance(header, dict):
            with suppress(ModelError):
                read = parse_avatar(TensorFile(arrays, header, "x"))
                json.dumps(pack(read), allow_nan=False).encode()

    return Target(feed, (seed,), (b'"expires":', b'"purposes":', b'"driver":{"version":1}', b"1e308", b"\\u0000", b'"2026-02-30"', b"true", b"null"))


def consents() -> Target:
    """The record of who agreed to an avatar, and its signature."""
    path = _at("x.avatar")
    keys = KeyFolder(path.parent / "keys")
    write_signed(path, tiny_avatar(6), agreed("2027-01-31"), keys)

    def read(path: Path) -> None:
        file = read_avatar_tensors(path)
        verify(file, content_digest(file))

    return Target(_of_file(path, read, ModelError), (path.read_bytes(),), (b"signature", b"earlier", b"consent", b"key", b"\\\\u00e9"))


def _little_flame() -> dict[str, np.ndarray]:
    """The first eight vertices of one: everything of it is read, and little of it is numbers."""
    arrays = tiny_flame(identity=1, expression=1, rings=3)
    little = {name: array[:8] for name, array in arrays.items() if name in ("v_template", "shapedirs", "posedirs", "weights")}
    return {**arrays, **little, "J_regressor": arrays["J_regressor"][:, :8], "f": arrays["f"][:4] % 8}


def flame_pickles() -> Target:
    """FLAME models as pickles of every protocol."""
    path = _at("x.pkl")
    seeds = []
    for protocol, python2 in ((2, True), (2, False), (4, False), (5, False)):
        write_flame_pickle(path, _little_flame(), protocol, python2)
        seeds.append(path.read_bytes())
    tokens = (
        b"c__builtin__\nset\n",
        b"cnumpy\ndtype\n",
        b"ccopy_reg\n_reconstructor\n",
        b"\x85R",
        b"2\x86",
        b"\x96",
        b"\x95",
        b"cos\nsystem\n",
        b"q\x01",
        b"h\x01",
        b"s",
    )
    return Target(_of_file(path, read_flame, ModelError), tuple(seeds), tokens)


def flame_archives() -> Target:
    """FLAME models as .npz."""
    path = _at("x.npz")
    seeds = []
    for save in (np.savez, np.savez_compressed):
        with path.open("wb") as file:
            save(file, **_little_flame())  # type: ignore[arg-type]
        seeds.append(path.read_bytes())
    return Target(_of_file(path, read_flame, ModelError), tuple(seeds), (b"\x93NUMPY", b"'descr': '<f8'", b"'|O'", b"PK\x01\x02", b"PK\x05\x06", b"../"))


def texture_objects() -> Target:
    """FLAME's OBJ with texture coordinates."""
    path = _at("x.obj")
    faces = np.array([[0, 1, 2], [2, 1, 3]], np.int32)
    seed = b"v 0 0 0\n" * 4 + b"vt 0 0\nvt 1 0\nvt 0 1\nvt 1 1\nf 1/1 2/2 3/3\nf 3/3 2/2 4/4\n"
    return Target(_of_file(path, lambda path: read_obj_uv(path, faces), ModelError), (seed,), (b"vt ", b"f ", b"/", b"nan", b"-1/-1", b"9" * 30))


def clip(codec: str, container: str, frames: int = 6) -> bytes:
    """A video of moving stripes, 64 x 48."""
    path = _at(f"seed.{container}")
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(25))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(frames):
            picture = np.roll(np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (48, 1, 3)), 5 * index, 1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(stream.encode(None))
    return path.read_bytes()


def videos() -> Target:
    """What `python -m training probe` does with an upload, and its first pictures. The studio runs it in a process of its own, with a limit of time."""
    path = _at("x")

    def read(path: Path) -> None:
        video = open_video(path)
        for _ in read_frames(video, np.arange(min(3, len(video.ticks))), 0.5, 1):
            pass

    seeds = (clip("libx264", "mp4"), clip("libvpx", "webm"), clip("mjpeg", "avi"), clip("libx264", "mkv"))
    tokens = (
        b"moov",
        b"trak",
        b"stts",
        b"stsz",
        b"co64",
        b"tkhd",
        b"RIFF",
        b"strh",
        b"\x1aE\xdf\xa3",
        b"#EXTM3U\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\n",
    )
    return Target(_of_file(path, read, TrainingError), seeds, tokens)
