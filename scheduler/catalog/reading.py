"""Reading one file as text, whatever its encoding, or saying why it cannot be read.

Does not belong here: what the text means.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scheduler.catalog.targets import storable

_SNIFFED_BYTES = 8_192
#: The longer marks first: UTF-32 LE begins like UTF-16 LE.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: What Python (PEP 263), Emacs, HTML and XML files say of their own encoding, near their beginning.
_DECLARED = re.compile(rb"(?:coding[:=]|charset=|encoding=)\s*[\"']?([A-Za-z0-9][-\w.]+)", re.IGNORECASE)
_DECLARED_WITHIN_BYTES = 1_024


class SkipReason(StrEnum):
    """Why a file of a known kind gave no targets. Values are stable: ``enrich --json`` shows them."""

    TOO_BIG = "too_big"
    BINARY = "binary"
    UNREADABLE = "unreadable"
    UNPARSABLE = "unparsable"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True)
class Skip:
    """One file or folder that was left out, and a sentence that says why."""

    path: Path
    reason: SkipReason
    detail: str


OnSkip = Callable[[Skip], None]


class SkippedError(Exception):
    """This file cannot give targets; the scan goes on with the next one."""

    def __init__(self, reason: SkipReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read_text(path: Path, max_bytes: int) -> str:
    """The text of ``path`` with ``\\n`` line ends, no byte order mark, and nothing that no store can hold.

    Reads at most ``max_bytes`` + 1 bytes. Raises ``SkippedError`` when it is bigger, binary or unreadable.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise SkippedError(SkipReason.UNREADABLE, error.strerror or str(error)) from None
    if len(data) > max_bytes:
        raise SkippedError(SkipReason.TOO_BIG, f"bigger than the limit of {max_bytes:,} bytes")
    return storable(decoded(data)).replace("\r\n", "\n").replace("\r", "\n")


def decoded(data: bytes) -> str:
    """``data`` as text: by its mark, as UTF-8, as it declares itself, else as Windows-1252 or Latin-1."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if b"\x00" in data[:_SNIFFED_BYTES]:
        raise SkippedError(SkipReason.BINARY, "has NUL bytes: not text")
    declared = _DECLARED.search(data, 0, _DECLARED_WITHIN_BYTES)
    candidates = ("utf-8", declared[1].decode("ascii") if declared else "", "cp1252")
    for encoding in filter(None, candidates):
        try:
            return data.decode(encoding)
        except (UnicodeError, LookupError):  # not that encoding, or none that Python knows as text
            continue
    return data.decode("latin-1")
