"""A browser for all tests of a file, and a service of its own for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support import browser as chromium
from tests.support.browser import Watched
from tests.support.served import Served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if chromium.path() is None:
        pytest.skip(chromium.MISSING)
    with chromium.browser() as started:
        yield started


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    """Started, without tokens."""
    served = Served(tmp_path)
    served.start()
    yield served
    served.end()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    one = Watched(browser)
    yield one
    one.context.close()
