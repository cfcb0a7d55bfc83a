"""What ``watch`` shows: one look at a service as lines that fit a terminal. Pure.

The same lines whether the look was taken at a store or at a URL. Does not belong here: looking (``looking.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel, Field
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from scheduler.cli.render import STYLES, clean, local_time, plural
from scheduler.job import FAILED, TERMINAL, Status
from scheduler.times import epoch, span
from scheduler.views.jobs import JobSummary
from scheduler.views.operating import BucketView, PauseView, PoolView, StatsView, WorkerView

#: Two columns from this width on.
WIDE = 120
_GAP = 3
_BARS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEAST_ROWS = 2
#: A picture that is older says so.
_STALE_S = 5.0
#: Cells of a job's bar, and of how long it takes.
_BAR, _TIME = 10, 14


class Look(BaseModel):
    """What was seen ``at`` a time (seconds since the epoch). ``pools`` and ``workers`` are null where they are not the asker's to see."""

    at: float
    source: str
    stats: StatsView
    running: list[JobSummary] = Field(description="The newest of them")
    failed: list[JobSummary] = Field(description="The newest of them")
    bucket_s: float
    buckets: list[BucketView]
    pools: list[PoolView] | None
    workers: list[WorkerView] | None


@dataclass(frozen=True, slots=True)
class _Section:
    """A title, its rows, and what it says where there are none. ``more`` counts rows that were not even asked for."""

    title: str
    rows: list[Text]
    otherwise: str = "none"
    more: int = 0

    def lines(self, height: int, width: int) -> list[Text]:
        """Itself in ``height`` lines; the title says how many rows there are where not all of them have room."""
        rows = (self.rows or [Text(self.otherwise, style="dim")])[: max(0, height - 1)]
        title = Text(self.title, style="bold")
        total = len(self.rows) + self.more
        if total > len(rows):
            title.append(f"  {len(rows):,} of {total:,}", style="not bold dim")
        return [_fitted(line, width) for line in [title, *rows][:height]]

    @property
    def wanted(self) -> int:
        return 1 + max(1, len(self.rows))


def picture(look: Look, now: float, width: int, height: int, trouble: str = "") -> list[Text]:
    """At most ``height`` lines of at most ``width`` cells. ``trouble``: why there is nothing newer than ``look``."""
    head = [_title(look, now, trouble), *_counts(look.stats, width), _throughput(look, width)]
    lines = [_fitted(line, width) for line in head[:height]]
    running = _Section("Running", _running(look, now), "nothing", max(0, look.stats.by_status.get("processing", 0) - len(look.running)))
    failures = _Section("Failed or put off", list(_failures(look, now)))
    pauses = _Section("Paused", [_pause(one, look.at, now) for one in look.stats.pauses])
    pools = [] if look.pools is None else [_Section("Pools", [_pool(one) for one in look.pools])]
    nobody = "none: start one with `scheduler serve`"
    workers = [] if look.workers is None else [_Section("Workers", [_worker(one, look.at, now) for one in look.workers], nobody)]
    room = height - len(lines)
    if width < WIDE:
        return [*lines, *_stacked([running, pauses, *pools, failures, *workers], room, width)]
    left = (width - _GAP) * 11 // 20
    right = width - _GAP - left
    return [*lines, *_beside(_stacked([running, failures], room, left), _stacked([pauses, *pools, *workers], room, right), left)]


def _stacked(sections: list[_Section], room: int, width: int) -> list[Text]:
    """One below the other, a blank line before each: what there is room for, shared out fairly, the first first."""
    heights = [0] * len(sections)
    for place in range(len(sections)):  # a title and a row for as many as there is room for
        if room >= _LEAST_ROWS + 1:
            heights[place] = _LEAST_ROWS
            room -= _LEAST_ROWS + 1
    while room > 0 and (growing := [place for place, one in enumerate(sections) if 0 < heights[place] < one.wanted]):
        for place in growing[:room]:
            heights[place] += 1
        room -= len(growing[:room])
    lines: list[Text] = []
    for section, height in zip(sections, heights, strict=True):
        if height:
            lines += [Text(), *section.lines(height, width)]
    return lines


