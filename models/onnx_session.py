"""onnxruntime, kept silent and to one thread. The only place that imports it.

Since 1.29 its builds for Linux and macOS report their use to the vendor: with the first network they start a thread, keep a database in the user's cache
folder and send from there. `disable_telemetry_events` comes too late for that; the environment variable does not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_network(source: bytes | Path, providers: tuple[str, ...] = ("CPUExecutionProvider",)) -> InferenceSession:
    """A network, ready to run on the caller's thread.

    Args:
        source: an ONNX file, or what stands in one: that takes as much memory again.
        providers: of onnxruntime, in order of preference.

    Raises:
        Exception: of many kinds, onnxruntime's own: the file cannot be used.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(source if isinstance(source, bytes) else str(source), options, providers=list(providers))
