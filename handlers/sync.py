"""Syncing a workspace from its connectors: everything at first, then what changed.

Each page is kept before the checkpoint that goes past it, so an attempt that ends early costs the page in flight, and a source that
says "later" is asked for that page again, not for the first. A connector that refuses for good is told in the result and does not keep the
others from their work. At most one sync of a workspace at a time: ``sync_job`` gives jobs the unique key for it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal

import anyio
from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field, model_validator

from handlers.connectors import MOST_PAGES, FolderSource, HttpSource, Page, Source, connect, later
from handlers.records import Records
from handlers.tables import TableError
from scheduler import ConfigError, InvalidOutputError, JobContext, NewJob, ProviderRefusedError, Registry

SYNC = "sync"
INITIAL, INCREMENTAL = "initial", "incremental"
_MOST_ERRORS = 100

routes = Registry()


class Files:
    """The open record files of this process, one a path; handlers ask for it by ``job.resource(Files)``."""

    def __init__(self) -> None:
        self._open: dict[str, Records] = {}
        self._guard = threading.Lock()

    def at(self, path: str) -> Records:
        with self._guard:
            if path not in self._open:
                self._open[path] = Records(path)
            return self._open[path]

    def close(self) -> None:
        for records in self._open.values():
            records.close()
        self._open.clear()


@routes.resource(Files)
def files(settings: Any) -> Files:
    return Files()


class WorkspaceSync(BaseModel):
    """``mode`` "incremental" asks a connector for what changed since its last finished sync, for everything if there was none;
    "initial" asks for everything and forgets what is no longer there. ``connector`` (its name) syncs only that one.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    workspace: str = Field(min_length=1)
    sources: list[Source] = Field(min_length=1)
    mode: Literal["initial", "incremental"] = "incremental"
    connector: str = ""
    records: str = "records.db"

    @model_validator(mode="after")
    def _names_differ(self) -> WorkspaceSync:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"two sources have the same name: {', '.join(names)}")
        if self.connector and self.connector not in names:
            raise ValueError(f"there is no source {self.connector!r}; there are {', '.join(names)}")
        return self


def sync_job(
    workspace: str,
    sources: Sequence[FolderSource | HttpSource | dict[str, Any]],
    *,
    mode: str = INCREMENTAL,
    owner: str | None = None,
    **more: Any,
) -> NewJob:
    """The job that syncs a workspace; while one is unfinished, enqueueing another gives that one back."""
    plain = [source if isinstance(source, dict) else source.model_dump() for source in sources]
    payload = {"workspace": workspace, "sources": plain, "mode": mode, **more}
    return NewJob(SYNC, "workspace", workspace, payload, unique_key=f"{SYNC}:{workspace}", owner=owner)


@routes.handler(SYNC, "workspace", payload=WorkspaceSync)
async def sync(job: JobContext, payload: WorkspaceSync) -> dict[str, Any]:
    """Returns ``results`` (one a connector), ``totalRecords`` and ``errors``. Raises what made every connector fail."""
    work = _Sync(job, payload)
    wanted = [source for source in payload.sources if payload.connector in ("", source.name)]
    failures: list[Exception] = []
    for number, source in enumerate(wanted):
        try:
            await work.connector(source, number, len(wanted))
        except (ConfigError, TableError, ProviderRefusedError, InvalidOutputError) as error:
            failures.append(error)
            await work.failed(source.name, str(error))
    if failures and len(failures) == len(wanted):
        raise failures[0]
    return work.result()


class _Sync:
    """One job's walk through its connectors. ``state`` is the checkpoint: where each of them stands."""

    def __init__(self, job: JobContext, payload: WorkspaceSync) -> None:
        self.job = job
        self.payload = payload
        self.records = job.resource(Files).at(payload.records)
        self.state: dict[str, dict[str, Any]] = job.state or {}

    async def connector(self, source: FolderSource | HttpSource, number: int, of: int) -> None:
        """Page by page from where the last attempt stood."""
        stand = self.state.setdefault(source.name, await self._begin(source))
        if stand["done"]:
            return
        connector = connect(source)
        try:
            while not stand["done"]:
                page = await connector.page(stand["cursor"], stand["since"])
                await self._keep(source, stand, page)
                self._tell(source.name, stand, page, number, of)
                await self.job.checkpoint(self.state)
        finally:
            with anyio.CancelScope(shield=True):
                await connector.aclose()

    async def failed(self, name: str, error: str) -> None:
        """This connector refused for good; its mark stays, so that the next sync asks for the same again."""
        stand = self.state[name]
        stand["errors"] = [*dict.fromkeys([*stand["errors"], error])][:_MOST_ERRORS]  # a later attempt may meet it again
        await self.job.checkpoint(self.state)

    def result(self) -> dict[str, Any]:
        told = ("mode", "records", "new", "changed", "unchanged", "gone", "pages", "errors")
        results = [{"connector": name, **{key: stand[key] for key in told}} for name, stand in self.state.items()]
        return {
            "results": results,
            "totalRecords": sum(one["records"] for one in results),
            "errors": [f"{one['connector']}: {error}" for one in results for error in one["errors"]],
        }

    async def _begin(self, source: FolderSource | HttpSource) -> dict[str, Any]:
        since = None
        if self.payload.mode == INCREMENTAL:
            since = await to_thread.run_sync(self.records.mark, self.payload.workspace, source.name)
        counts = dict.fromkeys(("records", "new", "changed", "unchanged", "gone", "pages"), 0)
        mode = INITIAL if since is None else INCREMENTAL
        return {"cursor": None, "since": since, "mark": since, "mode": mode, "done": False, "errors": [], **counts}

    async def _keep(self, source: FolderSource | HttpSource, stand: dict[str, Any], page: Page) -> None:
        workspace, sync = self.payload.workspace, self.job.job_id
        found = {key: record for record in page.records if (key := source.key(record))}
        nameless = sum(not source.key(record) for record in page.records)
        if nameless and len(stand["errors"]) < _MOST_ERRORS:
            stand["errors"].append(f"page {stand['pages'] + 1}: {nameless} records without {source.id!r}")
        counts = await to_thread.run_sync(self.records.put, workspace, source.name, sync, found)
        for name, count in counts._asdict().items():
            stand[name] += count
        stand["records"] += len(found)
        stand["pages"] += 1
        stand["mark"] = later(source, stand["mark"], page.mark)
        if page.next is not None and page.next == stand["cursor"]:
            raise InvalidOutputError(f"page {stand['pages']} leads to itself")
        stand["cursor"] = page.next
        if page.next is None or stand["pages"] >= MOST_PAGES:
            is_whole = self.payload.mode == INITIAL and page.next is None
            stand["gone"] = await to_thread.run_sync(
                lambda: self.records.finish(workspace, source.name, sync, stand["mark"], is_whole=is_whole)
            )
            stand["done"] = True

    def _tell(self, name: str, stand: dict[str, Any], page: Page, number: int, of: int) -> None:
        """Where a source does not say how many records it has, a connector counts when it is through."""
        share = 1.0 if stand["done"] else min(1.0, stand["records"] / page.total) if page.total else 0.0
        whole = f" of {page.total:,}" if page.total else ""
        self.job.progress(
            percent=100 * (number + share) / of, message=f"{name}: {stand['records']:,}{whole} records (page {stand['pages']})"
        )
