"""All of training on clips of known truth: what is fitted is what was rendered, what is baked plays, what is judged is right; a killed run goes on."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.avatar_file import AvatarFile, read_avatar
from models.badge import make_badge
from models.consent.opening import open_card
from models.head import save_head
from models.image_blob import decode_image
from models.rotations import to_matrix
from tests.clips import talking_head, write_video
from tests.flame_like import open_head_as_flame
from tests.synthetic_clip import Truth, save_clip, synthetic_clip
from training import bake, fit
from training.errors import TrainingError
from training.fit import FitPlan
from training.fitted import Fitted
from training.pipeline import fingerprints, prepare, run_stages
from training.portrait.appearance import AppearanceSettings
from training.progress import Progress
from training.registration import RegistrationPlan
from training.report import write_report
from training.run_dir import RunDir
from training.stages import STAGES, Options
from training.train import which_device, which_road

pytestmark = pytest.mark.beside

ROOT = Path(__file__).resolve().parents[1]
LEAST_PSNR = {"head_box": 30.0, "mouth": 29.4, "eyes": 27.2}
"""A decibel less than what is reached: 31.0, 30.3, 28.6 dB. The aim for the head box is 32."""
REGIONS = {"full", "head_box", "mouth", "eyes", "black"}
SMALL = FitPlan(48, expression_rounds=2, surface_rounds=2, final_rounds=5, texture_frames=48, components=10)
TEACHING = RegistrationPlan(points=400, stages=2, starts=8)
TINY = FitPlan(10, 1, 1, 1, 8, components=3, outline_rounds=1, texture=AppearanceSettings(maps_px=64, base_px=128))


@dataclass(frozen=True, slots=True)
class Done:
    """A run that went through every stage."""

    run: RunDir
    truth: Truth
    options: Options
    report: dict[str, Any]
    fitted: Fitted


def through(folder: Path, truth: Truth, options: Options, plan: FitPlan, teaching: RegistrationPlan) -> Done:
    """As `all` does it, in a process of its own, but that the dataset is there already."""
    run = RunDir(folder)
    with run.locked():
        prepare(run, options, False)
        with run.work("dataset", fingerprints(run, options)["dataset"]):
            save_clip(run.folder("dataset"), truth.clip)
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        alone.submit(stages_after_the_dataset, folder, options, plan, teaching).result()
    run = RunDir(folder)
    report = json.loads((run.path / "report.json").read_text(encoding="utf-8"))
    return Done(run, truth, options, report, Fitted.load(run.folder("fit") / "fit.npz"))


def stages_after_the_dataset(folder: Path, options: Options, plan: FitPlan, teaching: RegistrationPlan) -> None:
    fit.PLANS["quick"], bake.PLANS["quick"] = plan, teaching
    run = RunDir(folder)
    with run.locked():
        run_stages(run, options, STAGES[1:], Progress())
        write_report(run)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    clip = tmp_path_factory.mktemp("clip") / "clip.mp4"
    clip.write_bytes(b"stands for the pictures, which are rendered")
    agreed = {"subject": "Theo", "granted_by": "Theo's maker", "purposes": ("live", "recordings"), "expires": "2100-01-31", "agreed_at": "2026-11-22T20:30:00Z"}
    return Options(clip, device="cpu", road="closed-form", threads=1, **agreed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, options: Options) -> Done:
    return through(tmp_path_factory.mktemp("runs") / "theo", synthetic_clip(without=("hair",)), options, SMALL, TEACHING)


def off_degrees(fitted: Fitted, truth: Fitted) -> NDArray[np.float64]:
    """(T,) between fitted and true head rotations, apart from one constant turn of the head model within the head.

    What the landmarks call straight ahead differs between a rendered face and the people whom the model's landmarks were placed on; that turn, the same in
    every frame, is the mean of truth⁻¹ · fitted (projected onto the rotations).
    """
    turns = np.array([to_matrix(one).T @ to_matrix(two) for one, two in zip(truth.neck, fitted.neck, strict=True)])
    left, _, right = np.linalg.svd(turns.mean(0))
    cosine = (np.einsum("tij,ij->t", turns, left @ right) - 1.0) / 2.0
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def test_the_pose_is_the_rendered_one(done: Done) -> None:
    off = off_degrees(done.fitted, done.truth.fitted)
    assert off.mean() < 1.0
    assert off[done.truth.clip.held_out].mean() < 1.0
    landmarks = Fitted.load(done.run.folder("fit") / "landmarks.npz")
    assert off.mean() < off_degrees(landmarks, done.truth.fitted).mean(), "pictures know better than landmarks"


def test_the_face_moves_as_it_was_made_to(done: Done) -> None:
    names = read_avatar(done.run.avatar).expression_names
    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"):
        found, made = (fitted.expression[:, names.index(name)] for fitted in (done.fitted, done.truth.fitted))
        assert np.corrcoef(found, made)[0, 1] > 0.8, name


def test_held_out_frames_look_as_they_should(done: Done) -> None:
    offline, live = done.report["held_out"]["offline"], done.report["held_out"]["live"]
    assert offline.keys() >= REGIONS
    assert live.keys() >= REGIONS
    for figures in (*offline.values(), *live.values()):
        assert {"psnr", "ssim", "l1"} <= figures.keys()
    for region, least in LEAST_PSNR.items():
        assert offline[region]["psnr"] > least, region
    for baseline in done.report["baselines"].values():
        assert baseline["head_box"]["psnr"] < offline["head_box"]["psnr"] - 2.0


def test_live_stays_near_offline(done: Done) -> None:
    offline, live = done.report["held_out"]["offline"], done.report["held_out"]["live"]
    for region, gap in (("head_box", 1.5), ("mouth", 2.0), ("eyes", 2.0)):
        assert live[region]["psnr"] > offline[region]["psnr"] - gap, region


def test_the_report_says_what_was_done(done: Done) -> None:
    report = done.report
    assert report["avatar_bytes"] == done.run.avatar.stat().st_size <= 5_000_000
    assert report["seconds"].keys() == {"total", *STAGES}
    assert report["seconds"]["total"] == pytest.approx(sum(report["seconds"][stage] for stage in STAGES), rel=0.01)
    assert 100.0 < report["peak_memory_mib"] < 3072.0
    values = done.run.record("fit")["values"]
    assert values["landmark_error_px"]["mean"] < values["landmark_error_px"]["p95"] < 6.0
    assert values["flow_px"][0] > values["flow_px"][4]
    assert values["frames_learned_from"] == 48
    assert done.run.record("train")["values"]["road"] == "closed-form"
    assert (done.run.path / "report.html").is_file()
    assert (done.run.folder("fit") / "overlay.mp4").stat().st_size > 10_000


def test_baked_is_as_good_as_unbaked(done: Done) -> None:
    assert done.run.record("bake")["values"]["parity_db"] > bake.LEAST_PARITY_DB


def test_the_card_says_whose_face_it_is(done: Done) -> None:
    card = read_avatar(done.run.avatar).card
    assert (card.name, card.consent.synthetic, card.consent.subject, card.consent.granted_by) == ("theo", False, "Theo", "Theo's maker")
    assert "This holds until the end of 2100-01-31." in card.consent.statement
    assert (card.consent.agreed_at, card.consent.expires) == ("2026-11-22T20:30:00Z", "2100-01-31")
    assert open_card(done.run.avatar, datetime.date.today()).provenance.whose == "this installation"
    assert "as they agreed" in card.licence


def test_the_thumbnail_is_marked(done: Done) -> None:
    """Where the badge is opaque, the picture is the badge's."""
    thumbnail = decode_image(read_avatar(done.run.avatar).card.thumbnail, "thumbnail", 3, 512)
    badge, margin = make_badge(len(thumbnail))
    height, width = badge.shape[:2]
    under = thumbnail[len(thumbnail) - margin - height : len(thumbnail) - margin, margin : margin + width].astype(float).mean(2)
    ink = badge[..., 3] > 220
    assert np.corrcoef(under.ravel(), badge[..., 0].ravel().astype(float))[0, 1] > 0.7
    assert under[ink].mean() > 150.0 > under[~ink].mean()


