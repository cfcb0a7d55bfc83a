"""``pools``: what is known of each provider's quota, and what its calls are waiting for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import anyio
import typer

from scheduler.cli import options, render
from scheduler.cli.pauses import registry_or_none
from scheduler.cli.tables import Column, table
from scheduler.clock import SystemClock
from scheduler.errors import NotFoundError
from scheduler.pauses import MANUAL, POOL_PREFIX, pool_scope
from scheduler.pools.hold import Door
from scheduler.pools.records import CONFIGURED, KnownLimit, MeanCall, Portrait
from scheduler.pools.sentence import count, figure, words
from scheduler.views.operating import PoolView, task_types_of

_PERIODS = {1.0: "s", 60.0: "min", 3_600.0: "h", 86_400.0: "day", 2_592_000.0: "month"}
_NONE = """no pools. A pool is one provider quota (an account and its group of models) that task types share: its calls are paced
together, and when the provider says "later" to one of them, all of them wait. Name it at the handler,
@routes.handler("my_task", pool="main"), or in config.toml, [task_types.my_task] pool = "main". What you know of its limits goes
under [pools.main]; the rest is learned."""


def pools(
    name: Annotated[str | None, typer.Argument(help="Show only this pool, in detail", metavar="NAME")] = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Show provider quotas: limits and who told them, the pace that follows, what is in flight, waits or is held."""
    settings = options.settings_for(config, store, assign)
    registry = registry_or_none(settings)

    async def ask() -> list[Portrait]:
        async with options.opened(settings, routes=registry) as scheduler:
            return await scheduler.pools()

    seen = anyio.run(ask)
    now = SystemClock.now()
    users = task_types_of(settings, None if registry is None else registry.freeze())
    if name is not None:
        one = _named(name, seen)
        drawing = users.get(pool_scope(one.name), [])
        if as_json:
            render.emit_json(PoolView.of(one, now, drawing))
        else:
            _show_one(one, now, drawing)
    elif as_json:
        render.emit_json([PoolView.of(one, now, users.get(pool_scope(one.name), [])) for one in seen])
    elif seen:
        _show_all(seen, now)
    else:
        render.paragraph(" ".join(_NONE.split()))


def _named(name: str, seen: list[Portrait]) -> Portrait:
    """The pool that is meant; its scope, which ``pause`` and ``resume`` take, means it too."""
    by_name = {one.name: one for one in seen}
    found = by_name.get(name) or by_name.get(name.removeprefix(POOL_PREFIX))
    if found is None:
        others = f"; there are {', '.join(map(repr, by_name))}" if by_name else ", nor any other: `scheduler pools` says how to get one"
        raise NotFoundError(f"there is no pool {name!r}{others}")
    return found


# -- all of them


def _show_all(seen: list[Portrait], now: float) -> None:
    columns = (
        Column("pool", fit="end"),
        "state",
        Column("calls/min", right=True),
        Column("limited by", fit="start"),
        Column("last min", right=True),
        Column("in flight", right=True),
        Column("waiting", right=True),
        Column("rejected", right=True, minor=True),
        Column("workers", right=True, minor=True),
    )
    table(
        columns,
        [
            (
                one.name,
                one.state,
                None if one.calls_per_minute is None else figure(one.calls_per_minute),
                _limited_by(one),
                f"{one.calls_last_minute:,.0f}",
                _in_flight(one),
                f"{one.waiting:,}",
                _rejected(one, now),
                len(one.workers),
            )
            for one in seen
        ],
    )
    render.say()
    for one in seen:
        render.paragraph(f"{one.name}: {one.summary}")


def _limited_by(one: Portrait) -> str:
    binding = one.binding
    if binding is None or one.is_searching:
        return "nothing known yet"
    return f"{binding.dimension}_per_minute" if binding.signal == CONFIGURED else binding.signal


def _pace(one: Portrait) -> str | None:
    if one.calls_per_minute is None:
        return None
    return f"{figure(one.calls_per_minute)} calls a minute, " + ("a trial" if one.is_searching else f"by {_limited_by(one)}")


def _in_flight(one: Portrait) -> str:
    return f"{one.in_flight:,}" if one.max_in_flight is None else f"{one.in_flight:,} of {one.max_in_flight:,}"


