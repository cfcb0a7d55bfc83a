"""The stored pause windows. Whoever changes them holds the gates' lock alone, while claims share it: so a pause that is
stored binds every claim that comes after, whatever process it comes from.

Does not belong here: how long a pause lasts, or what it lets through (``scheduler/pauses.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scheduler import pauses
from scheduler.pauses import PauseWindow
from scheduler.stores.postgres.rows import PAUSE_COLUMNS
from scheduler.stores.postgres.session import Session

#: To begin a transaction with.
LOCK = "SELECT pg_advisory_xact_lock(@gates@)"


async def pause(session: Session, wishes: Sequence[tuple[str, float, float]]) -> list[PauseWindow]:
    made: list[PauseWindow] = []
    async with session.transaction(synced=True, also=LOCK):
        windows = await windows_of(session)
        for scope, until, now in wishes:
            windows[scope] = pauses.paused_by_hand(windows.get(scope), scope, until, now)
            made.append(windows[scope])
        await save(session, {window.scope: windows[window.scope] for window in made}.values())
    return made


async def resume(session: Session, scopes: Sequence[str]) -> list[PauseWindow | None]:
    async with session.transaction(synced=True, also=LOCK):
        windows = await windows_of(session)
        await remove(session, scopes)
    return [windows.pop(scope, None) for scope in scopes]


async def reopen(session: Session, wishes: Sequence[tuple[str, float]]) -> list[bool]:
    removed: list[bool] = []
    async with session.transaction(synced=False, also=LOCK):
        windows = await windows_of(session)
        for scope, now in wishes:
            window = windows.get(scope)
            removed.append(window is not None and window.ran_out(now))
            if removed[-1]:
                del windows[scope]
                await remove(session, [scope])
    return removed


async def stored(session: Session, askers: Sequence[None]) -> list[list[PauseWindow]]:
    windows = sorted((await windows_of(session)).values(), key=lambda window: window.scope)
    return [list(windows) for _ in askers]


async def windows_of(session: Session) -> dict[str, PauseWindow]:
    rows = await session.fetch(f"SELECT {PAUSE_COLUMNS} FROM @schema@.pauses")
    return {window.scope: window for window in map(session.times.window, rows)}


async def save(session: Session, windows: Iterable[PauseWindow]) -> None:
    for window in windows:
        await session.fetch(
            f"INSERT INTO @schema@.pauses ({PAUSE_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (scope) DO UPDATE SET "
            "until_us = excluded.until_us, reason = excluded.reason, set_us = excluded.set_us, set_by = excluded.set_by, "
            "strikes = excluded.strikes, probe = excluded.probe",
            *session.times.window_values(window),
        )


async def remove(session: Session, scopes: Sequence[str]) -> None:
    await session.fetch("DELETE FROM @schema@.pauses WHERE scope = ANY ($1::text[])", list(scopes))


async def forget_probes(session: Session, job_ids: Sequence[str]) -> None:
    """Let the next job probe in place of these."""
    await session.fetch("UPDATE @schema@.pauses SET probe = NULL WHERE probe IS NOT NULL AND probe = ANY ($1::text[])", list(job_ids))
