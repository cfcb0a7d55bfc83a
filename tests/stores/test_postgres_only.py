"""What only the PostgreSQL store promises: many services at once, races, lost connections, hints, skewed clocks, proxies."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import anyio
import asyncpg
import pytest

from scheduler.errors import StoreBusyError, StoreDamagedError, StoreError, StoreTooNewError
from scheduler.job import Status, Transition
from scheduler.stores.base import JobQuery, Settlement, Store
from scheduler.stores.postgres import PostgresStore, gates, hints, schema
from scheduler.stores.postgres.session import Session
from tests.stores.acts import DONE, claim, everything, find, get, ids, put, settle, want
from tests.stores.pausing import paused_by_provider
from tests.stores.working import ADA
from tests.support.jobs import T0, a_draft, put_off
from tests.support.postgres_server import a_schema, with_schema
from tests.support.transaction_pooler import a_pooler


@pytest.fixture
def name() -> str:
    return a_schema("Größe \" '; DROP --")


@pytest.fixture
def make_store(postgres: str, name: str) -> Callable[[], PostgresStore]:
    return lambda: PostgresStore(with_schema(postgres, name))


@asynccontextmanager
async def opened(make_store: Callable[[], PostgresStore], count: int) -> AsyncIterator[list[PostgresStore]]:
    stores = [make_store() for _ in range(count)]
    try:
        await asyncio.gather(*(one.open() for one in stores))
        yield stores
    finally:
        for one in stores:
            await one.close()


async def on_server(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


class TestTheSchema:
    async def test_many_services_may_start_at_once(self, make_store: Callable[[], PostgresStore]) -> None:
        async with opened(make_store, 6) as stores:
            await put(stores[0], draft := a_draft())
            assert ids(await everything(stores[5])) == [draft.job_id]

    async def test_a_newer_releases_schema_is_refused(self, store: PostgresStore, make_store: Callable[[], PostgresStore]) -> None:
        session = await store._database.connect("test")
        await session.fetch("UPDATE @schema@.scheduler_schema SET version = version + 1")
        await session.close()
        with pytest.raises(StoreTooNewError, match="upgrade this service"):
            await make_store().open()
        with pytest.raises(StoreTooNewError):
            await store.check()

    async def test_a_release_in_between_is_migrated(self, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
        where = with_schema(postgres, a_schema())
        scripts = schema.migrations()
        with monkeypatch.context() as earlier:
            earlier.setattr(schema, "migrations", lambda: scripts[:2])
            store = PostgresStore(where)
            await store.open()
            session = await store._database.connect("test")  # in its own words: that release had not today's
            columns = "job_id, task_type, target_type, target_id, run_after_us, created_us, ready"
            await session.fetch(f"INSERT INTO @schema@.jobs ({columns}) VALUES ('old', 'lane', '', '', 1, 1, 1)")
            await session.close()
            await store.close()
        async with opened(lambda: PostgresStore(where), 3) as stores:
            assert ids(await everything(stores[0])) == ["old"]
            assert ids(await claim(stores[1])) == ["old"]

    async def test_a_release_is_migrated_while_workers_of_the_one_before_are_at_work(
        self, postgres: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A migration that raised its locks half way met theirs: the new service did not start."""
        where = with_schema(postgres, a_schema())
        scripts = schema.migrations()
        before = len(scripts) - 1
        with monkeypatch.context() as earlier:
            earlier.setattr(schema, "migrations", lambda: scripts[:before])
            old = PostgresStore(where)
            await old.open()
        monkeypatch.setattr(old, "_hint", lambda: None)  # the rest of what this release calls was there
        over = asyncio.Event()
        ended = 0

        async def work(name: str) -> None:
            nonlocal ended
            while not over.is_set():
                await put(old, *(a_draft(task_type=name) for _ in range(20)))
                claims = await claim(old, want(name, 20))
                ended += sum(one.applied for one in await old.settle([Settlement(one.lease, DONE) for one in claims], T0))

        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(work(f"lane-{number}"))
            await asyncio.sleep(0.2)
            async with opened(lambda: PostgresStore(where), 2) as stores:
                now = ended
                with anyio.fail_after(20):
                    while ended < now + 200:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                over.set()
                assert await stores[0].foreseen() is None
        await old.close()

    async def test_what_opening_would_do_can_be_asked_before(self, postgres: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        store = PostgresStore(with_schema(postgres, name))
        for _ in range(2):  # it changed nothing
            assert "is not made yet" in str(await store.foreseen())
        await store.open()
        await store.close()
        assert await store.foreseen() is None
        later = [*schema.migrations(), "SELECT 1"]
        monkeypatch.setattr(schema, "migrations", lambda: later)
        assert "of an older release" in str(await store.foreseen())

    async def test_a_schema_of_something_else_is_left_alone(self, postgres: str) -> None:
        other = a_schema()
        await on_server(postgres, f'CREATE SCHEMA "{other}"', f'CREATE TABLE "{other}".jobs (id int)')
        with pytest.raises(StoreDamagedError, match="choose another"):
            await PostgresStore(with_schema(postgres, other)).open()

    async def test_ordinary_rights_will_do(self, postgres: str) -> None:
        own, role = a_schema(), a_schema("role").replace(" ", "_").replace("-", "_")
        try:
            await on_server(postgres, f"CREATE ROLE {role} LOGIN PASSWORD 'pw'", f'CREATE SCHEMA "{own}" AUTHORIZATION {role}')
        except asyncpg.InsufficientPrivilegeError:
            pytest.skip("this role may not create roles")
        parts = urlsplit(postgres)
        host = parts.netloc.rsplit("@", 1)[-1]
        url = with_schema(parts._replace(netloc=f"{role}:pw@{host}").geturl(), own)
        async with opened(lambda: PostgresStore(url), 1) as (store,):
            await put(store, a_draft())
            assert len(await claim(store)) == 1
        with pytest.raises(StoreError, match="lacks a right"):
            await PostgresStore(url.replace(quote(own, safe=""), "not-mine")).open()

    async def test_a_server_that_is_not_there_is_busy(self) -> None:
        with pytest.raises(StoreBusyError, match="cannot be reached"):
            await PostgresStore("postgresql://ada:secret@127.0.0.1:1/x").open()


class TestRaces:
    async def test_no_claim_commits_after_a_pause_is_stored(self, make_store: Callable[[], PostgresStore]) -> None:
        async with opened(make_store, 4) as stores:
            for number in range(6):
                lane = f"lane {number}"
                await put(stores[0], *[a_draft(lane) for _ in range(300)])
                stop = asyncio.Event()

                async def work(store: Store, lane: str = lane, stop: asyncio.Event = stop) -> None:
                    while not stop.is_set():
                        await claim(store, want(lane, 2))

                claimers = [asyncio.ensure_future(work(one)) for one in stores[1:]]
                await anyio.sleep(0.02)
                await stores[0].pause(lane, math.inf, T0)
                running = frozenset({Status.PROCESSING})
                seen = len(await find(stores[0], statuses=running, task_types=frozenset({lane}), limit=1_000))
                await anyio.sleep(0.02)
                stop.set()
                await asyncio.gather(*claimers)
                assert len(await find(stores[0], statuses=running, task_types=frozenset({lane}), limit=1_000)) == seen < 300

    async def test_a_worker_that_falls_silent_with_a_lock_holds_up_no_claims(self, store: PostgresStore) -> None:
        """Its network may be cut in the midst of a transaction; its server knows nothing of that for minutes."""
        await put(store, a_draft())
        silent = await store._database.connect("ends")
        await silent.script(f"BEGIN; {gates.LOCK}")
        assert len(await claim(store)) == 1
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await silent.script("COMMIT")
        silent.drop()

    async def test_exactly_one_worker_probes(self, make_store: Callable[[], PostgresStore]) -> None:
        async with opened(make_store, 4) as stores:
            for number in range(8):
                scope = f"pool:{number}"
                await paused_by_provider(stores[0], scope)
                wants = want(pool=str(number))
                got = await asyncio.gather(*(claim(one, wants, now=T0 + 60) for one in stores for _ in range(2)))
                (probe,) = [one for batch in got for one in batch]
                assert probe.lease.probing == (scope,)
                await settle(stores[1], probe.lease, DONE, T0 + 61)
                await stores[2].prune(frozenset(Status), T0 + 1_000, 1_000)

    async def test_writers_that_collide_all_get_through(self, make_store: Callable[[], PostgresStore]) -> None:
        async with opened(make_store, 3) as stores:
            keys = [f"key {number}" for number in range(40)]
            batches = [[a_draft(unique_key=key) for key in order] for order in (keys, keys[::-1], keys[20:] + keys[:20])]
            receipts = await asyncio.gather(*(put(one, *batch) for one, batch in zip(stores, batches, strict=True)))
            assert sum(one.created for batch in receipts for one in batch) == 40
            assert len({one.job_id for batch in receipts for one in batch}) == 40


class TestLostConnections:
    async def cut(self, postgres: str, what: str = "%") -> None:
        await on_server(postgres, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'scheduler {what}'")

    async def test_the_store_comes_back_by_itself(self, store: PostgresStore, postgres: str) -> None:
        await put(store, a_draft())
        await claim(store, want("other"))
        await self.cut(postgres)
        for verb in (
            lambda: put(store, a_draft()),
            lambda: claim(store, want("other")),
            lambda: everything(store),
            lambda: store.share("p", lambda d: (None, 1), T0),
        ):
            with anyio.fail_after(5):
                while True:
                    try:
                        await verb()
                        break
                    except StoreBusyError:
                        await anyio.sleep(0.02)

    async def test_a_claim_whose_answer_is_lost_is_answered_again(self, store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
        await put(store, *(drafts := [a_draft() for _ in range(3)]))
        real = Session.fetch

        async def cut(session: Session, sql: str, *values: Any) -> list[Any]:
            rows = await real(session, sql, *values)
            if ".claim(" in sql:
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            return rows

        with monkeypatch.context() as broken:
            broken.setattr(Session, "fetch", cut)
            with pytest.raises(StoreBusyError):
                await claim(store, want(limit=2))
        again = await claim(store, want(limit=2))
        assert ids(again) == [draft.job_id for draft in drafts[:2]]
        assert [one.job.attempts for one in again] == [1, 1]
        assert [(await settle(store, one.lease, DONE)).applied for one in again] == [True, True]
        assert ids(await claim(store)) == [drafts[2].job_id]

    async def test_an_end_whose_answer_is_lost_is_told_once_it_is_handed_in_again(
        self, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await put(store, *[a_draft() for _ in range(3)])
        done, limited, cancelled = await claim(store)
        await store.cancel(JobQuery(job_ids=(cancelled.job.job_id,)), T0)
        ends = [
            Settlement(done.lease, DONE),
            Settlement(limited.lease, put_off(limited.job.job_id, T0)),
            Settlement(cancelled.lease, Transition(Status.CANCELLED, "cancelled")),
        ]
        real = Session.script

        async def cut(session: Session, sql: str, limit_s: float | None = None) -> None:
            await real(session, sql, limit_s)
            if sql == "COMMIT":
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

        with monkeypatch.context() as broken:
            broken.setattr(Session, "script", cut)
            with pytest.raises(StoreBusyError):
                await store.settle(ends, T0)
        again = await store.settle(ends, T0 + 1)
        assert [one.applied for one in again] == [True, True, False]
        assert again[1].window is not None
        assert [one.applied for one in await store.settle(ends, T0 + 2)] == [False, False, False]
        assert (await get(store, done.job.job_id)).finished_at == T0

    async def test_a_statement_that_takes_too_long_is_ended(self, store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
        line = store._line("ends")
        monkeypatch.setattr(line, "_limit_s", 0.2)

        async def slow(session: Session, items: object) -> list[None]:
            await session.fetch("SELECT pg_sleep(20)")
            return [None]

        with anyio.fail_after(5), pytest.raises(StoreBusyError):
            await line.do(slow, None)
        assert await store.share("pool", lambda document: (None, 7), T0) == 7

    async def test_a_pulse_beats_again_after_its_connection_was_cut(self, store: PostgresStore, postgres: str) -> None:
        pulse = await store.register(ADA)
        assert await anyio.to_thread.run_sync(pulse.beat, T0)
        await self.cut(postgres, "pulse%")
        beaten: list[bool] = []

        def beat() -> None:
            for _ in range(3):
                try:
                    beaten.append(pulse.beat(T0 + 1))
                except StoreBusyError:
                    continue
            pulse.close()

        thread = threading.Thread(target=beat)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        assert beaten[-1:] == [True]


class Heard:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1

    async def at_least(self, count: int) -> None:
        with anyio.fail_after(5):
            while self.count < count:  # noqa: ASYNC110  # nobody rings for it
                await anyio.sleep(0.005)


class TestHints:
    async def test_others_hear_of_a_change_and_who_made_it_does_not(self, make_store: Callable[[], PostgresStore]) -> None:
        async with opened(make_store, 2) as (one, two):
            mine, theirs = Heard(), Heard()
            assert await one.listen(mine)
            assert await two.listen(theirs)
            await mine.at_least(1)
            await theirs.at_least(1)
            await anyio.sleep(0.1)
            before = mine.count, theirs.count
            await put(one, a_draft())
            await theirs.at_least(before[1] + 1)
            assert mine.count == before[0]

    async def test_a_burst_is_few_hints(self, make_store: Callable[[], PostgresStore]) -> None:
        async with opened(make_store, 2) as (one, two):
            heard = Heard()
            await one.listen(lambda: None)
            await two.listen(heard)
            await heard.at_least(1)
            began = anyio.current_time()
            await asyncio.gather(*(put(one, a_draft()) for _ in range(300)))
            await anyio.sleep(0.1)
            assert 2 <= heard.count <= 3 + (anyio.current_time() - began) / hints.RING_EVERY_S, "not one for each"

    async def test_a_hint_goes_out_with_what_it_tells_of_and_the_next_ones_are_gathered(
        self, make_store: Callable[[], PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rung: list[str] = []

        async def ring(session: Session, senders: list[str]) -> list[None]:
            rung.extend(senders)
            return [None] * len(senders)

        async with opened(make_store, 2) as (one, two):
            heard = Heard()
            await two.listen(heard)
            await heard.at_least(1)
            monkeypatch.setattr(hints, "ring", ring)  # nothing is told apart
            for number in range(5):
                await anyio.sleep(2 * hints.RING_EVERY_S)
                assert (await put(one, a_draft(unique_key=f"k{number // 2}")))[0].created == (number % 2 == 0)
                await heard.at_least(number + 2)
            assert not rung
            monkeypatch.setattr(hints, "RING_EVERY_S", 60.0)  # that was just now
            await put(one, a_draft())
            await anyio.sleep(0.01)
            assert rung

    async def test_what_is_acknowledged_is_on_disk_though_its_hint_did_not_wait(self, store: PostgresStore) -> None:
        session = await store._database.connect("test")
        behind = []
        for _ in range(20):
            await anyio.sleep(2 * hints.RING_EVERY_S)
            await put(store, a_draft())
            behind.append(await session.value("SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()"))
        await session.close()
        assert sum(left == 0 for left in behind) > 15, behind  # somebody else may write, too

    async def test_a_listener_hears_at_once_that_its_connection_was_cut(
        self, make_store: Callable[[], PostgresStore], postgres: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hints, "CHECK_EVERY_S", 3_600.0)
        async with opened(make_store, 2) as (one, two):
            heard = Heard()
            await one.listen(heard)
            await heard.at_least(1)
            await put(two, a_draft())  # now it certainly listens
            await heard.at_least(2)
            await TestLostConnections().cut(postgres, "listener%")
            await heard.at_least(3)

    async def test_a_listener_that_lost_its_connection_or_went_deaf_listens_anew(
        self, make_store: Callable[[], PostgresStore], postgres: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hints, "CHECK_EVERY_S", 0.05)
        monkeypatch.setattr(hints, "HEAR_WITHIN_S", 0.3)
        sessions: list[Session] = []
        real = hints.Listener._listen

        async def noted(listener: hints.Listener, session: Session) -> bool:
            sessions.append(session)
            return await real(listener, session)

        monkeypatch.setattr(hints.Listener, "_listen", noted)
        async with opened(make_store, 2) as (one, two):
            heard = Heard()
            await one.listen(heard)
            await heard.at_least(1)
            await TestLostConnections().cut(postgres, "listener%")
            await heard.at_least(2)
            await anyio.sleep(0.2)
            deaf = sessions[-1]
            deaf.connection._listeners.clear()  # as behind a proxy that swallows notifications
            with anyio.fail_after(5):
                while sessions[-1] is deaf:  # noqa: ASYNC110  # nobody rings for it
                    await anyio.sleep(0.02)
            before = heard.count
            await put(two, a_draft())
            await heard.at_least(before + 1)


class TestClocks:
    async def test_workers_whose_clocks_differ_agree_on_what_is_due(
        self, make_store: Callable[[], PostgresStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fast = make_store()
        monkeypatch.setattr(fast._database._clock, "now", lambda: 3_600 + time.time(), raising=False)
        await fast.open()
        async with opened(make_store, 1) as (right,):
            now = time.time()
            await put(fast, draft := a_draft(run_after=now + 3_600 + 20), now=now + 3_600)
            seen = (await get(fast, draft.job_id)).run_after, (await get(right, draft.job_id)).run_after
            assert seen == (pytest.approx(now + 3_620), pytest.approx(now + 20, abs=0.5))
            assert await claim(right, now=now + 10) == []
            assert await claim(fast, now=now + 3_600 + 10) == []
            await fast.pause("other", now + 3_700, now + 3_600)
            assert (await right.pauses())[0].until == pytest.approx(now + 100, abs=0.5)
            assert len(await claim(right, now=now + 25)) == 1
        await fast.close()

    async def test_on_one_machine_times_are_exact(self, store: PostgresStore) -> None:
        assert store._database.times.offset_us == 0


class TestBehindATransactionPooler:
    async def test_everything_but_listening_works(self, postgres: str, name: str) -> None:
        folder = parse_qs(urlsplit(postgres).query).get("host", [""])[0]
        socket = Path(folder) / ".s.PGSQL.5432"
        if not socket.exists():
            pytest.skip("the proxy of this test needs the server's socket")
        async with a_pooler(str(socket)) as (pooler, port):
            url = with_schema(f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable", name, pooled="1")
            async with opened(lambda: PostgresStore(url), 2) as (one, two):
                await put(one, *[a_draft() for _ in range(5)], a_draft(unique_key="key"))
                claims = await claim(two, want(limit=4))
                assert [(await settle(one, each.lease, DONE)).applied for each in claims] == [True] * 4
                await two.pause("lane", math.inf, T0)
                assert await claim(one) == []
                assert await one.resume("lane", T0) is not None
                assert len(await claim(one)) == 2
                assert len(await one.cancel(JobQuery(), T0)) == 2
                assert await one.share("pool", lambda document: ("x", 1), T0) == 1
                assert await two.shared() == {"pool": "x"}
                assert await one.listen(lambda: None) is None
                pulse = await one.register(ADA)
                assert await anyio.to_thread.run_sync(pulse.beat, T0)
                await anyio.to_thread.run_sync(pulse.close)
                assert len(await everything(two)) == 6
            assert pooler.transactions > 20


class TestJournalInTheOrderOfCommits:
    async def test_a_transaction_that_ends_late_is_waited_for(self, store: PostgresStore, postgres: str) -> None:
        connection = await asyncpg.connect(postgres)
        try:
            await store.journal_span()
            transaction = connection.transaction()
            await transaction.start()
            await store.enqueue_within(connection, [a_draft(job_id="late")], T0)
            await put(store, a_draft(job_id="early"))
            assert await store.journal(0) == []
            assert await store.journal_span() == (1, 0)
            await transaction.commit()
            assert [entry.job_id for entry in await store.journal(0)] == ["late", "early"]
        finally:
            await connection.close()

    async def test_who_looks_first_while_a_transaction_is_open_is_not_told_that_there_is_nothing(
        self, make_store: Callable[[], PostgresStore], store: PostgresStore, postgres: str
    ) -> None:
        await put(store, a_draft(), a_draft())
        connection = await asyncpg.connect(postgres)
        try:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("SELECT pg_current_xact_id()")  # it may be about to write
            other = make_store()
            await other.open()
            try:
                asked = asyncio.create_task(other.journal_span())
                assert not (await asyncio.wait([asked], timeout=0.5))[0], "it waits for what may still come"
                assert await asked == (1, 2), "but not for ever"
            finally:
                await other.close()
            await transaction.rollback()
        finally:
            await connection.close()

    async def test_a_later_transaction_that_ends_first_is_no_sign_that_earlier_numbers_are_all_there(
        self, store: PostgresStore, postgres: str
    ) -> None:
        """Whoever began before may draw its number after: then the one that is open is beyond every number that has ended."""
        first, second = await asyncpg.connect(postgres), await asyncpg.connect(postgres)
        try:
            await store.journal_span()
            one, two = first.transaction(), second.transaction()
            await one.start()
            await first.execute("SELECT pg_current_xact_id()")
            await two.start()
            await store.enqueue_within(second, [a_draft(job_id="open")], T0)
            await store.enqueue_within(first, [a_draft(job_id="ended")], T0)
            await one.commit()
            for _ in range(5):
                assert await store.journal(0) == []
            await two.commit()
            assert [entry.job_id for entry in await store.journal(0)] == ["open", "ended"]
        finally:
            await first.close()
            await second.close()

    async def test_one_that_is_rolled_back_holds_nobody_up(self, store: PostgresStore, postgres: str) -> None:
        connection = await asyncpg.connect(postgres)
        try:
            await store.journal_span()
            transaction = connection.transaction()
            await transaction.start()
            await store.enqueue_within(connection, [a_draft(job_id="never")], T0)
            await put(store, a_draft(job_id="early"))
            assert await store.journal(0) == []
            await transaction.rollback()
            assert [entry.job_id for entry in await store.journal(0)] == ["early"]
        finally:
            await connection.close()
