"""Lines from files and streams: read once from the oldest to the newest, or followed as they grow.

Memory is bounded by the longest line that is accepted; a longer one (a binary file, say) is counted
as malformed and skipped.
"""

from __future__ import annotations

import gzip
import io
import os
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO

import anyio

from scheduler.logread.records import Filter, Record, parse

MAX_LINE_BYTES = 1_048_576
_BLOCK_BYTES = 262_144
_EVERYTHING = Filter()

Source = str | os.PathLike[str] | IO[bytes] | IO[str]


def siblings(path: str | os.PathLike[str]) -> list[Path]:
    """A log file with what rotation left of it (``FILE.2``, ``FILE.1.gz``, …), oldest first."""
    path = Path(path)
    older = re.compile(re.escape(path.name) + r"\.(\d{1,9})(\.gz)?")
    found: list[tuple[int, Path]] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        found = [(int(match[1]), one) for one in path.parent.iterdir() if (match := older.fullmatch(one.name))]
    return [one for _, one in sorted(found, reverse=True)] + ([path] if path.exists() else [])


class Reading:
    """The records of some sources that match a filter; iterate once. The counters tell how it went."""

    def __init__(self, sources: Iterable[Source], where: Filter) -> None:
        self.lines = 0
        self.malformed = 0
        self._sources = list(sources)
        self._where = where

    def __iter__(self) -> Iterator[Record]:
        for source in self._sources:
            if isinstance(source, str | os.PathLike):
                with _opened(Path(source)) as file:
                    yield from self._records(file)
            else:
                yield from self._records(_as_bytes(source))

    def _records(self, file: BinaryIO) -> Iterator[Record]:
        needles, matches, everything = self._where.needles(), self._where.matches, self._where == _EVERYTHING
        for line in self._whole_lines(file):
            self.lines += 1
            # A line that cannot match is not decoded, unless it does not even look like a record.
            if needles and line.startswith(b"{") and not all(needle in line for needle in needles):
                continue
            record = parse(line)
            if record is None:
                self.malformed += bool(line.strip())
            elif everything or matches(record):
                yield record

    def _whole_lines(self, file: BinaryIO) -> Iterator[bytes]:
        skipping = False
        try:
            while line := file.readline(MAX_LINE_BYTES):
                ends = line.endswith(b"\n") or len(line) < MAX_LINE_BYTES
                if not skipping and ends:
                    yield line
                elif not skipping:
                    self.lines += 1
                    self.malformed += 1
                skipping = not ends
        except (EOFError, gzip.BadGzipFile):  # a compressed file that was cut off
            self.malformed += 1


def read(sources: Source | Iterable[Source], where: Filter | None = None) -> Reading:
    """The records in ``sources`` that match. A path stands for that file alone; see ``siblings``.

    Raises ``OSError`` while iterating if a file cannot be read.
    """
    one = isinstance(sources, str | os.PathLike | io.IOBase) or hasattr(sources, "readline")
    return Reading([sources] if one else sources, where or _EVERYTHING)  # type: ignore[list-item, arg-type]


async def follow(
    path: str | os.PathLike[str], where: Filter | None = None, *, last: int | None = 10, poll_interval_s: float = 0.25
) -> AsyncIterator[Record]:
    """The last ``last`` lines that are there (None for all), then what is added, for ever.

    Survives rotation, truncation and a file that is not there yet. Lines that are no records are left out.
    """
    where = where or _EVERYTHING
    tail = _Tail(Path(path), last)
    try:
        while True:
            lines = tail.fresh()
            if lines is None:
                await anyio.sleep(poll_interval_s)
                continue
            for line in lines:
                record = parse(line)
                if record is not None and where.matches(record):
                    yield record
    finally:
        tail.close()


class _Tail:
    """The growing end of a file."""

    def __init__(self, path: Path, last: int | None) -> None:
        self._path = path
        self._last = last
        self._file: BinaryIO | None = None
        self._half = b""

    def fresh(self) -> list[bytes] | None:
        """Lines added since the last call, at most a block of them; None when there is nothing new."""
        if self._file is None:
            self._open_first()
        if self._file is None:
            return None
        block = self._file.read(_BLOCK_BYTES)
        return self._split(block) if block else self._at_the_end()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open_first(self) -> None:
        with suppress(OSError):
            self._file = self._path.open("rb", buffering=0)
        if self._file is not None and self._last is not None:
            self._file.seek(_start_of_last(self._file, self._last))
        self._last = None

    def _split(self, block: bytes) -> list[bytes]:
        *lines, self._half = (self._half + block).split(b"\n")
        if len(self._half) > MAX_LINE_BYTES:
            self._half = b"\0"  # too long to be a record; so is what is left of it
        return lines

    def _at_the_end(self) -> list[bytes] | None:
        """Nothing more in this file: was it cut, or is there a newer one?"""
        assert self._file is not None
        here = os.fstat(self._file.fileno())
        if here.st_size < self._file.tell():
            self._file.seek(0)
            self._half = b""
            return []
        newer = self._next_file(here)
        if newer is None:
            return None
        # What was written between the last look and the rotation.
        rest = self._split(self._file.read())
        rest += [self._half] if self._half else []
        self.close()
        self._file, self._half = newer, b""
        return rest

    def _next_file(self, here: os.stat_result) -> BinaryIO | None:
        """The file that came after this one; several rotations may have happened since the last look."""
        if _is_same(self._path, here):
            return None
        paths = [path for path in siblings(self._path) if path.suffix != ".gz"]
        places = [place for place, path in enumerate(paths) if _is_same(path, here)]
        newer = [*paths[places[0] + 1 :], self._path][0] if places else self._path
        try:
            return newer.open("rb", buffering=0)
        except OSError:  # moved on meanwhile, or not there yet: the next look finds it
            return None


def _start_of_last(file: BinaryIO, count: int) -> int:
    """Where the last ``count`` lines begin, found from the end in blocks."""
    place = file.seek(0, os.SEEK_END)
    wanted = count + 1  # the newline before the first of them
    while place > 0 and count > 0:
        start = max(0, place - _BLOCK_BYTES)
        file.seek(start)
        block = file.read(place - start)
        ends = [found.start() for found in re.finditer(b"\n", block)]
        if len(ends) >= wanted:
            return start + ends[-wanted] + 1
        wanted -= len(ends)
        place = start
    return place


def _is_same(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), status)
    except OSError:
        return False


def _opened(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb", buffering=1_048_576)


def _as_bytes(stream: IO[bytes] | IO[str]) -> BinaryIO:
    """The bytes under a text stream: its encoding may not be that of the log."""
    if isinstance(stream, io.TextIOBase):
        inner = getattr(stream, "buffer", None)
        return inner if inner is not None else io.BytesIO(stream.read().encode())
    return stream  # type: ignore[return-value]
