"""The first stage: a video in, the person's dataset out (training.clip). Two passes over the pictures: where the face is, then what is around the head."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face_roi import roi_around_landmarks
from models.landmarker import PRESENCE_THRESHOLD, FaceLandmarker
from models.weights import weight_path
from training.ahead import map_ahead, read_ahead
from training.backdrop import AT_MOST, Room, gather_room
from training.check import judge
from training.clip import CLIP_PX, FRAMES, MATTES, Clip, load_clip, save_observations
from training.errors import TrainingError
from training.framing import Framing, frame_head
from training.matting import Bytes, Segmenter, person_only, refined
from training.nha_layout import NhaFolder, open_nha
from training.npy_stream import NpyStream
from training.overview import draw_overview
from training.pose_coverage import pose_coverage
from training.progress import Progress
from training.run_dir import RunDir
from training.source import PictureSource, evenly
from training.stages import Options
from training.survey import Float, Survey, face_square, sharpness, survey
from training.video import Image, open_video

FRAMES_AT_MOST = {"quick": 300, "full": 750}
HELD_OUT = 0.2
"""Share of the frames, at the end of the clip, that nothing is learned from; a split of the source's own comes first."""
LEAST_FRAMES = 30
BLURRED = 0.6
PLATE, OVERVIEW, SUMMARY = "plate.png", "overview.png", "dataset.json"
LANDMARKER, SEGMENTER = "face_landmarker.task", "selfie_segmentation.tflite"


@dataclass(slots=True)
class _Kept:
    """The frames that the second pass keeps; lists of one length."""

    number: list[int] = field(default_factory=list)
    """Which of the frames that the framing knows."""
    index: list[int] = field(default_factory=list)
    """Which picture of the source."""
    pts_s: list[float] = field(default_factory=list)
    landmarks: list[Float] = field(default_factory=list)
    coefficients: list[Float] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    coarse: list[Bytes] = field(default_factory=list)


def run(run: RunDir, options: Options, progress: Progress) -> None:
    """Raises TrainingError: the clip is of no use; says why, and what to record instead."""
    folder = run.folder("dataset")
    source: PictureSource = open_nha(options.clip) if options.clip.is_dir() else open_video(options.clip)
    taken = evenly(source, FRAMES_AT_MOST[options.preset])
    landmarker_file = weight_path(LANDMARKER)
    seen = survey(source, taken, landmarker_file, progress, options.threads)
    _refuse_useless(options.clip, seen, source, progress)
    usable = np.flatnonzero(seen.found)
    framing = frame_head(source.width, source.height, seen.boxes[usable], seen.pts_s[usable])
    eyes = _Eyes(FaceLandmarker(landmarker_file, 1), Segmenter(weight_path(SEGMENTER)))
    kept = _cut_out(folder / FRAMES, source, seen, usable, framing, eyes, options.threads, progress)
    if len(kept.number) < LEAST_FRAMES:
        raise TrainingError(f"{options.clip}: only {len(kept.number)} frames show a clear face. Record 10 to 60 seconds of one face, well lit, from the front.")
    still = _write_mattes(folder, framing, kept, options.threads, progress)
    clip = _write_observations(folder, framing, kept, _held_out(source, kept))
    draw_overview(folder / OVERVIEW, clip)
    left_out = Counter({"no face": len(taken) - len(usable), "face unclear": len(usable) - len(kept.number)})
    summary = _summary(clip, source, framing, len(taken), +left_out) | {"still_camera": still}
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1), encoding="utf-8")
    run.report("dataset", **summary)


def _refuse_useless(clip: Path, seen: Survey, source: PictureSource, progress: Progress) -> None:
    findings = judge(seen, source.seconds)
    refusals = [str(finding) for finding in findings if finding.refuses]
    if refusals:
        raise TrainingError("\n".join([f"{clip} cannot become an avatar.", *refusals]))
    for finding in findings:
        progress.note(str(finding))


@dataclass(frozen=True, slots=True)
class _Eyes:
    """What looks at a crop."""

    landmarker: FaceLandmarker
    segmenter: Segmenter

    def observe(self, crop: Image, about: Float, head: Bytes | None, kept: _Kept) -> bool:
        """Adds what it sees; False where there is no usable face after all.

        Args:
            about: (478, 3) where the landmarks should be, in pixels of the crop.
            head: (256, 256) 255 where the source itself says that there is a head.
        """
        result = self.landmarker.landmarks(crop, roi_around_landmarks(about))
        if result.presence < PRESENCE_THRESHOLD:
            return False
        grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)
        person = person_only(self.segmenter.coarse(crop), result.landmarks[:, :2] / np.float32(CLIP_PX))
        coarse = np.asarray(np.rint(person * 255.0), np.uint8)
        kept.landmarks.append(result.landmarks)
        kept.coefficients.append(result.coefficients)
        kept.sharpness.append(sharpness(face_square(grey, result.landmarks)))
        kept.coarse.append(coarse if head is None else np.maximum(coarse, head))
        return True


