"""A virtual camera of this machine, through pyvirtualcam: v4l2loopback on Linux, OBS's on Windows and macOS, UnityCapture on Windows. Imported nowhere else."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from realtime.virtualcam.feed import DeviceError
from realtime.virtualcam.options import Size

if TYPE_CHECKING:
    import pyvirtualcam

PACKAGE_HELP = "pyvirtualcam is not installed; run: python -m pip install -e '.[virtualcam]'"
DEVICE_HELP = {
    "Linux": (
        "there is no virtual camera that can be used; on Debian or Ubuntu: sudo apt install v4l2loopback-dkms, then "
        "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Headcast; a camera that another program writes to cannot be used"
    ),
    "Windows": "there is no virtual camera that can be used; install OBS Studio, start its virtual camera once and stop it again (or install UnityCapture)",
    "Darwin": "there is no virtual camera that can be used; install OBS Studio 30 or newer, start its virtual camera once, allow its extension, stop it again",
}
OTHER_HELP = "there is no virtual camera that can be used on this system"


class VirtualCamera:
    """One that is open. Takes I420 as the renderer makes it.

    Raises:
        DeviceError: the package or the camera is not there; with what to install.
    """

    def __init__(self, size: Size, fps: int, device: str | None) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise DeviceError(PACKAGE_HELP) from error
        try:
            self._camera: pyvirtualcam.Camera = pyvirtualcam.Camera(size.width, size.height, fps, fmt=pyvirtualcam.PixelFormat.I420, device=device)
        except RuntimeError as error:
            named = "" if device is None else f"{device}: "
            raise DeviceError(f"{named}{DEVICE_HELP.get(platform.system(), OTHER_HELP)} ({' '.join(str(error).split())})") from error
        self.name = self._camera.device

    def send(self, i420: NDArray[np.uint8]) -> None:
        try:
            self._camera.send(i420)
        except (RuntimeError, OSError) as error:
            raise DeviceError(f"the camera {self.name} is gone ({error})") from error

    def close(self) -> None:
        self._camera.close()
