"""The client against a service that a test writes: what it sends, when it asks again, what it makes of answers."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import anyio
import httpx2
import pytest
from anyio.lowlevel import checkpoint

from scheduler import ConfigError, InvalidJobError, NewJob, NotFoundError, SchedulerError
from scheduler.client import (
    AnswerError,
    ApiError,
    ClientError,
    ConflictError,
    DeniedError,
    JobClient,
    JobFailedError,
    LimitedError,
    MissingError,
    RefusedError,
    SyncJobClient,
    UnavailableError,
    UnreachableError,
    counters_of,
    percent_of,
    streams,
)
from scheduler.client.words import body_of
from scheduler.job import Status
from scheduler.views.jobs import JobDetails
from tests.support.jobs import a_job

BASE = "http://scheduler.test/there"
RECEIPT = {"job_id": "j1", "created": True, "unchanged": False}
Answering = Callable[[httpx2.Request], httpx2.Response]


class Clock:
    """Sleeping takes no time, but is remembered."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 1_700_000_000.0 + sum(self.slept)

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await checkpoint()


class Service(httpx2.AsyncBaseTransport):
    """Answers as told, one after the other, the last for ever; keeps what it was asked."""

    def __init__(self, *answers: httpx2.Response | Exception | Answering) -> None:
        self.asked: list[httpx2.Request] = []
        self.clock = Clock()
        self._answers = list(answers)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.asked.append(request)
        if answer is NOBODY:
            raise NOBODY
        await request.aread()
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)

    def client(self, **how: Any) -> JobClient:
        return JobClient(BASE, how.pop("token", None), clock=self.clock, rng=Random(1), transport=self, **how)


def said(status: int = 200, body: Any = None, **headers: str) -> Answering:
    return lambda request: httpx2.Response(status, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def shown(status: str = "processing", **more: Any) -> dict[str, Any]:
    """A job as the API answers it."""
    view = JobDetails.with_ledgers(a_job(job_id="j1", status=Status(status)), [], None)
    return view.model_dump(mode="json") | more


def entry(number: int, name: str = "job.progress", **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("at", "task_type", "target_type", "target_id", "owner", "batch", "status", "reason", "error", "attempt", "worker", "job_id")
    )
    return {**empty, "id": number, "name": name, "detail": {}, **more}


def frame(number: int, name: str = "job.progress") -> bytes:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(entry(number, name))}\n\n".encode()


