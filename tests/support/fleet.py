"""Starting, stopping and killing the processes of ``service_process.py``; nobody else's are ever touched."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.audit import audited_store
from tests.support.postgres_audit import audited_schema

ROOT = Path(__file__).parents[2]


class Process:
    """A service or client started here; only ever ended by its own pid."""

    def __init__(self, verb: str, folder: Path, argument: str) -> None:
        self.folder = folder
        with (folder / "stderr.txt").open("ab") as errors:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.support.service_process", verb, str(folder), argument],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors,
            )  # fmt: skip
        self.pid = self._popen.pid

    def go(self) -> None:
        """Let a service open the store; tell a client to end."""
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already: whoever waits for it will say so
            self._popen.stdin.write(b"\n")
            self._popen.stdin.flush()

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def wait(self, limit_s: float) -> int:
        """The exit code; raises ``TimeoutError`` with what it said."""
        try:
            return self._popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} still runs after {limit_s} s: {self.said()}") from None

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def end(self) -> None:
        """Kill it, if it still runs, and let go of its pipe."""
        if self.is_running():
            self._popen.kill()
        self._popen.wait()
        if self._popen.stdin is not None:
            with suppress(BrokenPipeError):
                self._popen.stdin.close()

    def said(self) -> str:
        return (self.folder / "stderr.txt").read_text("utf-8", "replace")[-2_000:]

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """What it wrote so far: ``runs`` or ``events``."""
        path = self.folder / f"{kind}-{self.pid}.jsonl"
        if not path.exists():
            return []
        whole, _, _ = path.read_text("utf-8").rpartition("\n")  # of one that is being written the first part may be seen
        return [json.loads(line) for line in whole.splitlines()]

    def is_ready(self) -> bool:
        """Whether a service waits for its cue: its files are made just before."""
        if not self.is_running():
            raise RuntimeError(f"process {self.pid} ended before its cue: {self.said()}")
        return (self.folder / f"events-{self.pid}.jsonl").exists()

    def has_run(self) -> bool:
        """Whether one of its handlers has started."""
        return bool(self.lines("runs"))

    def running(self) -> int:
        """How many handlers had started and not ended when it last wrote."""
        counted = Counter(line["what"] for line in self.lines("runs"))
        return counted["start"] - counted["end"]


class Fleet:
    """Starts processes in one folder; ends whatever is left of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[Process] = []

    def service(self, *, at_once: bool = True, **over: Any) -> Process:
        """A service with ``over`` over its ``[scheduler]`` settings; ``at_once=False`` leaves it waiting for ``go``."""
        process = self._started("serve", json.dumps(over))
        if at_once:
            process.go()
        return process

    def client(self, seed: int) -> Process:
        return self._started("enqueue", str(seed))

    def _started(self, verb: str, argument: str) -> Process:
        self._all.append(Process(verb, self.folder, argument))
        return self._all[-1]

    def end(self) -> None:
        for process in self._all:
            process.end()


@contextmanager
def fleet(folder: Path, store: str | None = None) -> Iterator[Fleet]:
    """A fleet on an audited SQLite store in ``folder``, or on the audited store at the URL ``store``."""
    if store is None:
        audited_store(folder / "jobs.db")
    else:
        audited_schema(store)
        (folder / "store-url").write_text(store, "utf-8")
    made = Fleet(folder)
    try:
        yield made
    finally:
        made.end()


def until(is_so: Callable[[], bool], limit_s: float, what: str) -> float:
    """Wait for a fact; returns the seconds it took. Raises ``TimeoutError`` naming ``what``."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > limit_s:
            raise TimeoutError(f"{what}: not within {limit_s} s")
        time.sleep(0.005)
    return time.monotonic() - began