def _rejected(one: Portrait, now: float) -> str | None:
    last = one.last_rejection
    return None if last is None else f"{one.rejections:,}, {_ago(last.at, now)}"


# -- one of them


def _show_one(one: Portrait, now: float, task_types: list[str]) -> None:
    render.paragraph(f"{one.name}: {one.summary}")
    render.say()
    mean, last = one.mean_call, one.last_rejection
    whence = {CONFIGURED: " (as configured)", "learned": " (learned from overload)"}.get(one.max_in_flight_from or "", "")
    render.facts(
        [
            ("state", one.state),
            ("task types", ", ".join(task_types) or "none that is known here"),
            ("pace", _pace(one)),
            ("last minute", f"{one.calls_last_minute:,.0f} calls"),
            ("in flight", _in_flight(one) + whence),
            ("waiting", f"{one.waiting:,}"),
            ("a call uses", None if mean is None else _usual(mean)),
            ("rejected", None if last is None else f"{one.rejections:,} in all; last {_ago(last.at, now)}: {last.reason}"),
            *_held(one, now),
            *_pause(one, now),
        ]
    )
    if one.limits:
        render.heading("Limits")
        _show_limits(one.limits)
    if one.workers:
        render.heading("Workers")
        rows = [(each.worker, f"{each.in_flight:,}", f"{each.waiting:,}", _ago(each.seen_at, now)) for each in one.workers]
        table((Column("worker", fit="end"), Column("in flight", right=True), Column("waiting", right=True), "heard of"), rows)


def _show_limits(limits: tuple[KnownLimit, ...]) -> None:
    columns = (
        Column("signal", fit="start"),  # ends of names tell them apart
        Column("limit", right=True),
        Column("last min", right=True),
        Column("left", right=True),
        Column("as said", right=True, minor=True),
        Column("calls/min", right=True),
        "pace",
        Column("kind", minor=True),
    )
    table(
        columns,
        [
            (
                one.signal,
                "none known" if one.limit is None else f"{count(one.limit)} {words(one)}/{_period(one.period_s)}",
                f"{one.used_last_minute:,.0f}" if one.used_today is None else f"today {one.used_today:,.0f}",
                None if one.remaining is None else count(one.remaining),
                None if one.remaining_age_s is None else f"{render.span(one.remaining_age_s)} ago",
                None if one.calls_per_minute is None else figure(one.calls_per_minute),
                ", ".join(_notes(one)),
                one.kind,
            )
            for one in limits
        ],
    )


def _period(period_s: float | None) -> str:
    return "" if period_s is None else _PERIODS.get(period_s) or render.span(period_s)


def _notes(one: KnownLimit) -> Iterator[str]:
    if one.binds:
        yield "binds"
    if one.is_slowed:
        yield "slowed"
    if one.limit is not None and one.pace_per_minute is None:
        yield "counted"


def _usual(mean: MeanCall) -> str:
    return f"{mean.input_tokens:,.0f} tokens in, {mean.output_tokens:,.0f} out on average ({render.plural(mean.calls, 'call')} measured)"


def _held(one: Portrait, now: float) -> Iterator[tuple[str, str]]:
    held = one.held
    if held is None:
        return
    ends = f"until {render.local_time(held.until) or 'resumed by hand'}"
    if held.door is Door.TRYING:
        ends = f"a call of {held.probe_of} is trying"
    elif held.door is Door.ONE:
        ends = "its time is up, the next call goes alone and tries"
    yield "held", f"{held.reason}; {ends}"
    yield "held since", _ago(held.since, now) + (f", {held.strikes:,} times in a row" if held.strikes > 1 else "")


def _pause(one: Portrait, now: float) -> Iterator[tuple[str, str]]:
    window = one.pause
    if window is None:
        return
    until = render.local_time(window.until)
    ends = f"until {until}" if until else "until resumed by hand"
    yield "paused", f"{window.reason}; {'its time is up, one job goes first' if window.ran_out(now) else ends}"
    yield "paused by", "hand" if window.reason == MANUAL else f"job {window.set_by}"


def _ago(at: float, now: float) -> str:
    return f"{render.span(max(0.0, now - at))} ago"
