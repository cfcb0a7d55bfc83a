"""Server-sent events, read as WHATWG says, in whatever pieces they arrive."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.client import sse
from scheduler.client.sse import Message, Parser


def read(stream: bytes) -> list[Message]:
    return Parser().feed(stream)


def by_the_book(stream: bytes) -> tuple[list[Message], str, float | None]:
    """The whole stream at once, step by step as section 9.2.6 says."""
    text = stream.decode("utf-8-sig", "replace")
    lines = re.split("\r\n|\n|\r", text)[:-1]  # what no line end follows is unfinished
    found: list[Message] = []
    data = event_type = last_id = id_buffer = ""
    retry: float | None = None
    for line in lines:
        if line == "":
            last_id = id_buffer
            if data == "":
                event_type = ""
                continue
            found.append(Message(event_type or "message", data[:-1], last_id))
            data = event_type = ""
            continue
        if line.startswith(":"):
            continue
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            event_type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\x00" not in value:
            id_buffer = value
        elif field == "retry" and re.fullmatch("[0-9]{1,9}", value):
            retry = int(value) / 1_000
    return found, last_id, retry


LINES = st.sampled_from(
    [
        *(
            b"data: one",
            b"data:two",
            b"data",
            b"data:  three",
            b"data: a:b",
            "data: ünï✓".encode(),
            b"data: \xff\xc3",
            b"data\xef\xbb\xbf: x",
        ),
        *(b"event: named", b"event", b"id: 7", b"id: 8\x00", b"id", b": a comment", b":", b"nonsense: x"),
        *(b"", b"", b"", b"retry: 1500", b"retry: soon", b"retry:"),
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
SOUND = st.lists(st.tuples(LINES, ENDS), max_size=30).map(lambda parts: b"".join(line + end for line, end in parts))
STREAMS = st.tuples(st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xef\xbb\xbf\xef\xbb\xbf"]), SOUND | st.binary(max_size=60)).map(
    b"".join
)


@given(STREAMS, st.lists(st.integers(0, 400), max_size=20))
@example(b"data: x\r\n\r\n\n", [8, 9])
@example(b"data: a\r\rdata: b\r\n\r", [8])
@example(b"\xef\xbb\xbfdata: x\n\n", [1, 2])
def test_any_cutting_of_a_stream_reads_as_the_book_says(stream: bytes, cuts: list[int]) -> None:
    parser = Parser()
    found: list[Message] = []
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for begin, end in pairwise(places):
        found += parser.feed(stream[begin:end])
    assert (found, parser.last_id, parser.retry_s) == by_the_book(stream)


@given(STREAMS)
def test_byte_by_byte_is_as_good_as_at_once(stream: bytes) -> None:
    parser = Parser()
    assert [message for byte in stream for message in parser.feed(bytes([byte]))] == read(stream)


def test_an_event_is_complete_with_the_cr_that_ends_it() -> None:
    assert Parser().feed(b"data: x\r\r") == [Message("message", "x", "")]


def test_lines_of_data_are_one_text() -> None:
    assert read(b"data: a\ndata:\ndata: b\n\n") == [Message("message", "a\n\nb", "")]


def test_an_id_stays_until_there_is_another_and_one_with_nul_is_none() -> None:
    assert [one.id for one in read(b"id: 7\ndata: x\n\ndata: y\n\nid: 8\x00\ndata: z\n\nid\ndata: w\n\n")] == ["7", "7", "7", ""]


def test_an_id_alone_tells_where_the_stream_stands() -> None:
    parser = Parser()
    assert parser.feed(b"id: 41\n\n") == []
    assert parser.last_id == "41"


def test_what_is_unfinished_is_no_event_and_moves_nothing() -> None:
    parser = Parser()
    assert parser.feed(b"id: 9\ndata: x\n") == []
    assert parser.last_id == ""


@pytest.mark.parametrize(
    ("said", "seconds"), [(b"1500", 1.5), (b"0", 0.0), (b"1e3", None), (b"-1", None), ("٣".encode(), None), (b"9" * 99, None)]
)
def test_a_wait_is_decimal_digits(said: bytes, seconds: float | None) -> None:
    parser = Parser()
    parser.feed(b"retry: " + said + b"\n\n")
    assert parser.retry_s == seconds


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: x\n" * 20])
def test_an_event_without_end_is_refused(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1_000)
    parser = Parser()

    def feed() -> None:
        for _ in range(20):
            parser.feed(piece)

    with pytest.raises(ValueError, match="more than"):
        feed()
