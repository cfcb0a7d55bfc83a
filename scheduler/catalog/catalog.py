"""The catalog: every target ever seen, how its job stands, and what was learned of it.

A job's end is recorded in the job store; the catalog follows it (``status.py``) and can be repaired
from it. No verb reads a clock: all take ``now``. Does not belong here: finding targets
(``scan.py``), SQLite's own affairs (``database.py``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from scheduler.catalog.database import Database
from scheduler.catalog.targets import Target, shown, storable
from scheduler.job import UNFINISHED

MAX_SEARCH_WORDS = 32
#: Paths below a folder sort from ``folder/`` up to this, exclusive.
_AFTER_SEPARATOR = chr(ord(os.sep) + 1)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a job learned; None where it says nothing of the kind."""

    summary: str | None = None
    keywords: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None
    model: str | None = None
    enriched_at: float | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """How the job of a target stands, seen at ``at``. ``ai_status`` None: it has no job any more."""

    target_id: str
    target_type: str
    job_id: str
    job_created_at: float
    at: float
    ai_status: str | None
    reason: str | None = None
    error: str | None = None
    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A target as the catalog knows it. Times are seconds since the epoch."""

    id: int
    target_id: str
    target_type: str
    title: str
    path: str
    language: str
    start_line: int
    end_line: int
    content_hash: str
    seen_at: float
    changed_at: float
    job_id: str | None
    ai_status: str | None
    reason: str | None
    error: str | None
    summary: str | None
    keywords: tuple[str, ...]
    topics: tuple[str, ...]
    model: str | None
    enriched_at: float | None

    @property
    def is_stale(self) -> bool:
        """Whether its content is newer than what is known of it."""
        return self.enriched_at is None or self.changed_at > self.enriched_at


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result. ``snippet`` is from its summary (else its title), found words between the marks that were asked for."""

    entry: Entry
    snippet: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a batch of scanned targets was, compared with what was known."""

    new: int
    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Count:
    target_type: str
    ai_status: str | None
    reason: str | None
    count: int


_COLUMNS = ", ".join(f"targets.{field.name}" for field in fields(Entry))
_UNFINISHED = ", ".join(f"'{status}'" for status in sorted(UNFINISHED))

# Only the scan's columns: what was learned stays until a job learns something else.
_RECORD = """
    INSERT INTO targets (
        target_id, target_type, title, title_words, path, language, start_line, end_line, content_hash, seen_at, changed_at
    ) VALUES (:target_id, :target_type, :title, :title_words, :path, :language, :start_line, :end_line, :content_hash, :now, :now)
    ON CONFLICT (target_id) DO UPDATE SET
        target_type = excluded.target_type, title = excluded.title, title_words = excluded.title_words, path = excluded.path,
        language = excluded.language, start_line = excluded.start_line, end_line = excluded.end_line, seen_at = excluded.seen_at,
        changed_at = iif(content_hash = excluded.content_hash, changed_at, excluded.changed_at), content_hash = excluded.content_hash
"""

# An event of the same job may have come first: it knows better.
_MARK = """
    UPDATE targets SET job_id = :job_id, job_created_at = :now, ai_status = 'pending', reason = NULL, error = NULL, status_at = :now
    WHERE target_id = :target_id AND job_id IS NOT :job_id
"""

# The same job: only news. Another job: only a younger one.
_APPLY = """
    UPDATE targets SET
        job_id = :job_id, job_created_at = :job_created_at, ai_status = :ai_status, reason = :reason, error = :error, status_at = :at,
        summary = coalesce(:summary, summary), keywords = coalesce(:keywords, keywords), topics = coalesce(:topics, topics),
        model = coalesce(:model, model), enriched_at = coalesce(:enriched_at, enriched_at)
    WHERE target_id = :target_id AND target_type = :target_type
        AND iif(job_id IS :job_id, :at >= coalesce(status_at, :at), :job_created_at >= coalesce(job_created_at, :job_created_at))
"""

# Weights follow what people search for: names first, then keywords and topics, the path last.
_FIND = f"""
    SELECT {_COLUMNS},
        coalesce(snippet(targets_fts, 2, :before, :after, '…', 32), snippet(targets_fts, 0, :before, :after, '…', 32)) AS snippet
    FROM targets_fts JOIN targets ON targets.id = targets_fts.rowid
    WHERE targets_fts MATCH :match
    ORDER BY bm25(targets_fts, 8.0, 4.0, 4.0, 6.0, 6.0, 1.0), targets.id LIMIT :limit
