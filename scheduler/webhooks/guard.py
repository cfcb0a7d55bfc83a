"""The guard: which addresses a webhook may be sent to, and where a URL leads.

A receiver's URL comes from whoever may enqueue, and this process stands inside a network that they do not. So only public addresses are
let through, and internal ones by name (``allow_networks``). What is judged is the address that is then connected to, never a name:
a name's answer may be another one the next time.

Does not belong here: sending (``sending.py``).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Networks = tuple[Network, ...]
#: The addresses of a host, as text. Asked once for each delivery.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_URL_CHARS = 2_048
#: Names looked up at once: each may hold a thread until the system's resolver gives up.
LOOKUPS = 16

#: All that is not for the public (IANA's registries of special purpose addresses), and what hides an IPv4 address in an IPv6 one.
_INTERNAL: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "a provider's inner network (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's inner service"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4 address in disguise (mapped)"),
        ("::/96", "an IPv4 address in disguise"),
        ("64:ff9b::/96", "an IPv4 address behind NAT64"),
        ("64:ff9b:1::/48", "an IPv4 address behind NAT64"),
        ("2001::/32", "an IPv4 address behind Teredo"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "an IPv4 address behind 6to4"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
#: Of IPv6 only this is for the public at all.
_PUBLIC_V6 = IPv6Network("2000::/3")

_SOUND_URL = re.compile(r"[!-\[\]-~]+")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads, taken apart once: nobody reads it again in another way. ``authority`` is what goes into the Host header."""

    is_tls: bool
    host: str
    port: int
    authority: str
    path: str

    def __str__(self) -> str:
        """For people, without what stands behind the host: it may be a secret."""
        return f"{'https' if self.is_tls else 'http'}://{self.authority}/…"


def internal(address: str, allowed: Networks = ()) -> str | None:
    """What kind of internal address this is, None if a webhook may go there. Raises ``ValueError`` for what is no address."""
    known: Address = ip_address(address)
    if any(known in network for network in allowed):
        return None
    for network, what in _INTERNAL:
        if known in network:
            return what
    return None if isinstance(known, IPv4Address) or known in _PUBLIC_V6 else "not for the public"


def networks_of(texts: Iterable[str]) -> Networks:
    """Networks in CIDR notation. Raises ``ValueError`` that says what to write."""
    return tuple(_network(text) for text in texts)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no network ({error}): write one as 10.1.0.0/16, a single address as 10.1.2.3/32") from None


def place_of(url: str, allowed: Networks = ()) -> Place:
    """Where ``url`` leads, if a webhook may be sent there as far as can be told without looking its name up.

    Raises ``ValueError`` that says what to write instead; it does not repeat the URL, which may hold a secret.
    """
    if not isinstance(url, str) or not url or len(url) > MAX_URL_CHARS or not _SOUND_URL.fullmatch(url):
        raise ValueError(f"it must be a URL of 1 to {MAX_URL_CHARS:,} ASCII characters without blanks and backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"it is no URL: {error}") from None
    if parts.scheme not in ("https", "http") or not _HOST.fullmatch(host) or port == 0:
        raise ValueError("it must be https://HOST/…, or http://HOST/… to an allowed internal network")
    if "@" in parts.netloc:
        raise ValueError("it has a user name or a password: take them out, webhooks are signed instead")
    if parts.scheme == "http" and not allowed:
        raise ValueError("it must be https://…: http is only for the networks that allow_networks names")
    address = _literal(host)
    if address is not None and (why := refusal(address, allowed, is_tls=parts.scheme == "https")):
        raise ValueError(why)
    is_tls = parts.scheme == "https"
    usual = 443 if is_tls else 80
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, usual) else f"{shown}:{port}"
    return Place(is_tls, host, port or usual, authority, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def refusal(address: str, allowed: Networks, *, is_tls: bool) -> str | None:
    """Why nothing may be sent to ``address``, None if it may. Without TLS only to an allowed network: nobody else is there to listen."""
    what = internal(address, allowed)
    if what is not None:
        return f"its address {address} is {what}: webhooks go to public addresses, and to the networks that allow_networks names"
    if not is_tls and not any(ip_address(address) in network for network in allowed):
        return f"its address {address} is public: use https://…"
    return None


def _literal(host: str) -> str | None:
    """``host`` if it is an address itself."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


class Lookup:
    """The system's resolver, in threads of which there are few."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(LOOKUPS)

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of ``host``. Raises ``OSError``. Whoever is cancelled leaves the thread behind."""

        def look_up() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))

        try:
            return await to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=self._limiter)
        except UnicodeError as error:  # a label that is too long, say
            raise OSError(f"{host!r} is no host name: {error}") from None