def _cut_out(
    path: Path, source: PictureSource, seen: Survey, usable: NDArray[np.int64], framing: Framing, eyes: _Eyes, threads: int, progress: Progress
) -> _Kept:
    kept = _Kept()
    number_of = {int(index): number for number, index in enumerate(seen.index[usable])}
    progress.start("cutting out the head", len(usable))
    with NpyStream(path, (CLIP_PX, CLIP_PX, 3)) as pictures:
        for frame in read_ahead(source.read(seen.index[usable], framing.reading_scale, threads), 2 * (threads > 1)):
            number = number_of[frame.index]
            crop = framing.cut(frame.image, number)
            about = framing.to_crop(seen.landmarks[usable[number]], number)
            if eyes.observe(crop, about, _known_head(source, frame.index, framing, number, eyes.segmenter.size), kept):
                kept.number.append(number)
                kept.index.append(frame.index)
                kept.pts_s.append(frame.pts_s)
                pictures.append(crop)
            progress.advance()
    return kept


def _known_head(source: PictureSource, index: int, framing: Framing, number: int, size: int) -> Bytes | None:
    """(size, size) of one crop: 255 where the source says head."""
    head = source.head(index) if isinstance(source, NhaFolder) else None
    if head is None:
        return None
    extent = (round(head.shape[1] * framing.reading_scale), round(head.shape[0] * framing.reading_scale))
    picture = np.repeat(cv2.resize(head * np.uint8(255), extent, interpolation=cv2.INTER_AREA)[..., None], 3, -1)
    crop = framing.cut(np.asarray(picture, np.uint8), number)[..., 0]
    return np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _write_mattes(folder: Path, framing: Framing, kept: _Kept, threads: int, progress: Progress) -> bool:
    """Whether the camera stands still, so that the room behind the person could be told from them."""
    frames = np.load(folder / FRAMES, mmap_mode="r")
    progress.start("matting", len(frames))
    room = _room(frames, framing, kept)
    if room is None:
        progress.note("the camera or the background moves: mattes follow the picture's edges only")

    def matte(row: int) -> Bytes:
        number = kept.number[row]
        plate = room.seen_from(framing.origin[number], CLIP_PX) if room else None
        refined_matte = refined(np.asarray(frames[row]), _steady(kept.coarse, row), plate)
        refined_matte[framing.outside(number)] = 0
        return refined_matte

    with NpyStream(folder / MATTES, (CLIP_PX, CLIP_PX)) as mattes:
        for done in map_ahead(matte, range(len(kept.number)), threads):
            mattes.append(done)
            progress.advance()
    if room is not None:
        bgra = np.dstack([room.plate.colours[..., ::-1], (room.plate.trust > 0.0).astype(np.uint8) * np.uint8(255)])
        (folder / PLATE).write_bytes(cv2.imencode(".png", bgra)[1].tobytes())
    return room is not None


def _steady(coarse: list[Bytes], row: int) -> Float:
    """The coarse matte of a frame with a little of its neighbours' in it: what flickers is not the person."""
    before, after = coarse[max(row - 1, 0)], coarse[min(row + 1, len(coarse) - 1)]
    mixed = 0.5 * coarse[row].astype(np.float32) + 0.25 * before + 0.25 * after
    return np.asarray(mixed / np.float32(255.0), np.float32)


def _room(frames: Bytes, framing: Framing, kept: _Kept) -> Room | None:
    asked = np.unique(np.linspace(0, len(frames) - 1, AT_MOST).astype(int)).tolist()
    persons = [np.asarray(cv2.resize(kept.coarse[row], (CLIP_PX, CLIP_PX), interpolation=cv2.INTER_LINEAR), np.uint8) for row in asked]
    numbers = [kept.number[row] for row in asked]
    return gather_room([np.asarray(frames[row]) for row in asked], persons, framing.origin[numbers], [framing.outside(number) for number in numbers])


def _held_out(source: PictureSource, kept: _Kept) -> NDArray[np.bool_]:
    if isinstance(source, NhaFolder) and source.held_out is not None:
        return source.held_out[kept.index]
    count = len(kept.number)
    return np.arange(count) >= round((1.0 - HELD_OUT) * count)


def _write_observations(folder: Path, framing: Framing, kept: _Kept, held_out: NDArray[np.bool_]) -> Clip:
    strength = np.array(kept.sharpness, np.float32)
    clip = Clip(
        frames=np.load(folder / FRAMES, mmap_mode="r"),
        mattes=np.load(folder / MATTES, mmap_mode="r"),
        pts_s=np.array(kept.pts_s, np.float64),
        landmarks=np.array(kept.landmarks, np.float32),
        coefficients=np.array(kept.coefficients, np.float32),
        sharpness=strength / max(float(np.median(strength)), 1e-6),
        origin=framing.origin[kept.number],
        held_out=held_out,
    )
    save_observations(folder, clip)
    return load_clip(folder)


def _summary(clip: Clip, source: PictureSource, framing: Framing, taken: int, left_out: Counter[str]) -> dict[str, Any]:
    seconds = float(clip.pts_s[-1] - clip.pts_s[0])
    return {
        "frames": len(clip.pts_s),
        "frames_looked_at": taken,
        "frames_of_the_video": len(source.pts_s),
        "left_out": dict(left_out),
        "held_out_frames": int(clip.held_out.sum()),
        "seconds": round(seconds, 3),
        "fps": round((len(clip.pts_s) - 1) / seconds, 3),
        "video": {"width": source.width, "height": source.height, "fps": round(1.0 / source.frame_s, 3)},
        "crop": {"size": clip.size, "scale": round(framing.scale, 5), "steady": clip.steady, "first_origin": clip.origin[0].tolist()},
        "sharpness": {"least": round(float(clip.sharpness.min()), 3), "blurred_frames": int((clip.sharpness < BLURRED).sum())},
        "pose": asdict(pose_coverage(clip.landmarks)),
    }
