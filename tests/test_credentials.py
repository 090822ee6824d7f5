"""Content credentials: signed, whole, trusted only with our authority, broken by any change; only what bears the mark is signed; nobody is asked."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import c2pa
import cv2
import numpy as np
import pytest
from cryptography import x509
from numpy.typing import NDArray

from models.avatar_file import read_avatar, read_avatar_tensors
from models.baked import bake
from models.consent.keys import KeyFolder, KeyProblem
from models.consent.signature import content_digest
from models.credentials.__main__ import main, sign_stream
from models.credentials.identity import FILE, VALID, identity
from models.credentials.manifest import ALONE, MP4, PNG, verify
from models.credentials.recording import NotOurs, to_mp4
from models.errors import BadFile
from models.watermark.files import look
from realtime.renderer import AvatarRenderer
from tests.benchmarks.render import motion

pytestmark = pytest.mark.beside

Picture = NDArray[np.uint8]
MARA = Path(__file__).parents[1] / "assets" / "avatars" / "mara.avatar"
SIZE, FRAMES, RATE = 256, 60, 30
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def frames() -> list[Picture]:
    """Two seconds of an avatar, I420, marked."""
    renderer = AvatarRenderer(bake(read_avatar(MARA)), SIZE, 1)
    pictures = [renderer.render_i420(params, "avatar").copy() for params in motion(renderer.avatar, FRAMES)]
    renderer.close()
    return pictures


def recording(frames: list[Picture], suffix: str, sound: bool = False, rate: int = 2_000_000) -> bytes:
    """As a browser's MediaRecorder makes it: VP8 and Opus in WebM, or H.264 and AAC in a fragmented MP4."""
    file = io.BytesIO()
    webm = suffix == "webm"
    options = {} if webm else {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    height, width = frames[0].shape[0] * 2 // 3, frames[0].shape[1]
    with av.open(file, "w", format=suffix, options=options) as container:
        picture = container.add_stream(
            "libvpx" if webm else "libx264", rate=RATE, options={"deadline": "realtime", "cpu-used": "8"} if webm else {"preset": "ultrafast"}
        )
        picture.width, picture.height, picture.pix_fmt, picture.bit_rate = width, height, "yuv420p", rate
        tone = container.add_stream("libopus" if webm else "aac", rate=48_000) if sound else None
        for frame in frames:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="yuv420p")))
        container.mux(picture.encode(None))
        if tone is not None:
            for index in range(96):
                wave = np.sin(np.arange(960) * 0.05)[None].astype(np.float32)
                samples = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                samples.sample_rate, samples.pts = 48_000, 960 * index
                container.mux(tone.encode(samples))
            container.mux(tone.encode(None))
    return file.getvalue()


def snapshot(frames: list[Picture]) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(frames[0], cv2.COLOR_YUV2BGR_I420))[1].tobytes()


def signed(data: bytes, avatar: Path | None = None) -> bytes:
    out = io.BytesIO()
    sign_stream(io.BytesIO(data), out, avatar)
    return out.getvalue()


def authority() -> str:
    return identity(KeyFolder.of(), datetime.now(UTC)).authority.decode()


def test_a_snapshot_is_signed_and_holds(frames: list[Picture], tmp_path: Path) -> None:
    given = snapshot(frames)
    data = signed(given, MARA)
    verdict = verify(io.BytesIO(data), PNG)
    assert verdict.state == "Valid"
    assert verdict.source == "trainedAlgorithmicMedia"
    assert verdict.generator is not None
    assert verdict.generator.startswith("Headcast")
    assert verdict.avatar == f"sha256:{content_digest(read_avatar_tensors(MARA))}"
    assert "signingCredential.untrusted" in verdict.problems[0]
    before, after = (cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in (given, data))
    assert before is not None
    np.testing.assert_array_equal(before, after)
    (tmp_path / "still.png").write_bytes(data)
    assert next(look(tmp_path / "still.png")).finding.found
    assert b"Mara" not in data, "whose face it is, is nobody's business without being asked"


