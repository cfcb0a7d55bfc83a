"""Ours and the rivals as they call one server through the real ``openai`` client: what ``quota_http`` runs as processes.

Every contender gets the same endless list of calls, of sizes so mixed that most often the requests of a minute bind, and
now and then its tokens. Each says what it got done, and what that cost it in CPU.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import anyio
import openai
from openai import AsyncOpenAI

from scheduler import JobContext, NewJob, Registry, Scheduler
from scheduler.events import JobCompleted, JobFailed

WORKERS = 64
#: The longest answer that a call asks for, in tokens.
LONGEST = 400


@dataclass(frozen=True)
class Size:
    """Tokens of a call: its prompt, and its answer, which nobody knows beforehand."""

    prompt: int
    answer: int

    @property
    def most(self) -> int:
        """What a caller must reckon with."""
        return self.prompt + LONGEST


def size_of(number: int) -> Size:
    """Log-normal, medians of 200 and 120; the same for every contender."""
    rng = Random(number)
    return Size(min(2_000, round(rng.lognormvariate(math.log(200), 0.7))), min(LONGEST, round(rng.lognormvariate(math.log(120), 0.5))))


def mean_tokens() -> float:
    """What calls really use."""
    sizes = [size_of(number) for number in range(5_000)]
    return statistics.mean(size.prompt + size.answer for size in sizes)


def request_of(number: int) -> dict[str, Any]:
    """The arguments of a chat completion; the length of the answer is for the server only."""
    size = size_of(number)
    # The server counts four characters of JSON as a token, and eight tokens for what is around it.
    text = "word " * max(1, (4 * size.prompt - 85) // 5)
    messages = [{"role": "user", "content": text}]
    told = {"x-sim-output-tokens": str(size.answer)}
    return {"model": "sim-1", "messages": messages, "max_tokens": LONGEST, "extra_headers": told}


@dataclass
class Tally:
    """What a contender did. ``done_at``: seconds after the start."""

    started: float = field(default_factory=time.time)
    cpu_s: float = field(default_factory=time.process_time)
    done_at: list[float] = field(default_factory=list)
    failed: int = 0

    def done(self) -> None:
        self.done_at.append(time.time() - self.started)

    def measured(self) -> dict[str, Any]:
        return {
            "started": self.started,
            "seconds": time.time() - self.started,
            "done_at": self.done_at,
            "failed": self.failed,
            "cpu_s": time.process_time() - self.cpu_s,
        }


def client_of(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=60.0)


def hint_s(error: openai.RateLimitError) -> float:
    """The wait that a 429 asks for; a second where it asks for none."""
    headers = error.response.headers
    if "retry-after-ms" in headers:
        return float(headers["retry-after-ms"]) / 1_000
    return float(headers.get("retry-after", 1.0))


# -- the naive loop


async def naive(options: dict[str, Any]) -> dict[str, Any]:
    """64 workers; each sleeps as long as a 429 asks for, then tries again."""
    client, numbers, tally = client_of(options["url"]), itertools.count(), Tally()

    async def worker() -> None:
        for number in numbers:
            while True:
                try:
                    await client.chat.completions.create(**request_of(number))
                except openai.RateLimitError as error:
                    await anyio.sleep(hint_s(error))
                    continue
                except openai.APIError:
                    tally.failed += 1
                    break
                tally.done()
                break

    with anyio.move_on_after(options["seconds"]):
        async with anyio.create_task_group() as tasks:
            for _ in range(WORKERS):
                tasks.start_soon(worker)
    return tally.measured()


# -- the cookbook's algorithm

#: Its choices: a look every millisecond, a pause after a rate limit error, so many tries.
LOOK_S, COOL_DOWN_S, TRIES = 0.001, 15.0, 5


@dataclass
class _Counters:
    """Capacity of requests and tokens, which fills evenly up to a whole minute's worth. Full at the start."""

    rpm: float
    tpm: float
    requests: float = 0.0
    tokens: float = 0.0
    at: float = 0.0

    def __post_init__(self) -> None:
        self.requests, self.tokens, self.at = self.rpm, self.tpm, time.monotonic()

    def take(self, tokens: float) -> bool:
        now = time.monotonic()
        minutes, self.at = (now - self.at) / 60.0, now
        self.requests = min(self.rpm, self.requests + self.rpm * minutes)
        self.tokens = min(self.tpm, self.tokens + self.tpm * minutes)
        if self.requests < 1 or self.tokens < tokens:
            return False
        self.requests -= 1
        self.tokens -= tokens
        return True


