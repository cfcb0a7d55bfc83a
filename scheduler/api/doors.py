"""The doors of the web face, before any route: hosts, origins, media types, sizes; and what every answer says to browsers.

Against pages of other sites (DNS rebinding, cross-site requests), and against bodies that never end. Plain ASGI: it costs a few
microseconds, and streams pass through untouched.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler.api.problems import ProblemError
from scheduler.values import MAX_BODY_BYTES

#: What a request's body may come to; the JSON around a payload of the most bytes has room too.
MAX_REQUEST_BYTES = MAX_BODY_BYTES + 100_000
NDJSON = "application/x-ndjson"
_LOG = logging.getLogger("scheduler.api")
_FAULT = ProblemError(500, "the service's log says what happened; nothing is known to have changed")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_SITE = frozenset({"same-origin", "none"})

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Doors:
    """Wraps the application. ``hosts``: names that it is reached under beside this machine's own; ``origins``: sites that may ask."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        names = {"localhost", socket.gethostname(), socket.getfqdn(), *hosts}
        self._hosts = frozenset(name.lower().rstrip(".") for name in names if name)
        self._is_served = lru_cache(maxsize=256)(self._serves)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await refusal.to_response()(scope, receive, _Answering(send).send)
            return
        answering = _Answering(send)
        try:
            await self._app(scope, _Counted(receive, headers).receive, answering.send)
        except Exception:
            _LOG.exception("%s %s failed", scope["method"], scope["path"])
            if not answering.begun:
                await _FAULT.to_response()(scope, receive, answering.send)

    def _refusal(self, method: str, headers: Headers) -> ProblemError | None:
        host = headers.get("host", "")
        if not self._is_served(host):
            return ProblemError(421, "this host is not served here: ask for it by this machine's name, or add the name to [api] hosts")
        if method in _SAFE:
            return None
        if self._is_foreign(host, headers):
            return ProblemError(403, "another site's page may not do this: add the site to [api] origins if it should")
        return _unfit_body(headers)

    def _serves(self, host: str) -> bool:
        """Whether ``host`` is a name of ours. An address is: no other site's page can have one for its own name."""
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".") if _is_plain(host) else ""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def _is_foreign(self, host: str, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin in self._origins:
            return False
        if headers.get("sec-fetch-site", "none") not in _SAME_SITE:
            return True
        return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


def _is_plain(host: str) -> bool:
    return not any(character in host for character in "/@?#\\ ")


def _unfit_body(headers: Headers) -> ProblemError | None:
    length = headers.get("content-length")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if length in (None, "0") and "transfer-encoding" not in headers:
        return None
    if kind not in ("application/json", NDJSON):
        return ProblemError(415, "send JSON: Content-Type: application/json")
    if kind != NDJSON and length is not None and length.isdecimal() and int(length) > MAX_REQUEST_BYTES:
        return _too_large()
    return None


def _too_large() -> ProblemError:
    return ProblemError(413, f"a body has at most {MAX_REQUEST_BYTES:,} bytes: store what is larger elsewhere and pass a reference")


class _Counted:
    """Counts a body while it streams; that of a bulk is counted line by line where it is read."""

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self._receive = receive
        self._left = MAX_REQUEST_BYTES
        self._is_bulk = headers.get("content-type", "").startswith(NDJSON)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self._is_bulk:
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise _too_large()
        return message


class _Answering:
    """Adds what every answer says to browsers; ``begun`` once it is on its way."""

    def __init__(self, send: Send) -> None:
        self.begun = False
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)
