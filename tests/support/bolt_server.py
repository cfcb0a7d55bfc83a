"""A server that speaks Bolt 5.0, as far as the official Neo4j driver needs it: keeps what it is asked to run, answers what it was told to.

The protocol is public (Neo4j's Bolt manual: handshake, messages, PackStream). It understands no Cypher: the statements are for the
tests to look at.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

_MAGIC = b"\x60\x60\xb0\x17"
_HELLO, _GOODBYE, _RESET, _RUN, _BEGIN, _COMMIT, _PULL = 0x01, 0x02, 0x0F, 0x10, 0x11, 0x12, 0x3F
_SUCCESS, _RECORD, _FAILURE, _IGNORED = 0x70, 0x71, 0x7F, 0x7E


def pack(value: Any) -> bytes:
    """PackStream, of what these tests send."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xcb" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xc1" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return b"\xd2" + struct.pack(">I", len(text)) + text
    if isinstance(value, list):
        return b"\xd6" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
    return b"\xda" + struct.pack(">I", len(value)) + b"".join(pack(key) + pack(item) for key, item in value.items())


#: How a size or a number follows its mark.
_SIZES = {0xD0: ">B", 0xD1: ">H", 0xD2: ">I", 0xD4: ">B", 0xD5: ">H", 0xD6: ">I", 0xD8: ">B", 0xD9: ">H", 0xDA: ">I"}
_NUMBERS = {0xC1: ">d", 0xC8: ">b", 0xC9: ">h", 0xCA: ">i", 0xCB: ">q"}


class Unpacker:
    """PackStream, of what the driver sends."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def message(self) -> tuple[int, list[Any]]:
        fields = self._take(1)[0] & 0x0F
        tag = self._take(1)[0]
        return tag, [self.value() for _ in range(fields)]

    def value(self) -> Any:
        mark = self._take(1)[0]
        if mark < 0x80:
            return mark
        if mark >= 0xF0:
            return mark - 0x100
        if mark in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[mark]
        if mark in _NUMBERS:
            return self._number(_NUMBERS[mark])
        size = mark & 0x0F if mark < 0xC0 else int(self._number(_SIZES[mark]))
        kind = mark & 0xF0 if mark < 0xC0 else {0xD0: 0x80, 0xD4: 0x90, 0xD8: 0xA0}[mark & 0xFC]
        if kind == 0x80:
            return self._take(size).decode()
        if kind == 0x90:
            return [self.value() for _ in range(size)]
        return {self.value(): self.value() for _ in range(size)}


class BoltServer:
    """``ran`` are the statements with their parameters, committed ones only; ``rows`` what each is answered with."""

    def __init__(self, password: str = "", columns: tuple[str, ...] = (), rows: tuple[tuple[Any, ...], ...] = ()) -> None:
        self.ran: list[tuple[str, dict[str, Any]]] = []
        self.url = ""
        self.refuse = ""
        self._password = password
        self._columns = columns
        self._rows = rows
        self._pending: list[tuple[str, dict[str, Any]]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[BoltServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"bolt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello = await reader.readexactly(20)
            assert hello.startswith(_MAGIC)
            writer.write(b"\x00\x00\x00\x05")
            while (message := await self._message(reader)) is not None:
                for answer in self._answers(*message):
                    writer.write(struct.pack(">H", len(answer)) + answer + b"\x00\x00")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _message(self, reader: asyncio.StreamReader) -> tuple[int, list[Any]] | None:
        data = b""
        while True:
            (size,) = struct.unpack(">H", await reader.readexactly(2))
            if size == 0 and data:
                break
            data += await reader.readexactly(size)
        tag, fields = Unpacker(data).message()
        return None if tag == _GOODBYE else (tag, fields)

    def _answers(self, tag: int, fields: list[Any]) -> list[bytes]:
        if tag == _HELLO:
            if self._password and fields[0].get("credentials") != self._password:
                return [self._failure("Neo.ClientError.Security.Unauthorized")]
            return [self._success(server="Neo4j/5.0.0", connection_id="bolt-1")]
        if tag == _RUN:
            if self.refuse:
                return [self._failure(self.refuse)]
            self._pending.append((fields[0], fields[1]))
            return [self._success(fields=list(self._columns))]
        if tag == _PULL:
            if self.refuse:
                return [b"\xb0" + bytes([_IGNORED])]
            return [*(b"\xb1" + bytes([_RECORD]) + pack(list(row)) for row in self._rows), self._success(type="w", db="neo4j")]
        if tag == _COMMIT:
            self.ran += self._pending
        if tag in (_COMMIT, _RESET, _BEGIN):
            self._pending = []
        return [self._success()]

    def _success(self, **more: Any) -> bytes:
        return b"\xb1" + bytes([_SUCCESS]) + pack(more)

    def _failure(self, code: str) -> bytes:
        return b"\xb1" + bytes([_FAILURE]) + pack({"code": code, "message": "no"})
