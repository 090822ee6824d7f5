"""What the page shows of the avatar, as numbers: pictures of it, and how long a slider takes to change one."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Page

_GRAB = """
() => new Promise((resolve) => {
  const video = document.querySelector('#avatar');
  const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  resolve(canvas.toDataURL('image/png'));
})
"""
_RESPONSES = """
async ({ unit, values, wait }) => {
  const video = document.querySelector('#avatar');
  const slider = document.querySelector(`#unit-${unit}`);
  const context = Object.assign(document.createElement('canvas'), { width: 64, height: 64 }).getContext('2d', { willReadFrequently: true });
  const look = () => {
    context.drawImage(video, 0, 0, 64, 64);
    return context.getImageData(0, 0, 64, 64).data;
  };
  const far = (one, two) => one.reduce((sum, value, index) => sum + Math.abs(value - two[index]), 0) / one.length;
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const move = (value) => {
    slider.value = String(value);
    slider.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const times = [];
  for (const [index, value] of values.entries()) {
    await sleep(wait + 37 * (index % 5));
    const before = look();
    const moved = performance.now();
    const seen = new Promise((resolve) => {
      const check = (now) => (far(look(), before) > 0.5 ? resolve(now - moved) : video.requestVideoFrameCallback(check));
      video.requestVideoFrameCallback(check);
    });
    move(value);
    times.push(await Promise.race([seen, sleep(2000).then(() => null)]));
  }
  return times;
}
"""


def picture(page: Page) -> NDArray[np.uint8]:
    """The avatar's newest frame, (height, width, 3) RGB."""
    data = str(page.evaluate(_GRAB)).split(",", 1)[1]
    return decoded(base64.b64decode(data))


def decoded(image: bytes) -> NDArray[np.uint8]:
    """A PNG as (height, width, 3) RGB."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def response_ms(page: Page, unit: str, values: list[float], wait_ms: int = 300) -> list[float | None]:
    """Moves a slider to each value in turn; how long after each move the avatar's picture was another one. None: not within two seconds."""
    times: Any = page.evaluate(_RESPONSES, {"unit": unit, "values": values, "wait": wait_ms})
    return [None if each is None else float(each) for each in times]


def move(page: Page, unit: str, value: float) -> None:
    """As a person moves that slider there."""
    page.evaluate(
        """([unit, value]) => {
            const slider = document.querySelector(`#unit-${unit}`);
            slider.value = String(value);
            slider.dispatchEvent(new Event('input', { bubbles: true }));
        }""",
        [unit, value],
    )
