"""``JobClient``: jobs of a service elsewhere, put in, looked at, followed to their end. ``SyncJobClient`` is the same without ``await``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from inspect import isawaitable
from random import Random
from types import TracebackType
from typing import Any, Self

import httpx2

from scheduler.client.asking import Asker
from scheduler.client.errors import JobFailedError
from scheduler.client.streams import Entries, Stream, StreamlessError
from scheduler.client.words import JSON, NDJSON, M, body_of, path_of, understood
from scheduler.clock import Clock, SystemClock
from scheduler.ids import job_id as new_key
from scheduler.job import NewJob, Receipt, Status
from scheduler.values import decode_json, encode_json
from scheduler.views.answers import BulkView, JobsPage, Me, PoolsView, ReceiptView, ThroughputView, WorkersView
from scheduler.views.jobs import JobDetails, JobSummary
from scheduler.views.operating import PoolView, StatsView, WorkerView

OnProgress = Callable[[JobDetails], Awaitable[None] | None]
_PAGE = 500


class JobClient:
    """Use it as ``async with JobClient("http://127.0.0.1:8080", token) as client``; leaving it ends whatever it follows, not the jobs.

    ``timeout_s``: how long one answer may take. ``patience_s``: so long nobody need answer (the service restarts, say) before that is an
    ``UnreachableError``. ``poll_s``: how often to look where event streams do not get through.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout_s: float = 30.0,
        patience_s: float = 60.0,
        poll_s: float = 2.0,
        clock: Clock | None = None,
        rng: Random | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._asker = Asker(
            base_url, token, timeout_s=timeout_s, patience_s=patience_s, clock=self._clock, rng=rng or Random(), transport=transport
        )
        self._timeout_s = timeout_s
        self._poll_s = poll_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._asker.base!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._asker.aclose()

    # -- jobs in

    async def enqueue(
        self,
        task_type: str,
        target_type: str = "",
        target_id: str = "",
        payload: Any = None,
        *,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Receipt:
        """Store one job; durable when this returns. ``more`` are the other fields of ``NewJob``.

        It is asked again if nobody answers, with a key that makes one job of it: your own ``idempotency_key`` keeps that promise also
        across a restart of your program. Raises ``InvalidJobError`` before anything is sent, ``ConflictError`` for a key that was used for
        another job, other ``ClientError``s.
        """
        body = body_of(NewJob(task_type, target_type, target_id, payload, **more))
        headers = {"Content-Type": JSON, "Idempotency-Key": idempotency_key or new_key(self._clock.now())}
        told = await self._ask(ReceiptView, "POST", "/api/jobs", content=body, headers=headers, repeatable=True)
        return Receipt(told.job_id, told.created, told.unchanged)

    async def enqueue_many(self, jobs: Iterable[NewJob] | AsyncIterable[NewJob], *, job_ids: bool = False) -> BulkView:
        """Store many jobs, streamed while you make them. What is refused is told by its line (from 1 on), and costs only itself.

        It is sent once: if the connection breaks, what was stored before stays, and a ``unique_key`` makes sending again harmless.
        """
        told = await self._asker.ask(
            "POST",
            "/api/jobs/bulk",
            params={"job_ids": "true"} if job_ids else None,
            content=_lines(jobs),
            headers={"Content-Type": NDJSON},
            once=True,
        )
        return understood(BulkView, told.content)

    # -- questions

    async def get(self, job_id: str, *, wait_s: float = 0.0) -> JobDetails:
        """The job; with ``wait_s`` (at most 60) as soon as it has ended, or as it is then. Raises ``MissingError``."""
        if not wait_s:
            return await self._ask(JobDetails, "GET", path_of(job_id))
        return await self._ask(JobDetails, "GET", path_of(job_id), params={"wait": wait_s}, timeout=self._timeout_s + wait_s)

    async def jobs(self, *, limit: int | None = None, **filters: Any) -> AsyncGenerator[JobSummary, None]:
        """Matching jobs, newest first, fetched page by page.

        ``filters`` are the API's: ``status``, ``reason``, ``task_type`` (one or several), ``target_type``, ``batch``, ``text`` …
        """
        params: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
        left = limit
        while left is None or left > 0:
            page = await self._ask(JobsPage, "GET", "/api/jobs", params={**params, "limit": _PAGE if left is None else min(_PAGE, left)})
            for job in page.jobs:
                yield job
            left = None if left is None else left - len(page.jobs)
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor

    async def result(self, job_id: str) -> Any:
        """What its handler returned, decoded. Raises ``MissingError`` also for a job without a result."""
        return decode_json((await self._asker.ask("GET", path_of(job_id, "result"))).text)

    async def stats(self) -> StatsView:
        """Counts by status, task type and reason; pauses; workers."""
        return await self._ask(StatsView, "GET", "/api/stats")

    async def throughput(self, *, hours: float = 6.0, bucket_s: float = 300.0) -> ThroughputView:
        """What ended when."""
        return await self._ask(ThroughputView, "GET", "/api/stats/throughput", params={"hours": hours, "bucket_s": bucket_s})

    async def pools(self) -> list[PoolView]:
        """The provider quotas. For tokens without an owner."""
        return (await self._ask(PoolsView, "GET", "/api/pools")).pools

    async def workers(self) -> list[WorkerView]:
        """Who runs jobs. For tokens without an owner."""
        return (await self._ask(WorkersView, "GET", "/api/workers")).workers

    async def me(self) -> Me:
        """What the token allows."""
        return await self._ask(Me, "GET", "/api/me")

    async def request(self, method: str, path: str, *, json: Any = None, params: dict[str, Any] | None = None) -> Any:
        """Any other question of the API (docs/web.md), its answer decoded; asked again only where that is harmless."""
        what: dict[str, Any] = {} if json is None else _json(json)
        response = await self._asker.ask(method, path, params=params, **what)
        return decode_json(response.text) if response.content else None

    # -- controls

    async def cancel(self, job_id: str) -> JobDetails:
        """Raises ``ConflictError`` if it has ended otherwise."""
        return await self._ask(JobDetails, "POST", path_of(job_id, "cancel"), repeatable=True)

    async def retry(self, job_id: str, *, failed_items: bool = False, restart: bool = False) -> JobDetails:
        """Run a failed or cancelled job again. Raises ``ConflictError``."""
        return await self._ask(JobDetails, "POST", path_of(job_id, "retry"), **_json({"failed_items": failed_items, "restart": restart}))

    async def pause(self, job_id: str, for_s: float | None = None) -> JobDetails:
        """Stop one job for so many seconds, or until ``resume``. Raises ``ConflictError`` if it has ended."""
        return await self._ask(JobDetails, "POST", path_of(job_id, "pause"), **_json({"for_s": for_s}), repeatable=True)

    async def resume(self, job_id: str) -> JobDetails:
        return await self._ask(JobDetails, "POST", path_of(job_id, "resume"), repeatable=True)

    async def delete(self, job_id: str) -> None:
        """It is gone, with its result and history, cancelled before if it had not ended. ``MissingError`` if it was gone already."""
        await self._asker.ask("DELETE", path_of(job_id), repeatable=True)

    # -- live

    def events(self, job_id: str | None = None, *, after: int | None = None, task_type: str | Iterable[str] = ()) -> Entries:
        """What happens to one job, from its first entry on, or to all from now on (only ``task_type``); behind entry ``after`` if given."""
        types = [task_type] if isinstance(task_type, str) else list(task_type)
        path = "/api/events" if job_id is None else path_of(job_id, "events")
        params: dict[str, Any] = {"task_type": types} if types else {}
        stream = Stream(self._asker, path, params, after, of_job=job_id is not None)
        return Entries(self._asker, stream, path, params, None if job_id is None else path_of(job_id, "history"), self._poll_s)

    async def updates(self, job_id: str) -> AsyncGenerator[JobDetails, None]:
        """The job as it is, and again whenever something about it has changed; the last is how it ended."""
        stream = Stream(self._asker, path_of(job_id, "events"), {}, None, of_job=True)
        shown: JobDetails | None = None
        try:
            while True:
                job = await self.get(job_id)
                told = job.model_copy(update={"ends_at": None})  # an estimate: it moves all the time
                if told != shown:
                    shown = told
                    yield job
                if job.status.is_terminal:
                    return
                await self._change(stream)
        finally:
            await stream.aclose()

    async def _change(self, stream: Stream) -> None:
        """Until something may have changed."""
        if self._asker.hears_streams:
            try:
                if await stream.batch():
                    return
            except StreamlessError:
                self._asker.without_streams()
                return
        await self._clock.sleep(self._poll_s)

    async def follow(self, job_id: str, on_progress: OnProgress | None = None, *, raise_failed: bool = True) -> JobDetails:
        """The job once it has ended; ``on_progress`` is called (and awaited) with it now and whenever something changes.

        Survives restarts of the service. Raises ``JobFailedError`` if it failed or was cancelled, unless ``raise_failed`` is False.
        """
        job: JobDetails | None = None
        async with aclosing(self.updates(job_id)) as updates:
            async for job in updates:
                told = None if on_progress is None else on_progress(job)
                if isawaitable(told):
                    await told
        assert job is not None
        return ended(job, raise_failed)

    async def start(
        self,
        task_type: str,
        target_type: str = "",
        target_id: str = "",
        payload: Any = None,
        *,
        on_progress: OnProgress | None = None,
        raise_failed: bool = True,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> JobDetails:
        """Store one job and follow it to its end: ``enqueue`` and ``follow``."""
        receipt = await self.enqueue(task_type, target_type, target_id, payload, idempotency_key=idempotency_key, **more)
        return await self.follow(receipt.job_id, on_progress, raise_failed=raise_failed)

    async def _ask(self, model: type[M], method: str, path: str, **what: Any) -> M:
        return understood(model, (await self._asker.ask(method, path, **what)).content)


def ended(job: JobDetails, raise_failed: bool) -> JobDetails:
    """``job``, which has ended. Raises ``JobFailedError``."""
    if raise_failed and job.status is not Status.COMPLETED:
        raise JobFailedError(job)
    return job


def _json(value: Any) -> dict[str, Any]:
    return {"content": encode_json(value, "body").encode(), "headers": {"Content-Type": JSON}}


async def _lines(jobs: Iterable[NewJob] | AsyncIterable[NewJob]) -> AsyncIterator[bytes]:
    if isinstance(jobs, AsyncIterable):
        async for job in jobs:
            yield body_of(job) + b"\n"
    else:
        for job in jobs:
            yield body_of(job) + b"\n"
