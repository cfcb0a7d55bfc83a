"""The simulated provider over HTTP: the real clients, without retries of their own, meet limits, weather and good answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anthropic
import anyio
import openai
import pytest

from benchmarks.provider import Concurrency, Dialect, Latency, ProviderSpec, Sky, Weather, preset
from benchmarks.provider.server import ProviderService
from handlers.providers import CODE, Question, Subject, SummaryAndKeywords, open_provider
from scheduler.errors import AIProviderError, OverloadedError, QuotaExhaustedError, RateLimitError
from scheduler.pools.answers import error_from_exception
from scheduler.settings import ProviderSettings

KINDS = ["openai", "anthropic"]
FAST = Latency(base_s=0.02, per_output_token_s=0.0, sigma=0.0, refusal_s=(0.001, 0.002))
QUESTION = Question(Subject(CODE, "parse_header", "def parse_header(line): ..."), SummaryAndKeywords, "Describe it.")

Ask = Callable[..., Awaitable[Any]]


def spec(kind: str, **limits: Any) -> ProviderSpec:
    return preset(Dialect(kind), **{"latency": FAST, **limits})


def client_of(kind: str, service: ProviderService, timeout_s: float = 5.0) -> tuple[Any, Ask]:
    """A client (close it) and a function that makes one call and returns the raw response."""
    if kind == "openai":
        one = openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="any", max_retries=0, timeout=timeout_s)

        async def chat(max_tokens: int = 50, **more: Any) -> Any:
            messages: Any = [{"role": "user", "content": "Hello"}]
            raw = await one.chat.completions.with_raw_response.create(model="m", max_tokens=max_tokens, messages=messages, **more)
            return raw.http_response

        return one, chat
    other = anthropic.AsyncAnthropic(base_url=service.url, api_key="any", max_retries=0, timeout=timeout_s)

    async def message(max_tokens: int = 50, **more: Any) -> Any:
        messages: Any = [{"role": "user", "content": "Hello"}]
        raw = await other.messages.with_raw_response.create(model="m", max_tokens=max_tokens, messages=messages, **more)
        return raw.http_response

    return other, message


def fetched(url: str, content: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON of a plain request: a POST if it has a body."""
    try:
        with urllib.request.urlopen(url, content, timeout=5) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


async def stats(service: ProviderService, query: str = "") -> dict[str, Any]:
    status, told = await anyio.to_thread.run_sync(fetched, f"{service.url}/_stats{query}")
    assert status == 200
    return dict(told)


async def failure(kind: str, provider: ProviderSpec, timeout_s: float = 5.0) -> AIProviderError:
    """What the failure of a first call stands for."""
    async with ProviderService(provider) as service:
        client, ask = client_of(kind, service, timeout_s)
        with pytest.raises((openai.OpenAIError, anthropic.AnthropicError)) as caught:
            await ask()
        error = error_from_exception(caught.value, service.now())
        await client.close()
    assert error is not None
    return error


