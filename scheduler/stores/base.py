"""The ``Store`` port: some two dozen verbs that keep jobs, pauses, pools and workers.

Rules for every store (``tests/stores/contract.py`` checks them all):

* Every verb that needs the time takes ``now``; no store reads a clock, but to date journal entries whose change records no time.
* A verb takes effect whole or not at all, also when its caller is cancelled.
* ``enqueue``, ``cancel``, ``retry``, ``discard``, ``pause`` and ``resume`` are durable (synced to disk) when they
  return; claims and outcomes may ride on the next such commit: losing them repeats work, never loses it.
  So may ``share``, ``reopen`` and ``refund``: what a power cut takes of them is found out or said again.
* A function that a verb is given (``share``, ``give_up``) is pure and quick: it may be called in another
  thread, while all other writers wait, and called again on a fresh reading if the transaction had to be repeated.
* Legal moves are ``job.LEGAL``; the end of an attempt is guarded by status and token.
* An ``owner`` filters inside the query: a foreign job looks exactly like a missing one.

Does not belong here: what an error means (``decide.py``), or who may run what (``dispatcher.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from scheduler.job import Draft, Item, Job, Lease, Ledger, Oks, Receipt, Status, Transition
from scheduler.journal import Entry
from scheduler.pauses import PauseWindow
from scheduler.stores.query import JobQuery as JobQuery
from scheduler.stores.query import Tally as Tally

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Want:
    """A wish for at most ``limit`` jobs of one lane.

    ``scopes`` are the pause scopes that gate it (its task type and its pool). ``target_types``, when
    given, leaves jobs of other target types alone. ``cap``, when given, is how many jobs of the task type may be
    ``processing`` at once in the whole store, whichever workers run them. ``avoid`` are jobs that should not be an outage's
    probe while others could.
    """

    task_type: str
    limit: int
    scopes: tuple[str, ...]
    target_types: tuple[str, ...] | None = None
    cap: int | None = None
    avoid: tuple[str, ...] = ()


class Claim(NamedTuple):
    """A job now ``processing``, with the lease for this attempt."""

    job: Job
    lease: Lease


@dataclass(frozen=True, slots=True)
class Claims:
    """What a ``claim`` got. ``short`` are the task types that had fewer jobs than wanted, for whatever reason."""

    claims: list[Claim]
    short: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lanes:
    """What could be claimed: task types with due jobs, and when the next scheduled job falls due."""

    ready: frozenset[str]
    next_due: float | None


class Settlement(NamedTuple):
    """One guarded write: ``transition``, if ``lease`` still holds."""

    lease: Lease
    transition: Transition


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement did: whether it applied, the pause it left, the scopes that its probe reopened.

    ``receipts`` are those of its follow-ups; ``freed`` the task types of jobs that waited for this one and may run now.
    """

    applied: bool
    window: PauseWindow | None = None
    resumed: tuple[str, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    freed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that runs jobs: a fresh identity at each start, and what shows that it died.

    ``beats`` grows with each renewal: an observer judges by its own monotonic clock whether it still does.
    ``address`` is where wake-up hints go (store-specific text). ``offers_json`` says what it runs (``offers.py``); None: it does not say.
    """

    worker_id: str
    host: str
    boot: str
    pid: int
    pid_started: float
    started_at: float
    lease_s: float
    address: str | None = None
    beats: int = 0
    beat_at: float = 0.0
    offers_json: str | None = None


class Pulse(Protocol):
    """Renews one worker's lease from a thread of its own, on a connection of its own."""

    def beat(self, now: float) -> bool:
        """Renew; False when the worker's row is gone (it was declared lost)."""
        ...

    def close(self) -> None: ...


class Store(Protocol):
    """Where jobs live. Raises ``StoreError``s; see the module docstring for the rules."""

    @property
    def url(self) -> str: ...

    async def open(self) -> None:
        """Connect and bring the schema up to date. Raises ``StoreTooNewError``, ``StoreDamagedError``."""

    async def close(self) -> None:
        """Finish what was accepted, then disconnect."""

    async def check(self, *, briefly: bool = False) -> None:
        """Look for damage; ``briefly`` skips what would take more than about a second. Raises ``StoreDamagedError``."""

    # -- jobs in
    async def enqueue(self, drafts: Sequence[Draft], now: float, on_stored: Callable[[list[Receipt]], None] | None = None) -> list[Receipt]:
        """Store all drafts in one transaction; one receipt each, in order; durable when this returns.

        A job that waits for others (``after``) is not claimable until those have ended; what it names must exist, and be its owner's
        if it has one, else ``InvalidJobError``. One that waits for a failed job is ``doomed``, unless it is to run anyway. A job that
        would be one too many for its owner (``owner_limit``) raises ``OwnerLimitError``. Either refuses all drafts.

        A ``request`` that the owner made before gets the job that it got then (``created`` False), whatever became of it; with
        another hash it raises ``IdempotencyConflictError``, and all drafts are refused.

        ``on_stored`` is called with the receipts as soon as claims can see the jobs, before any claim of theirs is answered.
        """
        ...

    # -- attempts
    async def lanes(self, now: float) -> Lanes:
        """Which lanes have due jobs; cheap whatever else the store holds."""
        ...

    async def claim(self, wants: Sequence[Want], worker: str, now: float) -> Claims:
        """Move due jobs of open lanes to ``processing``: priority first, then first come first served.

        Counts the attempt, raises the token. A scope whose pause has just ended yields one job, its probe. An outage's probe comes
        from the far end of the line (least priority, last come), as those at its head may be all that ails; and one to ``avoid``
        goes only if nobody else is due. A ``cap`` is never overshot, however many workers claim at once; what a lost worker holds
        counts until it is taken back.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[Settled]:
        """End attempts: each applies only if its job is still ``processing`` under the lease's token.

        Follow-ups are stored in the same write; they are not ``strict``, so nothing about them can be refused. When the last of
        those that a job waits for has ended, however it came to its end, the job can be claimed.
        """
        ...

    async def refund(self, leases: Sequence[Lease], now: float) -> int:
        """Give back one counted attempt for each of ``leases``: attempts that failed, as it turned out, by no fault of their jobs.

        Only of jobs that are unfinished, be they waiting or ``processing`` again under a later token; never below 0. A lease
        that is named twice in one call counts once. Across calls the caller sees to that, and to it that the attempt was not
        given back by its own end; also to it that the attempt was not forgotten by an operator's retry meanwhile. Who errs gives
        a job one attempt more, never one less. Returns how many were given back.
        """
        ...

    async def note(self, lease: Lease, now: float, *, state_json: str) -> bool:
        """Store a checkpoint of a running attempt, durable when this returns; False if the lease no longer holds.

        If it is another than the last, the job's ``crashes`` begin anew.
        """
        ...

    async def report(self, progress: Sequence[tuple[Lease, str]], now: float) -> None:
        """Store how far running attempts are, as JSON text; those whose lease no longer holds are passed over.

        The attempts of one call are different ones. Not durable by itself, and cheap: fifty of them are one step.
        """
        ...

    async def record(self, lease: Lease, ledger: Ledger, items: Sequence[Item], now: float, *, progress_json: str | None = None) -> bool:
        """Store the outcomes of ``items``, where their pass stands, and progress, in one guarded write.

        False if the lease no longer holds. Durable when this returns. A job that gets on is none that only crashes: its ``crashes``
        begin anew. An item that has an outcome already gets the new one.
        """
        ...

    async def ledgers(self, job_id: str) -> list[Ledger]:
        """The passes of a job over its items, in the order in which they began."""
        ...

    async def items(self, job_id: str, name: str, *, ok: Oks | None = None, after: int = -1, limit: int = 1_000) -> list[Item]:
        """The recorded items of one pass, by position from ``after`` on; only those whose ``ok`` is among the given."""
        ...

    async def lapsed(self, leases: Sequence[Lease]) -> list[Lease]:
        """Those of ``leases`` that no longer hold: cancelled, or taken over."""
        ...

    async def held(self, leases: Sequence[Lease]) -> list[Lease]:
        """Those of ``leases`` that hold and whose jobs somebody paused."""
        ...

    # -- people
    async def find(self, query: JobQuery) -> list[Job]: ...

    async def count(self, query: JobQuery) -> list[Tally]:
        """Counts by task type, status and reason; ``limit`` and paging are ignored."""
        ...

    async def cancel(self, query: JobQuery, now: float) -> list[Job]:
        """Cancel what is waiting or running, at most ``limit`` jobs; returns them as they were before.

        None left when it returns an empty list.
        """
        ...

    async def retry(self, query: JobQuery, now: float, *, restart: bool = False) -> list[Job]:
        """Send failed and cancelled jobs back to ``pending`` with fresh attempts, at most ``limit``; returns them as they were.

        They go on from their checkpoint and their ledgers, whose failed items are to be tried again; ``restart`` forgets both.
        A job whose unique key an unfinished job has by now is left alone. None left when it returns an empty list.
        """
        ...

    async def hold(self, query: JobQuery, until: float, now: float) -> list[Job]:
        """Pause these very jobs until ``until`` (infinity: until released), at most ``limit``; returns them as they were.

        A waiting job falls due no sooner, a running one is ``held`` for its worker to see, and waits once its attempt has ended without
        ending the job. Jobs that are held for as long already are left alone. None left when it returns an empty list.
        """
        ...

    async def unhold(self, query: JobQuery, now: float) -> list[Job]:
        """Let held jobs go, at most ``limit``: they are due when they were before. Returns them as they were."""
        ...

    async def give_up(self, query: JobQuery, transition_of: Callable[[Job], Transition], now: float) -> list[tuple[Job, Transition]]:
        """End ``rate_limited`` jobs that waited too long, at most ``limit``: claim and guarded end in one write."""
        ...

    async def discard(self, query: JobQuery, now: float) -> list[Job]:
        """Delete ended jobs, at most ``limit``; returns them as they were. None left when it returns an empty list."""
        ...

    async def prune(self, statuses: frozenset[Status], before: float, limit: int) -> int:
        """Delete at most ``limit`` jobs that ended before ``before``; returns how many."""
        ...

    async def forget(self, before: float, limit: int) -> int:
        """Forget at most ``limit`` requests that were made before ``before``; returns how many."""
        ...

    async def throughput(self, owner: str | None, since: float, bucket_s: float) -> list[tuple[float, Status, int]]:
        """How many jobs ended since then, in each bucket of time that saw any, by status.

        A bucket is named by its beginning, a whole multiple of ``bucket_s`` since the epoch. Cheap: an index is all it reads.
        """
        ...

    async def ahead(self, job: Job, now: float, limit: int) -> int:
        """How many claimable jobs of the task type go before ``job`` by priority and age; counts no further than ``limit``.

        Pauses, and owners that take turns, are not looked at.
        """
        ...

    # -- pauses
    async def pauses(self) -> list[PauseWindow]: ...

    async def pause(self, scope: str, until: float, now: float) -> PauseWindow:
        """Close a scope by hand; extends, never shortens."""
        ...

    async def resume(self, scope: str, now: float) -> PauseWindow | None:
        """Open a scope by hand; returns the window that was removed."""
        ...

    async def reopen(self, scope: str, now: float) -> bool:
        """Remove the window of ``scope`` if a provider caused it and its time is up; whether one was removed.

        For when the provider let a call in although the probe has not ended yet: it is the probe no more, and claims flow freely.
        A window that an operator set, or that is still closed, stays.
        """
        ...

    # -- the journal
    async def journal(
        self, after: int, *, owners: frozenset[str] | None = None, seq: int | None = None, upto: int | None = None, limit: int = 1_000
    ) -> list[Entry]:
        """What happened behind entry ``after``, up to ``upto``, oldest first; only to jobs of ``owners``, or only to the job ``seq``.

        Each change of a job or a pause leaves exactly one entry, in the transaction that made it. Their numbers grow in the order of
        commits: nothing ever appears before an entry that was read. An entry leaves with its job.
        """
        ...

    async def journal_span(self) -> tuple[int, int]:
        """The numbers of the first entry that is kept and of the last that can be read; (last + 1, last) while there is none."""
        ...

    async def prune_journal(self, before: float, superseded_before: float, limit: int) -> int:
        """Forget what happened before ``before``, and progress from before ``superseded_before`` of which there is newer.

        At most ``limit`` of each; returns how many.
        """
        ...

    # -- pools
    async def share(self, pool: str, change: Callable[[str | None], tuple[str | None, T]], now: float) -> T:
        """Read the pool's document, store what ``change`` makes of it and return its answer, in one transaction.

        ``change`` gets the document, JSON text, or None if there is none yet; it gives the new document and the answer. None for
        the new document leaves the stored one as it is: nothing is written, nothing is removed. It must be pure (see the module
        docstring). What it raises reaches the caller as it is, and then nothing has changed.

        Two shares of one pool never interleave, whatever processes they come from. Cheap: called about ten times a second for each pool.
        """
        ...

    async def shared(self) -> dict[str, str]:
        """Every pool's document, by the pool's name."""
        ...

    # -- workers
    async def workers(self) -> list[Worker]: ...

    async def register(self, worker: Worker) -> Pulse:
        """Add a worker's row; the pulse renews it."""
        ...

    async def dismiss(self, worker_id: str) -> None:
        """Remove a worker's row (it stopped, or its jobs were taken back)."""

    async def take_turn(self, duty: str, worker_id: str, now: float, for_s: float) -> bool:
        """Let ``worker_id`` alone see to ``duty`` for ``for_s`` seconds; False while another worker does.

        Whoever has the turn may take it again at once. It saves work, it protects nothing: what is done in it must be right
        also when two do it. A turn that ends later than a new one would is void: a clock was set back.
        """
        ...

    async def listen(self, on_hint: Callable[[], None]) -> str | None:
        """Call ``on_hint`` soon after another process changed something; returns the address for ``Worker``."""
        ...
