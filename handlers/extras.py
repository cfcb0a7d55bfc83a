"""What an optional library that is not there means to whoever asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scheduler.errors import ConfigError


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Around the import of an optional library: raises ``ConfigError`` that names the extra to install."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"this work needs libraries that are not installed ({error.name or error}): pip install 'ai-job-scheduler[{extra}]'"
        ) from error
