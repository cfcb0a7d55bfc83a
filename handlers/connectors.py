"""Where a workspace's records come from: paged HTTP sources, and folders of CSV and JSON files, page by page.

A *cursor* says where the next page of one sync begins; a *mark* says how far a finished sync came, so that the next one asks only
for what changed. Both are text that a source understands. Does not belong here: keeping records (``records.py``).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urljoin, urlsplit

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field

from handlers.extras import needing
from handlers.tables import TableError, read_table, tidy
from scheduler.clock import SystemClock
from scheduler.errors import AIProviderError, AuthError, ConfigError, InvalidOutputError
from scheduler.pools.answers import error_from_answer
from scheduler.values import decode_json

_FILES = (".csv", ".json", ".jsonl")
#: Pages of a source that never ends would be read for ever.
MOST_PAGES = 100_000


@dataclass(frozen=True, slots=True)
class Page:
    """Some records. ``next`` is the cursor of the following page, None at the end; ``mark`` how far this page came, where it tells;
    ``total`` how many records there are, where the source says."""

    records: list[dict[str, Any]]
    next: str | None = None
    mark: str | None = None
    total: int | None = None


class Connector(Protocol):
    """A source of records."""

    async def page(self, cursor: str | None, since: str | None) -> Page:
        """The page at ``cursor`` (None: the first) of what changed after the mark ``since`` (None: of everything).

        Raises ``RateLimitError`` with the source's wait, ``AIProviderError`` and its kinds, ``TableError``.
        """
        ...

    async def aclose(self) -> None: ...


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    id: str = "id"

    def key(self, record: Mapping[str, Any]) -> str:
        """What names a record; empty for one without a name."""
        value = record.get(self.id, record.get(tidy(self.id)))
        return "" if value is None else str(value)


class FolderSource(_Source):
    """A folder of ``.csv``, ``.json`` and ``.jsonl`` files; a file is a page. ``id`` is the column that names a record."""

    kind: Literal["folder"] = "folder"
    path: str


class HttpSource(_Source):
    """A JSON API that answers in pages. ``items``, ``next``, ``total`` and ``updated`` are dotted paths into its answers.

    ``next`` leads to the next page's cursor, sent as ``cursor_param``, or to its address (of the same server). ``updated``
    is the field of a record that says when it changed; the latest one seen is sent as ``since_param`` by the next incremental sync.
    The token in the environment variable ``token_env`` is sent as ``Authorization: Bearer``.
    """

    kind: Literal["http"] = "http"
    url: str
    items: str = "items"
    next: str = "next"
    total: str = "total"
    updated: str = "updated_at"
    cursor_param: str = "cursor"
    since_param: str = "since"
    params: dict[str, str] = Field(default_factory=dict)
    token_env: str = ""
    timeout_s: float = Field(30.0, gt=0)


Source = Annotated[FolderSource | HttpSource, Field(discriminator="kind")]


def connect(source: FolderSource | HttpSource) -> Connector:
    """The connector of a source. Raises ``ConfigError`` for a missing extra, token or address."""
    return FolderConnector(source) if isinstance(source, FolderSource) else HttpConnector(source)


class FolderConnector:
    """Files in the order of their names. The mark is what each file held: an incremental sync reads only those that changed."""

    def __init__(self, source: FolderSource) -> None:
        self._root = Path(source.path)

    async def page(self, cursor: str | None, since: str | None) -> Page:
        return await to_thread.run_sync(self._page, cursor, since)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _page(self, cursor: str | None, since: str | None) -> Page:
        if not self._root.is_dir():
            raise TableError(f"{self._root}: no such folder")
        hashes = {path.name: _hash(path) for path in sorted(self._root.iterdir()) if path.suffix.lower() in _FILES and path.is_file()}
        before = _marked(since)
        left = [name for name in hashes if before.get(name) != hashes[name] and (cursor is None or name >= cursor)]
        if not left:
            return Page([], mark="{}")
        first, *others = left
        records: list[dict[str, Any]] = [dict(row) for row in read_table(self._root / first)]
        # Of the file that was read, as it was: one that changes meanwhile is read by the next sync.
        return Page(records, next=others[0] if others else None, mark=json.dumps({first: hashes[first]}))


class HttpConnector:
    """One client for a sync. Never follows an answer to another server, so that a token stays where it belongs."""

    def __init__(self, source: HttpSource, clock: SystemClock | None = None) -> None:
        with needing("sync"):
            import httpx2
        parts = urlsplit(source.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"source {source.name!r}: {source.url!r} is no http or https address")
        headers = {"accept": "application/json"}
        if source.token_env:
            token = os.environ.get(source.token_env, "").strip()
            if not token:
                raise ConfigError(f"source {source.name!r}: set the environment variable {source.token_env} to its token")
            headers["authorization"] = f"Bearer {token}"
        self._source = source
        self._httpx = httpx2
        self._origin = (parts.scheme, parts.netloc)
        self._clock = clock or SystemClock()
        self._client = httpx2.AsyncClient(headers=headers, timeout=source.timeout_s, follow_redirects=False)

    async def page(self, cursor: str | None, since: str | None) -> Page:
        source = self._source
        url, params = source.url, dict(source.params)
        if since is not None and source.since_param:
            params[source.since_param] = since
        if cursor is not None and _is_address(cursor):
            url, params = self._same_server(cursor), {}
        elif cursor is not None:
            params[source.cursor_param] = cursor
        answer = await self._get(url, params)
        items = _at(answer, source.items)
        if not isinstance(items, list):
            raise InvalidOutputError(f"source {source.name!r}: its answer has no list at {source.items!r}")
        records = [item for item in items if isinstance(item, dict)]
        following, total = _at(answer, source.next), _at(answer, source.total)
        stamps = [str(stamp) for record in records if (stamp := _at(record, source.updated)) is not None]
        return Page(
            records,
            next=None if following in (None, "", False) else str(following),
            mark=max(stamps, default=None),
            total=total if isinstance(total, int) else None,
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _get(self, url: str, params: Mapping[str, str]) -> Any:
        name = self._source.name
        try:
            response = await self._client.get(url, params=dict(params) or None)
        except self._httpx.TransportError as error:
            raise AIProviderError(f"source {name!r} cannot be reached: {type(error).__name__}: {error}") from error
        if response.status_code != 200:
            raise error_from_answer(response.status_code, response.headers, response.content, self._clock.now())
        try:
            return decode_json(response.text)
        except ValueError as error:
            raise AIProviderError(f"source {name!r} answered with what is no JSON") from error

    def _same_server(self, address: str) -> str:
        full = urljoin(self._source.url, address)
        parts = urlsplit(full)
        if (parts.scheme, parts.netloc) != self._origin:
            raise AuthError(f"source {self._source.name!r} leads to another server, {parts.netloc}: it is not followed")
        return full


def _is_address(cursor: str) -> bool:
    return cursor.startswith(("http://", "https://", "/"))


def _at(value: Any, path: str) -> Any:
    """What stands at a dotted path, None where there is nothing. An empty path is the value itself."""
    for name in filter(None, path.split(".")):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def later(source: FolderSource | HttpSource, before: str | None, now: str | None) -> str | None:
    """The mark after a page: a folder's pages add up, of times the later one counts."""
    if before is None or now is None:
        return now or before
    if isinstance(source, FolderSource):
        return json.dumps(_marked(before) | _marked(now), sort_keys=True)
    return max(before, now)


def _marked(since: str | None) -> dict[str, str]:
    try:
        found = json.loads(since) if since else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}
