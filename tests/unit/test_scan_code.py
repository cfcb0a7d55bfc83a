"""What counts as an entity in each language, what it is called, and what survives a broken file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.catalog import code
from scheduler.catalog.reading import Skip, SkipReason
from scheduler.catalog.scan import scan
from scheduler.catalog.targets import Target
from scheduler.errors import ConfigError

SAMPLES = Path(__file__).parents[1] / "support" / "samples"

EXPECTED = {
    "shapes.py": {
        "area": "function",
        "area.squared": "function",
        "Circle": "class",
        "Circle.Colour": "class",
        "Circle.Colour.name": "method",
        "Circle.__init__": "method",
        "Circle.radius": "method",
        "Circle.draw": "method",
    },
    "shapes.js": {
        "area": "function",
        "half": "function",
        "sizes": "function",
        "Circle": "class",
        "Circle.constructor": "method",
        "Circle.grow": "method",
        "Circle.of": "method",
        "Circle.prototype.draw": "function",
        "shrink": "function",
        "swell": "method",
    },
    "shapes.ts": {
        "Shape": "interface",
        "Colour": "enum",
        "Geometry.half": "function",
        "Named": "class",
        "Named.name": "method",
        "area": "function",
    },
    "badge.tsx": {"Badge": "function", "Panel": "class", "Panel.render": "method"},
    "shapes.go": {
        "Circle": "struct",
        "Shape": "interface",
        "Pair": "struct",
        "Stack": "struct",
        "Circle.Area": "method",
        "Stack.Push": "method",
        "New": "function",
    },
    "shapes.rs": {
        "Circle": "struct",
        "Colour": "enum",
        "Shape": "trait",
        "Shape.name": "method",
        "Circle.area": "method",
        "Wrapper.fmt": "method",
        "tools.half": "function",
        "twice": "macro",
    },
    "Shapes.java": {
        "Shapes": "class",
        "Shapes.Colour": "enum",
        "Shapes.Shape": "interface",
        "Shapes.Shape.area": "method",
        "Shapes.Circle": "class",
        "Shapes.Circle.area": "method",
        "Shapes.Shapes": "method",
        "Shapes.count": "method",
    },
}


def scanned(path: Path, source: str | bytes) -> list[Target]:
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return list(scan([path]))


def entity(name: str, file: str) -> Target:
    return next(target for target in scan([SAMPLES / file]) if target.title == name)


@pytest.mark.parametrize("file", EXPECTED)
def test_each_language_gives_its_functions_classes_and_methods(file: str) -> None:
    assert {target.title: target.payload["kind"] for target in scan([SAMPLES / file])} == EXPECTED[file]


def test_every_language_of_the_table_has_a_sample() -> None:
    assert {code.BY_EXTENSION[Path(file).suffix].name for file in EXPECTED} == {language.name for language in code.LANGUAGES}


def test_a_payload_has_exactly_what_the_handlers_model_asks_for() -> None:
    target = entity("area", "shapes.py")
    assert target.payload == {
        "name": "area",
        "kind": "function",
        "language": "python",
        "path": str(SAMPLES / "shapes.py"),
        "start_line": 6,
        "text": target.payload["text"],
        "content_hash": target.content_hash,
    }
    assert (target.start_line, target.end_line) == (6, 13)


def test_decorators_and_doc_comments_belong_to_the_text_of_what_they_are_above() -> None:
    assert entity("area", "shapes.py").payload["text"].startswith("@cache\ndef area(")
    assert entity("area", "shapes.js").payload["text"].startswith("/** The area of a circle. */\nexport function area(")
    assert entity("Circle.Area", "shapes.go").payload["text"].startswith("// Area is computed,\n// not measured.\nfunc (c Circle)")
    assert entity("Circle", "shapes.rs").payload["text"].startswith("/// A circle.\n#[derive(Debug)]\npub struct Circle")
    assert entity("Named", "shapes.ts").payload["text"].startswith("// Every shape has a name.\nexport abstract class")
    assert entity("Shapes", "Shapes.java").payload["text"].startswith("/** Many shapes. */\npublic class Shapes")


def test_a_comment_behind_code_is_not_taken_for_a_doc_comment(tmp_path: Path) -> None:
    [target] = scanned(tmp_path / "a.go", "package a\nvar x = 1 // counts\nfunc f() {}\n")
    assert target.payload["text"] == "func f() {}"


def test_the_text_of_a_method_stands_at_the_left_margin() -> None:
    assert entity("Circle.draw", "shapes.py").payload["text"] == "async def draw(self) -> None:\n    return None"


def test_twins_are_told_apart_by_their_order() -> None:
    ids = [target.target_id for target in scan([SAMPLES / "shapes.py"]) if target.title == "Circle.radius"]
    assert ids == [f"{SAMPLES}/shapes.py::Circle.radius", f"{SAMPLES}/shapes.py::Circle.radius#2"]
    overloads = [target.target_id for target in scan([SAMPLES / "Shapes.java"]) if target.title == "Shapes.count"]
    assert len(set(overloads)) == 2


def test_a_broken_file_still_gives_what_parses(tmp_path: Path) -> None:
    source = "def good():\n    return 1\n\ndef broken(:\n    ???\n\nclass Fine:\n    def method(self):\n        pass\n"
    titles = [target.title for target in scanned(tmp_path / "broken.py", source)]
    assert "good" in titles
    assert "Fine.method" in titles


def test_a_file_of_which_nothing_parses_is_reported(tmp_path: Path) -> None:
    (tmp_path / "noise.py").write_text("((((( ]]]] ::: ????\n")
    (tmp_path / "sound.py").write_text("def f(): pass\n")
    skips: list[Skip] = []
    assert [target.title for target in scan([tmp_path], on_skip=skips.append)] == ["f"]
    assert [(skip.path.name, skip.reason) for skip in skips] == [("noise.py", SkipReason.UNPARSABLE)]


@pytest.mark.parametrize("source", ["", "\n\n  \n", "# only a comment\n", "x = 1\n", "import os\n???\n"])
def test_a_file_without_entities_is_no_fault(tmp_path: Path, source: str) -> None:
    skips: list[Skip] = []
    (tmp_path / "a.py").write_text(source)
    assert list(scan([tmp_path], on_skip=skips.append)) == []
    assert skips == []


def test_line_ends_and_byte_order_marks_change_neither_id_nor_hash(tmp_path: Path) -> None:
    path, source = tmp_path / "a.py", "def f():\n    return 'é'\n"
    [plain] = scanned(path, source)
    variants = (source.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + source.encode(), b"\xff\xfe" + source.encode("utf-16-le"))
    for variant in variants:
        [other] = scanned(path, variant)
        assert other == plain


def test_latin_1_is_read_as_it_declares_itself_or_as_a_fallback(tmp_path: Path) -> None:
    [declared] = scanned(tmp_path / "a.py", "# -*- coding: iso-8859-5 -*-\ndef f(): 'жук'\n".encode("iso-8859-5"))
    [undeclared] = scanned(tmp_path / "b.py", "def f(): 'café'\n".encode("latin-1"))
    assert "жук" in declared.payload["text"]
    assert "café" in undeclared.payload["text"]


def test_a_missing_extra_names_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(code, "import_module", absent)
    code._tools.cache_clear()
    with pytest.raises(ConfigError, match=r"extra 'local'.*tree_sitter is missing.*pip install"):
        scanned(tmp_path / "a.py", "def f(): pass\n")


NAMES = st.sampled_from(["f", "g", "run", "f#2", "__init__"]).map(lambda name: name.replace("#", "_"))
FUNCTIONS = st.lists(st.tuples(NAMES, st.integers(0, 9)), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(functions=FUNCTIONS, blank_lines=st.integers(1, 30))
def test_ids_are_unique_and_moving_code_changes_neither_ids_nor_hashes(
    tmp_path_factory: pytest.TempPathFactory, functions: list[tuple[str, int]], blank_lines: int
) -> None:
    path = tmp_path_factory.mktemp("ids") / "a.py"
    source = "\n".join(f"def {name}():\n    return {value}\n" for name, value in functions)
    before = scanned(path, source)
    after = scanned(path, "#\n" * blank_lines + source.replace("\n", "  \n"))
    assert len({target.target_id for target in before}) == len(before) == len(functions)
    assert [(target.target_id, target.content_hash) for target in after] == [(target.target_id, target.content_hash) for target in before]
    assert [target.start_line for target in after] == [target.start_line + blank_lines for target in before]


def test_a_changed_body_changes_only_its_own_hash(tmp_path: Path) -> None:
    before = {one.title: one.content_hash for one in scanned(tmp_path / "a.py", "def f():\n    return 1\n\ndef g():\n    return 1\n")}
    after = {one.title: one.content_hash for one in scanned(tmp_path / "a.py", "def f():\n    return 2\n\ndef g():\n    return 1\n")}
    assert before["f"] != after["f"]
    assert before["g"] == after["g"]


def test_samples_can_be_moved_to_another_folder_without_changing_their_hashes(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "shapes.rs", tmp_path / "elsewhere.rs")
    assert [one.content_hash for one in scan([tmp_path])] == [one.content_hash for one in scan([SAMPLES / "shapes.rs"])]
