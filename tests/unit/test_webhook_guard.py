"""Which addresses webhooks may go to, what URLs are taken, and that a name's answer is not believed twice."""

from __future__ import annotations

import pytest

from scheduler.webhooks.guard import Lookup, internal, networks_of, place_of, refusal

LOOPBACK = networks_of(["127.0.0.0/8"])


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.254",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_not_for_the_public_is_internal(address: str) -> None:
    assert internal(address)
    assert internal(address, networks_of(["198.51.100.7/32", "2001:db8:1::/48"]))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "168.63.129.17",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "223.255.255.255",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "2a00:1450::1",
    ],
)
def test_what_is_for_the_public_is_let_through(address: str) -> None:
    assert internal(address) is None


def test_an_allowed_network_is_let_through_and_nothing_beside_it() -> None:
    allowed = networks_of(["10.1.0.0/16", "fd00:1::/32"])
    assert internal("10.1.2.3", allowed) is None
    assert internal("fd00:1::5", allowed) is None
    assert internal("10.2.0.1", allowed) == "private"
    assert internal("::ffff:10.1.2.3", allowed) == "an IPv4 address in disguise (mapped)"


def test_without_tls_only_an_allowed_network_will_do() -> None:
    assert refusal("8.8.8.8", LOOPBACK, is_tls=True) is None
    assert refusal("127.0.0.1", LOOPBACK, is_tls=False) is None
    assert "use https" in (refusal("8.8.8.8", LOOPBACK, is_tls=False) or "")


@pytest.mark.parametrize("text", ["10.1.2.3/16", "everywhere", "", "10.0.0.0/33"])
def test_a_network_that_is_none_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"write one as 10\.1\.0\.0/16"):
        networks_of([text])


@pytest.mark.parametrize(
    ("url", "shown", "path"),
    [
        ("https://example.com", "https://example.com/…", "/"),
        ("https://Example.com:443/a?b=c#d", "https://example.com/…", "/a?b=c"),
        ("https://example.com:8443/a/?q", "https://example.com:8443/…", "/a/?q"),
        ("https://8.8.8.8/x", "https://8.8.8.8/…", "/x"),
        ("https://[2606:4700::1111]:9/x", "https://[2606:4700::1111]:9/…", "/x"),
    ],
)
def test_a_url_is_taken_apart_once(url: str, shown: str, path: str) -> None:
    place = place_of(url)
    assert (str(place), place.path) == (shown, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "http://example.com/",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com:0/",
        "https://example.com:70000/",
        "https://example.com:x/",
        "https://exa mple.com/",
        "https://example.com/\r\nX-Evil: 1",
        "https://example.com\\@127.0.0.1/",
        "https://münchen.example/",
        "https://[fe80::1%25eth0]/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1:8443/",
        "https://example.com/" + "x" * 2_048,
    ],
)
def test_what_no_webhook_may_go_to_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        place_of(url)
    assert len(str(refused.value)) > 20
    assert "secret" not in str(refused.value)


def test_http_is_for_allowed_networks_alone() -> None:
    assert not place_of("http://127.0.0.1:8080/x", LOOPBACK).is_tls
    assert not place_of("http://intranet/x", LOOPBACK).is_tls  # what its name leads to is checked when it is sent
    with pytest.raises(ValueError, match="public: use https"):
        place_of("http://8.8.8.8/x", LOOPBACK)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1"])
async def test_other_ways_to_write_an_address_end_as_that_address(host: str) -> None:
    for address in await Lookup()(host, 80):
        assert internal(address) == "loopback"


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..b"])
async def test_a_name_that_leads_nowhere_is_an_error_of_the_system(host: str) -> None:
    with pytest.raises(OSError):
        await Lookup()(host, 80)
