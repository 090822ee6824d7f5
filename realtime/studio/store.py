"""The studio's records in an embedded SQLite database, on a thread of its own: the event loop never waits for a disk.

Write-ahead log: a kill at any moment leaves the state before or after a change, never one in between. What is dropped is gone from the files at once: SQLite
overwrites it (`secure_delete`), and the log, which still has it, is emptied.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from realtime.errors import NotFound, Unavailable
from realtime.studio.records import ID, Holding, Job, JobState, Preset, Upload, UploadState

logger = logging.getLogger(__name__)

VERSION = 1
BUSY_MS = 3000
PAUSE_S = 1.0
"""Before a database that did not answer is asked again."""
TABLES = {"uploads": Upload, "jobs": Job, "avatars": Holding}
TYPES = {"int": "INTEGER", "float": "REAL", "bool": "INTEGER"}
EMPTY_THE_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"
WHAT = {"uploads": "upload", "jobs": "job", "avatars": "avatar"}

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]


class Store:
    """Args: the database file; made where there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "studio-store")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Raises Unavailable: it is no database of this version, or cannot be written."""

        def work() -> None:
            self._path.touch(0o600)
            self._path.chmod(0o600)  # SQLite gives its log the same
            connection = sqlite3.connect(self._path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection

        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"the studio's database cannot be used ({error}); move {self._path.name} away to begin anew") from error

    async def aclose(self) -> None:
        def work() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._thread.shutdown(wait=False)

    async def upload(self, id: str) -> Upload:
        """Raises NotFound."""
        return _upload(await self._one("uploads", id))

    async def job(self, id: str) -> Job:
        """Raises NotFound."""
        return _job(await self._one("jobs", id))

    async def holding(self, avatar: str) -> Holding | None:
        """Of an avatar in the gallery; None: it was not made or imported here."""
        rows = await self._do(lambda db: db.execute(f"SELECT {_columns('avatars')} FROM avatars WHERE id = ?", (avatar,)).fetchall())
        return Holding(*rows[0]) if rows else None

    async def uploads(self) -> list[Upload]:
        return [_upload(row) for row in await self._all("uploads")]

    async def jobs(self) -> list[Job]:
        """In the order of the queue."""
        return [_job(row) for row in await self._do(lambda db: db.execute(f"SELECT {_columns('jobs')} FROM jobs ORDER BY queued, id").fetchall())]

    async def holdings(self) -> list[Holding]:
        return [Holding(*row) for row in await self._all("avatars")]

    async def put(self, *records: Upload | Job | Holding) -> None:
        """Writes records over those with the same identifiers, all or none."""

        def work(db: sqlite3.Connection) -> None:
            for record in records:
                table = next(name for name, kind in TABLES.items() if isinstance(record, kind))
                values = [str(value) if isinstance(value, str) else value for value in astuple(record)]
                db.execute(f"INSERT OR REPLACE INTO {table} ({_columns(table)}) VALUES ({', '.join('?' * len(values))})", values)

        await self._do(work)

    async def drop(self, uploads: Iterable[str] = (), jobs: Iterable[str] = (), avatars: Iterable[str] = ()) -> None:
        """Removes the records with these identifiers, all at once."""
        wanted = {"uploads": list(uploads), "jobs": list(jobs), "avatars": list(avatars)}

        def work(db: sqlite3.Connection) -> None:
            for table, ids in wanted.items():
                db.executemany(f"DELETE FROM {table} WHERE id = ?", [(id,) for id in ids])

        await self._do(work, forgetting=True)

    async def _one(self, table: str, id: str) -> tuple[Any, ...]:
        rows = await self._do(lambda db: db.execute(f"SELECT {_columns(table)} FROM {table} WHERE id = ?", (id,)).fetchall()) if ID.fullmatch(id) else []
        if not rows:
            raise NotFound(f"no such {WHAT[table]}; it may have been deleted")
        return tuple(rows[0])

    async def _all(self, table: str) -> list[tuple[Any, ...]]:
        return await self._do(lambda db: db.execute(f"SELECT {_columns(table)} FROM {table} ORDER BY created, id").fetchall())

    async def _do(self, work: Work[Result], forgetting: bool = False) -> Result:
        """One transaction.

        Args:
            forgetting: whether nothing of what was there before is to stay in the write-ahead log.

        Raises:
            Unavailable: another program holds the database, or the disk is full; nothing was changed.
        """

        def transaction() -> Result:
            if self._connection is None:
                raise Unavailable("the studio is closed; try again later")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            if forgetting:
                self._connection.execute(EMPTY_THE_LOG)
            return result

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)
        except sqlite3.Error as error:
            raise Unavailable(f"the studio's database does not answer ({error}); try again in a moment") from error


async def patiently(work: Callable[[], Awaitable[Result]]) -> Result:
    """Tries until the database answers: for what nobody waits for, and must not be lost."""
    while True:
        try:
            return await work()
        except Unavailable as error:
            logger.warning("the studio waits: %s", error)
            await asyncio.sleep(PAUSE_S)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, VERSION):
        raise sqlite3.DatabaseError(f"version {found}, expected {VERSION}")
    for table, kind in TABLES.items():
        columns = ", ".join(f"{field.name} {TYPES.get(str(field.type), 'TEXT')} NOT NULL" for field in fields(kind))
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}, PRIMARY KEY (id))")
        _complete(connection, table, kind)
    connection.execute("VACUUM")  # an older version did not overwrite what it dropped
    connection.execute(EMPTY_THE_LOG)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _complete(connection: sqlite3.Connection, table: str, kind: type[Upload | Job | Holding]) -> None:
    """Adds the columns that an older version did not have; what was written then gets their fields' defaults."""
    present = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    for field in fields(kind):
        if field.name not in present:
            default = f"'{field.default}'" if isinstance(field.default, str) else str(field.default)
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {field.name} {TYPES.get(str(field.type), 'TEXT')} NOT NULL DEFAULT {default}")


def _columns(table: str) -> str:
    return ", ".join(field.name for field in fields(TABLES[table]))


def _upload(row: tuple[Any, ...]) -> Upload:
    upload = Upload(*row)
    return replace(upload, state=UploadState(upload.state))


def _job(row: tuple[Any, ...]) -> Job:
    job = Job(*row)
    return replace(job, state=JobState(job.state), preset=Preset(job.preset), keep_video=bool(job.keep_video))
