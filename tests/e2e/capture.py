"""Records the avatar as a person sees it in the page, together with the camera's own picture at the same moment.

    with browser.new_page() as page:
        headcast = Headcast(page, server.url).go_live()
        recording = record(page, seconds=6.0)
    driver, avatar = recording.preview, recording.avatar

Both pictures of a pair are drawn within one `requestVideoFrameCallback` of the avatar, so the avatar lags its pair's preview by the latency of the loop:
search for the lag when correlating. The preview is as the camera gives it, never mirrored; the avatar is mirrored if the page says so (key M).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHUNK = 20
_RECORD = """
async ({ seconds, quality }) => {
  const videos = ['#avatar', '#preview'].map((name) => document.querySelector(name));
  const canvases = videos.map((video) => new OffscreenCanvas(video.videoWidth, video.videoHeight));
  const contexts = canvases.map((canvas) => canvas.getContext('2d', { alpha: false }));
  const frames = [];
  let previewTime = 0;
  const watchPreview = (now, { mediaTime }) => { previewTime = mediaTime; videos[1].requestVideoFrameCallback(watchPreview); };
  videos[1].requestVideoFrameCallback(watchPreview);
  const end = performance.now() + 1000 * seconds;
  await new Promise((resolve) => {
    const grab = (now, { mediaTime, presentedFrames }) => {
      contexts.forEach((context, index) => context.drawImage(videos[index], 0, 0));
      const blobs = canvases.map((canvas) => canvas.convertToBlob({ type: 'image/jpeg', quality }));
      frames.push({ now, mediaTime, previewTime, presentedFrames, blobs });
      if (now < end) videos[0].requestVideoFrameCallback(grab);
      else resolve();
    };
    videos[0].requestVideoFrameCallback(grab);
  });
  window.recordedFrames = frames;
  return frames.length;
}
"""
_READ = """
async ({ from, to }) => {
  const read = async (blob) => {
    const bytes = new Uint8Array(await (await blob).arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
  };
  const frames = window.recordedFrames.slice(from, to);
  return Promise.all(frames.map(async ({ blobs, ...times }) => ({ ...times, pictures: await Promise.all(blobs.map(read)) })));
}
"""


@dataclass(frozen=True, slots=True)
class Recording:
    """N moments of a live page.

    `avatar` is (N, size, size, 3), `preview` (N, height, width, 3), both uint8 RGB. Times are (N,) float64 seconds: `time_s` when the avatar's frame was
    presented, `avatar_time_s` and `preview_time_s` the media times of the two pictures, `presented` the count of frames presented so far (gaps: not grabbed).
    """

    avatar: NDArray[np.uint8]
    preview: NDArray[np.uint8]
    time_s: NDArray[np.float64]
    avatar_time_s: NDArray[np.float64]
    preview_time_s: NDArray[np.float64]
    presented: NDArray[np.int64]


def record(page: Page, seconds: float, quality: float = 0.92) -> Recording:
    """Records a live page.

    Args:
        page: shows both videos playing; its camera and the avatar must not change size meanwhile.
        seconds: how long.
        quality: of the JPEG pictures on their way to here, 0…1.
    """
    count = page.evaluate(_RECORD, {"seconds": seconds, "quality": quality})
    frames: list[dict[str, Any]] = []
    for start in range(0, count, CHUNK):
        frames += page.evaluate(_READ, {"from": start, "to": start + CHUNK})
    page.evaluate("delete window.recordedFrames")

    def times(name: str, scale: float = 1.0) -> NDArray[np.float64]:
        return np.array([frame[name] for frame in frames], np.float64) * scale

    return Recording(
        avatar=np.stack([_decode(frame["pictures"][0]) for frame in frames]),
        preview=np.stack([_decode(frame["pictures"][1]) for frame in frames]),
        time_s=times("now", 1e-3),
        avatar_time_s=times("mediaTime"),
        preview_time_s=times("previewTime"),
        presented=times("presentedFrames").astype(np.int64),
    )


def _decode(text: str) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None, "the page sent something that is not a JPEG"
    return np.asarray(picture, np.uint8)
