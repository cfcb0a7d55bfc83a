"""Files that are no sound store are refused with a sentence, and not a byte of them is changed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler import Job, NewJob, Registry, Scheduler, StoreDamagedError, StoreError, StoreTooNewError
from scheduler.stores.sqlite import schema

ROOT = Path(__file__).parents[2]
JOBS = 300


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A closed store with a few pages of jobs."""
    path = tmp_path / "jobs.db"

    async def fill() -> None:
        async with opened(path) as scheduler:
            await scheduler.enqueue_many(NewJob("work", target_id=str(n), payload={"text": "x" * 200}) for n in range(JOBS))

    asyncio.run(fill())
    assert not path.with_name("jobs.db-wal").exists(), "closing a store leaves one whole file"
    return path


def opened(path: Path) -> Scheduler:
    return Scheduler.open({"scheduler": {"store": f"sqlite:///{path}", "concurrency": 0}}, Registry(), logs=False)


def read(path: Path) -> list[Job]:
    """Start a service on the store, though one that runs no job, then read every job in it."""

    async def everything() -> list[Job]:
        async with opened(path) as scheduler:
            await scheduler.run(until_empty=True)
            return await scheduler.jobs(limit=10_000)

    return asyncio.run(everything())


def flip(path: Path, *offsets: int) -> None:
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 0xFF
    path.write_bytes(data)


def overwrite(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()


def foreign(path: Path) -> None:
    path.unlink()
    overwrite(path, "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('mine')")


def page_of_jobs(path: Path) -> int:
    """The offset of a page in the middle of the jobs."""
    return path.stat().st_size // 4096 // 2 * 4096


DAMAGE: dict[str, tuple[type[StoreError], Callable[[Path], object]]] = {
    "zero length": (StoreDamagedError, lambda path: path.write_bytes(b"")),
    "cut to half": (StoreDamagedError, lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 8192 * 4096])),
    "cut within a page": (StoreDamagedError, lambda path: path.write_bytes(path.read_bytes()[:-1000])),
    "cut to its header": (StoreDamagedError, lambda path: path.write_bytes(path.read_bytes()[:100])),
    "cut within its header": (StoreDamagedError, lambda path: path.write_bytes(path.read_bytes()[:50])),
    "flipped magic": (StoreDamagedError, lambda path: flip(path, 0, 5)),
    "flipped page size": (StoreDamagedError, lambda path: flip(path, 16, 17)),
    "flipped first page": (StoreDamagedError, lambda path: flip(path, *range(100, 110))),
    "flipped schema": (StoreDamagedError, lambda path: flip(path, *schema_of(path))),
    "a page of zeros": (StoreDamagedError, lambda path: _blank(path, page_of_jobs(path))),
    "a page of noise": (StoreDamagedError, lambda path: flip(path, *range(page_of_jobs(path), page_of_jobs(path) + 4096, 3))),
    "no database at all": (StoreDamagedError, lambda path: path.write_text("a letter to my grandmother\n" * 400)),
    "another program's database": (StoreDamagedError, foreign),
    "a newer schema": (StoreTooNewError, lambda path: overwrite(path, "PRAGMA user_version = 9999")),
    "no schema": (StoreDamagedError, lambda path: overwrite(path, "PRAGMA user_version = 0")),
    "a schema below none": (StoreDamagedError, lambda path: overwrite(path, "PRAGMA user_version = -7")),
}


def schema_of(path: Path) -> range:
    """A stretch of the text that makes the table of jobs."""
    at = path.read_bytes().index(b"CREATE TABLE jobs")
    return range(at, at + 100)


def _blank(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + 4096] = bytes(4096)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_no_sound_store_is_refused_and_not_a_byte_is_changed(file: Path, damage: str) -> None:
    error, harm = DAMAGE[damage]
    harm(file)
    before = file.read_bytes()
    with pytest.raises(error) as refused:
        read(file)
    assert str(file) in str(refused.value)
    assert len(str(refused.value)) > len(str(file)) + 30, "it says what to do"
    assert file.read_bytes() == before


def test_any_flipped_byte_of_the_header_is_refused_unchanged_or_harmless(file: Path) -> None:
    """Never half of the jobs, never another error than a sentence, never a file made anew."""
    sound = file.read_bytes()
    for offset in range(100):
        for leftover in (file, file.with_name("jobs.db-wal"), file.with_name("jobs.db-shm")):
            leftover.unlink(missing_ok=True)
        file.write_bytes(sound)
        file.chmod(0o600)
        flip(file, offset)
        before = file.read_bytes()
        try:
            jobs = read(file)
        except StoreError:
            assert file.read_bytes() == before, f"byte {offset}"
        else:
            assert {job.target_id for job in jobs} == {str(n) for n in range(JOBS)}, f"byte {offset}"


def test_a_damaged_store_stops_every_command_with_a_sentence_and_the_code_for_wrong_use(file: Path) -> None:
    flip(file, *range(100, 110))
    before = file.read_bytes()
    for words in (["serve"], ["run", "--until-empty"], ["jobs"], ["enqueue", "work"]):
        said = subprocess.run(
            [sys.executable, "-c", "from scheduler.cli import main; main()", *words],
            cwd=file.parent, env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEDULER_STORE": f"sqlite:///{file}"},
            capture_output=True, text=True, timeout=30.0, check=False,
        )  # fmt: skip
        assert said.returncode == 2, said
        assert "damaged" in said.stderr
        assert "Traceback" not in said.stderr
    assert file.read_bytes() == before


def test_a_file_in_use_by_a_newer_release_is_left_to_it(file: Path) -> None:
    """Not even its write-ahead log is folded in."""
    newer = sqlite3.connect(file)
    newer.execute(f"PRAGMA user_version = {len(schema.migrations()) + 1}")
    wal = file.with_name("jobs.db-wal")
    before = file.read_bytes(), wal.read_bytes()
    try:
        with pytest.raises(StoreTooNewError, match="upgrade this"):
            read(file)
        assert (file.read_bytes(), wal.read_bytes()) == before
    finally:
        newer.close()
