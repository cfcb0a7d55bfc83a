"""Tokens: what each allows, whose jobs it sees. Wrong ones are slowed down.

A token is 32 random bytes, so that its SHA-256 can stand for it: nothing that guesses slowly would guess it, and nothing that is
kept can be used. Does not belong here: filtering by owner (that is inside the store's queries).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.clock import Clock
from scheduler.errors import ConfigError
from scheduler.named import TokenSettings
from scheduler.settings import Settings

SCOPES = ("read", "write", "operate")
PREFIX = "sched_"
#: The answer to a wrong token waits so long, doubling with each from the same address, up to the second figure.
SLOW_FROM_S, SLOW_TO_S = 0.1, 2.0
#: A failure is forgotten after so many seconds; so many addresses are remembered.
_FORGET_S = 60.0
_ADDRESSES = 1_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``owner``: whose jobs it sees; None for everybody's. ``authenticated`` is False where no tokens are configured."""

    owner: str | None
    scope: str
    authenticated: bool
    name: str = ""

    def may(self, scope: str) -> bool:
        return SCOPES.index(scope) <= SCOPES.index(self.scope)


ANYBODY = Caller(None, "operate", False)


def new_token() -> str:
    """A token nobody can guess."""
    return PREFIX + secrets.token_urlsafe(32)


def hashed(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Tokens:
    """The configured tokens, and who has lately been wrong."""

    def __init__(self, tokens: Mapping[str, TokenSettings], clock: Clock) -> None:
        self._known = [(bytes.fromhex(one.sha256), Caller(one.owner, one.scope, True, name)) for name, one in tokens.items()]
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def needed(self) -> bool:
        return bool(self._known)

    def caller(self, token: str) -> Caller | None:
        """Who has this token. Every hash is compared, in constant time."""
        digest = bytes.fromhex(hashed(token))
        found: Caller | None = None
        for known, caller in self._known:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    async def slow_down(self, address: str) -> None:
        """Make whoever is wrong from ``address`` wait, longer each time."""
        now = self._clock.monotonic()
        count, since = self._failures.pop(address, (0, now))
        count = 1 if now - since > _FORGET_S else count + 1
        self._failures[address] = (count, now)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
        await self._clock.sleep(min(SLOW_TO_S, SLOW_FROM_S * 2.0 ** min(count - 1, 20)))


def check_exposed(settings: Settings, host: str, is_loopback: bool) -> None:
    """Raises ``ConfigError`` where everybody on the network could do everything."""
    if not is_loopback and not settings.tokens:
        raise ConfigError(
            f"[api] host = {host!r} is reached from other machines, but there is no token: run `scheduler token new`, put what it prints "
            "into the configuration, and start again; or listen on 127.0.0.1"
        )
