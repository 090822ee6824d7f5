"""A contact sheet of the dataset: twelve frames with their landmarks and the outline of the matte."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from training.clip import Clip

COLUMNS, ROWS = 4, 3
TILE_PX = 384
LANDMARK_RGB, OUTLINE_RGB = (80, 255, 120), (255, 60, 200)


def draw_overview(path: Path, clip: Clip) -> None:
    """Writes a PNG of frames spread over the whole clip."""
    chosen = np.linspace(0, len(clip.pts_s) - 1, COLUMNS * ROWS).astype(int)
    tiles = [_tile(clip, frame) for frame in chosen.tolist()]
    sheet = np.vstack([np.hstack(tiles[row * COLUMNS : (row + 1) * COLUMNS]) for row in range(ROWS)])
    path.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def _tile(clip: Clip, frame: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    enlarged = TILE_PX / clip.size
    tile = np.asarray(cv2.resize(np.asarray(clip.frames[frame]), (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA), np.uint8)
    matte = cv2.resize(np.asarray(clip.mattes[frame]), (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    outlines, _ = cv2.findContours((matte > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tile, outlines, -1, OUTLINE_RGB, 1, cv2.LINE_AA)
    for x, y in np.rint(clip.landmarks[frame, :, :2] * enlarged * 16.0).astype(int).tolist():
        cv2.circle(tile, (x, y), 12, LANDMARK_RGB, -1, cv2.LINE_AA, 4)
    label = f"{clip.pts_s[frame]:.2f} s{' held out' if clip.held_out[frame] else ''}"
    cv2.putText(tile, label, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(tile, label, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return tile
