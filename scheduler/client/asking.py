"""Asking over HTTP: one question, tried again while nobody answers it, within bounds.

Does not belong here: what is asked (``jobs.py``), streams (``streams.py``).
"""

from __future__ import annotations

from random import Random
from typing import Any

import httpx2

from scheduler.client.errors import ApiError, ClientError, UnreachableError
from scheduler.client.words import EVENTS, JSON, base_of, is_loopback, problem_of
from scheduler.clock import Clock

#: The first wait before asking again and the longest, in seconds; each is about double the last.
AGAIN_S, AGAIN_MOST_S = 0.2, 10.0
#: Event streams that did not get through are tried again after so many seconds.
STREAM_AGAIN_S = 300.0
#: The service did nothing yet.
_BUSY = frozenset({503})
#: Statuses of what stands before the service: whether the question reached it is not known.
_BETWEEN = frozenset({502, 504})


class Asker:
    """One client's connections. ``patience_s``: so long nobody need answer before that is an error. ``base`` holds no secret."""

    def __init__(
        self,
        base_url: str,
        token: str | None,
        *,
        timeout_s: float,
        patience_s: float,
        clock: Clock,
        rng: Random,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.base = base_of(base_url)
        self.patience_s = patience_s
        self.clock = clock
        self.closed = False
        self._streamless_until = float("-inf")
        self._rng = rng
        headers = {"Accept": JSON} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            self._http = httpx2.AsyncClient(
                headers=headers,
                timeout=timeout_s,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),  # each that is followed has one of its own
                follow_redirects=False,
                trust_env=not is_loopback(self.base),
                transport=transport,
            )
        except UnicodeEncodeError:
            raise ClientError("the token holds characters that no token has") from None
        self._timeout_s = timeout_s

    async def aclose(self) -> None:
        self.closed = True
        await self._http.aclose()

    async def ask(self, method: str, path: str, *, repeatable: bool | None = None, once: bool = False, **what: Any) -> httpx2.Response:
        """The answer, if it is a success. Raises ``ClientError``s.

        A question that reached nobody, or that the service could not take up, is asked again. One whose answer was lost only if it is
        ``repeatable``: if asking twice is as asking once. By default that is what only looks. One that is sent ``once`` has a body that
        is gone when it has been sent: it is asked again only if it reached nobody.
        """
        again = method == "GET" if repeatable is None else repeatable
        later = frozenset() if once else _BUSY if not again else _BUSY | _BETWEEN
        began, tries = self.clock.monotonic(), 0
        while True:
            if self.closed:
                raise ClientError("the client is closed")
            failure, wait_s = await self._try(method, path, again, later, what)
            if not isinstance(failure, ClientError):
                return failure
            wait_s = max(wait_s, self.wait_s(tries))
            tries += 1
            if self.clock.monotonic() - began + wait_s > self.patience_s:
                raise failure
            await self.clock.sleep(wait_s)

    async def _try(
        self, method: str, path: str, again: bool, later: frozenset[int], what: dict[str, Any]
    ) -> tuple[httpx2.Response | ClientError, float]:
        """The answer, or why to ask again and how long the service asks to wait before that."""
        try:
            response = await self._http.request(method, self.base + path, **what)
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
            raise ClientError(f"{self.base} cannot be asked: {error}") from error
        except httpx2.TransportError as error:
            return self.unreachable(error, lost=not again), 0.0
        if response.is_success:
            return response, 0.0
        problem = self.problem(response)
        if problem.status not in later:
            raise problem
        return problem, problem.retry_after_s or 0.0

    @property
    def hears_streams(self) -> bool:
        """Whether event streams get through, as far as is known."""
        return self.clock.monotonic() >= self._streamless_until

    def without_streams(self) -> None:
        """They do not; that is looked at again after a while."""
        self._streamless_until = self.clock.monotonic() + STREAM_AGAIN_S

    async def open(self, path: str, *, params: dict[str, Any], headers: dict[str, str]) -> httpx2.Response:
        """A stream, its body still to come; also an answer that is no success. Raises ``httpx2.TransportError``."""
        asked = {"Accept": EVENTS, "Accept-Encoding": "identity", "Cache-Control": "no-cache", **headers}
        timeout = httpx2.Timeout(self._timeout_s, read=None)
        request = self._http.build_request("GET", self.base + path, params=params, headers=asked, timeout=timeout)
        return await self._http.send(request, stream=True)

    def problem(self, response: httpx2.Response) -> ApiError:
        return problem_of(response.status_code, response.headers, response.content, self.clock.now())

    def unreachable(self, error: httpx2.TransportError, *, lost: bool = False) -> UnreachableError:
        """Raises it at once where a question was sent, its answer ``lost``, and it must not be asked twice."""
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
        if lost and not unsent:
            raise UnreachableError(f"{self.base} took the request and did not answer ({why}): whether it was done is not known") from error
        return UnreachableError(f"{self.base} does not answer ({why}): is `scheduler serve` running there?")

    def wait_s(self, tries: int, first_s: float = AGAIN_S) -> float:
        """Seconds before asking again after so many ``tries``: growing, and not the same for everybody."""
        return min(AGAIN_MOST_S, first_s * 2.0 ** min(tries, 20)) * self._rng.uniform(0.5, 1.0)
