"""One try to deliver: look the name up once, check every address, connect to that very address, and wait no longer than the limit.

A receiver may be slow, broken or hostile: redirects are not followed, proxies of the environment not asked, no connection is used twice,
and what it answers is of no interest but for its status.

Does not belong here: what a status means for the delivery (``deliveries.py``), or signatures (``signing.py``).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import to_thread

from scheduler.errors import DeliveryError, UndeliverableError
from scheduler.webhooks.extra import library
from scheduler.webhooks.guard import Lookup, Networks, Place, Resolve, refusal

#: A try takes no longer than this, in seconds, from the look-up to the answer's status.
LIMIT_S = 15.0
#: One of several addresses gets so many seconds to let us in.
CONNECT_S = 5.0
#: So many of a host's addresses are tried.
MOST_ADDRESSES = 4
#: What is read of an answer's body so that the receiver can finish it: bytes, and seconds.
MOST_BYTES = 65_536
BODY_S = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A receiver's answer. ``retry_after`` is that header as it came."""

    status: int
    retry_after: str | None = None


class Sender:
    """Sends; keeps no connection. ``resolve`` and ``context`` (for TLS) are the system's unless given."""

    def __init__(self, *, resolve: Resolve | None = None, context: ssl.SSLContext | None = None, limit_s: float = LIMIT_S) -> None:
        self._httpx: Any = library("httpx2")
        self._resolve: Resolve = resolve or Lookup()
        self._context = context
        self._limit_s = limit_s

    async def send(self, place: Place, allowed: Networks, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post ``body``. Raises ``DeliveryError`` if nobody answers, ``UndeliverableError`` for an address that is not for webhooks."""
        try:
            with anyio.fail_after(self._limit_s):
                return await self._send(place, allowed, headers, body)
        except TimeoutError:
            raise DeliveryError(f"{place} did not answer within {self._limit_s:g} s") from None

    async def _send(self, place: Place, allowed: Networks, headers: Mapping[str, str], body: bytes) -> Answer:
        addresses = await self._addresses(place, allowed)
        if self._context is None and place.is_tls:
            self._context = await to_thread.run_sync(self._httpx.create_ssl_context)  # reads a file of certificates
        closed: Exception | None = None
        for address in addresses[:MOST_ADDRESSES]:
            try:
                return await self._post(place, address, headers, body)
            except (self._httpx.ConnectError, self._httpx.ConnectTimeout) as error:
                closed = error  # nothing was sent: the next address may do
            except self._httpx.TransportError as error:
                raise DeliveryError(f"{place} broke off: {_said(error)}") from error
        raise DeliveryError(f"{place} cannot be reached: {_said(closed)}") from closed

    async def _addresses(self, place: Place, allowed: Networks) -> list[str]:
        """All addresses of the host, each of them checked: whoever mixes an internal one in is up to something."""
        try:
            addresses = list(await self._resolve(place.host, place.port))
        except OSError as error:
            raise DeliveryError(f"{place}: its name cannot be looked up: {_said(error)}") from error
        if not addresses:
            raise DeliveryError(f"{place}: its name has no address")
        for address in addresses:
            if why := refusal(address, allowed, is_tls=place.is_tls):
                raise UndeliverableError(f"{place}: {why}", "address_refused")
        return addresses

    async def _post(self, place: Place, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        # A transport of its own, without a client: none of what a client does by itself (redirects, cookies, proxies), and no connection
        # that was opened for another host at the same address.
        httpx = self._httpx
        url = httpx.URL(scheme="https" if place.is_tls else "http", host=address, port=place.port, raw_path=place.path.encode())
        wait = {"connect": min(CONNECT_S, self._limit_s), "read": self._limit_s, "write": self._limit_s, "pool": self._limit_s}
        request = httpx.Request(
            "POST",
            url,
            headers={"host": place.authority, **headers, "connection": "close"},
            content=body,
            extensions={"timeout": wait, "sni_hostname": place.host},  # the certificate must be the host's, not the address's
        )
        context = self._context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without TLS any will do: this one trusts nobody
        async with httpx.AsyncHTTPTransport(verify=context) as transport:
            response = await transport.handle_async_request(request)
            try:
                await self._let_finish(response.stream)
            finally:
                await response.aclose()
        return Answer(response.status_code, response.headers.get("retry-after"))

    async def _let_finish(self, stream: Any) -> None:
        """Take a short answer's body off the receiver's hands; drop a long or slow one's."""
        taken = 0
        with anyio.move_on_after(BODY_S), suppress(self._httpx.TransportError):
            async for piece in stream:
                taken += len(piece)
                if taken >= MOST_BYTES:
                    break


def _said(error: BaseException | None) -> str:
    text = str(error) if error is not None else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
