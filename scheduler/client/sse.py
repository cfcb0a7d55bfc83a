"""Server-sent events, read from bytes as they come: WHATWG HTML, section 9.2.6. Pure.

Does not belong here: connecting, and what an event means (``streams.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"
#: An event of more bytes is no event of the service's: whoever sends it must not fill the memory.
MAX_EVENT_BYTES = 8_000_000
#: Milliseconds of more digits are no time to wait.
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Message:
    """One event: its name, its data, and the last id that was sent up to it."""

    name: str
    data: str
    id: str


class Parser:
    """Feed it whatever arrives, in pieces of any size; what a stream leaves unfinished is no event.

    ``last_id``: where to go on from. ``retry_s``: how long the server asks to wait before that; None if it does not say.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_s: float | None = None
        self._begun = False
        self._after_cr = False
        self._rest = bytearray()
        self._size = 0
        self._name = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, piece: bytes) -> list[Message]:
        """The events that are complete with it. Raises ``ValueError`` for one that is too large."""
        found: list[Message] = []
        for line in self._lines(piece):
            if not line:
                self._dispatch(found)
                continue
            self._size += len(line)
            self._check(self._size)
            self._take(line.decode("utf-8", "replace"))
        self._check(self._size + len(self._rest))
        return found

    def _lines(self, piece: bytes) -> list[bytes]:
        """The lines that end in ``piece``: by LF, CR or CRLF, also one that is cut in two."""
        if not piece:
            return []
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        self._rest += piece
        if not self._begun:
            if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
                return []  # it may yet become a byte order mark
            self._begun = True
            self._rest = bytearray(self._rest.removeprefix(_BOM))
        elif b"\n" not in piece and b"\r" not in piece:
            return []
        lines = bytes(self._rest).splitlines(keepends=True)
        ends = not lines or lines[-1].endswith((b"\n", b"\r"))
        self._rest = bytearray(b"" if ends else lines.pop())
        return [line.rstrip(b"\r\n") for line in lines]

    def _take(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\x00" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdecimal() and len(value) <= _DIGITS:
                self.retry_s = int(value) / 1_000

    def _dispatch(self, found: list[Message]) -> None:
        """An empty line: the event is complete. One without data only tells where the stream stands."""
        self.last_id = self._id
        if self._data:
            found.append(Message(self._name or "message", "\n".join(self._data), self.last_id))
        self._name, self._data, self._size = "", [], 0

    @staticmethod
    def _check(size: int) -> None:
        if size > MAX_EVENT_BYTES:
            raise ValueError(f"an event of more than {MAX_EVENT_BYTES:,} bytes")
