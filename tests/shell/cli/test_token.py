"""``token new``: shown once, kept as its hash, put into a settings file whole or not at all."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from scheduler.api.tokens import hashed
from scheduler.settings import load
from tests.shell.cli.command import call, run


def test_it_is_shown_once_and_what_is_to_be_kept_of_it_beside_it(here: Path) -> None:
    before = (here / "config.toml").read_bytes()
    said = run("token", "new", "dashboards", "--scope", "write", "--owner", "ada")
    table = said.err[said.err.index("[tokens.") : said.err.index("Programs")]
    assert tomllib.loads(table) == {"tokens": {"dashboards": {"sha256": hashed(said.out.strip()), "scope": "write", "owner": "ada"}}}
    assert said.out.strip() not in said.err
    assert len(said.lines) == 1
    assert (here / "config.toml").read_bytes() == before


def test_each_is_another_and_machines_get_an_object(here: Path) -> None:
    told = [call("token", "new", "--json").json for _ in range(2)]
    assert told[0]["token"] != told[1]["token"]
    assert told[0] | {"token": "", "sha256": ""} == {"token": "", "name": "read", "sha256": "", "scope": "read", "written_to": None}
    assert told[0]["sha256"] == hashed(told[0]["token"])


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_it_is_written_behind_what_the_file_holds_and_the_files_permissions_stay(here: Path, mode: int) -> None:
    path = here / "real.toml"
    path.write_text('# mine\n[log]\nlevel = "info"', encoding="utf-8")
    path.chmod(mode)
    (here / "link.toml").symlink_to(path)
    for name in ("one", "two"):
        call("token", "new", name, "--config", "link.toml", "--write", "--owner", 'a "b" \\ ü')
    assert path.read_text("utf-8").startswith('# mine\n[log]\nlevel = "info"\n\n[tokens.one]\n')
    tokens = load(path).tokens
    assert [(one.scope, one.owner) for one in tokens.values()] == [("read", 'a "b" \\ ü')] * 2
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert (here / "link.toml").is_symlink()
    assert sorted(one.name for one in here.glob(".*")) == []


def test_a_new_file_is_for_its_owner_alone(here: Path) -> None:
    call("token", "new", "--config", "new.toml", "--write", "--scope", "operate")
    assert stat.S_IMODE((here / "new.toml").stat().st_mode) == 0o600
    assert load(here / "new.toml").tokens["operate"].scope == "operate"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["a.b"], "letters"),
        (["--scope", "operate", "--owner", "ada"], "everybody's"),
        (["--owner", "\x7f"], "cannot hold"),
        (["--owner", ""], "owner"),
        (["taken", "--write"], "has a token 'taken' already"),
        (["--write", "--config", "bad.toml"], "not valid TOML"),
        (["--write", "--config", "odd.toml"], "unknown section"),
    ],
)
def test_what_is_wrong_changes_nothing(here: Path, words: list[str], why: str) -> None:
    (here / "bad.toml").write_text("[", encoding="utf-8")
    (here / "odd.toml").write_text("[odd]\n", encoding="utf-8")
    call("token", "new", "taken", "--write")
    before = {path: path.read_bytes() for path in here.iterdir()}
    said = run("token", "new", *words, code=2)
    assert why in said.err
    assert said.out == ""
    assert {path: path.read_bytes() for path in here.iterdir()} == before
