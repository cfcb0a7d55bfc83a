"""Workspace syncs through the real engine, against a real server on the loopback and folders on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from handlers.records import Records
from handlers.sync import SYNC, routes, sync_job
from scheduler import Job, Status
from tests.support.crm import Crm, limited
from tests.support.engine import Engine, engine
from tests.support.provider_server import Disconnect, ProviderServer, Reply
from tests.support.virtual_time import in_virtual_time


async def synced(at: Engine, path: Path, *sources: dict[str, Any], **more: Any) -> Job:
    job = sync_job("acme", sources, records=str(path / "records.db"), **more)
    receipt = await at.scheduler.enqueue(job.task_type, job.target_type, job.target_id, job.payload, unique_key=job.unique_key)
    await at.scheduler.run(until_empty=True)
    return await at.job(receipt.job_id)


def kept(path: Path) -> dict[tuple[str, str], Any]:
    records = Records(path / "records.db")
    found = records.all("acme")
    records.close()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "export"
    made.mkdir()
    (made / "a.csv").write_text("ID,Name\n1,Ada\n2,Bob\n,nobody\n", encoding="utf-8")
    (made / "b.json").write_text(json.dumps([{"id": 3, "name": "Cleo"}]), encoding="utf-8")
    (made / "notes.txt").write_text("no records", encoding="utf-8")
    return made


@in_virtual_time
async def test_the_first_sync_brings_everything_page_by_page(store: str, tmp_path: Path) -> None:
    crm = Crm(35)
    async with ProviderServer() as server, engine(routes, store) as at:
        job = await synced(at, tmp_path, crm.serve(server))
    assert job.status is Status.COMPLETED
    (result,) = job.result["results"]
    assert (result["mode"], result["records"], result["new"], result["pages"]) == ("initial", 35, 35, 4)
    assert (job.result["totalRecords"], job.result["errors"]) == (35, [])
    assert [asked.get("after") for asked in crm.asked] == [None, "10", "20", "30"]
    assert {key for _, key in kept(tmp_path)} == set(crm.records)
    assert job.progress is not None
    assert (job.progress.percent, job.progress.message) == (100.0, "crm: 35 of 35 records (page 4)")


@in_virtual_time
async def test_a_later_sync_asks_only_for_what_changed(tmp_path: Path) -> None:
    crm = Crm(35)
    async with ProviderServer() as server, engine(routes) as at:
        source = crm.serve(server)
        await synced(at, tmp_path, source)
        crm.change("c003", name="Renamed", at="2026-02-01T00:00:00Z")
        crm.change("new", name="New", at="2026-02-02T00:00:00Z")
        crm.asked.clear()
        job = await synced(at, tmp_path, source)
        (result,) = job.result["results"]
        assert (result["mode"], result["records"], result["new"], result["changed"]) == ("incremental", 2, 1, 1)
        assert [asked["since"] for asked in crm.asked] == ["2026-01-01T00:00:34Z"]
        assert kept(tmp_path)["crm", "c003"]["name"] == "Renamed"
        crm.asked.clear()
        assert (await synced(at, tmp_path, source)).result["totalRecords"] == 0
        assert crm.asked == [{"since": "2026-02-02T00:00:00Z"}]


@in_virtual_time
async def test_an_initial_sync_forgets_what_is_gone(tmp_path: Path) -> None:
    crm = Crm(12)
    async with ProviderServer() as server, engine(routes) as at:
        source = crm.serve(server)
        await synced(at, tmp_path, source)
        del crm.records["c005"]
        job = await synced(at, tmp_path, source, mode="initial")
    (result,) = job.result["results"]
    assert (result["gone"], result["unchanged"]) == (1, 11)
    assert ("crm", "c005") not in kept(tmp_path)


@in_virtual_time
async def test_a_429_puts_the_job_off_as_long_as_the_server_says_and_the_page_is_asked_for_again(store: str, tmp_path: Path) -> None:
    crm = Crm(35)
    crm.trouble.append((3, limited(45)))
    async with ProviderServer() as server, engine(routes, store) as at:
        job = await synced(at, tmp_path, crm.serve(server))
        assert at.history.names(job.job_id).count("job.rate_limited") == 1
        (paused,) = (event for event in at.history.events if event.name == "lane.paused")
        assert paused.fields()["paused_s"] >= 45
    assert (job.status, job.attempts) == (Status.COMPLETED, 1)
    assert [asked.get("after") for asked in crm.asked] == [None, "10", "20", "20", "30"]
    assert job.result["results"][0]["records"] == 35


@pytest.mark.parametrize(
    "step",
    [Reply(503, body={"error": "busy"}), Reply(500, body="oops"), Reply(200, body="<html>no JSON</html>")],
    ids=["503", "500", "html"],
)
@in_virtual_time
async def test_a_server_in_trouble_is_asked_again_from_the_same_page(step: Reply, tmp_path: Path) -> None:
    crm = Crm(35)
    crm.trouble.append((2, step))
    async with ProviderServer() as server, engine(routes) as at:
        job = await synced(at, tmp_path, crm.serve(server))
    assert job.status is Status.COMPLETED
    assert [asked.get("after") for asked in crm.asked] == [None, "10", "10", "20", "30"]


@in_virtual_time
async def test_a_connection_that_breaks_is_made_again(tmp_path: Path) -> None:
    crm = Crm(5)
    async with ProviderServer() as server, engine(routes) as at:
        server.script(Disconnect(Reply(), 0))
        job = await synced(at, tmp_path, crm.serve(server))
    assert (job.status, job.result["totalRecords"]) == (Status.COMPLETED, 5)


@in_virtual_time
async def test_a_connector_that_refuses_is_told_and_the_others_do_their_work(folder: Path, tmp_path: Path) -> None:
    crm = Crm(5)
    crm.token = "of somebody else"
    async with ProviderServer() as server, engine(routes) as at:
        job = await synced(at, tmp_path, crm.serve(server), {"kind": "folder", "name": "files", "path": str(folder)})
    assert job.status is Status.COMPLETED
    assert job.result["totalRecords"] == 3
    refused, nameless = job.result["errors"]
    assert refused.startswith("crm: ")
    assert nameless == "files: page 1: 1 records without 'id'"


@in_virtual_time
async def test_when_every_connector_refuses_the_job_fails_with_the_reason(tmp_path: Path) -> None:
    crm = Crm(5)
    crm.token = "of somebody else"
    async with ProviderServer() as server, engine(routes) as at:
        job = await synced(at, tmp_path, crm.serve(server))
    assert (job.status, job.reason) == (Status.FAILED_AI, "auth")


@in_virtual_time
async def test_the_token_is_sent_to_its_server_and_to_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_TOKEN", "secret")
    crm = Crm(5)
    crm.token = "secret"
    async with ProviderServer() as server, ProviderServer() as thief, engine(routes) as at:
        source = crm.serve(server) | {"token_env": "CRM_TOKEN"}
        assert (await synced(at, tmp_path, source)).result["totalRecords"] == 5
        crm.trouble.append((1, Reply(body={"results": [], "paging": {"next": {"after": f"{thief.url}/contacts"}}})))
        job = await synced(at, tmp_path, source)
        assert "leads to another server" in (job.error or "")
        assert thief.requests == []


@in_virtual_time
async def test_a_folder_is_read_file_by_file_and_later_only_what_changed(folder: Path, tmp_path: Path) -> None:
    source = {"kind": "folder", "name": "files", "path": str(folder)}
    async with engine(routes) as at:
        job = await synced(at, tmp_path, source)
        (result,) = job.result["results"]
        assert (result["records"], result["pages"]) == (3, 2)
        assert kept(tmp_path)["files", "3"] == {"id": "3", "name": "Cleo"}
        assert (await synced(at, tmp_path, source)).result["totalRecords"] == 0
        (folder / "b.json").write_text(json.dumps([{"id": 3, "name": "Cleopatra"}]), encoding="utf-8")
        job = await synced(at, tmp_path, source)
        (result,) = job.result["results"]
        assert (result["records"], result["changed"], result["pages"]) == (1, 1, 1)
        assert (await synced(at, tmp_path, source)).result["totalRecords"] == 0


@in_virtual_time
async def test_a_workspace_is_synced_once_at_a_time(tmp_path: Path) -> None:
    job = sync_job("acme", [{"kind": "folder", "name": "files", "path": str(tmp_path)}])
    async with engine(routes) as at:
        receipts = await at.scheduler.enqueue_many(iter([job, job, sync_job("other", job.payload["sources"])]))
    assert [receipt.created for receipt in receipts] == [True, False, True]
    assert receipts[0].job_id == receipts[1].job_id


@pytest.mark.parametrize(
    "payload",
    [
        {"workspace": "", "sources": [{"kind": "folder", "name": "a", "path": "x"}]},
        {"workspace": "w", "sources": []},
        {"workspace": "w", "sources": [{"kind": "ftp", "name": "a"}]},
        {"workspace": "w", "sources": [{"kind": "folder", "name": "a", "path": "x"}] * 2},
        {"workspace": "w", "sources": [{"kind": "folder", "name": "a", "path": "x"}], "connector": "b"},
    ],
    ids=["no workspace", "no sources", "unknown kind", "one name twice", "unknown connector"],
)
@in_virtual_time
async def test_a_payload_that_makes_no_sense_is_refused(payload: dict[str, Any]) -> None:
    async with engine(routes) as at:
        receipt = await at.scheduler.enqueue(SYNC, "workspace", "w", payload)
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert job.status is Status.FAILED_PAYLOAD_PARSING
