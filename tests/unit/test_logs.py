"""What is written, and that writing it never disturbs anybody."""

from __future__ import annotations

import io
import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from scheduler.errors import ConfigError
from scheduler.events import Events, JobCompleted, JobFailed, JobProgressed, JobStarted, LanePaused, ServiceStarted
from scheduler.job import Job, Progress, Status, Transition
from scheduler.logs import LINES_DROPPED, MAX_LINE_BYTES, LogWriter
from scheduler.logsink import FileTarget, LogSink
from scheduler.pauses import PauseWindow
from scheduler.settings import LogSettings

AT = 1_700_000_000.25


class Clock:
    def now(self) -> float:
        return AT

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None: ...


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_job(**changed: Any) -> Job:
    values: dict[str, Any] = dict.fromkeys(Job._fields)
    values |= {"seq": 1, "job_id": "j1", "task_type": "t", "target_type": "doc", "target_id": "7", "status": Status.PROCESSING}
    values |= {"priority": 0, "run_after": 0.0, "attempts": 1, "crashes": 0, "token": 1, "worker": "w", "created_at": 0.0}
    return Job(**(values | changed))


def failed(error: str = "Boom: it broke", **changed: Any) -> JobFailed:
    return JobFailed(AT, a_job(**changed), Transition(Status.FAILED_AI, "provider_error", error), 1.5, 0.25)


def writer(stream: Any = None, **settings: Any) -> LogWriter:
    return LogWriter(LogSettings(**settings), stream=stream, clock=Clock())


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(stream: io.StringIO) -> Iterator[LogWriter]:
    with writer(stream, level="debug") as opened:
        yield opened


def test_an_event_is_one_line_of_json_with_time_level_and_name_first(log: LogWriter, stream: io.StringIO) -> None:
    log.write(failed())
    assert log.flush()
    (line,) = lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line == {
        "timestamp": "2023-11-14T22:13:20.250000Z",
        "level": "error",
        "event": "job.failed",
        "job_id": "j1",
        "task_type": "t",
        "target_type": "doc",
        "target_id": "7",
        "attempt": 1,
        "worker": "w",
        "status": "failed_ai",
        "duration_s": 1.5,
        "waited_s": 0.25,
        "reason": "provider_error",
        "error": "Boom: it broke",
    }


def test_levels_below_the_configured_one_are_not_even_subscribed(stream: io.StringIO) -> None:
    events = Events()
    with writer(stream, level="warning") as log:
        log.subscribe(events)
        assert not events.wants(JobStarted)
        assert not events.wants(JobCompleted)
        assert events.wants(JobFailed)
        assert events.wants(LanePaused)
        events.emit(ServiceStarted(AT, "w"))
        events.emit(failed())
    assert [line["event"] for line in lines(stream)] == ["job.failed"]


def test_leaving_the_bus_ends_the_writing(stream: io.StringIO) -> None:
    events = Events()
    with writer(stream) as log:
        leave = log.subscribe(events)
        leave()
        assert not events.wants(JobFailed)


def test_values_that_are_none_are_left_out(log: LogWriter, stream: io.StringIO) -> None:
    log.write(LanePaused(AT, PauseWindow("t", float("inf"), "manual", AT)))
    log.flush()
    assert lines(stream)[0] == {
        "timestamp": "2023-11-14T22:13:20.250000Z",
        "level": "warning",
        "event": "lane.paused",
        "scope": "t",
        "reason": "manual",
        "strikes": 0,
    }


def test_progress_is_written_once_for_each_quarter_of_an_attempt(log: LogWriter, stream: io.StringIO) -> None:
    for percent in (0, 1, 24.9, 25, 25, 60, 49, 99, 100, 100):
        log.write(JobProgressed(AT, a_job(), Progress(percent)))
    log.write(JobProgressed(AT, a_job(token=2), Progress(3)))
    log.write(JobProgressed(AT, a_job(job_id="j2"), Progress(float("nan"))))
    log.flush()
    assert [line["percent"] for line in lines(stream)] == [0, 25, 60, 99, 100, 3, "NaN"]