def test_trusted_with_our_authority_only(frames: list[Picture], tmp_path: Path) -> None:
    data = signed(snapshot(frames))
    assert verify(io.BytesIO(data), PNG, authority()).state == "Trusted"
    other = identity(KeyFolder(tmp_path / "other"), datetime.now(UTC)).authority.decode()
    assert verify(io.BytesIO(data), PNG, other).state == "Valid"


@pytest.mark.parametrize("place", [0.05, 0.3, 0.7, 0.97])
def test_an_altered_byte_is_noticed(frames: list[Picture], place: float) -> None:
    for data, media_type in ((signed(snapshot(frames)), PNG), (signed(recording(frames[:30], "mp4")), MP4)):
        broken = bytearray(data)
        broken[int(place * len(broken))] ^= 1
        try:
            verdict = verify(io.BytesIO(bytes(broken)), media_type, authority())
        except BadFile:
            continue
        assert not verdict.holds, (media_type, verdict)


@pytest.mark.parametrize(("suffix", "sound"), [("webm", True), ("webm", False), ("mp4", True), ("mp4", False)])
def test_a_recording_becomes_a_signed_mp4(frames: list[Picture], tmp_path: Path, suffix: str, sound: bool) -> None:
    path = tmp_path / "call.mp4"
    path.write_bytes(signed(recording(frames, suffix, sound)))
    with path.open("rb") as file:
        verdict = verify(file, MP4, authority())
    assert verdict.state == "Trusted", verdict
    assert verdict.source == ("compositeWithTrainedAlgorithmicMedia" if sound else "trainedAlgorithmicMedia")
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(2_000_000, rel=0.1)
        assert container.streams.video[0].codec_context.name == "h264"
        assert [stream.codec_context.name for stream in container.streams.audio] == ["aac"] * sound
        shown = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    assert len(shown) == FRAMES
    assert np.abs(shown[40].astype(int) - frames[40]).mean() < 3
    assert all(each.finding.found for each in look(path))


def avc3(parts: list[list[Picture]]) -> bytes:
    """As Chromium's MediaRecorder makes `avc3`: how pictures are coded stands beside keyframes, and changes where their size does."""
    file, at = io.BytesIO(), 0
    with av.open(file, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}) as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.codec_context.codec_tag, stream.bit_rate = "avc3", 2_000_000
        stream.height, stream.width, stream.pix_fmt = parts[0][0].shape[0] * 2 // 3, parts[0][0].shape[1], "yuv420p"
        for part in parts:
            encoder = av.CodecContext.create("libx264", "w")
            encoder.height, encoder.width, encoder.pix_fmt = part[0].shape[0] * 2 // 3, part[0].shape[1], "yuv420p"
            encoder.time_base, encoder.options, encoder.bit_rate = Fraction(1, RATE), {"preset": "ultrafast", "tune": "zerolatency"}, 2_000_000
            for picture in (*part, None):
                frame = None if picture is None else av.VideoFrame.from_ndarray(picture, format="yuv420p")
                if frame is not None:
                    frame.pts, at = at, at + 1
                for packet in encoder.encode(frame):
                    packet.stream, packet.time_base = stream, Fraction(1, RATE)
                    container.mux(packet)
    return file.getvalue()


def halved(picture: Picture) -> Picture:
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    rgb = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)


