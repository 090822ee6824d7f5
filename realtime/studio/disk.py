"""The studio's folder on disk: one server at a time, files that appear whole, and what a full disk is told as."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from realtime.errors import BadRequest, InsufficientStorage, PayloadTooLarge, RequestTimeout, Unavailable

LOCK, SCRATCH = ".lock", "scratch"
PRIVATE = 0o700
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
RESERVE_BYTES = 64 << 20
"""What an upload leaves free for everybody else."""
BLOCK_BYTES = 1 << 20
STALL_S = 60.0
"""Longest wait for the next piece of an upload."""
NO_ROOM = "no room is left on the server's disk; nothing was kept. Delete avatars that you no longer need, or free space, then try again"

Read = Callable[[int], Awaitable[bytes]]
"""The next piece, at most so many bytes; empty at the end."""


class FolderLock:
    """Keeps a second server out of a studio's folder; the system lets go of it however the process ends.

    Raises:
        Unavailable: another server has it, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            make_private(folder)
            self._file = (folder / LOCK).open("a")
        except OSError as error:
            raise Unavailable(f"the studio's folder cannot be written ({error.strerror}); choose another: --studio-dir") from error
        if not _locked(self._file.fileno()):
            self._file.close()
            raise Unavailable("another server uses the studio's folder; choose another for this one: --studio-dir")

    def release(self) -> None:
        self._file.close()


def make_private(folder: Path) -> None:
    """Makes a folder, with those above it, that only this user may look into; one that is there already becomes such."""
    folder.mkdir(PRIVATE, parents=True, exist_ok=True)
    folder.chmod(PRIVATE)


def _locked(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows, where training does not run either
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def told_if_full() -> Iterator[None]:
    """A full disk becomes InsufficientStorage."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise InsufficientStorage(NO_ROOM) from error


async def receive(read: Read, announced: int | None, limit: int, path: Path, what: str) -> int:
    """Streams a request's body into a file that must not be there yet; returns its length in bytes. What goes wrong leaves no file.

    Args:
        announced: the length that the request's header tells.
        limit: bytes.
        what: for messages, such as "video".

    Raises:
        PayloadTooLarge, BadRequest, RequestTimeout, InsufficientStorage, or what `read` raises when the client goes.
    """
    if announced is not None and announced > limit:
        raise _too_large(limit, what)
    if shutil.disk_usage(path.parent).free < (announced or 0) + RESERVE_BYTES:
        raise InsufficientStorage(NO_ROOM)
    part = path.with_name(f".{path.name}.part")
    try:
        with told_if_full():
            size = await _stream(read, limit, part, what)
            if size == 0:
                raise BadRequest(f"expected a {what}, got nothing")
            if announced is not None and size != announced:
                raise BadRequest(f"{announced} bytes were announced and {size} came; send the {what} again")
            await asyncio.to_thread(os.replace, part, path)
    finally:
        part.unlink(missing_ok=True)
    return size


async def _stream(read: Read, limit: int, part: Path, what: str) -> int:
    size, waiting = 0, bytearray()
    with part.open("xb") as file:
        while True:
            try:
                async with asyncio.timeout(STALL_S):
                    piece = await read(BLOCK_BYTES)
            except TimeoutError:
                raise RequestTimeout(f"nothing of the {what} came for {STALL_S:.0f} s; check the connection and send it again") from None
            size += len(piece)
            if size > limit:
                raise _too_large(limit, what)
            waiting += piece
            if len(waiting) >= BLOCK_BYTES or not piece:
                await asyncio.to_thread(file.write, waiting)
                waiting = bytearray()
            if not piece:
                await asyncio.to_thread(_settle, file.fileno())
                return size


def _settle(descriptor: int) -> None:
    os.fsync(descriptor)


def _too_large(limit: int, what: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"the {what} is too large: at most {limit >> 20} MB are taken. A minute of 1080p video is plenty; cut or export it smaller")


async def erase(*paths: Path) -> None:
    """Removes files, and folders with all that is in them; absent ones too."""
    for path in paths:
        await asyncio.to_thread(_erase, path)


def _erase(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
