"""Serving the application from the process that runs the jobs: one event loop, sockets bound before anything starts.

uvicorn speaks HTTP; when to start and to stop is ours. Does not belong here: what is answered.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI

from scheduler.api.tokens import check_exposed
from scheduler.errors import ConfigError
from scheduler.settings import ApiSettings, Settings

#: While the port is the default one and taken, so many after it are tried: a second service on a machine finds its own.
NEXT_PORTS = 100
#: The names of log lines: where it is served, and about requests that went wrong in this service.
LISTENING = "http.listening"
HTTP_TROUBLE = "http.trouble"
#: Requests under way get so many seconds at the end; streams are ended before.
FINISH_S = 1
#: A connection whose other end takes nothing for so many milliseconds is dead (RFC 5482).
_UNACKNOWLEDGED_MS = 30_000
_BACKLOG = 2_048


def bind(settings: Settings, *, search: bool) -> socket.socket:
    """A listening socket as ``[api]`` says; ``search``: one of the next ports if that is taken.

    Raises ``ConfigError``, also for an address that others reach while there is no token.
    """
    api = settings.api
    family, address = _resolved(api.host, api.port)
    check_exposed(settings, api.host, ipaddress.ip_address(address[0].partition("%")[0]).is_loopback)
    last = api.port + (NEXT_PORTS if search and api.port else 0)
    for port in range(api.port, min(last, 65_535) + 1):
        # The protocol by name: only then does asyncio switch off Nagle's algorithm, which costs an answer 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
            listening.bind((address[0], port, *address[2:]))
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            if port == last or error.errno in _HOPELESS:
                where = f"{api.host} port {port}"
                raise ConfigError(
                    f"cannot listen on {where}: {error.strerror}. Choose another with --port (0 for any), or go without: --no-api"
                ) from None
            continue
        return listening
    raise ConfigError(f"no port from {api.port} to {last} is free: choose one with --port (0 for any)")


_HOPELESS = frozenset({13, 99})  # EACCES, EADDRNOTAVAIL: the next port is no better


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"[api] host = {host!r} is no address of this machine: {error}") from None
    family, *_, address = found[0]
    return family, address


def url_of(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def serving(app: FastAPI, listening: socket.socket, logger: Any) -> AsyncIterator[None]:
    """Answer requests while entered; ``logger`` gets what goes wrong with them. Leaving it takes at most ``FINISH_S`` seconds more."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=FINISH_S,
        timeout_keep_alive=30,
    )
    server = _Server(config)
    handler = _Forward(logger)
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "scheduler.api")]
    for told in loggers:
        told.propagate = False
        told.addHandler(handler)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listening], name="http")
            try:
                yield
            finally:
                app.state.face.close()
                server.should_exit = True
    finally:
        for told in loggers:
            told.removeHandler(handler)
        listening.close()


class _Server(uvicorn.Server):
    """Leaves the signals to the service."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Forward(logging.Handler):
    """What uvicorn has to complain about, as an event of ours."""

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(record.levelno, HTTP_TROUBLE, error=record.getMessage(), exc_info=record.exc_info)


def is_default_port(api: ApiSettings) -> bool:
    return bool(api.port == ApiSettings.model_fields["port"].default)
