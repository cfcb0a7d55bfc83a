"""Rows out of CSV and JSON files, and CSV out of rows: what people export from elsewhere.

Every value is text, every column name lower case without blanks at its ends, so that ``E-Mail`` and ``e-mail`` meet.
Does not belong here: what a column means.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scheduler.errors import InvalidJobError

Row = dict[str, str]

_SNIFFED_CHARS = 16_384
_DELIMITERS = ",;\t|"


class TableError(InvalidJobError):
    """A file that is no table, or lacks a column: says which, and what would do."""


def read_table(path: str | Path) -> list[Row]:
    """The rows of a ``.csv`` (any of ``, ; tab |``), ``.json`` (a list of objects) or ``.jsonl`` file, in order.

    Raises ``TableError`` naming the file and, where there is one, the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        return [_flat(record, f"{path}: record {number}") for number, record in enumerate(_records(text, path), 1)]
    return _csv_rows(text, path)


def column(rows: Sequence[Mapping[str, str]], wanted: str, usual: Sequence[str], what: str) -> str:
    """The column to take: ``wanted`` if it is named, else the first of the ``usual`` names that ``rows`` have.

    Raises ``TableError`` listing what there is. ``what`` names the table in it.
    """
    there = list(dict.fromkeys(name for row in rows[:1] for name in row))
    if wanted:
        if tidy(wanted) in there:
            return tidy(wanted)
        raise TableError(f"{what} has no column {wanted!r}; there are {', '.join(there) or 'none'}")
    for name in usual:
        if name in there:
            return name
    raise TableError(f"{what} has none of the columns {', '.join(usual)}; there are {', '.join(there) or 'none'}: name one")


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file whole or not at all: beside it first, then in its place."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    beside.replace(path)


def content_hash(*tables: str | Path | Sequence[Row]) -> str:
    """A digest of what stands in files (or rows). Raises ``TableError`` for a file that cannot be read."""
    digest = hashlib.sha256()
    for table in tables:
        try:
            digest.update(Path(table).read_bytes() if isinstance(table, str | Path) else repr(table).encode())
        except OSError as error:
            raise TableError(f"{table}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def refuse_changed(expected: str, *tables: str | Path | Sequence[Row]) -> None:
    """Raises ``TableError`` unless ``tables`` have the hash ``expected``, or that is empty.

    A job that goes on later must find what it began with.
    """
    if expected and content_hash(*tables) != expected:
        raise TableError(
            f"{', '.join(str(one) for one in tables if isinstance(one, str | Path))} changed since this job was made: make a new one"
        )


def tidy(name: str) -> str:
    """A column name as rows have it."""
    return " ".join(name.split()).lower()


def _csv_rows(text: str, path: Path) -> list[Row]:
    if "\x00" in text:
        raise TableError(f"{path}: holds NUL characters: it is no text")
    reader = csv.reader(io.StringIO(text, newline=""), _dialect(text))
    rows: list[Row] = []
    try:
        header = [tidy(name) for name in next(reader, [])]
        if len(set(header)) != len(header):
            raise TableError(f"{path}: two columns have the same name: {', '.join(header)}")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                cells += [""] * (len(header) - len(cells))
                rows.append({name: cell.strip() for name, cell in zip(header, cells, strict=False) if name})
    except csv.Error as error:
        raise TableError(f"{path}: line {reader.line_num}: {error}") from error
    return rows


def _dialect(text: str) -> type[csv.Dialect]:
    """As the first line is: the sniffer of the standard library guesses wrongly where cells hold the other delimiters."""

    class Found(csv.excel):
        delimiter = max(_DELIMITERS, key=text[:_SNIFFED_CHARS].split("\n", 1)[0].count)

    return Found


def _records(text: str, path: Path) -> list[Any]:
    try:
        if path.suffix.lower() == ".json":
            records = json.loads(text)
            return records if isinstance(records, list) else [records]
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path}: not JSON: {error}") from error


def _flat(record: Any, where: str) -> Row:
    """An object's values as text; lists are joined by ``;``, as people do in CSV cells."""
    if not isinstance(record, dict):
        raise TableError(f"{where} is no object")
    return {tidy(str(name)): _text(value) for name, value in record.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
