"""Which files the walk takes, which it leaves, and what it says of those it cannot read."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.catalog.reading import Skip, SkipReason
from scheduler.catalog.scan import SkipCounts, scan
from scheduler.catalog.targets import (
    MAX_TEXT_CHARS,
    Entity,
    Identities,
    Message,
    code_target,
    conversation_target,
    document_target,
)
from scheduler.errors import ConfigError
from scheduler.values import MAX_BODY_BYTES, MAX_NAME_CHARS, check_text, encode_json

SOURCE = "def f():\n    pass\n"


def plant(root: Path, *files: str, content: str = SOURCE) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(content)


def seen(*paths: Path) -> list[str]:
    return [target.path for target in scan(paths)]


def test_the_order_is_the_same_in_every_run(tmp_path: Path) -> None:
    plant(tmp_path, "b/z.py", "a/y.py", "c.py", "a.py", "b.py", "a/b/x.py")
    expected = [str(tmp_path / name) for name in ("a.py", "b.py", "c.py", "a/y.py", "a/b/x.py", "b/z.py")]
    assert seen(tmp_path) == seen(tmp_path) == expected


@pytest.mark.parametrize(
    "folder", [".git", "node_modules", "__pycache__", ".venv", "venv", "site-packages", ".tox", "package.egg-info", "a/.cache"]
)
def test_what_the_project_did_not_write_is_ignored(tmp_path: Path, folder: str) -> None:
    plant(tmp_path, f"{folder}/a.py", "own.py")
    assert seen(tmp_path) == [str(tmp_path / "own.py")]


def test_a_virtual_environment_is_known_by_its_mark_whatever_its_name(tmp_path: Path) -> None:
    plant(tmp_path, "myenv/pyvenv.cfg", "myenv/lib/a.py", "own.py")
    assert seen(tmp_path) == [str(tmp_path / "own.py")]


def test_build_output_is_ignored_only_where_something_is_built(tmp_path: Path) -> None:
    plant(tmp_path, "pyproject.toml", "build/a.py", "dist/a.py", "go/build/parse.py", "app.min.js")
    assert seen(tmp_path) == [str(tmp_path / "go" / "build" / "parse.py")]


@pytest.mark.parametrize("named", [".git", "node_modules", "node_modules/a.py", "notes.unknown"])
def test_a_path_that_was_named_is_always_scanned(tmp_path: Path, named: str) -> None:
    plant(tmp_path, ".git/a.py", "node_modules/a.py", "notes.unknown")
    assert len(seen(tmp_path / named)) == 1


def test_paths_that_overlap_give_each_target_once(tmp_path: Path) -> None:
    plant(tmp_path, "a/x.py", "a/b/y.py", "z.py")
    found = seen(tmp_path, tmp_path / "a", tmp_path / "a" / "b" / "y.py", tmp_path / "a" / ".." / "a")
    assert sorted(found) == sorted({*found})
    assert len(found) == 3


def test_a_path_that_does_not_exist_is_refused_before_anything_is_scanned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot scan .*nowhere.*Name files or folders that exist"):
        scan([tmp_path, tmp_path / "nowhere"])


def test_relative_and_absolute_paths_give_the_same_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "a.py")
    monkeypatch.chdir(tmp_path)
    assert [one.target_id for one in scan(["."])] == [one.target_id for one in scan([tmp_path])]


def test_unknown_files_are_passed_over_quietly(tmp_path: Path) -> None:
    plant(tmp_path, "a.bin", "b.toml", "c", "d.lock")
    skips = SkipCounts()
    assert list(scan([tmp_path], on_skip=skips)) == []
    assert not skips.counts


def test_a_file_of_a_known_kind_that_cannot_be_used_is_reported_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "binary.py").write_bytes(b"\x7fELF\x00\x00")
    plant(tmp_path, "big.py", content="# " + "x" * 3_000)
    plant(tmp_path, "good.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    skips = SkipCounts(examples=1)
    found = list(scan([tmp_path], max_file_bytes=2_000, on_skip=skips))
    assert [target.path for target in found] == [str(tmp_path / "good.py")]
    assert skips.counts == {SkipReason.BINARY: 1, SkipReason.TOO_BIG: 1, SkipReason.SYMLINK: 1}
    assert "2,000 bytes" in skips.examples[SkipReason.TOO_BIG][0].detail


def test_a_named_file_may_be_bigger_than_the_limit_for_the_others(tmp_path: Path) -> None:
    plant(tmp_path, "big.md", content="word " * 1_000)
    assert len(list(scan([tmp_path / "big.md"], max_file_bytes=100))) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_read_permission_is_reported(tmp_path: Path) -> None:
    plant(tmp_path, "secret.py")
    (tmp_path / "secret.py").chmod(0)
    skips: list[Skip] = []
    assert list(scan([tmp_path], on_skip=skips.append)) == []
    assert [skip.reason for skip in skips] == [SkipReason.UNREADABLE]


def test_a_file_that_vanishes_during_the_walk_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    plant(tmp_path, "a.py", "b.py", "c.py")
    skips: list[Skip] = []
    walk = scan([tmp_path], on_skip=skips.append)
    assert next(walk).path == str(tmp_path / "a.py")
    (tmp_path / "b.py").unlink()
    assert [target.path for target in walk] == [str(tmp_path / "c.py")]
    assert [(skip.path.name, skip.reason) for skip in skips] == [("b.py", SkipReason.UNREADABLE)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_does_not_hold_up_the_walk(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    skips: list[Skip] = []
    assert list(scan([tmp_path], on_skip=skips.append)) == []
    assert list(scan([tmp_path / "pipe.py"], on_skip=skips.append)) == []
    assert [skip.reason for skip in skips] == [SkipReason.UNREADABLE]


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="this system's file names are text")
def test_file_names_that_are_not_text_give_ids_that_can_be_stored_and_told_apart(tmp_path: Path) -> None:
    for raw in (b"caf\xe9.py", b"caf\xe8.py"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)).write_text(SOURCE)
    found = list(scan([tmp_path]))
    assert len({target.target_id for target in found}) == 2
    for target in found:
        check_text(target.target_id, "target_id")
        encode_json(target.payload)


AWKWARD = st.text(st.sampled_from(list("ab:%#/.\x00\ud800é")), max_size=8)


@settings(max_examples=300)
@given(paths=st.tuples(AWKWARD, AWKWARD), names=st.tuples(AWKWARD, AWKWARD))
def test_no_two_files_ever_share_an_id(paths: tuple[str, str], names: tuple[str, str]) -> None:
    one, other = (Path("/" + path.replace("\x00", "").replace("\ud800", "\udc80")) for path in paths)
    if one != other:
        assert Identities(one).whole_file() != Identities(other).whole_file()
        assert Identities(one).claim(names[0]) != Identities(other).claim(names[1])


def test_odd_paths_are_told_apart_from_entities_of_that_name() -> None:
    assert Identities(Path("/a.py::f")).whole_file() != Identities(Path("/a.py")).claim("f")
    assert Identities(Path("/a:")).claim("f") != Identities(Path("/a")).claim(":f")
    assert Identities(Path("/a%3A%3Ab")).whole_file() != Identities(Path("/a::b")).whole_file()


def test_very_long_names_give_ids_that_fit_and_differ() -> None:
    ids = Identities(Path("/" + "deep/" * 200 + "a.py"))
    first, second, twin = ids.claim("x" * 600), ids.claim("y" + "x" * 599), ids.claim("x" * 600)
    assert len({first, second, twin}) == 3
    assert max(len(first), len(second), len(twin)) <= MAX_NAME_CHARS


@pytest.mark.parametrize("worst", ["\x01", "\U0001f600", '"', "\ufffd", "\n"])
def test_no_payload_is_too_big_for_a_job_whatever_is_in_it(worst: str) -> None:
    path, text = Path("/a.py"), worst * 2_000_000
    targets = [
        code_target(path, "python", Entity("f", "function", 1, 2, text), Identities(path)),
        document_target(path, "text", text, text, 1),
        conversation_target(path, "json", text, [Message(text, text), Message("user", "more")], 1, "id"),
        conversation_target(path, "json", "many", [Message(worst * 64, worst)] * 400_000, 1, "id"),
    ]
    for target in targets:
        assert len(encode_json(target.payload)) < MAX_BODY_BYTES
        assert "[cut: " in json.dumps(target.payload)


def test_a_text_at_the_limit_is_kept_whole() -> None:
    whole = document_target(Path("/a.txt"), "text", "", "x" * MAX_TEXT_CHARS, 1).payload["text"]
    longer = document_target(Path("/a.txt"), "text", "", "x" * (MAX_TEXT_CHARS + 1), 1).payload["text"]
    assert whole == "x" * MAX_TEXT_CHARS
    assert len(longer) == MAX_TEXT_CHARS
    assert longer.endswith("[cut: 150,001 characters in all]")


def test_the_hash_sees_what_was_cut_off() -> None:
    one, other = (document_target(Path("/a.txt"), "text", "", "x" * 200_000 + end, 1) for end in "ab")
    assert one.payload["text"] == other.payload["text"]
    assert one.content_hash != other.content_hash
