"""``jobs``, ``show``, ``cancel``, ``retry`` and ``delete``: looking at jobs and moving them by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import anyio
import typer

from scheduler.batches import Batch
from scheduler.cli import options, render
from scheduler.cli.tables import Column, table
from scheduler.clock import SystemClock
from scheduler.errors import NotFoundError, SchedulerError
from scheduler.job import Item, Job, Ledger, Status
from scheduler.runtime import Scheduler
from scheduler.views.jobs import JobDetails, JobView, body

JobIds = Annotated[list[str] | None, typer.Argument(help="Jobs by id", metavar="[ID]...", show_default=False)]
_COLUMNS = (
    Column("job"),
    Column("status"),
    Column("reason"),
    Column("task type", fit="end"),
    Column("target", fit="start"),
    Column("attempts", right=True, minor=True),
    Column("age", right=True, minor=True),
)


def jobs(
    status: options.Statuses = None,
    reason: options.Reasons = None,
    task_type: options.TaskTypes = None,
    target_type: options.TargetType = None,
    target_id: options.TargetId = None,
    owner: options.Owner = None,
    batch: options.Batch = None,
    text: options.Text = None,
    since: options.Since = None,
    until: options.Until = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many", metavar="N")] = 50,
    before: Annotated[str | None, typer.Option("--before", help="Only jobs older than this one: the next page", metavar="ID")] = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """List jobs, newest first."""

    async def ask() -> list[Job]:
        async with options.opened(options.settings_for(config, store, assign)) as scheduler:
            before_seq = None if before is None else (await _known(scheduler, before, owner)).seq
            return await scheduler.jobs(
                status=status,
                reason=reason,
                task_type=task_type,
                target_type=target_type,
                target_id=target_id,
                owner=owner,
                batch=batch,
                text=text,
                created_after=since,
                created_before=until,
                limit=limit,
                before_seq=before_seq,
            )

    found = anyio.run(ask)
    if as_json:
        render.emit_json([JobView.of(job) for job in found])
    elif not found:
        render.say("no jobs")
    else:
        table(_COLUMNS, map(_row, found))
        if len(found) == limit:
            render.note(f"there may be more: --before {found[-1].job_id}")


def _row(job: Job) -> tuple[Any, ...]:
    target = f"{job.target_type} {job.target_id}".strip()
    age = render.span(max(0.0, SystemClock.now() - job.created_at))
    return job.job_id, job.status, job.reason, job.task_type, target, job.attempts, age


def show(
    job_id: Annotated[str, typer.Argument(help="The job", metavar="ID")],
    owner: options.Owner = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Show everything about one job."""

    async def ask() -> tuple[Job, list[Ledger], float | None]:
        async with options.opened(options.settings_for(config, store, assign)) as scheduler:
            job = await _known(scheduler, job_id, owner)
            return job, await scheduler.ledgers(job_id), await scheduler.ends_at(job)

    job, ledgers, ends_at = anyio.run(ask)
    if as_json:
        render.emit_json(JobDetails.with_ledgers(job, ledgers, ends_at))
        return
    render.facts([*_facts(job), *_long(job, ledgers, ends_at)])
    for name, text in (("payload", job.payload_json), ("result", job.result_json), ("checkpoint", job.state_json)):
        if text is not None:
            render.heading(name)
            value = body(text)
            render.say(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def _long(job: Job, ledgers: Sequence[Ledger], ends_at: float | None) -> list[tuple[str, Any]]:
    """What there is to say of a long job: its passes, how fast it goes, when it will be done."""
    facts: list[tuple[str, Any]] = []
    for ledger in ledgers:
        total = "?" if ledger.total is None else f"{ledger.total:,}"
        told = [f"{ledger.done + ledger.failed:,}/{total}", *([f"{ledger.failed:,} failed"] if ledger.failed else [])]
        told += [f"{value:g} {name}" for name, value in ledger.counters.items()]
        facts.append((ledger.name, ", ".join(told)))
    progress = job.progress
    if progress is not None and progress.rate is not None and not job.status.is_terminal:
        facts.append(("rate", f"{progress.rate * 60:.3g} % a minute of work"))
    if ends_at is not None:
        facts.append(("done at about", f"{render.local_time(ends_at)} (in {render.span(max(0.0, ends_at - SystemClock.now()))})"))
    return facts


def items(
    job_id: Annotated[str, typer.Argument(help="The job", metavar="ID")],
    name: Annotated[str, typer.Option("--pass", help="Which pass over its items", metavar="NAME")] = "items",
    failed: Annotated[bool, typer.Option("--failed", help="Only items that failed")] = False,
    after: Annotated[int, typer.Option("--after", help="Only items behind this position: the next page", metavar="POSITION")] = -1,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many", metavar="N")] = 50,
    owner: options.Owner = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """List what a long job recorded of its items: each item's outcome and error."""

    async def ask() -> list[Item]:
        async with options.opened(options.settings_for(config, store, assign)) as scheduler:
            return await scheduler.items(job_id, name, failed=True if failed else None, owner=owner, after=after, limit=limit)

    found = anyio.run(ask)
    if as_json:
        render.emit_json(
            [{"position": item.position, "key": item.key, "ok": item.ok, "error": item.error, "value": item.value} for item in found]
        )
    elif not found:
        render.say("no items")
    else:
        words = {True: "done", False: "failed", None: "to be tried again"}
        rows = [(item.position, item.key, words[item.ok], item.error or item.value_json or "") for item in found]
        table((Column("position", right=True), Column("item", fit="end"), "outcome", Column("error or result", fit="end")), rows)
        if len(found) == limit:
            render.note(f"there may be more: --after {found[-1].position}")


def batch(
    name: Annotated[str, typer.Argument(help="The batch", metavar="NAME")],
    owner: options.Owner = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Show how a batch of jobs stands."""

    async def ask() -> Batch:
        async with options.opened(options.settings_for(config, store, assign)) as scheduler:
            found = await scheduler.batch(name, owner=owner)
            if found is None:
                raise NotFoundError(f"there is no batch {name}")
            return found

    found = anyio.run(ask)
    if as_json:
        render.emit_json(found.to_dict())
        return
    counts = [(str(status), f"{count:,}") for status, count in sorted(found.by_status.items())]
    render.facts([("batch", found.name), ("jobs", f"{found.total:,}"), ("ended", f"{found.ended:,} ({found.percent:.4g} %)"), *counts])


def _facts(job: Job) -> list[tuple[str, Any]]:
    finished = job.finished_at
    took = None if finished is None or job.started_at is None else render.span(max(0.0, finished - job.started_at))
    allowed = "" if job.max_attempts is None else f" of {job.max_attempts}"
    progress = body(job.progress_json)
    waits = job.status.is_waiting and job.run_after > SystemClock.now()
    return [
        ("job", job.job_id),
        ("task type", job.task_type),
        ("target", f"{job.target_type} {job.target_id}".strip() or None),
        ("status", job.status),
        ("reason", job.reason),
        ("error", job.error),
        ("attempts", f"{job.attempts}{allowed}"),
        ("crashes", job.crashes or None),
        ("priority", job.priority or None),
        ("time limit", None if job.timeout_s is None else render.span(job.timeout_s)),
        ("unique key", job.unique_key),
        ("owner", job.owner),
        ("batch", job.batch),
        ("waits for", render.plural(job.blockers, "other") if job.blockers else None),
        ("paused", "yes, by hand" if job.held else None),
        ("worker", job.worker),
        ("progress", None if not isinstance(progress, dict) else f"{progress.get('percent')} % {progress.get('message') or ''}".strip()),
        ("created", render.local_time(job.created_at)),
        ("due", render.local_time(job.run_after) if waits else None),
        ("put off since", render.local_time(job.waiting_since) if job.status.is_waiting else None),
        ("started", render.local_time(job.started_at)),
        ("finished", render.local_time(finished)),
        ("took", took),
    ]


def cancel(
    ids: JobIds = None,
    status: options.Statuses = None,
    reason: options.Reasons = None,
    task_type: options.TaskTypes = None,
    target_type: options.TargetType = None,
    target_id: options.TargetId = None,
    owner: options.Owner = None,
    batch: options.Batch = None,
    text: options.Text = None,
    since: options.Since = None,
    until: options.Until = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Cancel jobs that wait or run, by id or all that match. What has ended is left alone."""
    which = _which(
        ids, owner, status=status, reason=reason, task_type=task_type, target_type=target_type, target_id=target_id, batch=batch,
        text=text, created_after=since, created_before=until,
    )  # fmt: skip

    async def change() -> list[Job]:
        async with options.opened(options.settings_for(config, store, assign)) as scheduler:
            if not ids:
                return await scheduler.cancel(owner=owner, **which)
            known = [await _known(scheduler, job_id, owner) for job_id in ids]
            return _told(known, [job for one in known for job in await scheduler.cancel(one.job_id, owner=owner)])

    _report("cancelled", anyio.run(change), as_json)


def retry(
    ids: JobIds = None,
    failed_items: Annotated[
        bool, typer.Option("--failed-items", help="Of long jobs: only if some of their items failed; runs just those")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="From the start: forget checkpoints and what is recorded of items")] = False,
    status: options.Statuses = None,
    reason: options.Reasons = None,
    task_type: options.TaskTypes = None,
    target_type: options.TargetType = None,
    target_id: options.TargetId = None,
    owner: options.Owner = None,
    batch: options.Batch = None,
    text: options.Text = None,
    since: options.Since = None,
    until: options.Until = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Send failed or cancelled jobs back with fresh attempts, by id or all that match. Others are left alone."""
    which = _which(
        ids, owner, status=status, reason=reason, task_type=task_type, target_type=target_type, target_id=target_id, batch=batch,
        text=text, created_after=since, created_before=until,
    )  # fmt: skip

    async def change() -> list[Job]:
        async with options.opened(options.settings_for(config, store, assign)) as scheduler:
            if not ids:
                return await scheduler.retry(owner=owner, failed_items=failed_items, restart=restart, **which)
            known = [await _known(scheduler, job_id, owner) for job_id in ids]
            how: dict[str, Any] = {"owner": owner, "failed_items": failed_items, "restart": restart}
            return _told(known, [job for one in known for job in await scheduler.retry(one.job_id, **how)])

    _report("retried", anyio.run(change), as_json)


def delete(
    ids: Annotated[list[str], typer.Argument(help="Jobs by id", metavar="ID...")],
    owner: options.Owner = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Delete jobs with all that is recorded of them; what has not ended is cancelled first."""

    async def change() -> list[Job]:
        async with options.opened(options.settings_for(config, store, assign)) as scheduler:
            known = [await _known(scheduler, job_id, owner) for job_id in dict.fromkeys(ids)]
            for one in known:
                await scheduler.delete(one.job_id, owner=owner)
            return known

    _report("deleted", anyio.run(change), as_json)


def _which(ids: list[str] | None, owner: str | None, **words: Any) -> dict[str, Any]:
    """What a bulk verb selects by. Raises for ids and filters together, and for neither."""
    given = {name: value for name, value in words.items() if value}
    if ids and given:
        raise SchedulerError("give job ids or filters, not both")
    if not ids and not given and owner is None:
        raise SchedulerError(
            "say which jobs: ids, or at least one of --status, --reason, --type, --target-type, --target-id, --batch, --text, --since, "
            "--until, --owner"
        )
    return given


async def _known(scheduler: Scheduler, job_id: str, owner: str | None) -> Job:
    job = await scheduler.get(job_id, owner=owner)
    if job is None:
        raise NotFoundError(f"there is no job {job_id}")
    return job


def _told(known: Sequence[Job], changed: list[Job]) -> list[Job]:
    """Say which of the named jobs were left alone, and why."""
    moved = {job.job_id for job in changed}
    for job in known:
        if job.job_id not in moved:
            render.note(f"{job.job_id} is {job.status}: left alone")
    return changed


def _report(done: str, changed: list[Job], as_json: bool) -> None:
    """How many were changed, by what they were."""
    was = Counter(job.status for job in changed)
    counts = {str(status): was[status] for status in Status if was[status]}
    if as_json:
        render.emit_json({done: len(changed), "was": counts})
        return
    detail = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    render.say(f"{done} {render.plural(len(changed), 'job')}" + (f" (were: {detail})" if detail else ""))
