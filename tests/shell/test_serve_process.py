"""``scheduler serve`` as a process: streams do not hold up its end, nor does who never reads; a second service finds its own port."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.serving import Serving

GRACE_S = 0.3  # as ``serving`` configures it
pytestmark = pytest.mark.slow


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    return Serving(tmp_path)


def stream(url: str) -> socket.socket:
    """A connection that streams events and has seen the first bytes."""
    where = urlsplit(url)
    connection = socket.create_connection((where.hostname or "", where.port or 0), timeout=10)
    connection.sendall(b"GET /api/events HTTP/1.1\r\nHost: %s\r\n\r\n" % where.netloc.encode())
    assert b"200 OK" in connection.recv(1_024)
    return connection


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_time_with_streams_open(serving: Serving, number: int) -> None:
    serving.start()
    try:
        streams = [stream(serving.url) for _ in range(20)]
        began = time.monotonic()
        serving.end(number)
        assert time.monotonic() - began < GRACE_S + 2.0
        for connection in streams:
            connection.settimeout(5)
            while connection.recv(65_536):
                pass
            connection.close()
    finally:
        serving.end()


def test_a_second_signal_ends_it_at_once_with_streams_open(serving: Serving) -> None:
    serving.start()
    try:
        connection = stream(serving.url)
        began = time.monotonic()
        serving.tell(signal.SIGTERM)
        serving.end(signal.SIGTERM)
        assert time.monotonic() - began < 2.0
        connection.close()
    finally:
        serving.end()
