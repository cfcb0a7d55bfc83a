"""The contract of the ``Store`` port: the one suite that every store passes.

A store's test module subclasses ``StoreContract``, supplies ``store_at`` and says whether it is
``durable``. Passing here is what makes the memory store a verified fake of the others. Each part is
a chapter of the port's rules; ``wandering`` walks at random beside a model of them.

Does not belong here: what only one store does (files, time-outs, migrations).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.stores.base import Store
from tests.stores.asking import Asking
from tests.stores.belonging import Belonging
from tests.stores.capping import Capping
from tests.stores.claiming import Claiming
from tests.stores.enqueueing import Enqueueing
from tests.stores.handling import Handling
from tests.stores.journaling import Journaling
from tests.stores.keeping import Keeping
from tests.stores.pausing import Pausing
from tests.stores.recording import Recording
from tests.stores.requesting import Requesting
from tests.stores.settling import Settling
from tests.stores.sharing import Sharing
from tests.stores.surveying import Surveying
from tests.stores.wandering import Wandering
from tests.stores.working import Working


class StoreContract(
    Enqueueing,
    Requesting,
    Claiming,
    Capping,
    Settling,
    Recording,
    Belonging,
    Pausing,
    Sharing,
    Asking,
    Surveying,
    Handling,
    Working,
    Journaling,
    Keeping,
    Wandering,
):
    """Subclass me as ``Test…``."""

    def store_at(self, folder: Path) -> Store:
        """A store, not yet open, that keeps its jobs in ``folder`` (or names them after it)."""
        raise NotImplementedError("a store's test class supplies store_at")

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], Store]:
        """Makes the store under test; each call means the same jobs where the store is durable."""
        return lambda: self.store_at(tmp_path)
