"""A real ``scheduler serve`` in a process of its own, to be killed and started again."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.shell.cli.command import environment

LIMIT_S = 30.0
_CONFIG = """
[scheduler]
store = "sqlite:///jobs.db"
drain_grace_s = 0.3
lease_s = 5.0

[handlers]
modules = ["{handlers}"]
entry_points = false

[log]
path = "service.log"
level = "debug"
"""
_URL = re.compile(r"^dashboard and API: (http://\S+)$", re.MULTILINE)


class Serving:
    """A service in ``folder``; ``more`` is further TOML. ``url`` stays the same when it is started again."""

    handlers = "tests.support.serving_jobs"

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder = folder
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "config.toml").write_text(_CONFIG.format(handlers=self.handlers) + more, encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it answers."""
        port = str(urlsplit(self.url).port or 0)
        said = self.folder / "stderr.txt"
        command = [sys.executable, "-c", "from scheduler.cli import main; main()", "serve", "--port", port]
        with said.open("wb") as errors:
            self._process = subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=subprocess.DEVNULL, stderr=errors)
        end = time.monotonic() + LIMIT_S
        while not (told := _URL.search(said.read_text("utf-8", "replace"))):
            assert self._process.poll() is None, said.read_text("utf-8", "replace")
            assert time.monotonic() < end, f"it does not say where it is: {said.read_text('utf-8', 'replace')}"
            time.sleep(0.02)
        self.url = told[1]

    def tell(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it, by kill -9 unless told otherwise."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(LIMIT_S)
            self._process = None
