"""``pools``: what a person sees of provider quotas, and what ``doctor`` and ``pauses`` make of them.

The documents are made as services make them: by a service, or by the same exchange with the store.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from scheduler.clock import SystemClock
from scheduler.pools.messages import Cost, Limits, Rejected, Report, Used
from scheduler.pools.quota import Quota, quota_from
from scheduler.pools.quotas import Dimension, Reading
from scheduler.pools.rejection import Kind, Rejection
from scheduler.stores import open_store
from tests.shell.cli.command import call, on_terminal, started

COST = Cost(300.0, 200.0)
RPM = "x-ratelimit-limit-requests"
#: What a terminal acts on, what rich takes for markup, and what a shell takes apart.
HOSTILE = "\x1b[31m[red]x[/red]\x9b2J\n\u202eevil'"


def share(pool: str, report: Report, limits: Limits | None = None) -> None:
    """One exchange of a worker with the pool's document, in the store of this folder."""
    now = SystemClock.now()

    def step(document: str | None) -> tuple[str, None]:
        quota: Quota = quota_from(document)
        quota.exchange(report, limits or Limits(), now, Random(1))
        return quota.to_json(), None

    async def change() -> None:
        store = open_store("sqlite:///jobs.db")
        await store.open()
        try:
            await store.share(pool, step, now)
        finally:
            await store.close()

    anyio.run(change)


def a_busy_pool(pool: str = "main") -> None:
    now = SystemClock.now()
    reading = Reading(Dimension.REQUESTS, 600.0, 590.0, None, 60.0, 0.0, RPM)
    share(pool, Report("worker-1", waiting=40, flying=12, heard=[(now - 1.0, reading)], used=[Used("good", COST, None, COST)]))
    share(pool, Report("worker-2", waiting=2, flying=3))


def a_rejected_pool(pool: str, kind: Kind, retry_after_s: float) -> None:
    share(pool, Report("w", rejections=[Rejected(SystemClock.now() - 0.5, Rejection(kind, retry_after_s, (), None, None), COST)]))


def rows(text: str) -> dict[str, str]:
    """Lines by what they begin with."""
    return {line.split(":")[0].split("  ")[0].strip(): line for line in text.splitlines() if line.strip()}


def shown(*words: str) -> dict[str, Any]:
    return {pool["name"]: pool for pool in call("pools", "--json", *words).json}


def test_pools_that_handlers_name_show_before_anybody_called() -> None:
    found = shown()
    assert {name: pool["task_types"] for name, pool in found.items()} == {"main": ["good"], "provider": ["limited"], "unsteady": ["down"]}
    assert found["main"]["began_at"] is None
    assert "main: nothing is known of its limits yet: it begins with 2.0 calls a second; no call yet" in call("pools").lines


def test_a_busy_pool_shows_pace_limit_and_traffic_of_all_workers() -> None:
    a_busy_pool()
    said = call("pools").out
    assert rows(said)["main"] == f"main: paced at 598 calls a minute by {RPM}; 15 in flight, 42 waiting"
    assert said.splitlines()[1].split() == ["main", "open", "598", RPM, "0", "15", "42", "2"]
    found = shown()["main"]
    assert (found["state"], found["limited_by"], found["in_flight"], found["waiting"]) == ("open", RPM, 15, 42)
    assert [worker["worker"] for worker in found["workers"]] == ["worker-1", "worker-2"]
    (limit,) = found["limits"]
    assert (limit["limit"], limit["remaining"], limit["binds"]) == (600.0, 590.0, True)


def test_one_pool_shows_in_detail_by_its_name_or_its_scope(here: Path) -> None:
    with (here / "config.toml").open("a") as file:
        file.write("[pools.main]\nrequests_per_minute = 300\nrequests_per_day = 5000\nmax_in_flight = 20\n")
    a_busy_pool()
    said = call("pools", "main")
    assert call("pools", "pool:main").lines[0] == said.lines[0]
    found = rows(said.out)
    assert found["task types"].split()[-1] == "good"
    assert found["pace"].endswith("299 calls a minute, by requests_per_minute")
    assert found["in flight"].endswith("15 of 20 (as configured)")
    assert found["a call uses"].endswith("300 tokens in, 200 out on average (1 call measured)")
    limits = [line.split() for line in said.lines if "requests/" in line]
    assert limits[0] == ["configured", "300", "requests/min", "0", "299", "binds"]
    assert limits[1] == ["configured", "5,000", "requests/day", "today", "0", "counted"]
    assert limits[2][:5] == [RPM, "600", "requests/min", "0", "590"]
    assert found["worker-2"].split()[:3] == ["worker-2", "3", "2"]
    assert call("pools", "main", "--json").json["name"] == "main"


def test_what_a_service_learned_shows_after_it_ended() -> None:
    call("enqueue", "limited")
    service = started("serve")
    while not call("pauses", "--json").json:
        assert service.poll() is None
    service.terminate()
    service.communicate(timeout=30)
    found = shown()["provider"]
    assert (found["state"], found["pause"]["reason"], found["pause"]["task_types"]) == ("held", "rate_limited", ["limited"])
    assert rows(call("pools").out)["provider"].startswith("provider: held until ")