@pytest.mark.parametrize("changes", [False, True])
def test_a_recording_has_one_size_whatever_the_calls_was(frames: list[Picture], changes: bool) -> None:
    given = avc3([frames[:30], [halved(picture) for picture in frames[30:]] if changes else frames[30:]])
    with av.open(io.BytesIO(given)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "avc3"
    out = io.BytesIO()
    assert to_mp4(io.BytesIO(given), out).transcoded is changes
    out.seek(0)
    with av.open(out, "r") as container:
        assert container.streams.video[0].codec_context.codec_tag == "avc1", "what plays everywhere"
        shown = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    assert len(shown) == FRAMES
    for index in (20, 40):
        assert np.abs(shown[index].astype(int) - frames[index]).mean() < (5 if changes else 3)


def test_nothing_without_the_mark_is_signed(frames: list[Picture]) -> None:
    rng = np.random.default_rng(3)
    plain = cv2.GaussianBlur(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8), (0, 0), 4)
    flat = np.full((SIZE * 3 // 2, SIZE), 128, np.uint8)
    wide = np.hstack([frames[0][:SIZE], frames[0][:SIZE]])
    for data in (
        cv2.imencode(".png", plain)[1].tobytes(),
        cv2.imencode(".png", wide)[1].tobytes(),
        recording([flat] * 30, "webm"),
        recording(frames[:30] + [flat] * 120, "mp4"),
    ):
        with pytest.raises(NotOurs, match=r"the mark was found in|expected a square picture"):
            signed(data)


def test_what_is_neither_picture_nor_video_is_refused(frames: list[Picture]) -> None:
    sound = recording(frames[:2], "webm", sound=True)
    for data in (b"", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP", b"#EXTM3U\nfile:///etc/passwd\n", sound[:200]):
        with pytest.raises(BadFile, match="expected"):
            signed(data)


def test_the_key_is_the_owners_alone_and_kept(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys")
    first = identity(folder, NOW)
    assert stat.S_IMODE((folder.path / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert identity(folder, NOW + VALID - timedelta(days=2)) == first
    assert identity(folder, NOW + VALID + timedelta(days=2)) != first
    assert [each.name for each in folder.path.iterdir()] == [FILE]
    (folder.path / FILE).write_bytes(b"no key")
    with pytest.raises(KeyProblem, match="expected a key and two certificates"):
        identity(folder, NOW)


def test_the_authority_signs_one_certificate_and_its_key_is_gone(tmp_path: Path) -> None:
    made = identity(KeyFolder(tmp_path), NOW)
    leaf, root = x509.load_pem_x509_certificates(made.chain)
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert leaf.public_key() != root.public_key()
    assert (tmp_path / FILE).read_bytes().count(b"PRIVATE KEY-----") == 2, "one, its beginning and its end"
    assert b"PRIVATE" not in made.authority


class Hits(BaseHTTPRequestHandler):
    """Counts who asks."""

    count = 0

    def do_GET(self) -> None:
        type(self).count += 1
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hits)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Hits.count = 0
    yield f"http://127.0.0.1:{server.server_address[1]}/manifest.c2pa"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_manifest_elsewhere_is_not_fetched(frames: list[Picture], stranger: str) -> None:
    by = identity(KeyFolder.of(), datetime.now(UTC))
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", by.chain, by.key, None))
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": "http://c2pa.org/digitalsourcetype/empty"}]}
    manifest = {"claim_generator_info": [{"name": "x"}], "assertions": [{"label": "c2pa.actions.v2", "data": actions}]}
    builder = c2pa.Builder(manifest, context=c2pa.Context.from_dict(ALONE))
    builder.set_no_embed()
    builder.set_remote_url(stranger)
    out = io.BytesIO()
    builder.sign(signer, PNG, io.BytesIO(snapshot(frames)), out)
    assert stranger.encode() in out.getvalue()
    with contextlib.suppress(BadFile):
        assert not verify(io.BytesIO(out.getvalue()), PNG).holds
    assert Hits.count == 0


def test_the_commands(frames: list[Picture], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "given.png").write_bytes(snapshot(frames))
    with (tmp_path / "given.png").open("rb") as given, (tmp_path / "still.png").open("wb") as out:
        subprocess.run([sys.executable, "-m", "models.credentials", "sign", "--avatar", MARA], stdin=given, stdout=out, check=True, env={**os.environ})
    assert main(["authority"]) == 0
    (tmp_path / "ca.pem").write_text(capsys.readouterr().out)
    assert main(["verify", str(tmp_path / "still.png"), "--trust", str(tmp_path / "ca.pem")]) == 0
    assert "by somebody you trust" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "still.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "Valid"
    assert main(["verify", str(tmp_path / "given.png")]) == 1
    assert "no content credentials" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "none.png")]) == 2
    (tmp_path / "notes.txt").write_text("x")
    assert main(["verify", str(tmp_path / "notes.txt")]) == 2
    with Path(os.devnull).open("rb") as nothing:
        done = subprocess.run([sys.executable, "-m", "models.credentials", "sign"], stdin=nothing, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"headcast: expected a recording as WebM or MP4")
    assert done.stdout == b""