def test_the_avatar_is_the_head_on_a_bust_that_knows_its_person(done: Done) -> None:
    file = read_avatar(done.run.avatar)
    assert {region.name for region in file.regions} >= {"skin", "left_eye", "right_eye", "mouth", "bust"}
    assert (file.mesh.face_layer == 2).any()
    assert file.background is not None
    assert file.driver is not None
    assert file.driver.registration is not None
    assert len(file.driver.registration.stages) == TEACHING.stages
    np.testing.assert_allclose(file.driver.identity, done.fitted.identity, atol=1e-5)
    used = done.fitted.neck[done.truth.clip.training]
    assert (file.ranges.neck[:, 0] < np.percentile(used, 1, axis=0)).all()
    assert (file.ranges.neck[:, 1] > np.percentile(used, 99, axis=0)).all()
    assert file.ranges.rotation.max() == 0.0


def test_an_avatar_that_is_too_large_is_refused_and_the_old_one_stays(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    before = done.run.avatar.read_bytes()
    monkeypatch.setattr(bake, "MAX_BYTES", 1000)
    monkeypatch.setattr(bake, "learn_registration", lambda *given: read_avatar_registration(done))
    with done.run.locked(), pytest.raises(TrainingError, match="limit: choose a head with fewer"):
        run_stages(done.run, done.options, ["bake"], Progress(), True)
    assert done.run.avatar.read_bytes() == before
    assert not list(done.run.path.glob("*.partial"))
    again = RunDir(done.run.path)
    assert again.is_done("bake", fingerprints(again, done.options)["bake"])


def read_avatar_registration(done: Done) -> Any:
    driver = read_avatar(done.run.avatar).driver
    assert driver is not None
    return driver.registration


def test_everything_is_passed_over_the_second_time(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.pipeline.load_stage", lambda name: pytest.fail(f"{name} was run again"))
    run = RunDir(done.run.path)
    with run.locked():
        run_stages(run, done.options, STAGES, Progress())


def test_roads_and_devices(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = replace(options, road="auto", device="auto")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert (which_road(plain), which_device(plain), which_device(options)) == ("closed-form", "cpu", "cpu")
    with pytest.raises(TrainingError, match="needs PyTorch"):
        which_road(replace(plain, road="neural"))
    with pytest.raises(TrainingError, match="PyTorch with CUDA"):
        which_device(replace(plain, device="cuda"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    for gpu in (False, True):
        monkeypatch.setitem(sys.modules, "training.neural.device", type("device", (), {"has_gpu": staticmethod(lambda gpu=gpu: gpu)}))
        assert which_device(plain) == ("cuda" if gpu else "cpu")
        assert which_road(plain) == ("neural" if gpu else "closed-form")
        assert (which_road(replace(plain, road="closed-form")), which_road(replace(plain, road="neural"))) == ("closed-form", "neural")
        assert which_device(options) == "cpu"
    monkeypatch.setitem(sys.modules, "training.neural.device", type("device", (), {"has_gpu": staticmethod(lambda: False)}))
    with pytest.raises(TrainingError, match="finds no GPU"):
        which_device(replace(plain, device="cuda"))


def test_a_head_without_landmarks_is_refused(tmp_path: Path, options: Options) -> None:
    head = open_head_as_flame()
    save_head(tmp_path / "head.safetensors", replace(head, landmark_faces=np.full(478, -1, np.int32)))
    with pytest.raises(TrainingError, match="no landmark embedding yet"):
        fit.the_head(replace(options, head=tmp_path / "head.safetensors"))


def test_a_head_in_flame_s_shape_goes_through_every_stage(tmp_path: Path, options: Options) -> None:
    """Shapes without ARKit names, a jaw that is a joint, pose correctives; very small."""
    head = open_head_as_flame()
    save_head(tmp_path / "head.safetensors", head)
    teaching = replace(bake.PLANS["quick"], points=60, starts=1)
    done = through(tmp_path / "flame", synthetic_clip(count=16, size=256), replace(options, head=tmp_path / "head.safetensors"), TINY, teaching)
    avatar: AvatarFile = read_avatar(done.run.avatar)
    assert avatar.head_layout == "flame-like"
    assert avatar.expression_names == head.expression_names
    assert avatar.pose_correctives is not None
    assert done.report["held_out"]["offline"]["head_box"]["psnr"] > 18.0
    assert done.report["held_out"]["live"].keys() == done.report["held_out"]["offline"].keys()
    jaw = done.truth.fitted.expression[:, read_avatar(ROOT / "assets/avatars/theo.avatar").expression_names.index("jawOpen")]
    assert np.corrcoef(done.fitted.jaw[:, 0], jaw)[0, 1] > 0.6


KILLABLE = """
import sys
from training import bake, fit
from training.__main__ import main
from training.portrait.appearance import AppearanceSettings

if __name__ == "__main__":
    fit.PLANS["quick"] = fit.FitPlan(10, 1, 1, 1, 8, components=3, outline_rounds=1, texture=AppearanceSettings(maps_px=64, base_px=128))
    bake.PLANS["quick"] = bake.RegistrationPlan(points=60, starts=1)
    sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGKILL within the fit; then the same command."""
    clip = write_video(tmp_path / "clip.mp4", talking_head("mara", 54), ticks_ms=[60 * frame for frame in range(54)])
    script = tmp_path / "small_training.py"
    script.write_text(textwrap.dedent(KILLABLE), encoding="utf-8")
    runs = tmp_path / "runs"
    command = [sys.executable, str(script), "all", str(clip), "--name", "mara", "--runs", str(runs), "--device", "cpu", "--threads", "1", "--quiet"]
    command += ["--subject", "Mara", "--agreed"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            state, deadline = runs / "mara" / "run.json", time.monotonic() + 120.0
            while not (state.is_file() and json.loads(state.read_text(encoding="utf-8"))["running"].get("fit")):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    left = RunDir(runs / "mara")
    dataset = left.record("dataset")
    assert (dataset["state"], left.record("fit")["state"], left.avatar.exists()) == ("done", "running", False)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=240)
    run = RunDir(runs / "mara")
    assert {run.record(stage)["state"] for stage in STAGES} == {"done"}
    assert run.record("dataset") == dataset, "the finished stage was not made again"
    assert run.record("fit")["made_from"] == dataset["edition"]
    assert read_avatar(run.avatar).card.name == "mara"
    report = json.loads((run.path / "report.json").read_text(encoding="utf-8"))
    assert report["held_out"]["offline"]["head_box"]["psnr"] > 20.0
    leftovers = {path.name for path in run.path.iterdir()} - {*STAGES, "run.json", ".lock", "mara.avatar", "report.json", "report.html"}
    assert not [name for name in leftovers if name.endswith((".partial", ".old", ".scratch")) or name.startswith(".run")]