def test_a_held_pool_says_why_until_when_and_what_to_do() -> None:
    a_rejected_pool("main", "quota", 3_600.0)
    call("pause", "pool:provider")
    said = call("pools").out
    assert rows(said)["main"].startswith("main: held until ")
    assert rows(said)["main"].endswith(": quota_exhausted; `scheduler resume pool:main` tries again")
    assert rows(said)["provider"] == "provider: paused by hand; `scheduler resume pool:provider` opens it"
    detail = rows(call("pools", "main").out)
    assert detail["held"].split()[1:3] == ["quota_exhausted;", "until"]
    assert "1 in all; last" in detail["rejected"]
    assert rows(call("pools", "provider").out)["paused"].endswith("manual; until resumed by hand")
    call("resume", "pool:main")
    assert shown()["main"]["state"] == "open"


def test_an_unknown_pool_is_wrong_use_and_the_known_ones_are_named() -> None:
    said = call("pools", "mian", code=2)
    assert said.err == "scheduler: there is no pool 'mian'; there are 'main', 'provider', 'unsteady'\n"


def test_no_pool_at_all_is_told_with_how_to_get_one(here: Path) -> None:
    nothing = ("--set", "handlers.modules=[]")
    said = call("pools", *nothing).out
    assert said.startswith("no pools. A pool is one provider quota")
    assert '@routes.handler("my_task", pool="main")' in said
    assert call("pools", "--json", *nothing).json == []
    assert "nor any other" in call("pools", "main", *nothing, code=2).err


def test_pools_show_also_when_no_handler_loads() -> None:
    a_busy_pool("stored")
    said = call("pools", "--json", "--set", "handlers.modules=['nowhere']")
    assert [pool["name"] for pool in said.json] == ["stored"]
    assert "'nowhere' cannot be imported" in said.err


@pytest.mark.parametrize("width", [80, 100])
def test_on_a_terminal_it_fits_the_width(width: int) -> None:
    a_busy_pool()
    a_rejected_pool("provider", "rate", 600.0)
    for words in (["pools"], ["pools", "main"]):
        said = on_terminal(words, width)
        assert said.code == 0
        assert "598" in said.plain
        assert max(map(len, said.plain.splitlines())) <= width


def test_hostile_names_are_shown_and_do_nothing(here: Path) -> None:
    a_busy_pool(HOSTILE)
    a_rejected_pool("[bold]b", "quota", 60.0)
    with (here / "config.toml").open("a") as file:
        file.write(f"[task_types.odd]\npool = {json.dumps(HOSTILE)}\n[pools.'[blink]c']\n")
    for words in (["pools"], ["pools", HOSTILE], ["pools", "[bold]b"], ["pools", "[nowhere]\x1b[31m"], ["doctor"]):
        piped = call(*words, code=2 if "nowhere" in words[-1] else 0)
        drawn = on_terminal(words, 100).plain
        for text in (piped.out + piped.err, drawn):
            assert not set(text) & set("\x1b\x9b\u202e"), words
    listed = call("pools").out
    assert r"\x1b[31m[red]x[/red]\x9b2J" in listed
    assert "resume 'pool:[bold]b'" in listed
    assert "[blink]c" in listed
    assert shown()[HOSTILE]["task_types"] == ["odd"]


def test_doctor_warns_of_a_pool_that_is_out_of_quota() -> None:
    a_rejected_pool("main", "quota", 3_600.0)
    a_rejected_pool("provider", "rate", 3_600.0)
    ((result, told),) = pools_of_doctor()
    assert result == "warn"
    assert told.startswith("main: held until ")
    assert "`scheduler resume pool:main` tries again. Look at the account's billing" in told


def test_doctor_warns_of_an_outage() -> None:
    for number in range(3):
        call("enqueue", "down", "", str(number))
    service = started("serve", "--set", "scheduler.backoff_base_s=0.1")
    while [pause["reason"] for pause in call("pauses", "--json").json] != ["outage"]:
        assert service.poll() is None
    service.terminate()
    service.communicate(timeout=30)
    ((result, told),) = pools_of_doctor()
    assert result == "warn"
    assert told.startswith("unsteady: ")
    assert ": outage" in told
    assert "Look at the provider's status page" in told


def test_doctor_warns_of_limits_that_bind_nobody(here: Path) -> None:
    with (here / "config.toml").open("a") as file:
        file.write("[pools.mian]\nrequests_per_minute = 60\n[pools.main]\n[pools.own]\n[task_types.bad]\npool = 'own'\n")
    call("jobs")
    (unused, rest) = pools_of_doctor()
    assert unused[0] == "warn"
    assert unused[1].startswith("[pools.mian] binds nothing: no handler or task type names it (they name: main, own, provider, unsteady)")
    assert rest == ("ok", "none is out of quota or in an outage; see `scheduler pools`")


def pools_of_doctor() -> list[tuple[str, str]]:
    return [(one["result"], one["told"]) for one in call("doctor", "--json").json["checks"] if one["check"] == "pools"]
