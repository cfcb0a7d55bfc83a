"""What a run of jobs leaves to read: counts, the slowest, a few results, where the rest is."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.cli import render
from scheduler.cli.tables import Column, table
from scheduler.cli.tally import Sample, Tally
from scheduler.pauses import PauseWindow
from scheduler.views.jobs import body

_SLOW_FROM_S = 0.001


def show_run(tally: Tally, seconds: float) -> None:
    """Counts by status and reason, and the slowest."""
    ended = tally.done
    rate = f", {ended / seconds:,.0f}/s" if ended >= 10 * seconds > 0 else ""
    render.say(f"{render.plural(ended, 'job')} ended in {render.span(seconds)}{rate}")
    show_counts(tally)
    show_slowest(tally)


def show_counts(tally: Tally) -> None:
    rows = tally.by_status_and_reason()
    if rows:
        render.heading("Jobs")
        table(("status", "reason", Column("jobs", right=True)), [(status, reason, f"{count:,}") for status, reason, count in rows])


def show_slowest(tally: Tally) -> None:
    slowest = [slow for slow in tally.slowest if slow.duration_s >= _SLOW_FROM_S]
    if slowest:
        render.heading("Slowest")
        rows = [(render.span(slow.duration_s), slow.task_type, slow.target_id, slow.job_id) for slow in slowest]
        table((Column("took", right=True), Column("task type", fit="end"), Column("target", fit="start"), "job"), rows)


def show_samples(tally: Tally) -> None:
    """A few results, so that a reader sees what the work was good for."""
    samples = [sample for of_a_kind in tally.samples.values() for sample in of_a_kind]
    if not samples:
        return
    render.heading("Some results")
    for sample in samples:
        render.paragraph(render.tail(sample.job.target_id, 76), style="bold")
        for line in _gist(sample):
            render.paragraph(line, indent=4)


def _gist(sample: Sample) -> list[str]:
    """What a result says: an enrichment's fields, or the beginning of whatever else it is."""
    result = body(sample.result_json)
    if not isinstance(result, dict):
        return [render.shortened(str(result), 200)]
    lines = []
    if isinstance(result.get("summary"), str) and result["summary"]:
        lines.append(render.shortened(result["summary"], 200))
    for name in ("keywords", "topics"):
        if isinstance(result.get(name), list) and result[name]:
            lines.append(f"{name}: " + render.shortened(", ".join(map(str, result[name])), 150))
    return lines or [render.shortened(sample.result_json, 200)]


def pauses_line(windows: Iterable[PauseWindow], now: float) -> str:
    """What is closed, in one line; empty when nothing is."""
    parts = []
    for window in windows:
        if not window.is_open(now):
            left = window.until - now
            until = "until resumed" if left == float("inf") else f"for {render.span(left)}" if left > 0 else "probing"
            parts.append(f"{window.scope} {until} ({window.reason})")
    return "paused: " + ", ".join(parts) if parts else ""
