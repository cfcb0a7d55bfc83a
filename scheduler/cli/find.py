"""``find``: searching what was learned of the targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.text import Text

from scheduler.catalog.catalog import Catalog, Entry, Hit
from scheduler.cli import options, render
from scheduler.errors import ConfigError
from scheduler.times import utc_time

#: Marks around found words that no text contains: a catalog holds no NUL, and these are not printed.
_MARKS = ("\x02", "\x03")


def find(
    words: Annotated[list[str], typer.Argument(help="What to look for; beginnings of words count", metavar="WORDS...")],
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many", metavar="N", min=1, max=1_000)] = 10,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Search titles, summaries, keywords and topics; the best match first."""
    settings = options.settings_for(config, store, assign)
    path = Path(settings.catalog.path)
    if not path.exists():
        raise ConfigError(f"there is no catalog at {path}: fill one with `scheduler enrich PATH`, or name another with [catalog] path")

    async def ask() -> list[Hit]:
        async with Catalog(path) as catalog:
            return await catalog.find(" ".join(words), limit, marks=("", "") if as_json else _MARKS)

    hits = anyio.run(ask)
    if as_json:
        render.emit_json([_hit_dict(hit) for hit in hits])
    elif not hits:
        render.say("nothing found")
    for hit in [] if as_json else hits:
        _show(hit)


def _show(hit: Hit) -> None:
    """Title and place, what was found in it, and the words it goes by."""
    entry = hit.entry
    name = render.clean(entry.title)
    place = render.clean(_place(entry))
    tags = ", ".join(entry.keywords or entry.topics)
    render.paragraph(Text.assemble((name, "bold"), "  ", (place, "dim")))
    if entry.ai_status not in (None, "completed"):
        render.paragraph(f"{entry.ai_status} {entry.reason or ''}".rstrip(), style=render.STYLES.get(str(entry.ai_status), ""), indent=4)
    if hit.snippet and _unmarked(hit.snippet) != entry.title:
        render.paragraph(_highlighted(hit.snippet), indent=4)
    if tags:
        render.paragraph(tags, style="cyan", indent=4)


def _highlighted(snippet: str) -> Text:
    """The snippet with found words in bold."""
    text = Text()
    for part in snippet.split(_MARKS[0]):
        found, ends, rest = part.partition(_MARKS[1])
        if ends:
            text.append(render.clean(found), style="bold yellow").append(render.clean(rest))
        else:
            text.append(render.clean(part))
    return text


def _unmarked(snippet: str) -> str:
    return snippet.replace(_MARKS[0], "").replace(_MARKS[1], "")


def _place(entry: Entry) -> str:
    """Where editors and terminals jump to."""
    return f"{entry.path}:{entry.start_line}"


def _hit_dict(hit: Hit) -> dict[str, Any]:
    entry = hit.entry
    return {
        "target_id": entry.target_id,
        "target_type": entry.target_type,
        "title": entry.title,
        "path": entry.path,
        "start_line": entry.start_line,
        "end_line": entry.end_line,
        "language": entry.language,
        "ai_status": entry.ai_status,
        "reason": entry.reason,
        "job_id": entry.job_id,
        "summary": entry.summary,
        "keywords": list(entry.keywords),
        "topics": list(entry.topics),
        "model": entry.model,
        "enriched_at": utc_time(entry.enriched_at),
        "stale": entry.is_stale,
        "snippet": hit.snippet,
    }