def stream(*pieces: bytes | float, kind: str = "text/event-stream") -> Answering:
    """An event stream; a number is a silence of so many seconds."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                await anyio.sleep(piece)

    return lambda request: httpx2.Response(200, content=body(), headers={"content-type": kind})


LOST = httpx2.ReadError("reset")
NOBODY = httpx2.ConnectError("refused")


class TestAskingAgain:
    async def test_a_lost_answer_is_asked_for_again_with_the_same_key_and_body(self) -> None:
        service = Service(LOST, httpx2.ReadTimeout("slow"), said(502), said(202, RECEIPT))
        receipt = await service.client().enqueue("a", "b", "1", {"x": 1}, priority=3)
        assert receipt == ("j1", True, False)
        assert len({(one.headers["idempotency-key"], one.content) for one in service.asked}) == 1
        assert len(service.asked) == 4

    async def test_each_job_has_a_key_of_its_own_or_the_callers(self) -> None:
        service = Service(said(202, RECEIPT))
        client = service.client()
        for key in (None, None, "mine"):
            await client.enqueue("a", idempotency_key=key)
        keys = [one.headers["idempotency-key"] for one in service.asked]
        assert len(set(keys)) == 3
        assert keys[2] == "mine"

    async def test_it_waits_as_long_as_the_service_asks_for(self) -> None:
        service = Service(said(503, retry_after="7"), said(202, RECEIPT))
        await service.client().enqueue("a")
        assert service.clock.slept == [7.0]

    async def test_waits_grow_and_end(self) -> None:
        service = Service(NOBODY)
        with pytest.raises(UnreachableError, match="scheduler serve"):
            await service.client(patience_s=20.0).get("j1")
        assert sum(service.clock.slept) <= 20.0
        assert service.clock.slept[-1] > 4 * service.clock.slept[0]
        assert len(service.asked) > 4

    async def test_an_unavailable_service_is_told_in_its_own_words_at_last(self) -> None:
        service = Service(said(503, {"type": "urn:scheduler:problem:unavailable", "detail": "locked"}, retry_after="1"))
        with pytest.raises(UnavailableError, match="locked") as caught:
            await service.client(patience_s=3.0).stats()
        assert caught.value.retry_after_s == 1.0

    @pytest.mark.parametrize("fault", [LOST, said(502), said(504)])
    async def test_what_must_not_be_done_twice_is_not_asked_twice(self, fault: Any) -> None:
        service = Service(fault, said(200, shown()))
        with pytest.raises((UnreachableError, UnavailableError)):
            await service.client().retry("j1")
        assert len(service.asked) == 1

    async def test_it_is_asked_again_if_it_reached_nobody(self) -> None:
        service = Service(NOBODY, said(503), said(200, shown("pending")))
        assert (await service.client().retry("j1")).status is Status.PENDING

    async def test_many_jobs_are_sent_once(self) -> None:
        def jobs() -> Any:
            for number in range(3):
                yield NewJob("a", "b", str(number))

        service = Service(NOBODY, said(202, {"accepted": 3, "created": 3, "refused": 0, "errors": []}))
        assert (await service.client().enqueue_many(jobs())).created == 3
        assert [json.loads(line)["target_id"] for line in service.asked[-1].content.splitlines()] == ["0", "1", "2"]
        lost = Service(said(503), said(202, {}))
        with pytest.raises(UnavailableError):
            await lost.client().enqueue_many(jobs())
        assert len(lost.asked) == 1

    async def test_a_closed_client_asks_nobody(self) -> None:
        service = Service(said(200, shown()))
        async with service.client() as client:
            pass
        with pytest.raises(ClientError, match="closed"):
            await client.get("j1")


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (401, DeniedError),
            (403, DeniedError),
            (404, MissingError),
            (409, ConflictError),
            (413, RefusedError),
            (415, RefusedError),
            (422, RefusedError),
            (429, LimitedError),
            (507, ApiError),
        ],
    )
    async def test_a_problem_is_an_error_of_its_kind(self, status: int, kind: type[ApiError]) -> None:
        problem = {"type": "urn:scheduler:problem:x", "detail": "do that", "errors": [{"where": "body.a", "what": "is bad"}]}
        with pytest.raises(SchedulerError, match="do that") as caught:
            await Service(said(status, problem)).client().cancel("j1")
        assert type(caught.value) is kind
        assert isinstance(caught.value, ApiError)
        assert (caught.value.status, caught.value.type, caught.value.errors) == (status, problem["type"], (("body.a", "is bad"),))

    async def test_a_missing_job_is_missing_as_in_the_same_process(self) -> None:
        with pytest.raises(NotFoundError):
            await Service(said(404, {})).client().get("j1")

    @pytest.mark.parametrize("body", [b"", b"<html>Not found</html>", b"[1]", b'{"detail": 3, "errors": 7}', b"\xff\xfe"])
    async def test_an_answer_of_somebody_else_is_an_error_too(self, body: bytes) -> None:
        with pytest.raises(ApiError):
            await Service(httpx2.Response(404, content=body)).client().get("j1")
        with pytest.raises(AnswerError):
            await Service(httpx2.Response(200, content=body)).client().get("j1")

    async def test_pages_are_turned_until_the_limit(self) -> None:
        one = {name: value for name, value in shown().items() if name not in ("payload", "result", "state", "ledgers", "ends_at")}
        service = Service(said(200, {"jobs": [one] * 2, "next_cursor": "9"}), said(200, {"jobs": [one] * 2, "next_cursor": "7"}))
        found = [job async for job in service.client().jobs(status=["completed", "cancelled"], owner=None, limit=4)]
        assert len(found) == 4
        assert [dict(request.url.params).get("cursor") for request in service.asked] == [None, "9"]
        assert service.asked[0].url.params.get_list("status") == ["completed", "cancelled"]

    async def test_a_path_holds_whatever_an_id_holds(self) -> None:
        service = Service(said(404, {}))
        with pytest.raises(MissingError):
            await service.client().get("a/../b?c#d")
        assert service.asked[0].url.raw_path == b"/there/api/jobs/a%2F..%2Fb%3Fc%23d"


class TestSecrets:
    async def test_a_token_is_in_a_header_and_nowhere_else(self) -> None:
        service = Service(said(200, shown()))
        client = service.client(token="sched_secret")
        await client.get("j1")
        assert service.asked[0].headers["authorization"] == "Bearer sched_secret"
        assert "sched_secret" not in str(service.asked[0].url)
        assert "sched_secret" not in repr(client)
        assert "sched_secret" not in repr(SyncJobClient(BASE, "sched_secret"))

    async def test_no_answer_leads_a_token_elsewhere(self) -> None:
        service = Service(said(307, location="http://elsewhere.test/"))
        with pytest.raises(ApiError):
            await service.client(token="sched_secret").get("j1")
        assert len(service.asked) == 1

    @pytest.mark.parametrize(
        "url", ["http://sched_secret@host", "http://a:sched_secret@host", "http://host?token=sched_secret", "ftp://host", "host"]
    )
    def test_an_address_with_more_than_an_address_is_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            JobClient(url)
        assert "sched_secret" not in str(caught.value)

    def test_a_token_that_no_header_can_hold_is_refused(self) -> None:
        with pytest.raises(ClientError, match="token"):
            JobClient(BASE, "tökén✓")


class TestBodies:
    def test_what_is_given_is_sent_and_nothing_else(self) -> None:
        assert json.loads(body_of(NewJob("a"))) == {"task_type": "a"}
        assert json.loads(body_of(NewJob("a", "b", 7, {"x": [1]}, batch="z", after=("j0",)))) == {  # type: ignore[arg-type]  # as the door takes it
            "task_type": "a", "target_type": "b", "target_id": "7", "payload": {"x": [1]}, "batch": "z", "after": ["j0"],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("when", "field", "told"),
        [
            (timedelta(minutes=2), "delay_s", 120.0),
            (datetime(2030, 1, 31, 18, tzinfo=UTC), "run_after", "2030-01-31T18:00:00+00:00"),
            (0.5, "run_after", "1970-01-01T00:00:00.500Z"),
        ],
    )
    def test_times_are_told_as_the_service_reads_them(self, when: Any, field: str, told: Any) -> None:
        assert json.loads(body_of(NewJob("a", run_after=when))) == {"task_type": "a", field: told}

    @pytest.mark.parametrize(
        "bad",
        [NewJob("a", payload=float("nan")), NewJob("a", payload="\x00"), NewJob("a", run_after=datetime.fromisoformat("2030-01-31T18:00"))],
    )
    def test_what_no_store_can_hold_is_refused_before_it_is_sent(self, bad: NewJob) -> None:
        with pytest.raises(InvalidJobError):
            body_of(bad)

    def test_a_payload_may_be_as_deep_as_the_door_allows(self) -> None:
        deep: Any = {}
        for _ in range(31):
            deep = {"x": deep}
        assert json.loads(body_of(NewJob("a", payload=deep)))["payload"] == deep


class TestEvents:
    async def test_it_goes_on_behind_the_last_entry_without_gap_or_duplicate(self) -> None:
        service = Service(
            stream(b"retry: 3000\n\n", frame(1), frame(2) + frame(3)[:20]),
            NOBODY,
            stream(frame(2), frame(3), frame(4, "job.completed")),
            said(204),
        )
        client = service.client()
        assert [one.id async for one in client.events("j1")] == [1, 2, 3, 4]
        assert [one.headers.get("last-event-id") for one in service.asked] == [None, "2", "2"]
        assert len(service.clock.slept) == 2
        assert 1.5 <= service.clock.slept[0] <= 3.0
        assert 3.0 <= service.clock.slept[1] <= 6.0

    async def test_it_begins_where_it_is_told(self) -> None:
        service = Service(said(204))
        assert [one async for one in service.client().events("j1", after=41)] == []
        assert service.asked[0].headers["last-event-id"] == "41"

    async def test_a_stream_that_says_where_it_stands_is_gone_on_from_there(self) -> None:
        service = Service(stream(b"id: 70\n\n"), stream(frame(71)))
        assert (await anext(service.client().events(task_type=["a", "b"]))).id == 71
        assert service.asked[1].headers["last-event-id"] == "70"
        assert service.asked[1].url.params.get_list("task_type") == ["a", "b"]

    async def test_what_is_no_longer_kept_is_told(self) -> None:
        service = Service(stream(b"event: reset\ndata: {}\n\n" + frame(90)))
        events = service.client().events(after=3)
        assert not events.missed
        assert (await anext(events)).id == 90
        assert events.missed

    async def test_who_is_silent_for_ever_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        service = Service(stream(frame(1)), NOBODY)
        events = service.client(patience_s=30.0).events()
        assert (await anext(events)).id == 1
        with pytest.raises(UnreachableError):
            await anext(events)

    @pytest.mark.parametrize(
        "fault",
        [said(404, {}), said(405), said(406), said(200, {}), said(503), stream(b"what\n\n", kind="text/html"), stream(b"data: what\n\n")],
    )
    async def test_where_there_are_no_streams_a_jobs_history_is_asked_for(self, fault: Any) -> None:
        told = [entry(5, "job.enqueued"), entry(6)]
        service = Service(
            fault, said(200, {"entries": told}), said(200, {"entries": told}), said(200, {"entries": [*told, entry(9, "job.failed")]})
        )
        client = service.client(poll_s=2.0)
        assert [one.id async for one in client.events("j1", after=5)] == [6, 9]
        assert service.clock.slept == [2.0]
        assert [one.url.path.rpartition("/")[2] for one in service.asked] == ["events", *["history"] * 4]

    async def test_a_stream_that_is_kept_back_is_replaced_by_short_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(streams, "FIRST_S", 0.05)
        service = Service(stream(30.0, frame(1)), stream(b"id: 4\n\n"), stream(frame(5)))
        events = service.client(poll_s=1.5).events()
        assert (await anext(events)).id == 5
        assert [dict(one.url.params) for one in service.asked] == [{}, {"max_s": "1.5"}, {"max_s": "1.5"}]
        assert service.asked[2].headers["last-event-id"] == "4"

    async def test_a_stream_that_falls_silent_is_opened_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(streams, "SILENT_S", 0.05)
        service = Service(stream(frame(1), 30.0), stream(frame(2)))
        events = service.client().events()
        assert [(await anext(events)).id, (await anext(events)).id] == [1, 2]

    async def test_a_refusal_is_an_error(self) -> None:
        with pytest.raises(DeniedError):
            await anext(Service(said(401, {})).client().events())


class TestFollowing:
    async def test_each_change_is_told_and_the_last_is_the_end(self) -> None:
        service = Service(
            said(202, RECEIPT), said(200, shown("pending")), stream(frame(1, "job.enqueued"), frame(2), frame(3)),
            said(200, shown(progress={"percent": 40.0})), said(200, shown(progress={"percent": 40.0}, ends_at="2030-01-31T18:00:00.000Z")),
            said(200, shown("completed", result={"a": 1})),
        )  # fmt: skip
        told: list[tuple[str, float]] = []

        async def on_progress(job: JobDetails) -> None:
            told.append((job.status, percent_of(job)))

        job = await service.client().start("a", "b", "1", on_progress=on_progress)
        assert job.result == {"a": 1}
        assert told == [("pending", 0.0), ("processing", 40.0), ("completed", 100.0)]

    @pytest.mark.parametrize("status", ["failed_ai", "cancelled"])
    async def test_a_job_that_failed_is_an_error_that_carries_it_unless_asked_otherwise(self, status: str) -> None:
        service = Service(said(200, shown(status, reason="auth", error="bad key")))
        with pytest.raises(JobFailedError, match=f"{status} .auth: bad key") as caught:
            await service.client().follow("j1")
        assert caught.value.job.reason == "auth"
        assert (await service.client().follow("j1", raise_failed=False)).status == status

    async def test_without_streams_it_looks_now_and_then(self) -> None:
        service = Service(said(200, shown("pending")), said(404, {}), said(200, shown()), said(200, shown()), said(200, shown("completed")))
        told: list[str] = []
        await service.client(poll_s=2.0).follow("j1", lambda job: told.append(job.status))
        assert told == ["pending", "processing", "completed"]
        assert service.clock.slept == [2.0, 2.0]

    def test_without_an_event_loop_it_is_the_same(self) -> None:
        service = Service(said(200, shown("pending")), stream(frame(1)), said(200, shown("completed")))
        told: list[str] = []
        with SyncJobClient(BASE, clock=service.clock, transport=service) as client:
            client.follow("j1", lambda job: told.append(job.status))
        assert told == ["pending", "completed"]
        with pytest.raises(ClientError, match="not open"):
            client.get("j1")

    def test_what_is_interrupted_goes_on_nowhere(self) -> None:
        service = Service(said(200, shown("pending")), said(404, {}), said(200, shown()))
        main = threading.main_thread().ident
        assert main == threading.get_ident()
        with SyncJobClient(BASE, transport=service, poll_s=0.02) as client:
            interrupt = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT))

            def on_progress(job: JobDetails) -> None:
                if job.status is Status.PENDING:
                    interrupt.start()

            with pytest.raises(KeyboardInterrupt):
                client.follow("j1", on_progress)
            asked = len(service.asked)
            time.sleep(0.2)
            assert len(service.asked) == asked
            assert client.get("j1").job_id == "j1", "and the client is as good as before"

    def test_leaving_an_iterator_lets_its_connection_go(self) -> None:
        service = Service(stream(frame(1), frame(2), 30.0))
        with SyncJobClient(BASE, clock=service.clock, transport=service) as client:
            for one in client.events():
                assert one.id == 1
                break

    def test_counters_of_all_passes_are_added_up(self) -> None:
        def ledger(total: int | None, done: int, **counters: float) -> dict[str, Any]:
            return {"name": "x", "total": total, "next": 0, "done": done, "failed": 1, "counters": counters}

        both = JobDetails(**shown(ledgers=[ledger(10, 3, matched=2), ledger(5, 1, matched=1, odd=1)]))
        assert counters_of(both) == {"done": 4, "failed": 2, "total": 15, "matched": 3, "odd": 1}
        assert counters_of(JobDetails(**shown(ledgers=[ledger(10, 3), ledger(None, 1)])))["total"] is None
