"""How ``logs --summary`` looks."""

from __future__ import annotations

from scheduler.cli import render
from scheduler.cli.tables import Column, table
from scheduler.logread import Summary
from scheduler.logread.histogram import Spread

_COUNT = Column("lines", right=True)
_QUANTILES = tuple(Column(name, right=True) for name in ("count", "p50", "p95", "p99", "longest"))


def show(summary: Summary, as_json: bool) -> None:
    """Counts, durations, pauses, the slowest and the distinct errors."""
    if as_json:
        render.emit_json(summary.to_dict())
        return
    period = f", {summary.first_seen} to {summary.last_seen}" if summary.first_seen else ""
    malformed = f"; {render.plural(summary.malformed, 'line')} passed over: not JSON objects" if summary.malformed else ""
    render.say(f"{render.plural(summary.records, 'line')}{period}{malformed}")
    _counts("Events", "event", summary.events)
    _counts("Levels", "level", summary.levels)
    _counts("Reasons", "reason", summary.reasons)
    _spreads("Durations of attempts", summary.durations)
    _spreads("Waits from due to start", summary.waits)
    _pauses(summary)
    _slowest(summary)
    _errors(summary)


def _counts(title: str, what: str, counts: dict[str, int]) -> None:
    if counts:
        render.heading(title)
        table((what, _COUNT), [(name or "(none)", f"{count:,}") for name, count in counts.items()])


def _spreads(title: str, spreads: dict[str, Spread]) -> None:
    if spreads:
        render.heading(title)
        rows = [
            (name, f"{one.count:,}", render.span(one.p50_s), render.span(one.p95_s), render.span(one.p99_s), render.span(one.max_s))
            for name, one in spreads.items()
        ]
        table(("task type", *_QUANTILES), rows)


def _pauses(summary: Summary) -> None:
    if not summary.pauses:
        return
    earlier = f" ({summary.pauses_earlier:,} earlier ones not shown)" if summary.pauses_earlier else ""
    render.heading(f"Pauses{earlier}")
    rows = []
    for pause in summary.pauses:
        end = pause.end if pause.end is not None else pause.until
        took = "not over" if end is None else render.span(max(0.0, end - pause.start))
        ended = f"resumed: {pause.resumed_by}" if pause.end is not None else "by its time" if end is not None else "by nobody yet"
        rows.append((render.local_time(pause.start), pause.scope, took, pause.reason, f"{pause.times:,}", ended, pause.job_id))
    columns = (
        "from",
        Column("closed", fit="end"),
        Column("for", right=True),
        "reason",
        Column("set", right=True),
        "ended",
        Column("first job", minor=True),
    )
    table(columns, rows)


def _slowest(summary: Summary) -> None:
    if summary.slowest:
        render.heading("Slowest attempts")
        rows = [(render.span(one.duration_s), one.task_type, one.attempt, one.event, one.target_id, one.job_id) for one in summary.slowest]
        attempt = Column("attempt", right=True, minor=True)
        table((Column("took", right=True), Column("task type", fit="end"), attempt, "event", Column("target", fit="start"), "job"), rows)


def _errors(summary: Summary) -> None:
    if not summary.errors:
        return
    more = summary.errors_distinct - len(summary.errors)
    rest = f"; {more:,} rarer ones not shown" if more > 0 else ""
    render.heading(f"Errors ({summary.errors_distinct:,} distinct{rest})")
    rows = [(f"{one.count:,}", one.reason, render.shortened(one.sample, 200), one.sample_job_id) for one in summary.errors]
    table((Column("times", right=True), "reason", Column("for example", fit="wrap"), "job"), rows)
