"""What a scheduler has to do with webhooks, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from scheduler.clock import Clock
from scheduler.job import Draft, Receipt
from scheduler.registry import Registry, Resources, Routes
from scheduler.settings import Settings
from scheduler.stores.base import Store
from scheduler.webhooks import deliveries
from scheduler.webhooks.deliveries import Deliveries, asked_draft
from scheduler.webhooks.mover import Mover
from scheduler.webhooks.receivers import Receivers

ALONE = "webhook goes with a job that is enqueued by itself: for jobs in bulk and follow-ups configure [webhooks.NAME]"
Enqueue = Callable[[list[Draft], float], Awaitable[list[Receipt]]]


class WebhookDesk:
    """One scheduler's."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._receivers = Receivers(settings)
        self._every_s = settings.scheduler.poll_interval_s
        self._store = store
        self._clock = clock
        self._deliveries = Deliveries(self._receivers, store, clock)

    def routes(self, given: Registry) -> Routes:
        """The handlers' routes, checked, and that of deliveries if there can be any."""
        return Routes([*given.routes, *deliveries.routes.routes]) if self._receivers.is_configured else given.freeze()

    async def enqueue(self, draft: Draft, url: str, store: Enqueue, now: float) -> Receipt:
        """Store a job and the delivery of its end. Raises ``InvalidJobError``; then nothing is stored.

        The delivery belongs to the job's owner, who may look at it and cancel it.
        """
        self._receivers.admit(url)
        if draft.unique_key is None and draft.fingerprint is None and draft.request is None:
            return (await store([draft, asked_draft(url, draft.job_id, draft.owner, now)], now))[0]
        # Another job may stand for it, which only its receipt tells. Whoever gets no receipt asks again, and adds what is missing.
        receipt = (await store([draft], now))[0]
        await store([asked_draft(url, receipt.job_id, draft.owner, now)], now)
        return receipt

    def mover(self, enqueue: Enqueue, resources: Resources) -> Mover | None:
        """Before a run: everything checked, the handler's tools laid out. None if nothing is to be moved. Raises ``ConfigError``."""
        if not self._receivers.is_configured:
            return None
        self._deliveries.check()
        resources.put(Deliveries, self._deliveries)
        filters = self._receivers.filters
        return Mover(self._store, filters, enqueue, self._clock, self._every_s) if filters else None
