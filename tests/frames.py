"""Frames of a track, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError


async def frames_of(track: MediaStreamTrack) -> AsyncIterator[av.VideoFrame]:
    """Until the track ends."""
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        assert isinstance(frame, av.VideoFrame)
        yield frame