def test_progress_memory_is_bounded(log: LogWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.logs._PROGRESS_JOBS", 5)
    for number in range(50):
        log.write(JobProgressed(AT, a_job(job_id=str(number)), Progress(50)))
    assert len(log._steps._seen) == 5


@pytest.mark.parametrize("hostile", ["a\nb", "a\r\nb", "\x1b[2J", "\x00", "\x7f", "\x9b31m", "\u202e", "\u2028"])
@pytest.mark.parametrize("format_", ["json", "console"])
def test_control_characters_are_escaped(hostile: str, format_: str) -> None:
    stream = io.StringIO()
    with writer(stream, format=format_) as log:
        log.write(failed(f"E: {hostile}", target_id=hostile))
        log.logger(bound=hostile).info(hostile, nested={"k": [hostile]}, **{hostile: 1})
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert hostile not in text.replace("\n", "")
    assert not [char for char in text.replace("\n", "") if char < " " or char in "\x7f\x9b\u202e\u2028"]


def test_secrets_are_redacted_in_events_and_in_what_handlers_log(log: LogWriter, stream: io.StringIO) -> None:
    key = "sk-" + "A1b2C3d4E5f6G7h8I9j0"
    log.write(failed(f"refused {key}", target_id=f"x?api_key={key}"))
    log.logger(owner=key).info("calling", headers={"Authorization": "Bearer zzz"}, error=RuntimeError(key))
    log.flush()
    assert key not in stream.getvalue()
    assert "zzz" not in stream.getvalue()
    assert lines(stream)[1]["headers"] == {"Authorization": "[redacted]"}


def test_a_handlers_logger_carries_what_was_bound_and_obeys_the_level(stream: io.StringIO) -> None:
    with writer(stream, level="warning") as log:
        bound = log.logger(job_id="j1", task_type="t")
        bound.info("too quiet")
        bound.bind(page=2).warning("slow answer of %s", "model", took_s=3.5, level="mine")
    assert lines(stream) == [
        {
            "timestamp": "2023-11-14T22:13:20.250000Z",
            "level": "warning",
            "event": "slow answer of model",
            "job_id": "j1",
            "task_type": "t",
            "page": 2,
            "took_s": 3.5,
        }
    ]


def test_an_exception_is_logged_with_its_traceback_which_cannot_pass_for_a_line(stream: io.StringIO) -> None:
    console = io.StringIO()
    with writer(stream) as log, writer(console, format="console") as shown:
        for one in (log, shown):
            try:
                raise ValueError("first\n2030-01-01 [info] job.completed forged\x1b[2J")
            except ValueError:
                one.logger().exception("failed")
    assert "ValueError: first" in lines(stream)[0]["exception"]
    assert lines(stream)[0]["level"] == "error"
    assert "forged\\x1b[2J" in console.getvalue()
    assert not [line for line in console.getvalue().splitlines()[1:] if not line.startswith("    ")]


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_whatever_a_handler_logs_a_line_of_json_comes_out(log: LogWriter, stream: io.StringIO) -> None:
    circle: list[object] = []
    circle.append(circle)
    hard = [circle, Broken(), "\ud800", b"\xff", float("nan"), {1, 2}, {(1, 2): 3}, 2**80, object, lambda: None]
    for value in hard:
        log.logger().info("odd", value=value)
    log.flush()
    assert [line["event"] for line in lines(stream)] == ["odd"] * len(hard)
    assert log.dropped == 0


def test_long_lines_are_cut(log: LogWriter, stream: io.StringIO) -> None:
    log.logger(job_id="j1").info("big", text="x" * 500_000, more={"list": ["y" * 500_000]})
    log.logger().info("many", **{f"k{number}": "z" * 1_900 for number in range(400)})
    log.flush()
    big, many = lines(stream)
    assert len(big["text"]) == 2_000
    assert big["job_id"] == "j1"
    assert many["cut"] is True
    assert max(map(len, stream.getvalue().splitlines())) <= MAX_LINE_BYTES + 100


def test_the_hosts_own_structlog_is_neither_used_nor_changed(stream: io.StringIO) -> None:
    before = structlog.get_config()
    with writer(stream) as log, capture_logs() as captured:
        log.logger().info("ours")
        structlog.get_logger().info("theirs")
    assert [line["event"] for line in lines(stream)] == ["ours"]
    assert [line["event"] for line in captured] == ["theirs"]
    assert structlog.get_config() == before


def test_auto_means_console_on_a_terminal_and_json_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with writer(stream) as log:
            log.write(failed())
    assert "\x1b[" in terminal.getvalue()
    assert lines(pipe)[0]["event"] == "job.failed"


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    with writer(terminal) as log:
        log.write(failed())
    assert "\x1b[" not in terminal.getvalue()
    assert "job.failed" in terminal.getvalue()


def test_a_subscriber_that_raises_is_reported_in_the_log(stream: io.StringIO) -> None:
    events = Events()

    def wrong(event: JobFailed) -> None:
        raise RuntimeError("bug")

    with writer(stream) as log:
        events.subscribe(wrong, JobFailed)
        log.subscribe(events)
        events.emit(failed())
    assert [line["event"] for line in lines(stream)] == ["log.subscriber_failed", "job.failed"]
    assert lines(stream)[0]["error"] == "RuntimeError: bug"


class BrokenStream(io.StringIO):
    broken = True

    def write(self, text: str) -> int:
        if self.broken:
            raise BrokenPipeError
        return super().write(text)


def test_lines_that_cannot_be_written_are_counted_and_reported_later() -> None:
    stream = BrokenStream()
    with writer(stream) as log:
        log.write(failed())
        log.write(failed())
        log.flush()
        assert log.dropped == 2
        stream.broken = False
        log.write(failed("after"))
    assert [line["event"] for line in lines(stream)] == [LINES_DROPPED, "job.failed"]
    assert lines(stream)[0]["dropped"] == 2
    assert lines(stream)[1]["error"] == "after"


class Stalled:
    """A reader at the other end of a pipe that stopped reading."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.started = threading.Event()
        self.got: list[bytes] = []

    def write(self, lines: list[bytes]) -> int:
        self.started.set()
        self.go.wait(10)
        self.got += lines
        return len(lines)

    def close(self) -> None: ...


def test_a_stalled_reader_costs_lines_and_never_time_or_memory() -> None:
    target = Stalled()
    sink = LogSink(target, lambda count: b"dropped %d\n" % count, queue_bytes=100)
    sink.put(b"first\n")
    assert target.started.wait(10)
    for _ in range(1_000):
        sink.put(b"0123456789")
    assert sink.dropped == 990
    target.go.set()
    assert sink.flush(10)
    sink.put(b"last\n")
    sink.close()
    assert target.got == [b"first\n", b"dropped 990\n", *[b"0123456789"] * 10, b"last\n"]


def test_closing_does_not_wait_for_a_stalled_reader() -> None:
    target = Stalled()
    sink = LogSink(target, lambda count: b"")
    sink.put(b"first\n")
    assert target.started.wait(10)
    sink.close(timeout_s=0.01)
    target.go.set()


def test_a_closed_log_drops_and_does_not_raise(stream: io.StringIO) -> None:
    log = writer(stream)
    log.close()
    log.write(failed())
    assert log.dropped == 1
    log.close()


def test_threads_log_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with writer(path=str(path), max_bytes=20_000, keep=100) as log:
        threads = [threading.Thread(target=lambda n=n: [log.logger(n=n).info("x", i=i) for i in range(500)]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    records = [json.loads(line) for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sorted((record["n"], record["i"]) for record in records) == [(n, i) for n in range(4) for i in range(500)]


def test_a_file_is_private_and_holds_json_whatever_the_format(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log"
    with writer(path=str(path), format="console") as log:
        log.write(failed())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["event"] == "job.failed"


def test_a_file_that_cannot_be_opened_is_a_config_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[log\] path.*name a file"):
        writer(path=str(tmp_path))


def test_a_file_rotates_at_its_size_and_keeps_as_many_as_asked(tmp_path: Path) -> None:
    target = FileTarget(tmp_path / "log", max_bytes=30, keep=2)
    assert target.write([b"%09d\n" % number for number in range(10)]) == 10
    target.close()
    found = {file.name: [int(line) for line in file.read_text().split()] for file in tmp_path.iterdir()}
    assert found == {"log.2": [3, 4, 5], "log.1": [6, 7, 8], "log": [9]}


def test_keeping_none_starts_over_and_zero_bytes_means_never_rotate(tmp_path: Path) -> None:
    none, never = FileTarget(tmp_path / "none", 20, 0), FileTarget(tmp_path / "never", 0, 5)
    for target in (none, never):
        target.write([b"%09d\n" % number for number in range(5)])
        target.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["never", "none"]
    assert (tmp_path / "none").read_text() == "000000004\n"
    assert len((tmp_path / "never").read_text().split()) == 5


def test_two_processes_rotate_one_file_once(tmp_path: Path) -> None:
    one, other = (FileTarget(tmp_path / "log", max_bytes=20, keep=9) for _ in range(2))
    for number in range(8):
        assert (one, other)[number % 2].write([b"%09d\n" % number]) == 1
    one.close()
    other.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log", "log.1", "log.2", "log.3"]


def test_a_rotation_that_another_process_just_did_is_not_done_again(tmp_path: Path) -> None:
    one, other = (FileTarget(tmp_path / "log", max_bytes=10, keep=9) for _ in range(2))
    one.write([b"%09d\n" % 1, b"%09d\n" % 2])
    other._rotate()  # it decided to before it saw what the first one did
    one.close()
    other.close()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"log.1": "000000001\n", "log": "000000002\n"}


def test_a_file_that_was_moved_or_deleted_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    target = FileTarget(path, 0, 0)
    target.write([b"1\n"])
    path.unlink()
    target.write([b"2\n"])
    target.close()
    assert path.read_text() == "2\n"


def test_a_full_disk_loses_lines_spoils_at_most_one_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, room = os.write, [15]

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = real(fd, data[: room[0]])
        room[0] -= done
        return done

    target = FileTarget(tmp_path / "log", 0, 0)
    monkeypatch.setattr(os, "write", write)
    assert target.write([b"aaaaaaaaa\n", b"bbbbbbbbb\n", b"ccccccccc\n"]) == 1
    assert target.write([b"ddddddddd\n"]) == 0
    room[0] = 1_000
    assert target.write([b"eeeeeeeee\n"]) == 1
    target.close()
    assert (tmp_path / "log").read_bytes() == b"aaaaaaaaa\nbbbbb\neeeeeeeee\n"


def test_text_that_the_streams_encoding_lacks_is_escaped_not_lost() -> None:
    inner = io.BytesIO()
    stream = io.TextIOWrapper(inner, encoding="ascii", write_through=True)
    with writer(stream) as log:
        log.write(failed("Fehler: größer"))
    assert b"gr\\xf6\\xdfer" in inner.getvalue()
    assert log.dropped == 0


def test_a_job_that_is_not_ours_to_name_still_makes_a_line(log: LogWriter, stream: io.StringIO) -> None:
    log.write(replace(failed(), job=a_job(task_type="", target_id="ü" * 300)))
    log.flush()
    assert lines(stream)[0]["target_id"] == "ü" * 300