"""


class Catalog:
    """Where targets are kept. ``async with Catalog(path) as catalog`` opens and closes it."""

    def __init__(self, path: str | Path) -> None:
        self._database = Database(Path(path))

    @property
    def path(self) -> Path:
        return self._database.path

    async def open(self) -> None:
        """Raises ``StoreDamagedError`` or ``StoreTooNewError`` when the file is no catalog that this release can use."""
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- what the scan saw
    async def record(self, targets: Sequence[Target], now: float) -> Recorded:
        """Add or refresh ``targets``, seen at ``now``; keeps what was learned, notes when the content changed."""
        known = await self._hashes([target.target_id for target in targets])
        async with self._database.transaction() as connection:
            await connection.executemany(_RECORD, [_recorded(target, now) for target in targets])
        unchanged = sum(known.get(target.target_id) == target.content_hash for target in targets)
        new = sum(target.target_id not in known for target in targets)
        return Recorded(new, len(targets) - new - unchanged, unchanged)

    async def forget_missing(self, roots: Iterable[str | Path], stamp: float) -> int:
        """Forget the targets at or below ``roots`` (see ``scan.roots``) that no scan saw at ``stamp`` or later."""
        forgotten = 0
        for root in roots:
            path = shown(Path(root))
            below = path.rstrip(os.sep)
            bounds = {"path": path, "from": below + os.sep, "to": below + _AFTER_SEPARATOR, "stamp": stamp}
            async with self._database.transaction() as connection:
                cursor = await connection.execute(
                    "DELETE FROM targets WHERE (path = :path OR (path >= :from AND path < :to)) AND seen_at < :stamp", bounds
                )
                forgotten += cursor.rowcount
        return forgotten

    # -- how its job stands
    async def mark_jobs(self, jobs: Iterable[tuple[str, str]], now: float) -> None:
        """Note that each (target_id, job_id) was enqueued; no effect where the catalog knows of that job already."""
        rows = [{"target_id": target_id, "job_id": job_id, "now": now} for target_id, job_id in jobs]
        async with self._database.transaction() as connection:
            await connection.executemany(_MARK, rows)

    async def apply(self, updates: Sequence[Update]) -> None:
        """Record how jobs stand, in one transaction. Older jobs and older news change nothing; nor do unknown targets."""
        async with self._database.transaction() as connection:
            await connection.executemany(_APPLY, [_applied(update) for update in updates])

    async def unfinished(self, *, after_id: int = 0, limit: int = 500) -> list[Entry]:
        """Targets whose job has not ended as far as the catalog knows, by ``Entry.id``; page with the last one's."""
        sql = f"SELECT {_COLUMNS} FROM targets WHERE ai_status IN ({_UNFINISHED}) AND id > :after ORDER BY id LIMIT :limit"
        return [_entry(row) for row in await self._database.rows(sql, {"after": after_id, "limit": limit})]

    # -- what people ask
    async def get(self, target_id: str) -> Entry | None:
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM targets WHERE target_id = ?", (storable(target_id),))
        return _entry(rows[0]) if rows else None

    async def counts(self) -> list[Count]:
        """How many targets share a type, a status and a reason."""
        sql = "SELECT target_type, ai_status, reason, count(*) FROM targets GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        return [Count(*row) for row in await self._database.rows(sql)]

    async def find(self, words: str, limit: int = 20, *, marks: tuple[str, str] = ("", "")) -> list[Hit]:
        """The targets that best fit ``words``, best first: those with all of them, else those with any.

        Words match their beginnings and other forms; nothing in them has a special meaning.
        """
        terms = _terms(words)
        for operator in (" AND ", " OR "):
            match = {"match": operator.join(terms), "limit": limit, "before": marks[0], "after": marks[1]}
            rows = await self._database.rows(_FIND, match) if terms else []
            if rows:
                return [Hit(_entry(row), " ".join(row["snippet"].split())) for row in rows]
        return []

    async def _hashes(self, target_ids: list[str]) -> dict[str, str]:
        sql = "SELECT target_id, content_hash FROM targets WHERE target_id IN (SELECT value FROM json_each(?))"
        return {row["target_id"]: row["content_hash"] for row in await self._database.rows(sql, (json.dumps(target_ids),))}


def _terms(words: str) -> list[str]:
    """Each word quoted, so that none is taken for search syntax; a word also stands for what begins with it."""
    wanted = [word for word in storable(words).split() if any(letter.isalnum() for letter in word)]
    return ['"' + word.replace('"', '""') + '" *' for word in wanted[:MAX_SEARCH_WORDS]]


def _recorded(target: Target, now: float) -> dict[str, Any]:
    return {
        "target_id": target.target_id,
        "target_type": target.target_type,
        "title": target.title,
        "title_words": _CAMEL.sub(" ", target.title),
        "path": target.path,
        "language": target.language,
        "start_line": target.start_line,
        "end_line": target.end_line,
        "content_hash": target.content_hash,
        "now": now,
    }


def _applied(update: Update) -> dict[str, Any]:
    findings = update.findings or Findings()
    return {
        "target_id": update.target_id,
        "target_type": update.target_type,
        "job_id": update.job_id,
        "job_created_at": update.job_created_at,
        "at": update.at,
        "ai_status": update.ai_status,
        "reason": update.reason,
        "error": update.error,
        "summary": findings.summary,
        "keywords": _listed(findings.keywords),
        "topics": _listed(findings.topics),
        "model": findings.model,
        "enriched_at": findings.enriched_at,
    }


def _listed(words: tuple[str, ...] | None) -> str | None:
    return None if words is None else json.dumps(words, ensure_ascii=False)


def _entry(row: Any) -> Entry:
    values = {field.name: row[field.name] for field in fields(Entry)}
    for name in ("keywords", "topics"):
        values[name] = tuple(json.loads(values[name])) if values[name] else ()
    return Entry(**values)
