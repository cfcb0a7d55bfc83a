"""What a ``postgresql://`` URL says: where the server is, and two words of our own, ``schema`` and ``pooled``.

    postgresql://user:password@host:5432/database?schema=scheduler&pooled=1&sslmode=require

``schema``: where the tables live; any name, ``scheduler`` by default. ``pooled``: the server is reached through a proxy that
gives each transaction another connection (PgBouncer's transaction mode); nothing then relies on the session.
All other words are libpq's and go to the driver as they are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from scheduler.errors import ConfigError

DEFAULT_SCHEMA = "scheduler"
SCHEMES = ("postgresql://", "postgres://")
#: PostgreSQL cuts longer names silently.
_MAX_NAME_BYTES = 63
_SAID = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Address:
    """``dsn`` is for the driver; ``shown`` is for people and has no password."""

    dsn: str
    schema: str
    pooled: bool
    shown: str

    @property
    def quoted(self) -> str:
        """The schema as an identifier."""
        return '"' + self.schema.replace('"', '""') + '"'

    @property
    def channel(self) -> str:
        """Where hints of this schema are sent."""
        return f"scheduler_{self._digest[:12].hex()}"

    @property
    def gates(self) -> int:
        """The advisory lock of the pause windows: shared by claims, exclusive for whoever changes them."""
        return int.from_bytes(self._digest[12:20], "big", signed=True)

    @property
    def caps(self) -> int:
        """The class of the advisory locks of capped task types; the next number is that of keys being enqueued."""
        return int.from_bytes(self._digest[20:24], "big") >> 2

    @property
    def _digest(self) -> bytes:
        return hashlib.sha256(f"scheduler {self.schema}".encode()).digest()


def parse(url: str) -> Address:
    """Raises ``ConfigError``."""
    try:
        parts = urlsplit(url)
        words = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"store: the URL is not sound ({error}): use postgresql://USER@HOST/DATABASE?schema=NAME") from None
    own = {name: value for name, value in words if name in ("schema", "pooled")}
    query = urlencode([(name, value) for name, value in words if name not in own])
    return Address(
        urlunsplit(parts._replace(query=query)), _schema(own.get("schema", DEFAULT_SCHEMA)), _pooled(own.get("pooled", "0")), _shown(url)
    )


def _schema(name: str) -> str:
    if not name or "\0" in name or len(name.encode()) > _MAX_NAME_BYTES:
        raise ConfigError(f"store: schema={name!r} is not a name of 1 to {_MAX_NAME_BYTES} bytes")
    if name.startswith("pg_") or "$scheduler$" in name:
        raise ConfigError(f"store: schema={name!r}: PostgreSQL keeps names that begin with pg_ for itself; choose another")
    return name


def _pooled(value: str) -> bool:
    if value.lower() not in _SAID:
        raise ConfigError(f"store: pooled={value!r}: say pooled=1 behind a transaction-pooling proxy, else leave it out")
    return _SAID[value.lower()]


def _shown(url: str) -> str:
    parts = urlsplit(url)
    words = [(name, "***" if name == "password" else value) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    netloc = parts.netloc
    if "@" in netloc:
        user, host = netloc.rsplit("@", 1)
        netloc = f"{user.split(':', 1)[0]}{':***' if ':' in user else ''}@{host}"
    return urlunsplit(parts._replace(netloc=netloc, query=urlencode(words, safe="/*", quote_via=quote)))
