"""Reading log lines back: which records come, from which files, in what memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest

from scheduler.events import LanePaused
from scheduler.logread import Filter, Record, follow, parse_when, read, siblings, streams
from scheduler.logs import LogWriter
from scheduler.pauses import PauseWindow
from scheduler.settings import LogSettings

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def line(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


LOG = [
    line(timestamp="2023-11-14T22:00:00.000000Z", level="debug", event="job.started", job_id="a", task_type="t"),
    line(timestamp="2023-11-14T22:05:00.000000Z", level="info", event="job.completed", job_id="a", task_type="t"),
    line(
        timestamp="2023-11-14T22:10:00.000000Z",
        level="error",
        event="job.failed",
        job_id="b",
        task_type="u",
        reason="timeout",
        error="Zu SPÄT",
    ),
    line(timestamp="2023-11-14T22:12:00.000000Z", level="warning", event="lane.paused", scope="t", reason="rate_limited", job_id="a"),
    line(timestamp="2023-11-14T23:13:00+01:00", level="info", event="calling", nested={"deep": ["model-7"]}, n=42),
    line(event="job.completed", job_id="c"),
]


def events(where: Filter) -> list[str]:
    return [record.event for record in read(io.BytesIO(b"".join(LOG)), where)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter(job_id="a"), ["job.started", "job.completed", "lane.paused"]),
        (Filter(task_type="u"), ["job.failed"]),
        (Filter(event="job."), ["job.started", "job.completed", "job.failed", "job.completed"]),
        (Filter(event="job.completed"), ["job.completed", "job.completed"]),
        (Filter(level="warning"), ["job.failed", "lane.paused"]),
        (Filter(level="error"), ["job.failed"]),
        (Filter(reason="timeout"), ["job.failed"]),
        (Filter(since=parse_when("10m", NOW)), ["job.completed", "job.failed", "lane.paused", "calling"]),
        (Filter(since=parse_when("5m", NOW), until=parse_when("1m", NOW)), ["job.failed", "lane.paused"]),
        (Filter(text="zu spät"), ["job.failed"]),
        (Filter(text="MODEL-7"), ["calling"]),
        (Filter(text="42"), ["calling"]),
        (Filter(job_id="a", event="job.", level="info"), ["job.completed"]),
        (Filter(job_id="nobody"), []),
    ],
)
def test_a_filter_selects_what_it_says(where: Filter, expected: list[str]) -> None:
    assert events(where) == expected


def test_an_empty_filter_selects_everything() -> None:
    assert len(events(Filter())) == len(LOG)


def test_values_that_json_escapes_are_found_too() -> None:
    odd = 'job "ü"/1'
    written = [json.dumps({"job_id": odd}).encode(), json.dumps({"job_id": odd}, ensure_ascii=False).encode()]
    assert len(list(read(io.BytesIO(b"\n".join(written)), Filter(job_id=odd)))) == 2


def test_an_unknown_level_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(ValueError, match="use one of debug, info"):
        Filter(level="loud")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15m", NOW - 900),
        ("2h", NOW - 7_200),
        ("1d12h", NOW - 129_600),
        ("1.5h", NOW - 5_400),
        ("1w", NOW - 604_800),
        ("90s", NOW - 90),
        ("2023-11-14T22:13:20", NOW),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        (" 2023-11-14 ", NOW - 80_000),
    ],
)
def test_a_moment_is_relative_or_iso_and_utc_unless_it_says(text: str, expected: float) -> None:
    assert parse_when(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "15", "-5m", "5 m", "2023-13-01"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write 15m"):
        parse_when(text, NOW)


@pytest.mark.parametrize(
    "bad",
    [b'{"event":"job.com', b"\x00\xff\xfe", b"[1,2]", b'"text"', b"null", b"{}}", b"Traceback (most recent call last):", b'{"a":' * 5_000],
)
def test_lines_that_are_no_objects_are_counted_and_the_rest_is_read(bad: bytes) -> None:
    reading = read(io.BytesIO(LOG[0] + bad + b"\n" + LOG[1]))
    assert [record.event for record in reading] == ["job.started", "job.completed"]
    assert reading.malformed == 1
    assert reading.lines == 3


def test_malformed_lines_are_counted_also_when_a_filter_skips_most_lines() -> None:
    reading = read(io.BytesIO(LOG[0] + b"garbage\n" + LOG[1]), Filter(job_id="nobody"))
    assert list(reading) == []
    assert reading.malformed == 1


def test_blank_lines_are_nothing_and_a_half_written_last_line_is_malformed() -> None:
    reading = read(io.BytesIO(b"\n\r\n" + LOG[0] + LOG[1][:-9]))
    assert len(list(reading)) == 1
    assert reading.malformed == 1


def test_fields_of_the_wrong_type_are_survived() -> None:
    odd = line(timestamp=5, level=["x"], event={"a": 1}, job_id=7) + line(timestamp="when?", event="x")
    for where in (Filter(level="info"), Filter(), Filter(text="when")):
        assert list(read(io.BytesIO(odd), where))
    assert [record.at for record in read(io.BytesIO(odd))] == [None, None]
    assert not list(read(io.BytesIO(odd), Filter(since=0.0)))


def test_memory_stays_flat_over_a_line_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.write(LOG[0])
        for _ in range(64):
            file.write(b"\x01" * 1_000_000)
        file.write(b"\n" + LOG[1])
    tracemalloc.start()
    reading = read(path)
    found = [record.event for record in reading]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == ["job.started", "job.completed"]
    assert reading.malformed == 1
    assert peak < 8_000_000


def test_text_streams_and_several_sources_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(LOG[1])
    sources = [io.TextIOWrapper(io.BytesIO(LOG[0])), path, io.StringIO(LOG[2].decode())]
    assert [record.event for record in read(sources)] == ["job.started", "job.completed", "job.failed"]


def test_rotated_siblings_come_oldest_first_compressed_ones_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for number in (1, 2, 9):
        path.with_name(f"log.{number}").write_bytes(line(event=str(number)))
    path.with_name("log.10.gz").write_bytes(gzip.compress(line(event="10")))
    path.with_name("log.old").write_bytes(b"")
    path.with_name("log2.1").write_bytes(b"")
    path.write_bytes(line(event="0"))
    assert [record.event for record in read(siblings(path))] == ["10", "9", "2", "1", "0"]
    assert siblings(tmp_path / "none" / "log") == []


def test_a_compressed_file_that_was_cut_off_is_one_malformed_line(tmp_path: Path) -> None:
    path = tmp_path / "log.1.gz"
    path.write_bytes(gzip.compress(b"".join(line(event=str(number), more=os.urandom(20).hex()) for number in range(500)))[:-2_000])
    reading = read(path)
    assert 0 < len(list(reading)) < 500
    assert reading.malformed >= 1


def test_what_the_writer_writes_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with LogWriter(LogSettings(path=str(path))) as log:
        log.write(LanePaused(NOW, PauseWindow("ü\n", NOW + 60, "rate_limited", NOW, "j1", 2)))
    (record,) = read(path, Filter(since=NOW, until=NOW))
    assert record.at == NOW
    assert record.to_dict()["scope"] == "ü\n"


class Follower:
    """Runs ``follow`` and, each time it would sleep, does the next step instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)
        monkeypatch.setattr(streams.anyio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        if not self._steps:
            raise _EndOfTest
        self._steps.pop(0)()
        await anyio.lowlevel.checkpoint()

    async def events(self, records: AsyncIterator[Record]) -> list[str]:
        found = []
        try:
            async for record in records:
                found.append(record.event)
        except _EndOfTest:
            return found
        raise AssertionError("following ended by itself")


class _EndOfTest(Exception):
    pass


def append(path: Path, *names: str, end: bytes = b"\n") -> None:
    with path.open("ab") as file:
        file.write(b"\n".join(line(event=name)[:-1] for name in names) + end)


async def test_following_shows_the_last_lines_and_then_what_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    append(path, *map(str, range(10)))
    follower = Follower(monkeypatch, lambda: append(path, "new", "skip me"), lambda: append(path, "newer"))
    assert await follower.events(follow(path, last=3)) == ["7", "8", "9", "new", "skip me", "newer"]
    follower = Follower(monkeypatch, lambda: append(path, "x.1", "y.1"))
    assert await follower.events(follow(path, Filter(event="x."), last=0)) == ["x.1"]
    follower = Follower(monkeypatch)
    assert len(await follower.events(follow(path, last=None))) == 15
    follower = Follower(monkeypatch)
    assert len(await follower.events(follow(path, last=99))) == 15


async def test_following_finds_the_last_lines_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_BLOCK_BYTES", 7)
    path = tmp_path / "log"
    append(path, *map(str, range(20)))
    assert await Follower(monkeypatch).events(follow(path, last=4)) == ["16", "17", "18", "19"]


async def test_following_waits_for_the_end_of_a_half_written_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    whole = line(event="whole")
    path.write_bytes(whole[:9])

    def finish() -> None:
        with path.open("ab") as file:
            file.write(whole[9:])

    assert await Follower(monkeypatch, finish).events(follow(path)) == ["whole"]


async def test_following_waits_for_a_file_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    assert await Follower(monkeypatch, lambda: None, lambda: append(path, "first")).events(follow(path, last=None)) == ["first"]


async def test_following_survives_several_rotations_between_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    append(path, "1")

    def rotate_twice() -> None:
        append(path, "2")
        path.rename(tmp_path / "log.2")
        append(tmp_path / "log.1", "3")
        append(path, "4")

    follower = Follower(monkeypatch, rotate_twice, lambda: append(path, "5"))
    assert await follower.events(follow(path, last=None)) == ["1", "2", "3", "4", "5"]


async def test_following_survives_a_rotation_that_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    append(path, "1")
    follower = Follower(monkeypatch, lambda: append(path, "2"), path.unlink, lambda: append(path, "3"))
    assert await follower.events(follow(path, last=None)) == ["1", "2", "3"]


async def test_following_survives_truncation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    append(path, "1", "2")

    def truncate() -> None:
        os.truncate(path, 0)
        append(path, "3")

    assert await Follower(monkeypatch, truncate).events(follow(path, last=None)) == ["1", "2", "3"]


async def test_following_reads_what_was_written_just_before_the_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    append(path, "1")
    real = streams._is_same

    def rotated_at_the_last_moment(one: Path, status: os.stat_result) -> bool:
        if not (tmp_path / "log.1").exists():
            append(path, "2")
            path.rename(tmp_path / "log.1")
            append(path, "3")
        return real(one, status)

    monkeypatch.setattr(streams, "_is_same", rotated_at_the_last_moment)
    assert await Follower(monkeypatch).events(follow(path, last=None)) == ["1", "2", "3"]


async def test_following_a_line_without_an_end_keeps_memory_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 300_000)
    path = tmp_path / "log"
    path.write_bytes(b"x" * 10_000_000 + b"\n" + line(event="after"))
    tracemalloc.start()
    assert await Follower(monkeypatch).events(follow(path, last=None)) == ["after"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
