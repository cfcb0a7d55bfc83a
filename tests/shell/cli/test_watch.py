"""``watch``: one picture for a pipe, numbers for machines, a live one on a terminal; at a store and at a URL."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.api.tokens import hashed
from scheduler.client import SyncJobClient
from scheduler.job import NewJob
from tests.shell.cli.command import call, environment, run
from tests.support.serving import Serving

LIMIT_S = 30.0
GUARDED = f"""
[tokens.ada]
sha256 = "{hashed("sched_ada")}"
scope = "write"
owner = "ada"

[tokens.operator]
sha256 = "{hashed("sched_operator")}"
scope = "operate"
"""


@pytest.fixture
def service(here: Path, request: pytest.FixtureRequest) -> Iterator[Serving]:
    serving = Serving(here, getattr(request, "param", ""))
    serving.start()
    yield serving
    serving.end()


class Terminal:
    """The command on a terminal of ``width`` by ``height``, keys and all; ``screen`` is what was written since it was last looked at."""

    def __init__(self, *words: str, width: int = 100, height: int = 30, **environ: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.before = termios.tcgetattr(self._ours)
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from scheduler.cli import main; main()", *words],
            stdin=theirs, stdout=theirs, stderr=theirs, env={**environment(), **environ}, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)

    def press(self, key: str) -> None:
        os.write(self._ours, key.encode())

    def until(self, *told: str, gone: str = "") -> str:
        """Wait for a picture that holds all of ``told`` and not ``gone``."""
        written, end = "", time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            written += self._read()
            picture = _plain(written.rpartition("\x1b[H")[2])
            if all(one in picture for one in told) and (not gone or (picture.strip() and gone not in picture)):
                return picture
        raise AssertionError(f"{told} did not come; there is: {_plain(written)[-3_000:]}")

    def ended(self) -> tuple[int, str]:
        """The exit code, and what was written to the end."""
        written, end = "", time.monotonic() + LIMIT_S
        while self.process.poll() is None and time.monotonic() < end:
            written += self._read()
        return self.process.wait(1), written + self._read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def _read(self) -> str:
        if not select.select([self._ours], [], [], 0.1)[0]:
            return ""
        try:
            return os.read(self._ours, 65_536).decode("utf-8", "replace")
        except OSError:  # Linux says so when the other end is closed
            return ""


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@contextlib.contextmanager
def a_terminal(*words: str, **how: str) -> Iterator[Terminal]:
    terminal = Terminal(*words, **how)  # type: ignore[arg-type]  # the environment
    try:
        yield terminal
    finally:
        terminal.close()


def test_a_pipe_gets_one_picture_in_full(here: Path) -> None:
    call("enqueue", "good", "t", "\x1b[31mx\u202e")
    call("enqueue", "bad", "t", "1", "--payload", '{"say": "because\\u0007"}')
    call("run", "--until-empty", code=1)
    call("enqueue", "limited", "t", "2")
    call("pause", "limited", "--for", "1h")
    said = run("watch")
    for told in (
        "3 jobs: 1 pending, 0 processing, 1 completed, 1 failed",
        "limited  ",
        "left  manual",
        "handler_error  1",
        r"because\x07",
        "nothing",
    ):
        assert told in said.out, told
    assert "\x1b" not in said.out
    assert run("watch", "--once").lines[1] == said.lines[1]


def test_machines_get_the_numbers(here: Path) -> None:
    call("enqueue", "good")
    said = run("watch", "--once", "--json")
    assert said.json["stats"]["by_status"] == {"pending": 1}
    assert said.json["workers"] == []
    assert len(said.json["buckets"]) == 41
    assert run("watch", "--json").json["stats"] == said.json["stats"]


def test_two_places_are_one_too_many(here: Path) -> None:
    assert "give one of them" in run("watch", "--url", "http://127.0.0.1:1", "--store", "memory:", code=2).err


def test_nobody_there_is_one_sentence(here: Path) -> None:
    said = run("watch", "--once", "--url", "http://127.0.0.1:1", code=2)
    assert "scheduler serve" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("service", [GUARDED], indirect=True)
def test_a_token_comes_from_the_environment_and_shows_what_is_its_owners(service: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    with SyncJobClient(service.url, "sched_operator") as client:
        client.enqueue_many([NewJob("gated", run_after=3e9), NewJob("gated", run_after=3e9, owner="ada")])

    def told(token: str, code: int = 0) -> str:
        words = [sys.executable, "-c", "from scheduler.cli import main; main()", "watch", "--url", service.url]
        done = subprocess.run(
            words, env={**environment(), "SCHEDULER_TOKEN": token}, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == code, done
        return done.stdout + done.stderr

    everybodys = told("sched_operator")
    assert "2 jobs" in everybodys
    assert "Workers" in everybodys
    adas = told("sched_ada")
    assert "1 job:" in adas
    assert "Workers" not in adas
    for token in ("", "sched_wrong"):
        refused = told(token, 2)
        assert "HTTP 401" in refused
        assert "sched_wrong" not in refused


@pytest.mark.parametrize("where", ["store", "url"])
def test_a_terminal_gets_a_live_picture_until_q(service: Serving, where: str, here: Path) -> None:
    words = ["watch"] if where == "store" else ["watch", "--url", service.url]
    with a_terminal(*words) as terminal, SyncJobClient(service.url) as client:
        terminal.until("0 jobs", "living")
        job_id = client.enqueue("gated", "x\x1b[2Jy", "1", {"until": str(here / "go"), "say": "a \u202equarter"}).job_id
        picture = terminal.until("1 processing", " 25%")
        assert r"gated x\x1b[2Jy 1  a \u202equarter" in picture
        (here / "go").touch()
        terminal.until("1 completed", "0 processing", "nothing")
        assert client.get(job_id).status == "completed"
        terminal.press("q")
        code, last = terminal.ended()
        assert code == 0
        assert "\x1b[?1049l" in last, "the screen is as it was before"
        assert termios.tcgetattr(terminal._ours) == terminal.before


def test_a_service_that_restarts_is_waited_for_and_ctrl_c_ends_it(service: Serving) -> None:
    with a_terminal("watch", "--url", service.url) as terminal:
        terminal.until("living")
        service.end()
        terminal.until("reconnecting…", "0 jobs")
        service.start()
        terminal.until("living", gone="reconnecting…")
        terminal.press("\x03")
        code, last = terminal.ended()
        assert code == 0
        assert "Traceback" not in last
        assert "\x1b[?1049l" in last


def test_what_cannot_be_looked_at_once_is_not_waited_for(here: Path) -> None:
    with a_terminal("watch", "--url", "http://127.0.0.1:1") as terminal:
        code, last = terminal.ended()
        assert code == 2
        assert "\x1b[?1049h" not in last
