"""``webhook`` over HTTP: told in the end, refused at the door, not for jobs in bulk."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from scheduler import JobContext, Registry
from tests.support.provider_server import ProviderServer, Reply
from tests.support.served_app import served

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
CONFIG = {"webhook": {"secret_env": "HOOK_SECRET", "allow_networks": ["127.0.0.0/8"]}}

routes = Registry()


@routes.handler("work")
async def work(job: JobContext, payload: Any) -> Any:
    return {"echo": payload}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


async def test_a_job_that_is_enqueued_over_http_may_name_who_is_told() -> None:
    async with ProviderServer(Reply(204)) as receiver, served(CONFIG, routes, run=True) as face:
        job_id = await face.put(payload={"n": 1}, webhook=receiver.url + "/done")
        (delivery,) = (await face.client.get("/api/jobs", params={"task_type": "deliver_webhook"})).json()["jobs"]
        await face.client.get(f"/api/jobs/{delivery['job_id']}", params={"wait": 20})
        (request,) = receiver.requests
        assert Webhook(SECRET).verify(request.raw, request.headers)["data"]["job_id"] == job_id


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"webhook": "https://10.0.0.1/"}, "private"),
        ({"webhook": "ftp://hooks.example/"}, "body.webhook"),
        ({"webhook": "https://user:pass@hooks.example/"}, "password"),
        ({"task_type": "deliver_webhook"}, "made by the scheduler"),
        ({"webhook": ""}, ""),
        ({"webhook": 7}, ""),
    ],
)
async def test_what_may_not_be_told_is_refused_and_nothing_is_stored(body: dict[str, Any], said: str) -> None:
    async with served(CONFIG, routes) as face:
        answer = await face.client.post("/api/jobs", json={"task_type": "work", **body})
        assert answer.status_code == 422
        assert said in answer.text
        assert (await face.client.get("/api/jobs")).json()["jobs"] == []


async def test_in_bulk_a_webhook_costs_its_own_line() -> None:
    lines = [{"task_type": "work"}, {"task_type": "work", "webhook": "https://hooks.example/"}, {"task_type": "work"}]
    async with served(CONFIG, routes) as face:
        body = "\n".join(json.dumps(line) for line in lines)
        answer = await face.client.post("/api/jobs/bulk", content=body, headers={"content-type": "application/x-ndjson"})
        told = answer.json()
        assert (told["created"], told["refused"], [error["line"] for error in told["errors"]]) == (2, 1, [2])
        assert "webhook" in told["errors"][0]["detail"]
