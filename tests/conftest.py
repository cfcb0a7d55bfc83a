"""Modules of checks that several rooms of the tests share: pytest explains their asserts too, if told before anybody imports them."""

from __future__ import annotations

import pytest

for part in (
    "acts",
    "contract",
    "enqueueing",
    "claiming",
    "capping",
    "settling",
    "pausing",
    "sharing",
    "asking",
    "handling",
    "working",
    "keeping",
    "joining",
    "model",
    "wandering",
):
    pytest.register_assert_rewrite(f"tests.stores.{part}")
