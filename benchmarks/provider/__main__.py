"""``python -m benchmarks.provider --dialect openai --rpm 600 --tpm 90000``: serve, and print the URL as one JSON line.

Spans are ``START:END`` in seconds after the start, ``END`` may be ``inf``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import anyio

from benchmarks.provider.presets import preset
from benchmarks.provider.server import serve
from benchmarks.provider.spec import (
    Accounting,
    Concurrency,
    Dialect,
    Dimension,
    Latency,
    Mischief,
    ProviderSpec,
    Shape,
    Sky,
    Slope,
    Tenant,
    WaitForm,
    Weather,
)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.provider", description="A simulated AI provider on the loopback.")
    parser.add_argument("--dialect", type=Dialect, choices=list(Dialect), default=Dialect.OPENAI)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--seed", type=int, default=0)
    _add_limits(parser.add_argument_group("limits"))
    _add_manner(parser.add_argument_group("manner"))
    return parser


def _add_limits(group: Any) -> None:
    for name, what in (("rpm", "requests"), ("tpm", "tokens"), ("itpm", "input tokens"), ("otpm", "output tokens")):
        group.add_argument(f"--{name}", type=float, help=f"{what} per minute")
    group.add_argument("--rpd", type=float, help="requests per day")
    group.add_argument("--shape", type=Shape, choices=list(Shape))
    group.add_argument("--burst-s", type=float, help="what a bucket holds, in seconds' worth of its limit")
    group.add_argument("--accounting", type=Accounting, choices=list(Accounting))
    group.add_argument("--failures-count", action=argparse.BooleanOptionalAction, default=None)
    group.add_argument("--concurrency", type=int, help="calls in flight")
    group.add_argument("--concurrency-status", type=int, choices=[429, 503], default=429)
    group.add_argument("--slope-floor", type=float, help="input tokens per minute above which traffic may only grow slowly")
    group.add_argument("--change", action="append", default=[], metavar="AT:FACTOR", help="of all limits; may be repeated")
    group.add_argument("--tenant", action="append", default=[], metavar="SHARE[:START:END[:poisson]]", help="may be repeated")


def _add_manner(group: Any) -> None:
    group.add_argument("--weather", action="append", default=[], metavar="SKY[:START:END[:PROBABILITY]]", help=", ".join(Sky))
    group.add_argument("--latency", default="0.4:0.01:0.3", metavar="BASE_S:PER_TOKEN_S:SIGMA")
    group.add_argument("--output-tokens", type=int, default=120, help="median length of an answer")
    group.add_argument("--wait-form", type=WaitForm, choices=list(WaitForm))
    group.add_argument("--wait-times", type=float, default=1.0, help="waits as they are said, over the true ones")
    group.add_argument("--limit-times", type=float, default=1.0, help="limits as they are said, over the true ones")
    group.add_argument("--stale-s", type=float, default=0.0, help="headers are so old")
    group.add_argument("--rounded-to", type=int, default=1, help="tokens that remain, in the headers")
    group.add_argument("--missing", action="append", default=[], help="no header whose name contains this")
    group.add_argument("--minus-one", action="append", default=[], type=Dimension, help="the limit of this dimension is said to be -1")


def spec_of(options: argparse.Namespace) -> ProviderSpec:
    """The spec that the command line asks for."""
    base_s, per_token_s, sigma = (float(part) for part in options.latency.split(":"))
    chosen = {
        "accounting": options.accounting,
        "failures_count": options.failures_count,
        "concurrency": Concurrency(options.concurrency, options.concurrency_status) if options.concurrency else None,
        "slope": Slope(options.slope_floor) if options.slope_floor else None,
        "wait_form": options.wait_form,
        "mischief": _mischief(options),
    }
    limits = {name: getattr(options, name) for name in ("rpm", "tpm", "itpm", "otpm", "rpd", "shape", "burst_s")}
    return preset(
        options.dialect,
        **limits,
        schedule=tuple((float(at), float(factor)) for at, factor in (change.split(":") for change in options.change)),
        tenants=tuple(_tenant(text) for text in options.tenant),
        weather=tuple(_weather(text) for text in options.weather),
        latency=Latency(base_s, per_token_s, sigma),
        **{name: value for name, value in chosen.items() if value is not None},
    )


def _mischief(options: argparse.Namespace) -> Mischief | None:
    """None where nothing is asked for: the dialect keeps its own."""
    asked = Mischief(
        stale_s=options.stale_s,
        rounded_to=options.rounded_to,
        missing=tuple(options.missing),
        minus_one=tuple(options.minus_one),
        limit_times=options.limit_times,
        wait_times=options.wait_times,
    )
    return None if asked == Mischief() else asked


def _tenant(text: str) -> Tenant:
    share, start, end, poisson = [*text.split(":"), "", "", ""][:4]
    return Tenant(float(share), float(start or 0), float(end or "inf"), poisson == "poisson")


def _weather(text: str) -> Weather:
    sky, start, end, probability = [*text.split(":"), "", "", ""][:4]
    return Weather(Sky(sky), float(start or 0), float(end or "inf"), float(probability or 1))


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments().parse_args(argv)

    async def run() -> None:
        await serve(spec_of(options), announce, port=options.port, seed=options.seed, output_tokens=options.output_tokens)

    def announce(url: str) -> None:
        print(json.dumps({"url": url, "dialect": options.dialect.value}), flush=True)

    anyio.run(run)


if __name__ == "__main__":
    main()
