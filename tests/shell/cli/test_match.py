"""``match``: items and a catalogue in, matches out."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from handlers.tables import read_table
from tests.shell.cli.command import call, on_terminal, run, started
from tests.support.shop import shop

CONFIG = '[scheduler]\nstore = "sqlite:///jobs.db"\ndrain_grace_s = 0\n'
SHOP = shop(60)


@pytest.fixture(autouse=True)
def files(here: Path) -> None:
    (here / "config.toml").write_text(CONFIG, encoding="utf-8")
    SHOP.write(here / "shop")


def test_items_are_matched_and_written() -> None:
    said = call("match", "shop/items.csv", "shop/catalogue.csv", "--pages", "shop/pages", "--out", "out.csv", "--json").json
    assert (said["jobs"], said["reasons"]) == ({"completed": 1}, {})
    ways = Counter(SHOP.ways.values())
    (result,) = (one["result"] for one in said["results"])
    assert result["matches"] == 60 - ways["unknown"]
    lines = read_table("out.csv")
    assert {line["item"]: line["match"] or None for line in lines} == SHOP.truth


def test_people_see_how_much_was_matched_and_how() -> None:
    said = on_terminal(["match", "shop/items.csv", "shop/catalogue.csv", "--rules-only"], 120)
    assert said.code == 0
    for part in ("items matched (", "How", "exact", "fuzzy", "For example"):
        assert part in said.plain, part


def test_standard_output_holds_nothing_but_the_answer() -> None:
    said = run("match", "shop/items.csv", "shop/catalogue.csv", "--json")
    assert said.out.count("\n") == 1
    assert all(line.startswith("Matching: ") for line in said.err.splitlines()), said.err


def test_a_file_that_is_not_there_changes_nothing(here: Path) -> None:
    assert "nowhere.csv: no such file" in run("match", "nowhere.csv", "shop/catalogue.csv", code=2).err
    assert not (here / "jobs.db").exists()


def test_without_its_handlers_there_is_nothing_to_run() -> None:
    said = call("match", "shop/items.csv", "shop/catalogue.csv", "--set", "handlers.modules=['handlers.enrichment']", code=2)
    assert "add 'handlers.matching' to [handlers] modules" in said.err


def test_a_list_without_a_name_fails_with_the_columns_it_has(here: Path) -> None:
    (here / "odd.csv").write_text("colour,size\nred,4\n", encoding="utf-8")
    said = run("match", "odd.csv", "shop/catalogue.csv", "--set", "scheduler.max_attempts=1", code=1)
    assert "there are colour, size" in said.err


def test_interrupted_it_goes_on_when_run_again(here: Path) -> None:
    words = ["match", "shop/items.csv", "shop/catalogue.csv", "--out", "out.csv", "--json"]
    call("pause", "match_items")
    with started(*words) as process:
        while not ((here / "jobs.db").exists() and call("jobs", "--json").json):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    if process.returncode == 130:
        assert "stopped by SIGINT: run the same command again to go on" in err
    call("resume", "match_items")
    assert call(*words).json["jobs"] == {"completed": 1}
    assert len(call("jobs", "--json").json) == 1, "the same command is the same job"
