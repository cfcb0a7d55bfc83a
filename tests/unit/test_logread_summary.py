"""What many records add up to."""

from __future__ import annotations

import io
import json
import math
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.logread import Record, read, summarize
from scheduler.logread.clusters import Clusters, fingerprint
from scheduler.logread.histogram import OTHERS, RELATIVE_ERROR, Histogram, Histograms
from scheduler.logread.pauses import Timeline


def stamp(second: int) -> str:
    return f"2023-11-14T22:{second // 60:02d}:{second % 60:02d}.000000Z"


def ended(event: str, second: int = 0, **fields: Any) -> Record:
    shown = {"timestamp": stamp(second), "level": "info", "event": event, "job_id": f"j{second}", "task_type": "t", "target_id": "7"}
    return Record(shown | {"attempt": 1, "duration_s": 1.0, "waited_s": 0.5} | fields)


def lane(event: str, second: int, scope: str = "t", **fields: Any) -> Record:
    return Record({"timestamp": stamp(second), "level": "warning", "event": event, "scope": scope} | fields)


def test_events_levels_and_reasons_are_counted_most_frequent_first() -> None:
    summary = summarize(
        [
            ended("job.completed"),
            ended("job.failed", reason="timeout"),
            ended("job.failed", reason="timeout", level="error"),
            ended("job.retrying", reason="overloaded"),
            lane("lane.paused", 1, reason="manual"),
        ]
    )
    assert list(summary.events.items()) == [("job.failed", 2), ("job.completed", 1), ("job.retrying", 1), ("lane.paused", 1)]
    assert list(summary.reasons.items()) == [("timeout", 2), ("overloaded", 1)]
    assert summary.levels == {"info": 3, "error": 1, "warning": 1}
    assert summary.records == 5


def test_first_and_last_are_by_time_not_by_place() -> None:
    summary = summarize([ended("job.completed", 5), ended("job.completed", 2), ended("job.completed", 9), ended("job.completed", 7)])
    assert (summary.first_seen, summary.last_seen) == (stamp(2), stamp(9))


def test_durations_are_of_attempts_that_ran_and_waits_of_all_that_ended() -> None:
    summary = summarize(
        [
            ended("job.completed", duration_s=2.0, waited_s=1.0),
            ended("job.failed", duration_s=4.0, waited_s=1.0),
            ended("job.rate_limited", duration_s=0.01, waited_s=1.0),
            ended("job.interrupted", duration_s=99.0, waited_s=1.0),
            ended("job.completed", task_type="u", duration_s=1, waited_s=0),
            ended("job.completed", duration_s="long", waited_s=None),
            Record({"event": "job.started", "task_type": "t", "waited_s": 50.0}),
        ]
    )
    assert summary.durations["t"].count == 2
    assert summary.durations["t"].max_s == 4.0
    assert summary.durations["t"].mean_s == 3.0
    assert summary.waits["t"].count == 4
    assert summary.waits["t"].max_s == 1.0
    assert summary.durations["u"].p50_s == pytest.approx(1.0, rel=RELATIVE_ERROR)
    assert summary.waits["u"].p99_s == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_within_one_percent(seed: int) -> None:
    rng = random.Random(seed)
    values = [rng.lognormvariate(0, 2.5) for _ in range(5_000)]
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    values.sort()
    for share in (0.0, 0.5, 0.95, 0.99, 1.0):
        exact = values[max(1, math.ceil(share * len(values))) - 1]
        assert histogram.quantile(share) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.001)


def test_odd_values_do_not_upset_a_histogram() -> None:
    histogram = Histogram()
    for value in (0.0, -1.0, float("nan"), 1e-9, float("inf"), 1e300):
        histogram.add(value)
    assert histogram.quantile(0.5) == 0.0
    assert 3e7 < histogram.quantile(1.0) < 4e7
    assert Histogram().spread().to_dict() == {"count": 0, "mean_s": 0.0, "p50_s": 0.0, "p95_s": 0.0, "p99_s": 0.0, "max_s": 0.0}


