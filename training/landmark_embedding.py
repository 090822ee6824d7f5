"""`python -m training.landmark_embedding HEAD.safetensors`: computes where a head's 478 landmarks are, and stores it in its file."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.head import load_head, save_head
from models.kernels import Bands
from models.landmark_renders import SIZE_PX
from models.landmarker import FaceLandmarker
from models.landmarks import compute
from models.raster.cpu import CpuRasterizer
from models.weights import weight_path


def main(arguments: list[str] | None = None) -> None:
    """Reads a head file, computes its landmarks, and writes it back (or to --out)."""
    parser = argparse.ArgumentParser(prog="python -m training.landmark_embedding", description="Computes the landmark embedding of a head file.")
    parser.add_argument("head", type=Path)
    parser.add_argument("--out", type=Path, help="another file to write; default: the head file itself")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    head = load_head(options.head)
    landmarker = FaceLandmarker(weight_path("face_landmarker.task"))

    def find(picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        result = landmarker.detect_and_landmark(picture)
        return None if result is None else result.landmarks

    bands = Bands(1)
    try:
        embedding = compute(head, find, CpuRasterizer(SIZE_PX, SIZE_PX, bands))
    finally:
        bands.close()
    save_head(options.out or options.head, embedding.put_on(head))


if __name__ == "__main__":
    main()
