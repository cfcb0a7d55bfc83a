"""The walk: folders and files in, a stream of targets out, one file in memory at a time.

The order is the same in every run. One bad file never ends the walk: it is reported and passed over.
Files of unknown kinds are passed over quietly. A path that was named is always scanned: what is
ignored is only what the walk itself meets.

Does not belong here: what a file holds (``code.py``, ``documents.py``, ``conversations.py``).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from scheduler.catalog import code, conversations, documents
from scheduler.catalog.reading import OnSkip, Skip, SkippedError, SkipReason, read_text
from scheduler.catalog.targets import (
    Identities,
    Target,
    code_target,
    conversation_target,
    document_target,
)
from scheduler.errors import ConfigError

DEFAULT_MAX_FILE_BYTES = 5_000_000
#: A file that was named may be a big export: it is read up to this size whatever the limit for the others.
NAMED_FILE_MAX_BYTES = 200_000_000

#: Never what the project itself wrote. Folders whose name begins with a dot are ignored as well.
IGNORED_FOLDERS = frozenset({"node_modules", "bower_components", "__pycache__", "site-packages", "__pypackages__", "venv", "virtualenv"})
#: Build output, where the folder beside them shows that something is built here; else perhaps a package of that name.
_BUILD_FOLDERS = frozenset({"build", "dist", "out", "target", "coverage", "htmlcov"})
_BUILD_FILES = frozenset(
    {"package.json", "pyproject.toml", "setup.py", "setup.cfg", "Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "Makefile"}
)
#: A folder that holds one of these says itself that it can be made again.
_DISPOSABLE_MARKS = frozenset({"pyvenv.cfg", "CACHEDIR.TAG", "conda-meta"})
_GENERATED_ENDS = (".min.js", ".min.mjs", ".bundle.js", ".egg-info")


class SkipCounts:
    """What was skipped, by reason, with the first few of each: an ``on_skip`` for those who show it later."""

    def __init__(self, examples: int = 5) -> None:
        self.counts: Counter[SkipReason] = Counter()
        self.examples: dict[SkipReason, list[Skip]] = {}
        self._limit = examples

    def __call__(self, skip: Skip) -> None:
        self.counts[skip.reason] += 1
        few = self.examples.setdefault(skip.reason, [])
        if len(few) < self._limit:
            few.append(skip)


def scan(
    paths: Iterable[str | Path], *, max_file_bytes: int = DEFAULT_MAX_FILE_BYTES, on_skip: OnSkip = lambda skip: None
) -> Iterator[Target]:
    """The targets of ``paths`` and what is below them, each once.

    Raises ``ConfigError`` before the first target when a path does not exist, and when code is met
    but the extra ``local`` is missing. Blocks on the disk: from a coroutine, call it in a thread.
    """
    return _targets(roots(paths), max_file_bytes, on_skip)


def roots(paths: Iterable[str | Path]) -> list[Path]:
    """``paths`` as the walk sees them: absolute, links resolved, each once. Raises ``ConfigError``."""
    found: dict[Path, None] = {}
    for path in paths:
        try:
            found[Path(path).expanduser().resolve(strict=True)] = None
        except (OSError, RuntimeError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"cannot scan {os.fspath(path)!r}: {why}. Name files or folders that exist.") from None
    return list(found)


def _targets(starts: list[Path], max_file_bytes: int, on_skip: OnSkip) -> Iterator[Target]:
    named = frozenset(starts)
    for start in starts:
        files: Iterable[Path] = _walk(start, named, on_skip) if start.is_dir() else [start]
        for path in files:
            limit = max(max_file_bytes, NAMED_FILE_MAX_BYTES) if path in named else max_file_bytes
            try:
                yield from _targets_of(path, limit, is_named=path in named)
            except SkippedError as skipped:
                on_skip(Skip(path, skipped.reason, skipped.detail))
            except ConfigError:
                raise
            except Exception as error:  # a parser that stumbles over one file must not end the walk
                on_skip(Skip(path, SkipReason.UNPARSABLE, f"{type(error).__name__}: {error}"))


def _walk(folder: Path, named: frozenset[Path], on_skip: OnSkip) -> Iterator[Path]:
    """The files below ``folder`` that may matter. Named paths among them are left to their own turn."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            on_skip(Skip(here, SkipReason.UNREADABLE, error.strerror or str(error)))
            continue
        names = frozenset(entry.name for entry in entries)
        if here != folder and names & _DISPOSABLE_MARKS:
            continue
        below: list[Path] = []
        for entry in entries:
            path = Path(entry.path)
            if entry.is_symlink():  # followed, links make loops and twins
                on_skip(Skip(path, SkipReason.SYMLINK, "links are not followed: name it to scan it"))
            elif path in named:
                continue
            elif entry.is_dir():
                if not _is_ignored(entry.name, names):
                    below.append(path)
            elif entry.is_file() and _is_known(path):
                yield path
        waiting.extend(reversed(below))


def _is_ignored(name: str, siblings: frozenset[str]) -> bool:
    if name.startswith(".") or name in IGNORED_FOLDERS or name.endswith(_GENERATED_ENDS):
        return True
    return name in _BUILD_FOLDERS and bool(siblings & _BUILD_FILES)


def _is_known(path: Path) -> bool:
    extension = path.suffix.lower()
    if extension in code.BY_EXTENSION:
        return not path.name.endswith(_GENERATED_ENDS)
    return extension in documents.BY_EXTENSION or extension in conversations.BY_EXTENSION or path.name in documents.BARE_NAMES


def _targets_of(path: Path, limit: int, *, is_named: bool) -> Iterator[Target]:
    """The targets of one file. A named file of an unknown kind is taken for plain text."""
    extension = path.suffix.lower()
    if is_named and not path.is_file():
        raise SkippedError(SkipReason.UNREADABLE, "neither a file nor a folder")
    text = read_text(path, limit)
    if not text.strip():
        return
    if extension in code.BY_EXTENSION:
        language = code.BY_EXTENSION[extension]
        ids = Identities(path)
        for entity in code.entities(text, language):
            yield code_target(path, language.name, entity, ids)
    elif extension in conversations.BY_EXTENSION:
        yield from _conversation_targets(path, text, conversations.BY_EXTENSION[extension])
    else:
        form = documents.BY_EXTENSION.get(extension, "text")
        title, readable = documents.read_document(text, form)
        if readable:
            yield document_target(path, form, title or path.name, readable, text.rstrip("\n").count("\n") + 1)


def _conversation_targets(path: Path, text: str, form: str) -> Iterator[Target]:
    ids = Identities(path)
    for found in conversations.conversations(text, form):
        target_id = ids.whole_file() if found.key is None else ids.claim(found.key)
        yield conversation_target(path, form, found.title or path.name, found.messages, found.line, target_id)
