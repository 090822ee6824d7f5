"""The fit as a video: the head's surface drawn as dots over every frame, with the tracker's landmarks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from training.clip import Clip
from training.fitted import Fitted
from training.pictures import VideoWriter
from training.portrait.portrait import Portrait, View
from training.progress import Progress

SURFACE, TRACKED = (80, 220, 255), (255, 160, 60)
SHOWN = 300
"""At most so many frames."""


def write_overlay(path: Path, portrait: Portrait, clip: Clip, fitted: Fitted, progress: Progress) -> None:
    """Every vertex of the skin that shows, and the landmarks that the fit began with."""
    view = View(portrait.baked(), clip.size)
    frames = np.unique(np.linspace(0, len(clip.pts_s) - 1, SHOWN).astype(int))
    seconds = max(float(clip.pts_s[frames[-1]] - clip.pts_s[frames[0]]), 1e-3)
    rate = Fraction((len(frames) - 1) / seconds).limit_denominator(1000)
    progress.start("overlay video", len(frames))
    with VideoWriter(path, rate, (clip.size, clip.size)) as video:
        for frame in frames:
            picture = np.array(clip.frames[frame])
            view.look(fitted.params(int(frame)))
            seen = np.unique(portrait.mesh.faces[np.unique(view.face_id[view.face_id >= 0])])
            for x, y in view.points[seen, :2]:
                cv2.circle(picture, (int(x), int(y)), 0, SURFACE, -1)
            for x, y in clip.landmarks[frame, ::6, :2]:
                cv2.circle(picture, (int(x), int(y)), 1, TRACKED, -1)
            video.write(picture, float(clip.pts_s[frame] - clip.pts_s[0]))
            progress.advance()
