"""What every store's tests share: an opened store, closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from scheduler.stores.base import Store
from tests.support.postgres_server import a_server


@pytest.fixture
async def store(make_store: Callable[[], Store]) -> AsyncIterator[Store]:
    """The store under test; ``make_store`` is what a store's own test module supplies."""
    made = make_store()
    await made.open()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server that all tests of the run share."""
    with a_server() as url:
        yield url
