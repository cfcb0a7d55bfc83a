"""From a provider's answer to an error (placeholder replaced in the next commit)."""

from __future__ import annotations


def error_from_exception(error: BaseException, now: float) -> None:
    return None
