"""Webhooks through the real engine, to real receivers on the loopback: told once, signed, tried again, and never in anybody's way."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from contextlib import closing
from itertools import pairwise
from typing import Any

import anyio
import pytest
from standardwebhooks import Webhook

from scheduler import ConfigError, InvalidJobError, InvalidRequestError, JobContext, NewJob, Registry, Scheduler, Status
from scheduler.cli.tally import Tally
from scheduler.clock import LoopClock
from scheduler.errors import IdempotencyConflictError
from scheduler.events import JobStarted
from scheduler.job import Job
from scheduler.settings import load
from scheduler.webhooks.deliveries import WAITS_S
from scheduler.webhooks.filters import DELIVER
from scheduler.webhooks.mover import DOCUMENT, DUTY, TURN_S, Mover
from tests.support.engine import Engine, engine
from tests.support.provider_server import Drip, Hang, ProviderServer, Reply, Request
from tests.support.virtual_time import in_virtual_time

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
FINE = Reply(204)
#: Days of virtual time have many seconds.
RARELY = {"scheduler": {"poll_interval_s": 300.0, "lease_s": 100_000.0}, "retention": {"sweep_interval_s": 3_600.0}}
WEBHOOK = {"secret_env": "HOOK_SECRET", "allow_networks": ["127.0.0.0/8"]}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


def working() -> Registry:
    """``work`` returns its payload, or fails for good if that says so."""
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext, payload: dict[str, Any]) -> Any:
        await anyio.sleep(payload.get("takes_s", 0.0))
        if payload.get("fails"):
            raise InvalidRequestError("no")
        return payload

    @routes.handler("other")
    async def other(job: JobContext) -> None: ...

    return routes


def hooks(server: ProviderServer, **more: Any) -> dict[str, Any]:
    return {"webhook": WEBHOOK, "webhooks": {"crm": {"url": server.url + "/crm", **more}}}


def told(server: ProviderServer) -> list[dict[str, Any]]:
    return [request.body for request in server.requests]


async def deliveries(at: Engine) -> list[Job]:
    return sorted(await at.scheduler.jobs(task_type=DELIVER), key=lambda job: job.seq)


# -- webhooks that the configuration names


@in_virtual_time
async def test_a_receiver_is_told_of_every_end_signed_as_the_library_verifies_it(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, clock=LoopClock(time.time()), **hooks(server)) as at:
        good = await at.scheduler.enqueue("work", "doc", "1", {"n": 1}, owner="acme")
        bad = await at.scheduler.enqueue("work", "doc", "2", {"fails": True})
        await at.scheduler.run(until_empty=True)
        messages = {request.body["data"]["job_id"]: request for request in server.requests}
        assert sorted(messages) == sorted([good.job_id, bad.job_id])
        for request in messages.values():
            assert request.path == "/crm"
            assert request.headers["content-type"] == "application/json"
            assert Webhook(SECRET).verify(request.raw, request.headers) == request.body
        body = messages[good.job_id].body
        assert (body["type"], body["timestamp"]) == ("job.completed", body["data"]["at"])
        data = body["data"]
        assert (data["task_type"], data["target_type"], data["target_id"], data["owner"]) == ("work", "doc", "1", "acme")
        assert (data["status"], data["result"], data["result_omitted"]) == ("completed", {"n": 1}, False)
        assert "payload" not in data
        data = messages[bad.job_id].body["data"]
        assert (data["status"], data["reason"], data["error"]) == ("failed_ai", "invalid_request", "InvalidRequestError: no")
        done = await deliveries(at)
        assert [(job.status, job.target_type, job.target_id, job.owner) for job in done] == [(Status.COMPLETED, "webhook", "crm", None)] * 2
        assert {job.result["message_id"] for job in done} == {request.headers["webhook-id"] for request in server.requests}


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ({"statuses": ["failed_ai"]}, {"bad"}),
        ({"reasons": ["invalid_request", "auth"]}, {"bad"}),
        ({"reasons": ["auth"]}, set()),
        ({"task_types": ["other"]}, {"other"}),
        ({"owner": "acme"}, {"mine"}),
        ({"statuses": ["completed", "cancelled"], "task_types": ["work"]}, {"mine", "stopped"}),
        ({"statuses": ["processing"], "task_types": ["work"]}, {"mine", "bad"}),
        ({}, {"mine", "bad", "other", "stopped"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else " ".join(sorted(value)),  # a set's order differs between workers
)
@in_virtual_time
async def test_only_what_the_filter_names_is_told(only: dict[str, Any], expected: set[str]) -> None:
    async with ProviderServer(FINE) as server, engine(working(), **hooks(server, **only)) as at:
        async with at.running():
            await at.until(lambda: bool(at.history.events))
            await at.scheduler.enqueue("work", "", "mine", {}, owner="acme")
            await at.scheduler.enqueue("work", "", "bad", {"fails": True})
            await at.scheduler.enqueue("other", "", "other")
            await at.scheduler.cancel((await at.scheduler.enqueue("work", "", "stopped", run_after=1e10)).job_id)
            await anyio.sleep(10.0)
        assert {body["data"]["target_id"] for body in told(server)} == expected
        assert len(server.requests) == len(expected)


@in_virtual_time
async def test_a_webhook_tells_of_what_happens_from_its_first_start_on(sqlite: str) -> None:
    async with ProviderServer(FINE) as server:
        async with engine(working(), sqlite) as at:
            await at.scheduler.enqueue("work", "", "before", {})
            await at.scheduler.run(until_empty=True)
        async with engine(working(), sqlite, **hooks(server)) as at:
            await at.scheduler.run(until_empty=True)
            await at.scheduler.enqueue("work", "", "after", {})
        async with engine(working(), sqlite) as at:  # run by somebody who knows of no webhooks
            await at.scheduler.run(until_empty=True)
        assert server.requests == []
        tables = hooks(server)
        tables["webhooks"]["new"] = {"url": server.url + "/new"}
        async with engine(working(), sqlite, **tables) as at:
            await at.scheduler.run(until_empty=True)
            assert [(request.path, request.body["data"]["target_id"]) for request in server.requests] == [("/crm", "after")]


@in_virtual_time
async def test_a_run_until_empty_tells_what_a_worker_that_died_in_its_turn_did_not(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, **hooks(server)) as at:
        await at.scheduler.run(until_empty=True)
        await at.scheduler.enqueue("work", payload={})
        assert await at.scheduler.store.take_turn(DUTY, "dead", at.scheduler.clock.now(), TURN_S)
        await at.scheduler.run(until_empty=True)
        assert len(server.requests) == 1


@in_virtual_time
async def test_many_ends_are_told_each_once_by_several_workers(sqlite: str) -> None:
    async with (
        ProviderServer(FINE) as server,
        engine(working(), sqlite, **hooks(server)) as one,
        engine(working(), sqlite, **hooks(server)) as two,
    ):
        one.alone = two.alone = False
        async with one.running(), two.running():
            receipts = await one.scheduler.enqueue_many(NewJob("work", "", str(n), {}) for n in range(600))
            await one.until(lambda: len(server.requests) >= 600, 3_600.0)
            await anyio.sleep(60.0)
        assert sorted(body["data"]["job_id"] for body in told(server)) == sorted(receipt.job_id for receipt in receipts)


class Crash(Exception):
    pass


@pytest.mark.parametrize("is_delivered", [False, True], ids=["not delivered yet", "delivered already"])
@in_virtual_time
async def test_a_crash_between_the_enqueue_and_the_cursor_neither_doubles_nor_loses(store: str, is_delivered: bool) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, **hooks(server)) as at:
        scheduler = at.scheduler
        await scheduler.run(until_empty=True)  # the cursor begins here
        mover = mover_of(scheduler)
        await mover.begin("crasher")
        jobs = [(await scheduler.enqueue("work", "", str(n), {})).job_id for n in range(3)]
        for job_id in jobs:
            await scheduler.cancel(job_id)
        share = scheduler.store.share

        async def dies(pool: str, change: Any, now: float) -> Any:
            if pool == DOCUMENT and len(await deliveries(at)) == 3:
                raise Crash
            return await share(pool, change, now)

        scheduler.store.share = dies  # type: ignore[method-assign]
        with pytest.raises(Crash):
            await mover.move()
        scheduler.store.share = share  # type: ignore[method-assign]
        await anyio.sleep(20.0)  # the turn of the dead ends
        if is_delivered:
            with pytest.MonkeyPatch.context() as patch:
                for verb in ("move", "is_behind"):
                    patch.setattr(Mover, verb, nothing)
                await scheduler.run(until_empty=True)
            assert len(server.requests) == 3
        await scheduler.run(until_empty=True)
        assert sorted(body["data"]["job_id"] for body in told(server)) == sorted(jobs)
        assert len(await deliveries(at)) == 3


async def nothing(mover: Mover) -> bool:
    return False


def mover_of(scheduler: Scheduler) -> Mover:
    made = scheduler._webhooks.mover(scheduler._store_drafts, scheduler.resources)
    assert made is not None
    return made


# -- tries


@in_virtual_time
async def test_a_failing_receiver_is_tried_again_over_hours_under_the_same_id(store: str) -> None:
    clock = LoopClock()
    times: list[float] = []

    def failing(request: Request) -> Reply:
        times.append(clock.now())
        return Reply(500) if len(times) < 8 else FINE

    async with ProviderServer(failing) as server, engine(working(), store, clock=clock, **RARELY, **hooks(server)) as at:
        await at.scheduler.enqueue("work", payload={})
        async with at.running():
            await anyio.sleep(48 * 3_600.0)
        (job,) = await deliveries(at)
        assert (job.status, len(times)) == (Status.COMPLETED, 8)
        waits = [later - earlier for earlier, later in pairwise(times)]
        assert all(wait >= least for wait, least in zip(waits, WAITS_S, strict=True))
        assert all(wait < least + 310.0 for wait, least in zip(waits, WAITS_S, strict=True))
        ids = {request.headers["webhook-id"] for request in server.requests}
        stamps = [int(request.headers["webhook-timestamp"]) for request in server.requests]
        assert (len(ids), len({request.raw for request in server.requests})) == (1, 1)
        assert stamps == sorted(set(stamps))  # each try is signed anew, or its receiver would call it too old


@in_virtual_time
async def test_a_receiver_that_never_answers_well_is_given_up(store: str) -> None:
    async with ProviderServer(Reply(500)) as server, engine(working(), store, **RARELY, **hooks(server)) as at:
        await at.scheduler.enqueue("work", payload={})
        async with at.running():
            await anyio.sleep(72 * 3_600.0)
        (job,) = await deliveries(at)
        assert (job.status, job.reason, job.attempts) == (Status.FAILED_AI, "delivery_failed", 8)
        assert job.error == f"DeliveryError: {server.url}/… answered 500"
        assert len(server.requests) == 8


@in_virtual_time
async def test_a_receiver_that_is_gone_is_told_no_more(store: str) -> None:
    async with ProviderServer(Reply(410)) as server, engine(working(), store, **hooks(server)) as at:
        await at.scheduler.enqueue("work", payload={})
        await at.scheduler.run(until_empty=True)
        (job,) = await deliveries(at)
        assert (job.status, job.reason, job.attempts, len(server.requests)) == (Status.FAILED_AI, "receiver_gone", 1, 1)


@pytest.mark.parametrize(("status", "header", "least"), [(429, "1200", 1_200.0), (503, "600", 600.0), (429, "1", 5.0), (500, "7200", 5.0)])
@in_virtual_time
async def test_retry_after_is_honoured_where_it_means_something(status: int, header: str, least: float) -> None:
    async with ProviderServer(FINE) as server, engine(working(), **hooks(server)) as at:
        server.script(Reply(status, {"retry-after": header}))
        await at.scheduler.enqueue("work", payload={})
        async with at.running():
            await at.until(lambda: len(server.requests) == 2, 3 * 3_600.0)
        first, second = (int(request.headers["webhook-timestamp"]) for request in server.requests)
        assert least - 1.0 <= second - first <= least + 10.0
        assert await at.scheduler.pauses() == []  # one receiver's trouble is not the others'


@in_virtual_time
async def test_a_redirect_is_not_followed_and_said_so(store: str) -> None:
    async with ProviderServer(FINE) as inner, ProviderServer(Reply(302, {"location": inner.url})) as server:
        async with engine(working(), store, **hooks(server)) as at:
            await at.scheduler.enqueue("work", payload={})
            await at.scheduler.run(until_empty=True)  # does not wait for the next try
            (job,) = await deliveries(at)
            assert (job.status, job.reason) == (Status.RETRY_AI, "delivery_failed")
            assert "redirect, which is not followed" in (job.error or "")
        assert inner.requests == []


@in_virtual_time
async def test_receivers_that_hang_or_drip_take_nobodys_slots(store: str) -> None:
    """One slot for work, forty deliveries that hang: work goes on as if they were not there."""
    async with ProviderServer(Hang()) as server:
        server.script(*[Drip(FINE, piece_bytes=1, every_s=1.0)] * 10)
        async with engine(working(), store, scheduler={"concurrency": 1}, **hooks(server)) as at, at.running():
            await at.scheduler.enqueue_many(NewJob("work", "", str(n), {}) for n in range(40))
            await at.until(lambda: len(server.requests) == 16)
            begun = anyio.current_time()
            for n in range(50):
                receipt = await at.scheduler.enqueue("work", "", f"more {n}", {"takes_s": 0.01})
                await at.until_status(receipt.job_id, Status.COMPLETED)
            assert anyio.current_time() - begun < 5.0
            assert len(server.requests) == 16  # and they are bounded among themselves


@in_virtual_time
async def test_a_bounded_slice_starts_no_more_than_it_may_deliveries_included(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, **hooks(server)) as at:
        await at.scheduler.run(until_empty=True)
        await at.scheduler.enqueue_many(NewJob("work", "", str(n), {}) for n in range(4))
        started = len(at.history.of(JobStarted))
        for _ in range(4):
            await at.scheduler.run(max_jobs=2)
            started, before = len(at.history.of(JobStarted)), started
            assert started - before == 2
        assert len(server.requests) == 4


@in_virtual_time
async def test_a_service_without_slots_delivers_nothing(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, scheduler={"concurrency": 0}, **hooks(server)) as at:
        async with at.running():
            await anyio.sleep(5.0)
            await at.scheduler.cancel((await at.scheduler.enqueue("work", payload={})).job_id)
            await anyio.sleep(60.0)
        assert [job.status for job in await deliveries(at)] == [Status.PENDING]
        assert server.requests == []


@in_virtual_time
async def test_of_deliveries_nothing_is_told(store: str) -> None:
    async with ProviderServer(Reply(410)) as server, engine(working(), store, **hooks(server)) as at:
        await at.scheduler.enqueue("work", payload={})
        async with at.running():
            await at.until(lambda: bool(server.requests))
            await anyio.sleep(600.0)
        assert len(server.requests) == 1


@in_virtual_time
async def test_a_command_that_waits_for_its_jobs_does_not_wait_for_who_is_told_of_them(store: str) -> None:
    async with ProviderServer(Reply(500)) as server, engine(working(), store, **hooks(server)) as at:
        tally = Tally(expecting=True)
        tally.follow(at.scheduler.events)
        await at.scheduler.enqueue("work", payload={})
        await at.scheduler.run(until_empty=True)
        assert [job.status for job in await deliveries(at)] == [Status.RETRY_AI]
        assert (tally.open, sum(tally.ends.values())) == ({}, 1)


@in_virtual_time
async def test_a_receiver_that_was_taken_out_ends_its_deliveries(sqlite: str) -> None:
    async with ProviderServer(Reply(500)) as server:
        async with engine(working(), sqlite, **hooks(server)) as at:
            await at.scheduler.enqueue("work", payload={})
            await at.scheduler.run(until_empty=True)
        async with engine(working(), sqlite, webhook=WEBHOOK) as at:
            async with at.running():
                await anyio.sleep(600.0)
            (job,) = await deliveries(at)
            assert (job.status, job.reason) == (Status.FAILED_AI, "webhook_unknown")


@in_virtual_time
async def test_a_large_result_is_left_out(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, **hooks(server)) as at:
        for size in (60_000, 70_000):
            await at.scheduler.enqueue("work", payload={"text": "x" * size})
        await at.scheduler.run(until_empty=True)
        seen = {(body["data"]["result"] is None, body["data"]["result_omitted"]) for body in told(server)}
        assert seen == {(False, False), (True, True)}
        assert max(len(json.dumps(body)) for body in told(server)) < 70_000


# -- the address that a job names


@pytest.mark.parametrize("fails", [False, True])
@in_virtual_time
async def test_a_job_may_name_who_is_told_of_its_end(store: str, fails: bool) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, clock=LoopClock(time.time()), webhook=WEBHOOK) as at:
        receipt = await at.scheduler.enqueue("work", "doc", "1", {"fails": fails}, owner="acme", webhook=server.url + "/mine")
        assert [job.blockers for job in await deliveries(at)] == [1]
        await at.scheduler.run(until_empty=True)
        (request,) = server.requests
        assert Webhook(SECRET).verify(request.raw, request.headers) == request.body
        assert (request.path, request.body["type"]) == ("/mine", "job.failed" if fails else "job.completed")
        data = request.body["data"]
        assert (data["job_id"], data["owner"], data["result"]) == (receipt.job_id, "acme", None if fails else {"fails": False})
        (job,) = await deliveries(at)
        assert (job.status, job.owner, job.target_id) == (Status.COMPLETED, "acme", receipt.job_id)


@pytest.mark.parametrize("unique_key", [None, "k"])
@in_virtual_time
async def test_in_a_transaction_of_ones_own_both_are_stored_or_neither(sqlite: str, unique_key: str | None) -> None:
    async with engine(working(), sqlite, webhook=WEBHOOK) as at:
        with closing(sqlite3.connect(sqlite.removeprefix("sqlite:///"))) as connection:
            for finish, expected in ((connection.rollback, 0), (connection.commit, 2)):
                await at.scheduler.enqueue("work", webhook="https://h.example/", unique_key=unique_key, connection=connection)
                finish()
                assert len(await at.scheduler.jobs()) == expected


@in_virtual_time
async def test_who_enqueues_a_unique_job_again_is_told_of_the_one_that_stands(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, webhook=WEBHOOK) as at:
        first = await at.scheduler.enqueue("work", payload={}, unique_key="k")
        for path in ("/a", "/a", "/b"):
            again = await at.scheduler.enqueue("work", payload={}, unique_key="k", webhook=server.url + path)
            assert (again.job_id, again.created) == (first.job_id, False)
        await at.scheduler.run(until_empty=True)
        assert sorted(request.path for request in server.requests) == ["/a", "/b"]


@in_virtual_time
async def test_a_request_that_is_sent_again_has_one_job_and_one_delivery(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, webhook=WEBHOOK) as at:
        for _ in range(2):
            await at.scheduler.enqueue("work", payload={}, request_key="r", webhook=server.url + "/a")
        with pytest.raises(IdempotencyConflictError):
            await at.scheduler.enqueue("work", payload={}, request_key="r", webhook=server.url + "/b")
        await at.scheduler.run(until_empty=True)
        assert [request.path for request in server.requests] == ["/a"]
        assert len(await deliveries(at)) == 1


@in_virtual_time
async def test_a_job_that_is_deleted_meanwhile_has_nothing_to_tell(store: str) -> None:
    async with ProviderServer(Reply(500)) as server, engine(working(), store, webhook=WEBHOOK, retention={"completed_after_s": 0.0}) as at:
        await at.scheduler.enqueue("work", payload={"n": 1}, webhook=server.url + "/mine")
        await at.scheduler.enqueue("work", payload={"n": 1}, webhook=server.url + "/paused", run_after=1.0)
        await at.scheduler.pause(DELIVER)
        await at.scheduler.run(until_empty=True)
        await anyio.sleep(1.0)
        assert await at.scheduler.prune() == 2
        await at.scheduler.resume(DELIVER)
        await at.scheduler.run(until_empty=True)
        assert [job.result["told"] for job in await deliveries(at)] == [False, False]
        assert server.requests == []


@in_virtual_time
async def test_what_was_to_be_told_is_kept_for_the_next_try_though_the_job_goes(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, webhook=WEBHOOK, retention={"completed_after_s": 0.0}) as at:
        server.script(Reply(500))
        receipt = await at.scheduler.enqueue("work", payload={"n": 1}, webhook=server.url + "/mine")
        await at.scheduler.run(until_empty=True)
        await anyio.sleep(1.0)
        assert await at.scheduler.prune() == 1
        async with at.running():
            await at.until(lambda: len(server.requests) == 2)
        first, second = told(server)
        assert first["data"]["job_id"] == second["data"]["job_id"] == receipt.job_id
        assert (first["data"]["result"], second["data"]["result"]) == ({"n": 1}, None)


@in_virtual_time
async def test_a_follow_up_and_bulk_take_no_webhook_and_deliveries_are_nobodys_to_make(store: str) -> None:
    url = "https://hooks.example/"
    async with engine(working(), store, webhook=WEBHOOK) as at:
        with pytest.raises(InvalidJobError, match=r"configure \[webhooks.NAME\]"):
            await at.scheduler.enqueue_many([NewJob("work", webhook=url)])
        forged = {"url": url, "job_id": "1"}
        with pytest.raises(InvalidJobError, match="made by the scheduler"):
            await at.scheduler.enqueue(DELIVER, "webhook", "crm", forged)
        with pytest.raises(InvalidJobError, match="made by the scheduler"):
            await at.scheduler.enqueue_many([NewJob(DELIVER, "webhook", "crm", forged)])
        assert await at.scheduler.jobs() == []


@pytest.mark.parametrize(
    ("webhook", "url", "said"),
    [
        ({}, "https://hooks.example/", "secret_env"),
        (WEBHOOK, "http://8.8.8.8/", "use https"),
        (WEBHOOK, "https://10.0.0.1/", "private"),
        (WEBHOOK, "https://u:p@hooks.example/", "password"),
        (WEBHOOK, "ftp://hooks.example/", "must be https"),
        ({"secret_env": "HOOK_SECRET"}, "http://127.0.0.1/", "must be https"),
        (WEBHOOK, 7, "must be a URL"),
    ],
)
@in_virtual_time
async def test_an_address_that_may_not_be_told_is_refused_and_nothing_is_stored(webhook: dict[str, Any], url: Any, said: str) -> None:
    async with engine(working(), webhook=webhook) as at:
        for key in (None, "k"):
            with pytest.raises(InvalidJobError, match=said):
                await at.scheduler.enqueue("work", webhook=url, unique_key=key)
        assert await at.scheduler.jobs() == []


@in_virtual_time
async def test_an_owner_at_its_limit_gets_neither_the_job_nor_its_webhook(store: str) -> None:
    async with engine(working(), store, webhook=WEBHOOK, owners={"acme": {"max_unfinished": 2}}) as at:
        await at.scheduler.enqueue("work", payload={}, owner="acme", webhook="https://hooks.example/")
        with pytest.raises(InvalidJobError, match="as many as it may"):
            await at.scheduler.enqueue("work", payload={}, owner="acme", webhook="https://hooks.example/")
        assert len(await at.scheduler.jobs()) == 2


@in_virtual_time
async def test_a_name_that_leads_inside_is_found_out_when_it_is_looked_up(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, webhook={"secret_env": "HOOK_SECRET"}) as at:
        await at.scheduler.enqueue("work", payload={}, webhook=f"https://localhost:{server.port}/")
        await at.scheduler.run(until_empty=True)
        (job,) = await deliveries(at)
        assert (job.status, job.reason, job.attempts) == (Status.FAILED_AI, "address_refused", 1)
        assert "loopback" in (job.error or "")
        assert server.requests == []


# -- the start


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"webhook": {"secret_env": "NO_SUCH_VARIABLE"}}, "set the environment variable NO_SUCH_VARIABLE"),
        ({"webhook": {"secret_env": "BAD_SECRET"}}, "BAD_SECRET holds no signing secret"),
        ({"webhooks": {"a": {"url": "https://hooks.example/"}}}, r"\[webhooks.a\]: name the environment variable"),
        ({"webhook": WEBHOOK, "webhooks": {"a": {"url": "http://hooks.example:x/"}}}, r"\[webhooks.a\] url: it is no URL"),
        ({"webhook": WEBHOOK, "webhooks": {"a": {"url": "https://10.0.0.1/"}}}, r"\[webhooks.a\] url: .* private"),
        (
            {"webhook": WEBHOOK, "webhooks": {"a": {"url": "http://127.0.0.1/", "allow_networks": []}}},
            r"\[webhooks.a\] url: .* must be https",
        ),
        ({"webhook": {**WEBHOOK, "allow_networks": ["10.0.0.1/8"]}}, r"\[webhook\] allow_networks: .* write one as"),
        ({"webhook": WEBHOOK, "webhooks": {"a": {"url": "https://h.example/", "secret_env": "NO_SUCH"}}}, r"variable NO_SUCH"),
    ],
)
@in_virtual_time
async def test_what_would_keep_webhooks_from_being_sent_is_said_at_the_start(tables: dict[str, Any], said: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAD_SECRET", "whsec_short")
        async with engine(working(), **tables) as at:
            with pytest.raises(ConfigError, match=said):
                await at.scheduler.run(until_empty=True)


def test_a_wrong_setting_is_named_with_its_meaning() -> None:
    with pytest.raises(ConfigError, match=r"\[webhooks.a\] statuses .* Tell when a job comes to one of these"):
        load({"webhooks": {"a": {"url": "https://h.example/", "statuses": ["done"]}}})
    with pytest.raises(ConfigError, match=r"\[webhooks.a\] url .* Where to send"):
        load({"webhooks": {"a": {}}})


@in_virtual_time
async def test_without_webhooks_there_is_no_such_handler_and_nothing_is_kept(store: str) -> None:
    async with engine(working(), store) as at:
        await at.scheduler.enqueue("work", payload={})
        await at.scheduler.run(until_empty=True)
        assert DELIVER not in at.scheduler.routes.task_types()
        assert await at.scheduler.store.shared() == {}


@in_virtual_time
async def test_the_cursor_is_no_pool(store: str) -> None:
    async with ProviderServer(FINE) as server, engine(working(), store, **hooks(server)) as at:
        await at.scheduler.run(until_empty=True)
        assert DOCUMENT in await at.scheduler.store.shared()
        assert await at.scheduler.pools() == []
