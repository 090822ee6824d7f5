"""A camera that flashes and a microphone that sounds at the same moments, and how far apart they are in a recorded file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.e2e.server_process import ServerProcess

PERIOD_S = 0.8
FLASH_AND_TONE = """
(() => {
  const period = PERIOD_MS;
  let gain = null;
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 480 });
  const context = canvas.getContext('2d', { alpha: false });
  let lit = null;
  const turn = () => {
    const on = performance.now() % period < period / 2;
    if (gain && on !== lit) gain.gain.setValueAtTime(on ? 0.5 : 0, gain.context.currentTime);
    lit = on;
    context.fillStyle = on ? '#fff' : '#000';
    context.fillRect(0, 0, 640, 480);
    requestAnimationFrame(turn);
  };
  requestAnimationFrame(turn);
  navigator.mediaDevices.getUserMedia = async ({ audio, video }) => {
    if (video) return canvas.captureStream(30);
    const sound = new AudioContext();
    const tone = new OscillatorNode(sound, { frequency: 1000 });
    const out = sound.createMediaStreamDestination();
    gain = new GainNode(sound, { gain: 0 });
    tone.connect(gain).connect(out);
    tone.start();
    return out.stream;
  };
})();
""".replace("PERIOD_MS", str(1e3 * PERIOD_S))


class EchoProcess(ServerProcess):
    """A server whose avatar is the camera's own picture, after so many milliseconds of what would be rendering."""

    def __init__(self, log: Path, render_ms: float) -> None:
        super().__init__(log)
        self._command = [sys.executable, "-m", "tests.benchmarks.echo", "--port", str(self.port), "--render-ms", str(render_ms)]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is in a recorded file. Times in seconds."""

    video_s: NDArray[np.float64]
    """(N,) of the frames."""
    brightness: NDArray[np.float64]
    """(N,) 0…255."""
    size: tuple[int, int]
    audio_s: NDArray[np.float64]
    """(M,) of short stretches of sound."""
    loudness: NDArray[np.float64]
    """(M,)."""
    pictures: list[NDArray[np.uint8]]
    """RGB, of some frames: (height, width, 3)."""

    @property
    def offset_s(self) -> float:
        """How much later the tone begins than the flash, in the median."""
        flashes, tones = onsets(self.video_s, self.brightness), onsets(self.audio_s, self.loudness)
        nearest = [tones[np.abs(tones - flash).argmin()] - flash for flash in flashes]
        return float(np.median(nearest))


def onsets(time_s: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """When the level rises past the middle of its range."""
    on = level > 0.5 * (np.percentile(level, 5) + np.percentile(level, 95))
    return time_s[1:][on[1:] & ~on[:-1]]


def read_recording(path: Path, every: int = 15, stretch: int = 96) -> Recorded:
    """Decodes a recording; one of `every` frames is kept as a picture, and sound is summed up over `stretch` samples."""
    video_s, brightness, audio_s, loudness = list[float](), list[float](), list[float](), list[float]()
    pictures: list[NDArray[np.uint8]] = []
    size = (0, 0)
    with av.open(str(path)) as container:
        streams = container.streams
        for frame in container.decode(*streams.video, *streams.audio):
            if isinstance(frame, av.VideoFrame):
                size = (frame.width, frame.height)
                if len(video_s) % every == 0:
                    pictures.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                video_s.append(float(frame.time or 0.0))
                brightness.append(float(frame.to_ndarray(format="gray").mean()))
            elif isinstance(frame, av.AudioFrame):
                samples = np.atleast_2d(frame.to_ndarray()).astype(np.float64)
                mono = samples.mean(0) if samples.shape[0] > 1 else samples[0]
                for start in range(0, len(mono) - stretch + 1, stretch):
                    audio_s.append(float(frame.time or 0.0) + start / frame.sample_rate)
                    loudness.append(float(np.sqrt(np.mean(mono[start : start + stretch] ** 2))))
    return Recorded(np.array(video_s), np.array(brightness), size, np.array(audio_s), np.array(loudness), pictures)