@pytest.mark.parametrize("kind", KINDS)
async def test_handlers_get_answers_of_the_asked_for_shape(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{kind.upper()}_API_KEY", "any")
    async with ProviderService(spec(kind, rpm=600)) as service:
        base_url = service.url + ("/v1" if kind == "openai" else "")
        provider = open_provider(ProviderSettings(kind=kind, model="m", base_url=base_url, timeout_s=5.0))
        answer = await provider.ask(QUESTION)
        await provider.aclose()
    assert answer == SummaryAndKeywords(summary="Parses a header line.", keywords=["header", "parsing"])


@pytest.mark.parametrize("kind", KINDS)
async def test_usage_headers_and_counters_are_the_models(kind: str) -> None:
    async with ProviderService(spec(kind, rpm=600, tpm=90_000, itpm=80_000)) as service:
        client, ask = client_of(kind, service)
        raw = await ask(max_tokens=300, extra_headers={"x-sim-output-tokens": "200"})
        usage = raw.json()["usage"]
        told = await stats(service)
        await client.close()
    spent = (usage["prompt_tokens"], usage["completion_tokens"]) if kind == "openai" else (usage["input_tokens"], usage["output_tokens"])
    assert spent[1] == 200
    prefix = "x-ratelimit-remaining-requests" if kind == "openai" else "anthropic-ratelimit-requests-remaining"
    assert raw.headers[prefix] == "599"
    assert told["counts"]["admitted"] == 1
    assert told["used"] == {"requests": 1, "tokens": sum(spent), "input_tokens": spent[0]}
    assert told["share"] == pytest.approx(max(told["used"][name] / told["offered"][name] for name in told["used"]))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_is_cut_says_so(kind: str) -> None:
    async with ProviderService(spec(kind)) as service:
        client, ask = client_of(kind, service)
        answer = (await ask(max_tokens=7, extra_headers={"x-sim-output-tokens": "200"})).json()
        await client.close()
    if kind == "openai":
        assert (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 7)
    else:
        assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("max_tokens", 7)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_limit_is_met_by_calls_over_one_kept_connection(kind: str) -> None:
    async with ProviderService(spec(kind, rpm=3, failures_count=False)) as service:
        client, ask = client_of(kind, service)
        for _ in range(3):
            await ask()
        with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)) as caught:
            await ask()
        error = error_from_exception(caught.value, service.now())
        told = await stats(service, "?last_s=60")
        await client.close()
    assert type(error) is RateLimitError
    assert error.retry_after_s == pytest.approx(20.0, abs=1.0)
    assert (told["counts"]["admitted"], told["counts"]["rejected"], told["in_flight"]) == (3, 1, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"weather": (Weather(Sky.STORM),)}, OverloadedError),
        ({"weather": (Weather(Sky.BILLING),)}, QuotaExhaustedError),
        ({"weather": (Weather(Sky.OUTAGE, lost=0.0),)}, AIProviderError),
        ({"weather": (Weather(Sky.OUTAGE, lost=1.0),)}, AIProviderError),
        ({"weather": (Weather(Sky.DISCONNECT),)}, AIProviderError),
        ({"concurrency": Concurrency(0, 429)}, OverloadedError),
        ({"concurrency": Concurrency(0, 503)}, OverloadedError),
    ],
)
async def test_what_goes_wrong_is_read_as_what_it_is(kind: str, change: dict[str, Any], expected: type[AIProviderError]) -> None:
    assert type(await failure(kind, spec(kind, **change))) is expected


@pytest.mark.parametrize("kind", KINDS)
async def test_a_hang_ends_by_the_clients_patience(kind: str) -> None:
    error = await failure(kind, spec(kind, weather=(Weather(Sky.HANG),)), timeout_s=0.2)
    assert type(error) is AIProviderError
    assert "Timeout" in str(error)


@pytest.mark.parametrize("kind", KINDS)
async def test_garbage_is_the_providers_trouble(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{kind.upper()}_API_KEY", "any")
    async with ProviderService(spec(kind, weather=(Weather(Sky.GARBAGE),))) as service:
        base_url = service.url + ("/v1" if kind == "openai" else "")
        provider = open_provider(ProviderSettings(kind=kind, model="m", base_url=base_url, timeout_s=5.0))
        with pytest.raises(AIProviderError) as raised:
            await provider.ask(QUESTION)
        assert type(raised.value) is AIProviderError
        await provider.aclose()


async def test_many_calls_at_once_take_as_long_as_one_and_fill_the_cap() -> None:
    slow = Latency(base_s=0.3, per_output_token_s=0.0, sigma=0.0, refusal_s=(0.001, 0.002))
    outcomes: list[int] = []
    async with ProviderService(spec("openai", latency=slow, concurrency=Concurrency(20))) as service:
        client, ask = client_of("openai", service)

        async def one() -> None:
            try:
                outcomes.append((await ask()).status_code)
            except openai.RateLimitError as error:
                outcomes.append(error.status_code)

        started = service.now()
        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(one)
        took_s = service.now() - started
        await client.close()
    assert sorted(outcomes) == [200] * 20 + [429] * 10
    assert 0.3 <= took_s < 3.0


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
async def test_a_request_that_is_no_json_object_is_refused(content: bytes) -> None:
    async with ProviderService(spec("openai")) as service:
        assert (await anyio.to_thread.run_sync(fetched, f"{service.url}/v1/chat/completions", content))[0] == 400
        assert (await anyio.to_thread.run_sync(fetched, f"{service.url}/other"))[0] == 404
        assert service.provider.admitted == 0


def test_the_command_prints_its_url_serves_and_stops_when_told() -> None:
    flags = ["--dialect", "anthropic", "--rpm", "600", "--itpm", "9000", "--tenant", "0.3:10:inf:poisson", "--weather", "storm:0:inf:1"]
    command = [sys.executable, "-m", "benchmarks.provider", *flags, "--change", "60:0.5", "--wait-times", "3", "--latency", "0.01:0:0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline())
            status, answer = fetched(f"{told['url']}/v1/messages", b'{"model": "m", "max_tokens": 5, "messages": []}')
            assert (status, answer["error"]["type"]) == (529, "overloaded_error")
            assert fetched(f"{told['url']}/_stats")[1]["counts"]["overloaded"] == 1
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
