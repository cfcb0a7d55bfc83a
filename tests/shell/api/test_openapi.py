"""The OpenAPI document is true: thousands of generated requests, every check on, no fault and no answer that it does not have."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from scheduler import JobContext, Registry
from scheduler.api import tokens
from scheduler.api.app import create_app
from tests.support.served_app import GUARDED, TOKENS, served

ROOT = Path(__file__).parents[3]
CASES = 2_000
routes = Registry()


@routes.handler("generate_topics")
async def generate_topics(job: JobContext, payload: Any) -> Any:
    return payload


def document() -> dict[str, Any]:
    return create_app({"scheduler": {"store": "memory:"}}).openapi()


@pytest.mark.slow
async def test_every_answer_is_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SLOW_TO_S", 0.0)  # many of these requests come with wrong tokens
    async with served(GUARDED, routes, run=True) as face:
        command = [
            str(Path(sys.executable).with_name("st")), "--config-file", "tests/support/schemathesis.toml",
            "run", f"{face.url}/openapi.json", "--checks", "all", "--max-examples", "16", "--seed", "1", "--no-color",
            "-H", f"Authorization: Bearer {TOKENS['operator']}",
        ]  # fmt: skip
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
        with anyio.fail_after(400):
            done = await anyio.run_process(command, cwd=ROOT, env=environment, check=False)
        told = done.stdout.decode()
        assert done.returncode == 0, told[-6_000:]
        generated = re.search(r"([\d,]+) generated", told)
        assert generated is not None, told[-2_000:]
        assert int(generated[1].replace(",", "")) >= CASES


def test_every_operation_says_what_it_does_and_what_may_go_wrong() -> None:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["tags"], where
            failing = [status for status in operation["responses"] if int(status) >= 400]
            assert failing, where
            for status in set(failing) - ({"503"} if path == "/readyz" else set()):
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"], where


def test_bodies_and_errors_come_with_examples() -> None:
    schemas = document()["components"]["schemas"]
    for name in ("NewJobBody", "PauseBody", "Problem", "ReceiptView", "JobSummary"):
        assert schemas[name]["examples"], name
