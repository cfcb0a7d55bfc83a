"""Calling ``scheduler``: in this process, in one of its own, or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from scheduler.cli.app import app

ROOT = Path(__file__).parents[3]
#: What a verb may take, wherever it runs; far more than any does.
LIMIT_S = 60.0


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def plain(self) -> str:
        """Without colours and cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def call(*words: str, stdin: str | None = None, code: int = 0) -> Said:
    """The command in this process; fails unless it exits with ``code``."""
    result = CliRunner().invoke(app, list(words), input=stdin)
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, typer.Exit), repr(result.exception)
    said = Said(result.exit_code, result.stdout, result.stderr)
    assert said.code == code, said
    return said


#: Processes of the current test; whatever it leaves running is killed when it ends.
STARTED: list[subprocess.Popen[str]] = []


def started(*words: str, **how: Any) -> subprocess.Popen[str]:
    """The command in a process of its own, its streams open."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    script = "from scheduler.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", script, *words], text=True, env=environment(), **pipes)
    STARTED.append(process)
    return process


def end_all() -> None:
    """Kill what still runs and close what is still open."""
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()


def run(*words: str, stdin: str | bytes = "", code: int = 0) -> Said:
    """The command in a process of its own, to its end."""
    process = started(*words)
    out, err = process.communicate(stdin if isinstance(stdin, str) else stdin.decode(), timeout=LIMIT_S)
    said = Said(process.returncode, out, err)
    assert said.code == code, said
    return said


def on_terminal(words: Sequence[str], width: int = 100, *, until: Callable[[], bool] | None = None) -> Said:
    """The command with standard output and error on one terminal of ``width`` columns; told to stop once ``until``."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    process = started(*words, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    while until is not None and not until():
        assert process.poll() is None
    if until is not None:
        process.terminate()
    written = b""
    try:
        while piece := os.read(ours, 65_536):
            written += piece
    except OSError:  # Linux says so when the other end is closed
        pass
    finally:
        os.close(ours)
    code = process.wait(timeout=LIMIT_S)
    return Said(code, written.decode().replace("\r\n", "\n"), "")


def environment() -> dict[str, str]:
    """This process's, without anything that configures the command or its colours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCHEDULER_") and name not in ("COLUMNS", "NO_COLOR")}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PYTHONWARNINGS": "error"}
