"""The PostgreSQL store keeps the contract, on a real server."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from scheduler.stores.base import Store
from scheduler.stores.postgres import PostgresStore
from tests.stores.contract import StoreContract
from tests.support.postgres_server import with_schema


class TestPostgresStore(StoreContract):
    durable = True
    walks = 15  # each makes a schema
    server: ClassVar[str]

    @pytest.fixture(autouse=True)
    def _at_the_server(self, postgres: str) -> None:
        type(self).server = postgres

    def store_at(self, folder: Path) -> Store:
        return PostgresStore(with_schema(self.server, str(folder)[-63:]))
