"""Deliveries: jobs of the scheduler itself, one for each thing to be told to one receiver.

Two ways lead here. ``told_draft`` is made of an entry of the journal that a configured webhook's filter lets through; ``asked_draft`` waits
for the job that named an address when it was enqueued. Both have a message id of their own that every try repeats, so that a receiver
knows what it was told before.

Does not belong here: the journey of one try (``sending.py``), or who asks for deliveries (``mover.py``, ``runtime.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pydantic_core
from pydantic import BaseModel, ConfigDict

from scheduler.clock import Clock
from scheduler.context import JobContext
from scheduler.errors import DeliveryError, UndeliverableError
from scheduler.ids import job_id as new_id
from scheduler.job import Draft, Job, Status
from scheduler.journal import Entry, entry_of
from scheduler.pools.headers import retry_after_s
from scheduler.registry import Registry
from scheduler.stores.base import JobQuery, Store
from scheduler.values import encode_json
from scheduler.webhooks.filters import DELIVER
from scheduler.webhooks.receivers import Receiver, Receivers
from scheduler.webhooks.sending import Answer, Sender

TARGET = "webhook"
#: Seconds before each further try, as far apart as Standard Webhooks advises: a receiver that is down for a night misses nothing.
WAITS_S = (5.0, 60.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0)
MAX_ATTEMPTS = len(WAITS_S) + 1
#: Deliveries under way at once in this process, beside its other work: they do little but wait.
AT_ONCE = 16
#: The name look-up and the answer have a limit of their own; this is for the store as well.
TIMEOUT_S = 60.0
#: A larger result is left out: the receiver asks for it.
MAX_RESULT_BYTES = 65_536

routes = Registry()


class Delivery(BaseModel):
    """What a delivery's payload says: a configured ``webhook`` and the ``entry`` to tell, or the ``url`` that the job ``job_id`` named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhook: str | None = None
    entry: dict[str, Any] | None = None
    url: str | None = None
    job_id: str | None = None

    @property
    def message_id(self) -> str:
        """The same for every try, and for the same thing should it be enqueued twice."""
        return _message_id(self.webhook, self.entry["id"], self.entry["job_id"]) if self.entry else _message_id(self.url, "", self.job_id)


def told_draft(webhook: str, entry: Entry, now: float) -> Draft:
    """The delivery of ``entry`` to ``[webhooks.NAME]``."""
    return _draft(Delivery(webhook=webhook, entry=entry.to_dict()), webhook, now)


def asked_draft(url: str, job_id: str, owner: str | None, now: float) -> Draft:
    """The delivery of the end of a job, which ``url`` asked for when it was enqueued; it waits for that end."""
    return _draft(Delivery(url=url, job_id=job_id), job_id, now)._replace(owner=owner, after=(job_id,), if_failed="run", strict=False)


def _draft(delivery: Delivery, target_id: str, now: float) -> Draft:
    payload = encode_json(delivery.model_dump(mode="json", exclude_none=True))
    return Draft(new_id(now), DELIVER, TARGET, target_id, payload, 0, now, delivery.message_id, None, None, None, None)


def _message_id(*parts: Any) -> str:
    """No dots: they part what is signed."""
    return "msg_" + hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:32]


@routes.handler(DELIVER, TARGET, payload=Delivery, timeout_s=TIMEOUT_S, max_attempts=MAX_ATTEMPTS, aside=AT_ONCE)
async def deliver(job: JobContext, payload: Delivery) -> dict[str, Any]:
    """Tell one receiver one thing."""
    return await job.resource(Deliveries).deliver(job, payload)


class Deliveries:
    """Makes messages and judges answers."""

    def __init__(self, receivers: Receivers, store: Store, clock: Clock, sender: Sender | None = None) -> None:
        self._receivers = receivers
        self._store = store
        self._clock = clock
        self._sender = sender

    def check(self) -> None:
        """Raises ``ConfigError`` for what would keep deliveries from being made: called before any is tried."""
        self._receivers.check()
        self._sender = self._sender or Sender()

    async def deliver(self, job: JobContext, delivery: Delivery) -> dict[str, Any]:
        """One try. Raises ``DeliveryError`` to be tried again, ``UndeliverableError`` never to be."""
        assert self._sender is not None  # ``check`` came first
        receiver = self._receiver(delivery)
        entry = delivery.entry or job.state or await self._end_of(delivery.job_id or "")
        if entry is None:
            return {"told": False, "why": "the job is gone, or on its way again"}
        body = await self._body(entry)
        signed = receiver.signer.headers(delivery.message_id, self._clock.now(), body)
        headers = {"content-type": "application/json", "user-agent": "ai-job-scheduler", **signed}
        try:
            answer = await self._sender.send(receiver.place, receiver.networks, headers, body.encode())
            self._judge(answer, receiver)
        except DeliveryError as error:
            if delivery.entry is None and job.state is None:
                await job.checkpoint(entry)  # the job may be gone, or on its way again, at the next try
            error.retry_after_s = max(error.retry_after_s or 0.0, WAITS_S[min(job.attempt, len(WAITS_S)) - 1])
            raise
        return {"told": True, "status": answer.status, "message_id": delivery.message_id}

    def _receiver(self, delivery: Delivery) -> Receiver:
        return self._receivers.named(delivery.webhook) if delivery.webhook is not None else self._receivers.asked(delivery.url or "")

    def _judge(self, answer: Answer, receiver: Receiver) -> None:
        if 200 <= answer.status < 300:
            return
        text = f"{receiver.place} answered {answer.status}"
        if answer.status == 410:
            raise UndeliverableError(f"{text}: it wants to be told no more", "receiver_gone")
        if 300 <= answer.status < 400:
            text += ", a redirect, which is not followed: give its final address"
        waits_s = None
        if answer.status in (429, 503) and answer.retry_after is not None:
            waits_s = retry_after_s({"retry-after": answer.retry_after}, self._clock.now())
        raise DeliveryError(text, retry_after_s=waits_s)

    async def _body(self, entry: Mapping[str, Any]) -> str:
        """The message, as Standard Webhooks has it: a type, a time, and data, which is the entry and what the job came to."""
        found = await self._store.find(JobQuery(job_ids=(entry["job_id"],), limit=1))
        data = {**entry, **_result(found[0] if found else None, entry["status"])}
        return pydantic_core.to_json({"type": entry["name"], "timestamp": entry["at"], "data": data}).decode()

    async def _end_of(self, job_id: str) -> dict[str, Any] | None:
        """How a job ended last: what the journal says, or the job itself if the journal has forgotten it."""
        found = await self._store.find(JobQuery(job_ids=(job_id,), limit=1))
        if not found:
            return None
        job, after, end = found[0], 0, None
        while entries := await self._store.journal(after, seq=job.seq):
            after = entries[-1].id
            end = next((entry for entry in reversed(entries) if entry.is_end), end)
        if end is None and job.status.is_terminal:
            end = entry_of(job._replace(status=Status.PROCESSING), job, job.finished_at or job.created_at)
        return None if end is None else end.to_dict()


def _result(job: Job | None, status: str) -> dict[str, Any]:
    """The result as long as the job stands as it is told, and if it is small enough."""
    if job is None or job.status != status or job.result_json is None:
        return {"result": None, "result_omitted": False}
    if len(job.result_json.encode()) > MAX_RESULT_BYTES:
        return {"result": None, "result_omitted": True}
    return {"result": job.result, "result_omitted": False}
