"""The workers for people."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scheduler.cli.app import app
from scheduler.identity import this_worker
from scheduler.roster import roster
from scheduler.stores.base import Store, Want
from scheduler.stores.memory import MemoryStore
from scheduler.stores.sqlite import SqliteStore
from tests.support.jobs import T0, a_draft

HERE = replace(this_worker(T0, 35.0), worker_id="here")
GONE = replace(HERE, worker_id="gone", pid_started=-1.0)
AWAY = replace(HERE, worker_id="away", host="elsewhere", started_at=T0 + 1, beat_at=T0 + 1)


async def fill(store: Store) -> None:
    for worker in (HERE, GONE, AWAY):
        (await store.register(worker)).close()
    await store.enqueue([a_draft() for _ in range(5)], T0)
    await store.claim([Want("lane", 3, ("lane",))], "gone", T0)
    await store.claim([Want("lane", 1, ("lane",))], "away", T0)


@pytest.mark.parametrize(("later_s", "away_lives"), [(36.0, True), (36.1, False)])
async def test_who_lives_and_what_each_runs(later_s: float, away_lives: bool) -> None:
    store = MemoryStore()
    await fill(store)
    listed = {one.worker.worker_id: one for one in await roster(store, T0 + later_s)}
    assert {name: (one.lives, one.running) for name, one in listed.items()} == {
        "here": (True, 0),
        "gone": (False, 3),
        "away": (away_lives, 1),
    }
    assert listed["away"].silent_s == pytest.approx(later_s - 1)


async def _a_file(path: Path) -> str:
    store = SqliteStore(path)
    await store.open()
    await fill(store)
    await store.close()
    return f"sqlite:///{path}"


async def test_the_command_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = await _a_file(tmp_path / "jobs.db")

    def run(*arguments: str) -> str:
        return CliRunner().invoke(app, ["workers", "--store", url, *arguments]).stdout

    shown = json.loads(await asyncio.to_thread(run, "--json"))
    assert {one["worker"]: (one["state"], one["running"], one["host"]) for one in shown} == {
        "here": ("living", 0, HERE.host),
        "gone": ("lost", 3, HERE.host),
        "away": ("lost", 1, "elsewhere"),
    }
    table = await asyncio.to_thread(run)
    assert [line.split()[:3] for line in table.splitlines()] == [
        ["worker", "state", "running"],
        ["gone", "lost", "3"],
        ["here", "living", "0"],
        ["away", "lost", "1"],
    ]
