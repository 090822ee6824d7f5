"""QR codes, read back by another reader."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import pytest

from realtime.errors import BadRequest
from realtime.qr import LONGEST, qr_svg

LINK = "https://192.168.178.21:5000/?session=phone-3JdKq0aVt2nYb8Lx"


def drawn(svg: bytes, scale: int = 8) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture, from the strokes that segno writes: `M`, `m` and `h` of lines one square high."""
    text = svg.decode()
    width = re.search(r'viewBox="0 0 (\d+) (\d+)"', text)
    assert width is not None
    squares = np.full((int(width[2]), int(width[1])), 255, np.uint8)
    path = re.search(r'stroke="#000"[^>]* d="([^"]+)"|d="([^"]+)"[^>]* stroke="#000"', text)
    assert path is not None
    x = y = 0.0
    for command, values in re.findall(r"([Mmh])([-0-9. ]+)", path[1] or path[2]):
        numbers = [float(value) for value in values.replace("-", " -").split()]
        if command == "h":
            squares[int(y), int(x) : int(x + numbers[0])] = 0
            x += numbers[0]
        else:
            x, y = (numbers[0], numbers[1]) if command == "M" else (x + numbers[0], y + numbers[1])
    return np.kron(squares, np.ones((scale, scale), np.uint8))


@pytest.mark.parametrize("text", [LINK, "a", "Ünïcode ☃", "x" * LONGEST])
def test_a_reader_reads_it(text: str) -> None:
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(drawn(qr_svg(text)))
    assert read == text


def test_there_is_a_quiet_zone() -> None:
    picture = drawn(qr_svg(LINK), 1)
    assert (picture[:4] == 255).all()
    assert (picture[:, -4:] == 255).all()
    assert picture[4, 4] == 0


@pytest.mark.parametrize("text", ["", "x" * (LONGEST + 1)])
def test_what_cannot_be_shown_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="text: expected 1 to 500 characters"):
        qr_svg(text)
