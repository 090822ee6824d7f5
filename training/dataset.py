"""The first stage: a video in, the person's dataset out (training.clip). Two passes over the video: where the face is, then the pictures around the head."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face_roi import roi_around_landmarks
from models.landmarker import PRESENCE_THRESHOLD, FaceLandmarker
from models.weights import weight_path
from training.backdrop import AT_MOST, Room, gather_room
from training.clip import CLIP_PX, FRAMES, MATTES, Clip, load_clip, save_observations
from training.errors import TrainingError
from training.framing import Framing, frame_head
from training.matting import Bytes, Segmenter, person_only, refined
from training.npy_stream import NpyStream
from training.overview import draw_overview
from training.pose_coverage import pose_coverage
from training.progress import Progress
from training.run_dir import RunDir
from training.stages import Options
from training.survey import Survey, face_square, sharpness, survey
from training.video import Image, evenly, open_video, read_frames

FRAMES_AT_MOST = {"quick": 300, "full": 750}
HELD_OUT = 0.2
"""Share of the frames, at the end of the clip, that nothing is learned from."""
LEAST_FRAMES = 30
PLATE, OVERVIEW, SUMMARY = "plate.png", "overview.png", "dataset.json"


@dataclass(slots=True)
class _Taken:
    """What the second pass learns of the frames that it keeps; lists of one length."""

    kept: list[int]
    pts_s: list[float]
    landmarks: list[NDArray[np.float32]]
    coefficients: list[NDArray[np.float32]]
    sharpness: list[float]
    coarse: list[Bytes]


def run(run: RunDir, options: Options, progress: Progress) -> None:
    """Raises TrainingError: the clip is of no use; says why, and what to record instead."""
    folder = run.folder("dataset")
    video = open_video(options.clip)
    taken = evenly(video, FRAMES_AT_MOST[options.preset])
    landmarker_file = weight_path("face_landmarker.task")
    seen = survey(video, taken, landmarker_file, progress, options.threads)
    usable = np.flatnonzero(seen.found)
    if len(usable) < LEAST_FRAMES:
        raise TrainingError(f"{options.clip}: a face is seen in only {len(usable)} of {len(taken)} frames. Record 10 to 60 seconds of one person's face.")
    framing = frame_head(video, seen.boxes[usable], seen.pts_s[usable])
    progress.start("cutting out the head", len(usable))
    dropped: Counter[str] = Counter({"no face": len(taken) - len(usable)})
    got = _Taken([], [], [], [], [], [])
    landmarker, segmenter = FaceLandmarker(landmarker_file, 1), Segmenter(weight_path("selfie_segmentation.tflite"))
    with NpyStream(folder / FRAMES, (CLIP_PX, CLIP_PX, 3)) as pictures:
        position = {int(index): number for number, index in enumerate(seen.index[usable])}
        for frame in read_frames(video, seen.index[usable], framing.reading_scale, options.threads):
            number = position[frame.index]
            crop = framing.cut(frame.image, number)
            if _observe(crop, framing.to_crop(seen.landmarks[usable[number]], number), landmarker, segmenter, got):
                got.kept.append(number)
                got.pts_s.append(frame.pts_s)
                pictures.append(crop)
            else:
                dropped["face unclear in the crop"] += 1
            progress.advance()
    _write_mattes(folder, framing, got, progress)
    clip = _write_observations(folder, framing, got)
    _summarise(run, folder, clip, seen, dropped, video.frame_s, framing)


def _observe(crop: Image, about: NDArray[np.float32], landmarker: FaceLandmarker, segmenter: Segmenter, got: _Taken) -> bool:
    """Looks at one crop; False where there is no usable face after all."""
    result = landmarker.landmarks(crop, roi_around_landmarks(about))
    if result.presence < PRESENCE_THRESHOLD:
        return False
    got.landmarks.append(result.landmarks)
    got.coefficients.append(result.coefficients)
    got.sharpness.append(sharpness(face_square(np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8), result.landmarks)))
    person = person_only(segmenter.coarse(crop), result.landmarks[:, :2] / np.float32(CLIP_PX))
    got.coarse.append(np.asarray(np.rint(person * 255.0), np.uint8))
    return True


def _write_mattes(folder: Path, framing: Framing, got: _Taken, progress: Progress) -> None:
    frames = np.load(folder / FRAMES, mmap_mode="r")
    room = _room(frames, framing, got)
    if room is None:
        progress.note("the camera moves or the room does: mattes follow the picture's edges only")
    progress.start("matting", len(frames))
    with NpyStream(folder / MATTES, (CLIP_PX, CLIP_PX)) as mattes:
        for number, kept in enumerate(got.kept):
            plate = room.seen_from(framing.origin[kept], CLIP_PX) if room else None
            matte = refined(np.asarray(frames[number]), _steady(got.coarse, number), plate)
            matte[framing.outside(kept)] = 0
            mattes.append(matte)
            progress.advance()
    if room is not None:
        _write_plate(folder / PLATE, room)


def _steady(coarse: list[Bytes], number: int) -> NDArray[np.float32]:
    """The coarse matte of a frame, a little of its neighbours' in it: what flickers is not the person."""
    before, after = coarse[max(number - 1, 0)], coarse[min(number + 1, len(coarse) - 1)]
    mixed = 0.5 * coarse[number].astype(np.float32) + 0.25 * before + 0.25 * after
    return np.asarray(mixed / np.float32(255.0), np.float32)


