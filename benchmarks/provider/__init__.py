"""A simulated AI provider: limits, weather and manner of speaking of real ones, in virtual time or over HTTP.

    provider = Provider(preset(Dialect.OPENAI, rpm=600, tpm=90_000), random.Random(1), start=1_700_000_000.0)
    answer = provider.call(Call(input_tokens=300, max_tokens=500, output_tokens=120), now)
    ...                                            # now += answer.latency_s; raise as_exception(answer) if it failed
    provider.share(t0, t1)                         # used / offered of the binding dimension

``python -m benchmarks.provider`` serves the same model on the loopback.
"""

from benchmarks.provider.answers import Admission, Answer, Call
from benchmarks.provider.model import Provider
from benchmarks.provider.presets import preset
from benchmarks.provider.spec import (
    Accounting,
    Concurrency,
    Dialect,
    Dimension,
    Latency,
    Limit,
    Mischief,
    ProviderSpec,
    Shape,
    Sky,
    Slope,
    Tenant,
    WaitForm,
    Weather,
)
from benchmarks.provider.thrown import SimulatedError, as_exception

__all__ = [
    "Accounting",
    "Admission",
    "Answer",
    "Call",
    "Concurrency",
    "Dialect",
    "Dimension",
    "Latency",
    "Limit",
    "Mischief",
    "Provider",
    "ProviderSpec",
    "Shape",
    "SimulatedError",
    "Sky",
    "Slope",
    "Tenant",
    "WaitForm",
    "Weather",
    "as_exception",
    "preset",
]
