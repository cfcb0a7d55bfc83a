"""One try to deliver, against real sockets on the loopback: names that lie, certificates, redirects, drips, floods, proxies."""

from __future__ import annotations

import json
import ssl
import tracemalloc
from collections.abc import Sequence

import pytest
import trustme

from scheduler.errors import DeliveryError, UndeliverableError
from scheduler.webhooks.guard import networks_of, place_of
from scheduler.webhooks.sending import Answer, Sender
from tests.support.engine import in_real_time
from tests.support.provider_server import Disconnect, Drip, Hang, ProviderServer, Reply, Step
from tests.support.virtual_time import in_virtual_time

LOOPBACK = networks_of(["127.0.0.0/8", "::1/128"])
FINE = Reply(204)


class Names:
    """A resolver whose answers are given in advance, one a question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._answers = list(answers)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self._answers.pop(0)


async def post(server: ProviderServer, sender: Sender, path: str = "/hook?x=1") -> Answer:
    return await sender.send(place_of(server.url + path, LOOPBACK), LOOPBACK, {"webhook-id": "msg_1"}, b'{"a":1}')


@in_virtual_time
async def test_a_receiver_gets_the_body_the_headers_and_its_own_name() -> None:
    async with ProviderServer(FINE) as server:
        names = Names(["127.0.0.1"])
        place = place_of(f"http://hooks.example:{server.port}/in?x=1", LOOPBACK)
        answer = await Sender(resolve=names).send(place, LOOPBACK, {"webhook-id": "msg_1"}, b'{"a":1}')
        (request,) = server.requests
        assert answer == Answer(204)
        assert (request.method, request.path, request.raw) == ("POST", "/in?x=1", b'{"a":1}')
        assert (request.headers["host"], request.headers["webhook-id"]) == (f"hooks.example:{server.port}", "msg_1")
        assert names.asked == [("hooks.example", server.port)]


@pytest.mark.parametrize(
    "answers",
    [
        ["10.0.0.1"],
        ["127.0.0.1", "10.0.0.1"],
        ["127.0.0.1", "::ffff:10.0.0.1"],
        ["127.0.0.1", "64:ff9b::a00:1"],
        ["127.0.0.1", "169.254.169.254"],
        ["127.0.0.1", "8.8.8.8"],  # public, but not for http
    ],
)
@in_virtual_time
async def test_a_name_with_one_forbidden_address_among_its_own_is_not_connected_to(answers: list[str]) -> None:
    async with ProviderServer(FINE) as server:
        place = place_of(f"http://hooks.example:{server.port}/", LOOPBACK)
        with pytest.raises(UndeliverableError, match=answers[-1]) as refused:
            await Sender(resolve=Names(answers)).send(place, LOOPBACK, {}, b"{}")
        assert refused.value.reason == "address_refused"
        assert server.requests == []


@in_virtual_time
async def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to() -> None:
    async with ProviderServer(FINE) as server:
        names = Names(["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"])
        place = place_of(f"http://rebinding.example:{server.port}/", LOOPBACK)
        assert (await Sender(resolve=names).send(place, LOOPBACK, {}, b"{}")).status == 204
        assert len(names.asked) == 1
        assert server.requests[0].headers["host"] == f"rebinding.example:{server.port}"


@in_virtual_time
async def test_the_next_address_is_tried_where_one_lets_nobody_in() -> None:
    async with ProviderServer(FINE) as server:
        place = place_of(f"http://hooks.example:{server.port}/", LOOPBACK)
        answer = await Sender(resolve=Names(["127.9.9.9", "127.0.0.1"])).send(place, LOOPBACK, {}, b"{}")
        assert answer.status == 204
        with pytest.raises(DeliveryError, match="cannot be reached"):
            await Sender(resolve=Names(["127.9.9.9"])).send(place, LOOPBACK, {}, b"{}")
        with pytest.raises(DeliveryError, match="no address"):
            await Sender(resolve=Names([])).send(place, LOOPBACK, {}, b"{}")


@in_virtual_time
async def test_a_redirect_is_an_answer_like_any_other() -> None:
    async with ProviderServer(FINE) as inner, ProviderServer(Reply(307, {"location": inner.url + "/secrets"})) as server:
        assert (await post(server, Sender())).status == 307
        assert inner.requests == []


@in_virtual_time
async def test_proxies_of_the_environment_are_not_asked() -> None:
    async with ProviderServer(FINE) as proxy, ProviderServer(FINE) as server:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                patch.setenv(name, proxy.url)
            assert (await post(server, Sender())).status == 204
        assert (len(proxy.requests), len(server.requests)) == (0, 1)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Hang(), "did not answer within 15 s"),
        (Drip(FINE, piece_bytes=1, every_s=1.0), "did not answer within 15 s"),
        (Disconnect(FINE, after_bytes=9), "broke off"),
        (Reply(200, {"x-flood": "x" * 300_000}), "broke off"),
        (Disconnect(Reply(200), 0), "broke off"),
    ],
    ids=["hangs", "drips", "cut short", "floods headers", "hangs up"],
)
@in_virtual_time
async def test_a_receiver_that_does_not_answer_in_time_or_in_http_has_not_taken_it(step: Step, said: str) -> None:
    async with ProviderServer(step) as server:
        with pytest.raises(DeliveryError, match=said) as failed:
            await post(server, Sender())
        assert "x=1" not in str(failed.value)  # an address may hold a secret


@pytest.mark.parametrize(
    "step",
    [
        Drip(Reply(200, {"content-length": "1000000"}), every_s=0.01, endless=True),
        Drip(Reply(200, {"content-length": str(10**12)}), piece_bytes=65_536, endless=True),
        Disconnect(Reply(200, {"content-length": "1000"}), after_bytes=100),
    ],
    ids=["drips", "floods", "cut short"],
)
@in_virtual_time
async def test_once_the_status_is_there_the_rest_of_the_answer_is_of_no_interest(step: Step) -> None:
    async with ProviderServer(step) as server:
        assert (await post(server, Sender())).status == 200


@in_real_time
async def test_an_answer_without_end_takes_little_memory() -> None:
    flood = Drip(Reply(200, {"content-length": str(10**12)}), piece_bytes=65_536, endless=True)
    async with ProviderServer(flood) as server:
        sender = Sender()
        await post(server, sender)  # what is loaded at first use
        tracemalloc.start()
        try:
            await post(server, sender)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 3_000_000


class TestTls:
    """The certificate is checked against the host's name, not against the address that was connected to."""

    AUTHORITY = trustme.CA()

    def server(self, *names: str) -> ProviderServer:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.AUTHORITY.issue_cert(*names).configure_cert(context)
        return ProviderServer(FINE, context)

    async def send(self, server: ProviderServer, host: str, *, trusting: bool = True) -> Answer:
        context = ssl.create_default_context()
        if trusting:
            self.AUTHORITY.configure_trust(context)
        place = place_of(f"https://{host}:{server.port}/", LOOPBACK)
        return await Sender(resolve=Names(["127.0.0.1"]), context=context).send(place, LOOPBACK, {}, b"{}")

    @in_real_time
    async def test_the_name_in_the_certificate_is_the_hosts(self) -> None:
        async with self.server("hooks.example") as server:
            assert (await self.send(server, "hooks.example")).status == 204
            assert server.requests[0].headers["host"] == f"hooks.example:{server.port}"

    @in_real_time
    async def test_a_certificate_for_the_address_or_another_name_will_not_do(self) -> None:
        async with self.server("127.0.0.1", "other.example") as server:
            with pytest.raises(DeliveryError, match="certificate verify failed"):
                await self.send(server, "hooks.example")
            assert (await self.send(server, "127.0.0.1")).status == 204  # that address is what the URL names

    @in_real_time
    async def test_a_certificate_that_nobody_vouches_for_will_not_do(self) -> None:
        async with self.server("hooks.example") as server:
            with pytest.raises(DeliveryError, match="certificate verify failed"):
                await self.send(server, "hooks.example", trusting=False)
            assert server.requests == []


@in_virtual_time
async def test_the_wait_that_a_receiver_asks_for_is_handed_on() -> None:
    async with ProviderServer(Reply(429, {"retry-after": "120"}, json.dumps({}))) as server:
        assert await post(server, Sender()) == Answer(429, "120")