def test_keys_beyond_the_limit_share_one_histogram() -> None:
    histograms = Histograms(limit=2)
    for key in ("a", "b", "c", "d", "a"):
        histograms[key].add(1.0)
    assert {key: spread.count for key, spread in histograms.spreads().items()} == {"a": 2, "b": 1, OTHERS: 2}


def test_the_slowest_attempts_come_first_and_ties_go_to_the_earlier() -> None:
    durations = [3.0, 9.0, 1.0, 9.0, 5.0]
    records = [ended("job.completed", second, duration_s=duration) for second, duration in enumerate(durations)]
    summary = summarize(records, top=3)
    assert [(slow.duration_s, slow.job_id) for slow in summary.slowest] == [(9.0, "j1"), (9.0, "j3"), (5.0, "j4")]
    assert summarize(records, top=0).slowest == ()


def test_pauses_are_a_timeline() -> None:
    summary = summarize(
        [
            lane("lane.paused", 0, reason="rate_limited", paused_s=60.0, job_id="j1", strikes=1),
            lane("lane.paused", 5, "pool:main", reason="quota_exhausted", paused_s=3600.0, job_id="j2", strikes=1),
            lane("lane.paused", 10, reason="rate_limited", paused_s=60.0, job_id="j3", strikes=1),
            lane("lane.paused", 75, reason="rate_limited", paused_s=120.0, job_id="j4", strikes=2),
            lane("lane.resumed", 200, reason="probe_succeeded"),
            lane("lane.paused", 300, reason="manual", strikes=0),
            lane("lane.resumed", 310, "never paused here", reason="manual"),
        ]
    )
    shown = [pause.to_dict() for pause in summary.pauses]
    assert shown == [
        {
            "scope": "t",
            "start": "2023-11-14T22:00:00.000Z",
            "until": "2023-11-14T22:03:15.000Z",
            "end": "2023-11-14T22:03:20.000Z",
            "reason": "rate_limited",
            "resumed_by": "probe_succeeded",
            "job_id": "j1",
            "times": 3,
        },
        {
            "scope": "pool:main",
            "start": "2023-11-14T22:00:05.000Z",
            "until": "2023-11-14T23:00:05.000Z",
            "end": None,
            "reason": "quota_exhausted",
            "resumed_by": "",
            "job_id": "j2",
            "times": 1,
        },
        {
            "scope": "t",
            "start": "2023-11-14T22:05:00.000Z",
            "until": None,
            "end": None,
            "reason": "manual",
            "resumed_by": "",
            "job_id": "",
            "times": 1,
        },
    ]


def test_a_pause_that_ended_by_itself_is_not_joined_with_the_next() -> None:
    timeline = Timeline()
    timeline.paused(0.0, {"scope": "t", "paused_s": 10.0, "reason": "manual", "strikes": 0})
    timeline.paused(50.0, {"scope": "t", "paused_s": 10.0, "reason": "rate_limited", "strikes": 1})
    assert [(pause.start, pause.until, pause.end) for pause in timeline.entries()] == [(0.0, 10.0, None), (50.0, 60.0, None)]


def test_the_timeline_is_bounded_and_says_what_it_left_out() -> None:
    timeline = Timeline(limit=3)
    for second in range(10):
        timeline.paused(second * 10.0, {"scope": "t", "paused_s": 1.0})
        timeline.resumed(second * 10.0 + 1, {"scope": "t"})
    assert [pause.start for pause in timeline.entries()] == [70.0, 80.0, 90.0]
    assert timeline.earlier == 7


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("answered 500 after 1.25 s", "answered <n> after <n> s"),
        ("job 0190f0a0-1111-7222-8333-444455556666 lost", "job <uuid> lost"),
        ("digest 9f86d081884c7d65 at 0xdeadbeef", "digest <hex> at <hex>"),
        ("no such file: '/data/a b/1.txt'", "no such file: <text>"),
        ("cannot open /data/one/2.txt: denied", "cannot open <path>: denied"),
        ("GET https://api.example/v1/x?y=1 failed", "GET <url> failed"),
        ('field "name" of `Model`', "field <text> of <text>"),
        ("it can't, won't and didn't", "it can't, won't and didn't"),
        ("defaced accede and or 50/60", "defaced accede and or <n>/<n>"),
    ],
)
def test_a_fingerprint_forgets_what_varies(error: str, expected: str) -> None:
    assert fingerprint(error) == expected