def _beside(left: list[Text], right: list[Text], width: int) -> list[Text]:
    lines = []
    for place in range(max(len(left), len(right))):
        line = left[place].copy() if place < len(left) else Text()
        if place < len(right) and right[place].plain:
            line.append(" " * (width - cell_len(line.plain) + _GAP))
            line.append_text(right[place])
        lines.append(line)
    return lines


# -- the head


def _title(look: Look, now: float, trouble: str) -> Text:
    at = (local_time(now) or "")[11:19]
    line = Text.assemble(("scheduler ", "bold"), clean(look.source), f"  {at}")
    if trouble or now - look.at > _STALE_S:
        line.append(f"  as of {_about(now - look.at)} ago" + (f", {_line(trouble)}" if trouble else ""), style="yellow")
    return line


def _counts(stats: StatsView, width: int) -> list[Text]:
    """Unfinished ones by status, then how the others ended; on further lines where one is too short."""
    by_status = stats.by_status
    failed = sum(by_status.get(str(status), 0) for status in FAILED)
    shown = [(str(status), by_status.get(str(status), 0), STYLES.get(status, "")) for status in Status if status not in TERMINAL]
    shown += [("completed", by_status.get("completed", 0), "green"), ("failed", failed, "red")]
    shown += [("cancelled", by_status.get("cancelled", 0), "dim")]
    always = {"pending", "processing", "completed", "failed"}
    lines = [Text(f"{plural(stats.total, 'job')}:")]
    for name, count, style in [one for one in shown if one[1] or one[0] in always]:
        told = f" {count:,} {name}"
        if not lines[-1].plain.endswith(":"):
            lines[-1].append(",")
        if cell_len(lines[-1].plain + told) >= width:
            lines.append(Text(" "))
        lines[-1].append(told, style=style if count else "dim")
    return lines


def _throughput(look: Look, width: int) -> Text:
    """A bar for each stretch of time, the last one under way."""
    ended = [one.completed + one.failed + one.cancelled for one in look.buckets]
    failed = sum(one.failed for one in look.buckets)
    minutes = len(ended) * look.bucket_s / 60.0
    whole = ended[-1 - max(1, round(60.0 / look.bucket_s)) : -1]  # the last minute, without what is under way
    rate = sum(whole) / (len(whole) * look.bucket_s / 60.0) if whole else 0.0
    line = Text(f"last {minutes:.0f} min ")
    line.append(sparkline(ended[-max(1, width - 58) :]), style="green")
    line.append(f" {rate:,.0f} a minute now, {sum(ended):,} ended")
    if failed:
        line.append(f", {failed:,} failed", style="red")
    return line


def sparkline(values: Iterable[float]) -> str:
    """A character for each value; nothing is a blank line's height, and the largest is full."""
    known = list(values)
    most = max(known, default=0)
    if most <= 0:
        return _BARS[0] * len(known)
    return "".join(_BARS[0] if value <= 0 else _BARS[max(1, round(value / most * (len(_BARS) - 1)))] for value in known)


def bar(percent: float, width: int) -> str:
    """A bar that is as full as ``percent`` says, in eighths of a cell."""
    eighths = round(max(0.0, min(100.0, percent)) / 100.0 * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[part] if part else "")).ljust(width)


# -- rows


def _running(look: Look, now: float) -> list[Text]:
    """Those that say how far they are first, then the longest running."""
    order = sorted(look.running, key=lambda job: (job.progress is None, job.started_at or "", job.seq))
    return [_job(job, now) for job in order]


