"""``SyncJobClient``: ``JobClient`` for programs without an event loop. One runs in a thread of the client's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from threading import Event
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from scheduler.client.errors import ClientError
from scheduler.client.jobs import JobClient, ended
from scheduler.job import NewJob, Receipt
from scheduler.views.answers import BulkView, Me, ThroughputView
from scheduler.views.entries import EntryView
from scheduler.views.jobs import JobDetails, JobSummary
from scheduler.views.operating import PoolView, StatsView, WorkerView

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item", covariant=True)


#: What was interrupted gets so many seconds to let go.
_UNWIND_S = 2.0


class Closing(Protocol[Item]):
    """An async iterator that is closed when nobody goes on with it."""

    async def __anext__(self) -> Item: ...

    async def aclose(self) -> None: ...


class SyncJobClient:
    """Use it as ``with SyncJobClient("http://127.0.0.1:8080", token) as client``; takes what ``JobClient`` takes, and does the same.

    Callbacks are called, and iterators go on, in the thread that asked. Several threads may ask at once.
    """

    def __init__(self, base_url: str, token: str | None = None, **how: Any) -> None:
        self._client = JobClient(base_url, token, **how)
        self._opened: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None

    def __repr__(self) -> str:
        return repr(self._client).replace(type(self._client).__name__, type(self).__name__, 1)

    def __enter__(self) -> Self:
        self._opened = start_blocking_portal()
        self._portal = self._opened.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._opened is not None
        try:
            self._call(self._client.aclose)
        finally:
            self._portal = None
            self._opened.__exit__(kind, error, trace)

    # -- jobs in

    def enqueue(
        self,
        task_type: str,
        target_type: str = "",
        target_id: str = "",
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Receipt:
        return self._call(self._client.enqueue, task_type, target_type, target_id, payload, idempotency_key=idempotency_key, **more)

    def enqueue_many(self, jobs: Iterable[NewJob], *, job_ids: bool = False) -> BulkView:
        """``jobs`` are made in the client's own thread."""
        return self._call(self._client.enqueue_many, jobs, job_ids=job_ids)

    # -- questions

    def get(self, job_id: str, *, wait_s: float = 0.0) -> JobDetails:
        return self._call(self._client.get, job_id, wait_s=wait_s)

    def jobs(self, *, limit: int | None = None, **filters: Any) -> Iterator[JobSummary]:
        return self._each(self._client.jobs(limit=limit, **filters))

    def result(self, job_id: str) -> Any:
        return self._call(self._client.result, job_id)

    def stats(self) -> StatsView:
        return self._call(self._client.stats)

    def throughput(self, *, hours: float = 6.0, bucket_s: float = 300.0) -> ThroughputView:
        return self._call(self._client.throughput, hours=hours, bucket_s=bucket_s)

    def pools(self) -> list[PoolView]:
        return self._call(self._client.pools)

    def workers(self) -> list[WorkerView]:
        return self._call(self._client.workers)

    def me(self) -> Me:
        return self._call(self._client.me)

    def request(self, method: str, path: str, *, json: Any = None, params: dict[str, Any] | None = None) -> Any:
        return self._call(self._client.request, method, path, json=json, params=params)

    # -- controls

    def cancel(self, job_id: str) -> JobDetails:
        return self._call(self._client.cancel, job_id)

    def retry(self, job_id: str, *, failed_items: bool = False, restart: bool = False) -> JobDetails:
        return self._call(self._client.retry, job_id, failed_items=failed_items, restart=restart)

    def pause(self, job_id: str, for_s: float | None = None) -> JobDetails:
        return self._call(self._client.pause, job_id, for_s)

    def resume(self, job_id: str) -> JobDetails:
        return self._call(self._client.resume, job_id)

    def delete(self, job_id: str) -> None:
        self._call(self._client.delete, job_id)

    # -- live

    def events(self, job_id: str | None = None, *, after: int | None = None, task_type: str | Iterable[str] = ()) -> Iterator[EntryView]:
        return self._each(self._client.events(job_id, after=after, task_type=task_type))

    def updates(self, job_id: str) -> Iterator[JobDetails]:
        return self._each(self._client.updates(job_id))

    def follow(self, job_id: str, on_progress: Callable[[JobDetails], None] | None = None, *, raise_failed: bool = True) -> JobDetails:
        job: JobDetails | None = None
        for job in self.updates(job_id):
            if on_progress is not None:
                on_progress(job)
        assert job is not None
        return ended(job, raise_failed)

    def start(
        self,
        task_type: str,
        target_type: str = "",
        target_id: str = "",
        payload: Any = None,
        *,
        on_progress: Callable[[JobDetails], None] | None = None,
        raise_failed: bool = True,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> JobDetails:
        receipt = self.enqueue(task_type, target_type, target_id, payload, idempotency_key=idempotency_key, **more)
        return self.follow(receipt.job_id, on_progress, raise_failed=raise_failed)

    def _call(self, verb: Callable[P, Awaitable[T]], *words: P.args, **more: P.kwargs) -> T:
        if self._portal is None:
            raise ClientError("the client is not open: use it as `with SyncJobClient(…) as client`")

        done = Event()

        async def asked() -> T:
            try:
                return await verb(*words, **more)
            finally:
                done.set()

        answer = self._portal.start_task_soon(asked)
        try:
            return answer.result()
        except BaseException:
            if answer.cancel():  # somebody interrupted the wait: nothing of it goes on behind the caller's back
                done.wait(_UNWIND_S)
            raise

    def _each(self, source: Closing[T]) -> Iterator[T]:
        try:
            while found := self._call(_next, source):
                yield found[0]
        finally:
            if self._portal is not None:
                with suppress(RuntimeError):  # interrupted in the midst of a step, which is let go of when the client is left
                    self._call(source.aclose)


async def _next(source: Closing[T]) -> tuple[T] | None:
    try:
        return (await source.__anext__(),)
    except StopAsyncIteration:
        return None
