"""Webhooks on PostgreSQL, in real time: two services, one journal, every end told once."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator

import pytest

from scheduler import NewJob, Registry
from scheduler.clock import SystemClock
from tests.flow.test_engine_postgres import noting
from tests.support.engine import engine, in_real_time
from tests.support.postgres_server import a_schema, a_server, with_schema
from tests.support.provider_server import ProviderServer, Reply


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with a_server() as url:
        yield url


def routes() -> Registry:
    return noting([])


@in_real_time
async def both_ways(url: str) -> None:
    async with ProviderServer(Reply(204)) as receiver:
        tables = {
            "webhook": {"secret_env": "HOOK_SECRET", "allow_networks": ["127.0.0.0/8"]},
            "webhooks": {"crm": {"url": receiver.url + "/crm"}},
        }
        async with (
            engine(routes(), url, clock=SystemClock(), **tables) as one,
            engine(routes(), url, clock=SystemClock(), **tables) as two,
        ):
            one.alone = two.alone = False
            async with one.running(), two.running():
                many = await one.scheduler.enqueue_many(NewJob("work", "", str(n)) for n in range(300))
                own = await two.scheduler.enqueue("work", "", "own", webhook=receiver.url + "/own", owner="acme")
                await one.until(lambda: len(receiver.requests) >= 302, 60.0)
            told = Counter((request.path, request.body["data"]["job_id"]) for request in receiver.requests)
            assert told == Counter({**{("/crm", receipt.job_id): 1 for receipt in [*many, own]}, ("/own", own.job_id): 1})
            (delivery,) = await one.scheduler.jobs(task_type="deliver_webhook", owner="acme")
            assert delivery.target_id == own.job_id


def test_two_services_tell_every_end_once(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + base64.b64encode(b"s" * 32).decode())
    both_ways(with_schema(server, a_schema("hooks")))