def test_errors_that_differ_only_in_what_varies_are_one() -> None:
    failures = [
        ended(
            "job.failed", second, reason="provider_error", error=f"answered {500 + second} after 0.{second} s", task_type=f"t{second % 2}"
        )
        for second in (4, 1, 3, 2)
    ]
    other = ended("job.retrying", 9, reason="timeout", error="answered 500 after 0.1 s")
    (most, least) = summarize([*failures, other]).errors
    assert most.to_dict() == {
        "fingerprint": "answered <n> after <n> s",
        "reason": "provider_error",
        "count": 4,
        "sample": "answered 504 after 0.4 s",
        "sample_job_id": "j4",
        "task_types": ["t0", "t1"],
        "first_seen": stamp(1),
        "last_seen": stamp(4),
    }
    assert (least.reason, least.count) == ("timeout", 1)


def test_of_a_traceback_the_last_line_speaks() -> None:
    record = Record({"event": "failed", "exception": "Traceback (most recent call last):\n  File\nValueError: 17 is odd\n"})
    (cluster,) = summarize([record]).errors
    assert cluster.fingerprint == "ValueError: <n> is odd"


def test_too_many_distinct_errors_keep_the_frequent_and_count_the_rest() -> None:
    clusters = Clusters(limit=8)
    for number in range(100):
        clusters.add("often", "r", "t", "j", stamp(number))
        clusters.add("rare " + "x" * number, "r", "t", "j", stamp(number))
    assert len(clusters) <= 8
    assert clusters.most(1)[0].count == 100
    assert clusters.let_go + sum(cluster.count for cluster in clusters.most(99)) == 200


def test_a_summary_is_plain_json_and_counts_malformed_lines() -> None:
    lines = [json.dumps(record.fields) for record in (ended("job.failed", error="x 1", reason="r"), lane("lane.paused", 1, paused_s=5))]
    summary = summarize(read(io.BytesIO("\n".join([lines[0], "broken{", lines[1]]).encode())))
    assert summary.malformed == 1
    assert json.loads(json.dumps(summary.to_dict())) == summary.to_dict()
    assert summary.to_dict()["durations"]["t"]["count"] == 1


def test_fields_of_the_wrong_type_do_not_upset_a_summary() -> None:
    odd: list[dict[str, Any]] = [
        {"event": ["x"], "level": {}, "timestamp": 5},
        {"event": "job.failed", "task_type": ["t"], "duration_s": True, "waited_s": "x", "reason": 5, "error": {"a": 1}},
        {"event": "lane.paused", "timestamp": "never", "scope": None},
        {"event": "lane.paused", "timestamp": stamp(1), "scope": None, "paused_s": "long", "strikes": "many"},
        {"event": "lane.paused", "timestamp": stamp(1), "scope": "far", "paused_s": 1e300},
    ]
    assert json.dumps(summarize(Record(fields) for fields in odd).to_dict())


def test_memory_stays_bounded_whatever_the_log_holds() -> None:
    def hostile() -> Iterator[Record]:
        for number in range(4_000):
            name = f"{'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10 % 10]}" * (number // 100 % 50 + 1)
            yield ended(f"job.{name}{number}", reason=name + str(number), error=f"{name} went wrong")
            yield ended("job.completed", task_type=name + str(number), error=name * 20)
            yield lane("lane.paused", number % 60, scope=f"{number}", paused_s=1.0)

    tracemalloc.start()
    summary = summarize(hostile())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert summary.records == 12_000
    assert len(summary.events) <= 1_001
    assert summary.events[OTHERS] > 2_000
    assert len(summary.durations) <= 201
    assert len(summary.pauses) <= 2_000
    assert peak < 12_000_000
