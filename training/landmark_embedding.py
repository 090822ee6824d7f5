"""`python -m training.landmark_embedding HEAD.safetensors`: computes where a head's 478 landmarks are, and stores it in its file."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from models.head import load_head, save_head
from models.landmarks import compute_on_cpu


def main(arguments: list[str] | None = None) -> None:
    """Reads a head file, computes its landmarks, and writes it back (or to --out)."""
    parser = argparse.ArgumentParser(prog="python -m training.landmark_embedding", description="Computes the landmark embedding of a head file.")
    parser.add_argument("head", type=Path)
    parser.add_argument("--out", type=Path, help="another file to write; default: the head file itself")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    head = load_head(options.head)
    save_head(options.out or options.head, compute_on_cpu(head).put_on(head))


if __name__ == "__main__":
    main()
