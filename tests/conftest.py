"""Modules of checks that several rooms of the tests share: pytest explains their asserts too, if told before anybody imports them."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

#: A busy machine is no fault of a test: how long an example takes says nothing about the code.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")

# A shell that runs this in the background has it ignore Ctrl-C, and every process that the tests start and interrupt with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