def _job(job: JobSummary, now: float) -> Text:
    progress, began = job.progress, epoch(job.started_at)
    line = Text()
    if progress is None:
        line.append("·" * _BAR + " " * 5, style="dim")
    else:
        line.append(bar(progress.percent, _BAR), style="blue on grey23")
        line.append(f" {progress.percent:3.0f}%")
    if progress is not None and progress.left_s is not None:
        line.append(f" {_about(progress.left_s)} left".ljust(_TIME), style="dim")
    else:
        line.append((f" for {_about(now - began)}" if began is not None else "").ljust(_TIME), style="dim")
    line.append(f"{_line(job.task_type)} {_target(job)}".rstrip())
    parts = [f"attempt {job.attempts}"] if job.attempts > 1 else []
    parts += [_line(progress.message)] if progress is not None and progress.message else []
    return line.append("  " + ", ".join(parts), style="dim") if parts else line


def _pause(pause: PauseView, at: float, now: float) -> Text:
    """Counting down from what was left when it was looked at."""
    if pause.remaining_s is None:
        ends = "until resumed"
    else:
        left = pause.remaining_s - (now - at)
        ends = f"{_about(left)} left" if left >= 0.5 else "its time is up, one goes first"
    line = Text.assemble((_line(pause.scope), "yellow"), f"  {ends}  {_line(pause.reason)}")
    if pause.strikes > 1:
        line.append(f", {pause.strikes} in a row")
    others = [name for name in pause.task_types if name != pause.scope]
    return line.append(f"  holds {_line(', '.join(others))}", style="dim") if others else line


def _pool(pool: PoolView) -> Text:
    more = pool.model_extra or {}
    state = str(more.get("state", ""))
    line = Text.assemble(_line(pool.name), "  ", (_line(state), STYLES.get(state, "")))
    pace, most = more.get("calls_per_minute"), more.get("max_in_flight")
    if pace is not None:
        line.append(f"  {pace:,.0f}/min")
    line.append(f"  {more.get('in_flight', 0):,}" + (f" of {most:,}" if most is not None else "") + " in flight")
    if more.get("waiting"):
        line.append(f", {more['waiting']:,} waiting")
    calls = more.get("calls_last_minute")
    return line.append(f"  {calls:,.0f} calls in the last minute", style="dim") if calls else line


def _failures(look: Look, now: float) -> Iterator[Text]:
    """By reason, those first of which something failed last; each with its last error."""
    newest: dict[str, JobSummary] = {}
    for job in sorted(look.failed, key=lambda job: job.finished_at or "", reverse=True):
        newest.setdefault(job.reason or str(job.status), job)
    for reason, job in newest.items():
        ended = epoch(job.finished_at)
        line = Text.assemble((_line(reason), "red"), f"  {look.stats.reasons.get(reason, 1):,}")
        if ended is not None:
            line.append(f", last {_about(now - ended)} ago", style="dim")
        yield line.append(f"  {_line(job.task_type)}: {_line(job.error or '')}")
    for reason, count in look.stats.reasons.items():
        if reason not in newest:
            yield Text.assemble((_line(reason), "yellow"), f"  {count:,}")


def _worker(worker: WorkerView, at: float, now: float) -> Text:
    lives = worker.state == "living"
    line = Text.assemble(_line(worker.worker), "  ", (worker.state, "green" if lives else "red"), f"  {worker.running:,} running")
    silent_s = worker.silent_s + max(0.0, now - at)
    return line.append(f"  {_line(worker.host)}, last beat {_about(silent_s)} ago", style="dim")


def _target(job: JobSummary) -> str:
    return _line(" ".join(filter(None, (job.target_type, job.target_id))))


def _about(seconds: float) -> str:
    """To the second: what changes all the time should not dance."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else span(whole)


def _line(text: str) -> str:
    """What somebody wrote, on one line, with what a terminal would act on made visible."""
    return clean(" ".join(text[:1_000].split()))


def _fitted(line: Text, width: int) -> Text:
    """Cut to ``width`` cells."""
    if cell_len(line.plain) <= width:
        return line
    kept = set_cell_size(line.plain, max(0, width - 1)).rstrip(" ")
    short = line[: len(kept)]
    return short.append("…")