def _room(frames: Bytes, framing: Framing, got: _Taken) -> Room | None:
    asked = np.unique(np.linspace(0, len(frames) - 1, AT_MOST).astype(int)).tolist()
    persons = [np.asarray(cv2.resize(got.coarse[number], (CLIP_PX, CLIP_PX), interpolation=cv2.INTER_LINEAR), np.uint8) for number in asked]
    origins = framing.origin[[got.kept[number] for number in asked]]
    outside = [framing.outside(got.kept[number]) for number in asked]
    return gather_room([np.asarray(frames[number]) for number in asked], persons, origins, outside)


def _write_plate(path: Path, room: Room) -> None:
    """RGBA, opaque where the room is known."""
    rgba = np.dstack([room.plate.colours[..., ::-1], room.plate.known.astype(np.uint8) * np.uint8(255)])
    cv2.imwrite(str(path), rgba)


def _write_observations(folder: Path, framing: Framing, got: _Taken) -> Clip:
    count = len(got.kept)
    if count < LEAST_FRAMES:
        raise TrainingError(f"Only {count} frames with a clear face are left. Record 10 to 60 seconds of one person's face, well lit, from the front.")
    strength = np.array(got.sharpness, np.float32)
    clip = Clip(
        frames=np.load(folder / FRAMES, mmap_mode="r"),
        mattes=np.load(folder / MATTES, mmap_mode="r"),
        pts_s=np.array(got.pts_s, np.float64),
        landmarks=np.array(got.landmarks, np.float32),
        coefficients=np.array(got.coefficients, np.float32),
        sharpness=strength / np.median(strength),
        origin=framing.origin[got.kept],
        held_out=np.arange(count) >= round((1.0 - HELD_OUT) * count),
    )
    save_observations(folder, clip)
    return load_clip(folder)


def _summarise(run: RunDir, folder: Path, clip: Clip, seen: Survey, dropped: Counter[str], frame_s: float, framing: Framing) -> None:
    draw_overview(folder / OVERVIEW, clip)
    summary: dict[str, Any] = {
        "frames": len(clip.pts_s),
        "frames_looked_at": len(seen.index),
        "left_out": {reason: count for reason, count in dropped.items() if count},
        "held_out_frames": int(clip.held_out.sum()),
        "seconds_of_video": round(float(clip.pts_s[-1] - clip.pts_s[0]), 3),
        "video_fps": round(1.0 / frame_s, 3) if frame_s else 0.0,
        "fps": round((len(clip.pts_s) - 1) / float(clip.pts_s[-1] - clip.pts_s[0]), 3),
        "crop": {"scale": round(framing.scale, 5), "steady": clip.steady, "first_origin": clip.origin[0].tolist(), "size": CLIP_PX},
        "sharpness": {"least": round(float(clip.sharpness.min()), 3), "blurred_frames": int((clip.sharpness < 0.6).sum())},
        "still_camera": (folder / PLATE).exists(),
        "pose": asdict(pose_coverage(clip.landmarks)),
    }
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1), encoding="utf-8")
    run.report("dataset", **summary)
