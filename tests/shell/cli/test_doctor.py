"""``doctor``: finds what is wrong, says what to do, changes nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.shell.cli.command import call, started
from tests.support.postgres_server import a_server, with_schema


def examined(*words: str, code: int = 0) -> dict[str, list[tuple[str, str]]]:
    """The results and sentences of each check."""
    said: dict[str, Any] = call("doctor", "--json", *words, code=code).json
    assert said["ok"] == (code == 0)
    found: dict[str, list[tuple[str, str]]] = {}
    for check in said["checks"]:
        found.setdefault(check["check"], []).append((check["result"], check["told"]))
    return found


def test_a_fresh_folder_is_in_order_and_stays_as_it_was(here: Path) -> None:
    found = examined()
    assert {result for findings in found.values() for result, _ in findings} == {"ok"}
    assert "does not exist yet" in found["store"][0][1]
    assert sorted(path.name for path in here.iterdir()) == ["config.toml"]


def test_a_store_in_use_is_sound_and_its_owners_only() -> None:
    call("enqueue", "good")
    found = examined()
    assert found["store"] == [("ok", "sqlite:///jobs.db is sound; 1 unfinished job")]
    assert found["permissions"] == [("ok", "jobs.db is its owner's only")]


def test_a_file_that_others_can_read_is_a_warning_with_its_cure(here: Path) -> None:
    call("jobs")
    (here / "jobs.db").chmod(0o644)
    ((result, told),) = examined()["permissions"]
    assert result == "warn"
    assert "chmod 600 jobs.db" in told


def test_a_damaged_store_fails(here: Path) -> None:
    for number in range(20):
        call("enqueue", "good", "", str(number)) if number < 2 else None
    with sqlite3.connect(here / "jobs.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray((here / "jobs.db").read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    (here / "jobs.db").write_bytes(data)
    ((result, told),) = examined(code=2)["store"]
    assert result == "fail"
    assert "is damaged" in told


@pytest.mark.parametrize(
    ("words", "check", "why"),
    [
        (["--config", "nowhere.toml"], "config", "no such file"),
        (["--set", "scheduler.concurrency=x"], "config", "concurrency"),
        (["--store", "sqlite:///nowhere/jobs.db"], "store", "create it"),
        (["--store", "ftp://x"], "store", "use sqlite:///FILE"),
        (["--set", "handlers.modules=['nowhere']"], "handlers", "cannot be imported"),
        (["--set", "handlers.modules=['handlers.enrichment']", "--set", "provider.kind=openai"], "provider", "OPENAI_API_KEY"),
        (["--set", "log.path=/proc/nowhere/x.log"], "log", "cannot be written"),
    ],
)
def test_what_is_wrong_fails_with_what_to_do(words: list[str], check: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ((result, told),) = examined(*words, code=2)[check]
    assert result == "fail"
    assert why in told


def test_the_provider_is_made_but_not_asked() -> None:
    found = examined("--set", "handlers.modules=['handlers.enrichment']")
    ((result, told),) = found["provider"]
    assert result == "ok"
    assert told.startswith("local:")


def test_jobs_without_a_handler_pauses_and_lost_workers_are_warnings(here: Path) -> None:
    call("enqueue", "unheard-of")
    call("enqueue", "waiting", "--payload", '{"started": "started"}')
    call("pause", "good")
    service = started("serve", "--set", "scheduler.unknown_routes=leave")
    while not (here / "started").exists():
        assert service.poll() is None
    assert "1 worker running" in examined()["workers"][0][1]
    service.kill()
    service.communicate(timeout=30)
    found = examined()
    assert found["routes"][0][0] == "warn"
    assert "'unheard-of'" in found["routes"][0][1]
    assert found["pauses"] == [("warn", "good (manual, without end left). See `scheduler pauses`; lift one with `scheduler resume SCOPE`")]
    assert found["workers"][0][0] == "warn"
    assert "died; 1 job under way" in found["workers"][0][1]


def test_a_postgresql_server_is_looked_at_and_left_as_it_was() -> None:
    with a_server() as server:
        url = with_schema(server, "doctors")
        for _ in range(2):
            assert "is not made yet" in examined("--store", url)["store"][0][1]
        call("enqueue", "good", "--store", url)
        assert "1 unfinished job" in examined("--store", url)["store"][0][1]


def test_people_get_a_table() -> None:
    assert call("doctor").lines[0].split() == ["check", "result", "finding"]
