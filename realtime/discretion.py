"""What a process that holds faces in its memory owes their people: it leaves no picture of that memory behind, and what it writes is its owner's alone.

`be_discreet()` is called first thing in the server and in every process that it makes frames in. Swap is not in its hands: see SECURITY.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

PR_SET_DUMPABLE = 4
"""prctl(2)."""
PRIVATE_UMASK = 0o077


def be_discreet() -> None:
    """No core dump is made of this process, no other one of the same user may look into it, and new files and folders are readable by their owner only.

    RLIMIT_CORE alone does not do: where core_pattern is a pipe, as with systemd-coredump, the kernel does not heed a limit of 0 (core(5)). A process that is
    not dumpable makes no core of either kind, and only root may trace it or read its /proc/PID/mem, maps and fd. The limit is inherited by what it starts; that
    it is not dumpable by what it forks, until another program is executed. Where a system has none of these, nothing is done.
    """
    os.umask(PRIVATE_UMASK)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
