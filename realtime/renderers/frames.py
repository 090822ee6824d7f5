"""Memory that a server and one renderer share: one webcam frame on its way there, one avatar frame on its way back.

It is anonymous (memfd_create(2)): no other process can open it by a name, nothing of it is ever a file, and it is gone with the two that hold it, however they
end. A container's small /dev/shm does not limit it.
"""

from __future__ import annotations

import fcntl
import mmap
import os

import numpy as np
from numpy.typing import NDArray

from realtime.packets import MAX_IMAGE_PIXELS


class SharedFrames:
    """Either side's view. Whose turn it is, is said by messages; nothing here waits.

    Args:
        size: width and height of the avatar's picture, in pixels.
        fd: memory that the other side made, to be closed by this object; None: make it.

    Raises:
        OSError: there is not so much memory, or no descriptor for it.
    """

    def __init__(self, size: int, fd: int | None = None) -> None:
        self._size = size
        image_bytes, picture_bytes = 3 * MAX_IMAGE_PIXELS, size * size * 3 // 2
        theirs = fd is not None
        self.fd = fd if fd is not None else os.memfd_create("headcast-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            if not theirs:
                os.ftruncate(self.fd, image_bytes + picture_bytes)
                fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._memory = mmap.mmap(self.fd, image_bytes + picture_bytes)
        except BaseException:
            os.close(self.fd)
            raise
        self._image = np.frombuffer(self._memory, np.uint8, image_bytes)
        self._picture = np.frombuffer(self._memory, np.uint8, picture_bytes, image_bytes).reshape(size * 3 // 2, size)

    def image(self, height: int, width: int) -> NDArray[np.uint8]:
        """The webcam frame, (height, width, 3), where it lies.

        Raises:
            ValueError: one of that size does not fit.
        """
        if height < 1 or width < 1 or height * width > MAX_IMAGE_PIXELS:
            raise ValueError(f"expected a frame of 1 to {MAX_IMAGE_PIXELS} pixels, got {width} x {height}")
        return self._image[: 3 * height * width].reshape(height, width, 3)

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The avatar frame, (size * 3 / 2, size) as RenderedFrame.i420, where it lies."""
        return self._picture

    def close(self) -> None:
        """Gives this side's hold on it back, as soon as no array refers to it; may be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            del self._image, self._picture, self._memory