async def cookbook(options: dict[str, Any]) -> dict[str, Any]:
    """Counters, as many calls at once as they allow, 15 s of rest after a rate limit error. It is told the true limits."""
    client, numbers, tally = client_of(options["url"]), itertools.count(), Tally()
    counters = _Counters(options["rpm"], options["tpm"])
    again: deque[tuple[int, int]] = deque()
    limited_at = float("-inf")
    following: tuple[int, int] | None = None

    async def call(number: int, tries_left: int) -> None:
        nonlocal limited_at
        try:
            await client.chat.completions.create(**request_of(number))
        except openai.APIError as error:
            if isinstance(error, openai.RateLimitError):
                limited_at = time.monotonic()
            if tries_left:
                again.append((number, tries_left - 1))
            else:
                tally.failed += 1
            return
        tally.done()

    with anyio.move_on_after(options["seconds"]):
        async with anyio.create_task_group() as tasks:
            while True:
                following = following or (again.popleft() if again else (next(numbers), TRIES - 1))
                if counters.take(size_of(following[0]).most):
                    tasks.start_soon(call, *following)
                    following = None
                await anyio.sleep(LOOK_S)
                rest_s = limited_at + COOL_DOWN_S - time.monotonic()
                if rest_s > 0:
                    await anyio.sleep(rest_s)
    return tally.measured()


# -- ours

routes = Registry()


@routes.resource(AsyncOpenAI)
def _client(settings: Any) -> AsyncOpenAI:
    return client_of(settings.provider.base_url)


@routes.handler("ask", pool="main")
async def ask(job: JobContext, payload: dict[str, Any]) -> str:
    request, size = request_of(payload["number"]), size_of(payload["number"])
    client = job.resource(AsyncOpenAI)
    async with job.pool.request(size.most, output_tokens=LONGEST) as call:
        raw = await client.chat.completions.with_raw_response.create(**request)
        completion = raw.parse()
        call.observe(completion.usage, raw.headers)
    return completion.choices[0].message.content or ""


async def ours(options: dict[str, Any]) -> dict[str, Any]:
    """The scheduler on SQLite, told nothing of any limit."""
    folder = Path(options["folder"])
    config = {
        "scheduler": {"store": f"sqlite:///{folder / 'jobs.db'}", "concurrency": WORKERS},
        "provider": {"base_url": options["url"]},
        "log": {"level": "info", "format": "json", "path": options.get("log") or str(folder / "scheduler.jsonl")},
    }
    async with Scheduler.open(config, routes) as scheduler:
        await scheduler.enqueue_many(_jobs(options["jobs"]))
        tally = Tally()

        def failed(event: JobFailed) -> None:
            tally.failed += 1

        scheduler.events.subscribe(lambda event: tally.done(), JobCompleted)
        scheduler.events.subscribe(failed, JobFailed)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scheduler.run)
            await anyio.sleep(options["seconds"])
            measured = tally.measured()
            scheduler.stop(grace_s=0.0)
    return measured


def _jobs(count: int) -> Iterator[NewJob]:
    return (NewJob("ask", "item", str(number), {"number": number}) for number in range(count))


RIVALS: dict[str, Callable[[dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]] = {"ours": ours, "naive": naive, "cookbook": cookbook}


def play(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one contender in this process."""
    return asyncio.run(RIVALS[name](options))
