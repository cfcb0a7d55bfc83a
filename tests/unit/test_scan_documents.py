"""Documents and conversations: their titles, their readable text, and what is none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.catalog.conversations import conversations
from scheduler.catalog.documents import read_document
from scheduler.catalog.reading import Skip, SkippedError, SkipReason
from scheduler.catalog.scan import scan
from scheduler.catalog.targets import Target

SAMPLES = Path(__file__).parents[1] / "support" / "samples"
HELLO = {"role": "user", "content": "Hello"}


def sample(name: str) -> list[Target]:
    return list(scan([SAMPLES / name]))


def said(value: Any, form: str = "json") -> list[list[tuple[str, str]]]:
    text = json.dumps(value) if form == "json" else "\n".join(json.dumps(line) for line in value)
    return [[(message.role, message.text) for message in found.messages] for found in conversations(text, form)]


@pytest.mark.parametrize(
    ("name", "form", "title"),
    [
        ("guide.md", "markdown", "A *small* guide"),
        ("guide.rst", "restructuredtext", "Guide"),
        ("page.html", "html", "Shapes & sizes"),
    ],
)
def test_a_document_knows_its_format_and_its_title(name: str, form: str, title: str) -> None:
    [target] = sample(name)
    assert (target.target_type, target.language, target.title) == ("project_document", form, title)
    assert target.target_id == str(SAMPLES / name)
    assert set(target.payload) == {"title", "path", "format", "text", "content_hash"}


@pytest.mark.parametrize(
    ("form", "text", "title"),
    [
        ("markdown", "---\ndate: x\ntitle: 'In front'\n---\n# Later\n", "In front"),
        ("markdown", "Underlined\n==========\n\ntext", "Underlined"),
        ("markdown", "~~~\n# code\n```\n# code\n~~~\n## Second level ##\n", "Second level"),
        ("markdown", "#hashtag and no heading\n", ""),
        ("markdown", "- a list\n\n---\n\ntext", ""),
        ("restructuredtext", "Title\n=====\n\ntext", "Title"),
        ("restructuredtext", "Too long a line for this\n===\n", ""),
        ("text", "A title\n\nAnd text.", "A title"),
        ("text", "A title\n=======\nAnd text.", "A title"),
        ("text", "The first line\nof a paragraph.", ""),
        ("html", "<h1>No <i>title</i> tag</h1><p>x", "No title tag"),
        ("html", "<p>neither", ""),
    ],
)
def test_titles_are_found_where_each_format_keeps_them(form: str, text: str, title: str) -> None:
    assert read_document(text, form)[0] == title


def test_a_document_without_a_title_is_called_like_its_file(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("just words\n")
    assert [target.title for target in scan([tmp_path])] == ["note.md"]


def test_html_is_read_as_a_person_would() -> None:
    text = sample("page.html")[0].payload["text"]
    assert "A circle is round.\nA square is not." in text
    assert "kept   as\n  it is" in text
    assert "one" in text.splitlines()
    assert not {"nobody", "color", "icon", "<"} & {word for word in ("nobody", "color", "icon", "<") if word in text}


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["<p>", "</p>", "<!", "<![", "]]>", "<?", "&#x", "<script", ">", "<title>", "a", "\n", "<!--", "<svg/>"])))
def test_no_html_is_too_broken_to_be_read(parts: list[str]) -> None:
    read_document("".join(parts), "html")


def test_broken_html_never_ends_the_walk(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<![foo[ <p>words</p>")
    (tmp_path / "b.md").write_text("words\n")
    assert str(tmp_path / "b.md") in [target.path for target in scan([tmp_path])]


def test_readme_files_without_an_extension_are_documents(tmp_path: Path) -> None:
    for name in ("README", "Makefile"):
        (tmp_path / name).write_text("words\n")
    assert [target.path for target in scan([tmp_path])] == [str(tmp_path / "README")]


def test_messages_with_parts_keep_their_text_and_lose_what_is_none() -> None:
    [target] = sample("chat.json")
    assert target.payload["messages"] == [
        {"role": "system", "text": "Be brief."},
        {"role": "user", "text": "What is a circle?"},
        {"role": "assistant", "text": "Something round."},
    ]
    assert (target.target_type, target.target_id, target.title) == ("conversation", str(SAMPLES / "chat.json"), "What is a circle?")
    assert set(target.payload) == {"title", "path", "messages", "content_hash"}


def test_of_a_message_tree_the_open_branch_is_read() -> None:
    [target] = sample("tree_export.json")
    assert [one["text"] for one in target.payload["messages"]] == ["What is a circle?", "Something round.", "Thanks"]
    assert (target.title, target.target_id) == ("Circles", f"{SAMPLES}/tree_export.json::c-1")


def test_a_message_tree_that_runs_in_a_circle_is_read_once() -> None:
    node = {"message": {"author": {"role": "user"}, "content": {"parts": ["again"]}}}
    tree = {"mapping": {"a": node | {"parent": "b"}, "b": node | {"parent": "a"}}, "current_node": "a"}
    assert said(tree) == [[("user", "again"), ("user", "again")]]


def test_a_channel_day_is_one_conversation() -> None:
    [target] = sample("channel_day.json")
    assert [(one["role"], one["text"]) for one in target.payload["messages"]] == [("U1", "Is the build green?"), ("U2", "It is.")]


def test_lines_give_a_conversation_each_with_its_line_and_its_own_id() -> None:
    found = sample("chats.jsonl")
    assert [(target.target_id.rpartition("::")[2], target.title, target.start_line) for target in found] == [
        ("one", "First", 1),
        ("two", "Good evening", 3),
        ("three", "Third", 4),
    ]


def test_lines_that_are_messages_make_one_conversation() -> None:
    assert said([HELLO, {"role": "assistant", "content": "Hi"}], "jsonl") == [[("user", "Hello"), ("assistant", "Hi")]]


def test_a_list_of_messages_and_a_list_of_conversations_are_told_apart() -> None:
    assert said([HELLO, HELLO]) == [[("user", "Hello"), ("user", "Hello")]]
    assert said([{"messages": [HELLO]}, {"other": 1}, {"messages": [HELLO]}]) == [[("user", "Hello")], [("user", "Hello")]]
    assert said({"conversations": [{"messages": [HELLO]}, {"messages": [HELLO]}]}) == [[("user", "Hello")], [("user", "Hello")]]


@pytest.mark.parametrize(
    "value",
    [
        {"name": "package", "version": "1", "messages": {"role": "x"}},
        {"messages": []},
        {"messages": ["text", "role"]},
        {"messages": [{"role": "user", "content": ""}]},
        [{"user": "u", "text": "no time stamp"}],
        [{"from": "a@b", "value": "3"}],
        [1, 2, "role"],
        {"role": "user", "content": "a lone message is no conversation"},
        [HELLO, {"step": 1}, {"step": 2}],
        {"mapping": {"a": "b"}},
        "role",
        None,
    ],
)
def test_json_that_is_no_chat_is_passed_over_quietly(value: Any, tmp_path: Path) -> None:
    skips: list[Skip] = []
    (tmp_path / "a.json").write_text(json.dumps(value))
    assert list(scan([tmp_path], on_skip=skips.append)) == []
    assert skips == []


def test_a_broken_line_is_reported_by_number_and_loses_no_other(tmp_path: Path) -> None:
    lines = [json.dumps({"id": "1", "messages": [HELLO]}), '{"messages": [', json.dumps({"id": "2", "messages": [HELLO]})]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    skips: list[Skip] = []
    assert len(list(scan([tmp_path], on_skip=skips.append))) == 2
    assert [(skip.reason, "line 2" in skip.detail) for skip in skips] == [(SkipReason.UNPARSABLE, True)]


@pytest.mark.parametrize("broken", ['{"messages": [{"role": "user"', "[" * 200_000 + '"role"'])
def test_a_broken_chat_export_is_reported(broken: str) -> None:
    with pytest.raises(SkippedError, match="not valid JSON"):
        list(conversations(broken, "json"))


def test_halves_of_emojis_are_replaced_so_that_every_store_can_hold_them() -> None:
    text = '{"messages": [{"role": "us\\u0000er", "content": "cut \\ud83d"}], "title": "\\ude00"}'
    [found] = conversations(text, "json")
    assert found.messages[0].text == "cut \ufffd"
    assert found.messages[0].role == "us\ufffder"
    assert found.title == "\ufffd"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["role", "user"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "text", "parts", "mapping", "messages", "parent", "message", "author", "current_node", "id"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(value=JSON_VALUES)
def test_no_shape_of_json_is_too_strange(value: Any) -> None:
    for form in ("json", "jsonl"):
        for found in conversations(json.dumps(value), form):
            assert found.messages
            assert all(message.text for message in found.messages)
