"""Why a job does not run: every cause, and the sentence that they make."""

from __future__ import annotations

import math
from datetime import UTC
from typing import Any

import pytest

from scheduler.job import Job, Status
from scheduler.offers import Offer, Offers, offers_from
from scheduler.pauses import MANUAL
from scheduler.policy import Policy
from scheduler.pools.hold import Door
from scheduler.pools.records import Held, Portrait, State
from scheduler.why import Facts, Hand, Why, why
from tests.support.jobs import T0, a_job, a_window

NOW = T0 + 100
OFFERS = Offers(10, True, {"lane": Offer(pool="main")})
LEAVES = Offers(10, False, {"other": Offer()})
LIMITED = Offers(10, True, {"lane": Offer(pool="main", concurrency=4, max_running=20), "more": Offer(pool="main")}, {"main": 6})


def waiting(**fields: Any) -> Job:
    return a_job(**{"status": Status.PENDING, "attempts": 0, "worker": None, "started_at": None, **fields})


def hand(offers: Offers | None = OFFERS, *, name: str = "worker", lives: bool = True, **running: int) -> Hand:
    return Hand(name, lives, running, offers)


def asked(job: Job, **facts: Any) -> Why:
    return why(job, Facts(NOW, **{"hands": [hand()], "zone": UTC, **facts}))


def a_pool(**fields: Any) -> Portrait:
    plain: dict[str, Any] = {
        "name": "main", "state": State.OPEN, "summary": "it is so", "limits": (), "calls_per_minute": None, "in_flight": 3,
        "max_in_flight": None, "max_in_flight_from": None, "waiting": 0, "workers": (), "calls_last_minute": 0.0, "mean_call": None,
        "rejections": 0, "last_rejection": None, "held": None, "pause": None, "began_at": None, "is_searching": False,
        "is_distrusted": False,
    }  # fmt: skip
    return Portrait(**{**plain, **fields})


NEXT = "nothing holds it: a worker takes it at any moment"
ZERO = " is 0 wherever there is a handler for ('lane', 'code_entity'): raise it"
LOST = "runs since 22:15:00 (0 ms) on worker, attempt 1 of 3; its worker is lost: it moves on when another worker notices"
PUT_OFF = waiting(status=Status.RATE_LIMITED, reason="rate_limited")
PAUSED = a_window("pool:main", NOW + 125)

#: A job, what is known beside, the sentence, and the kinds of its causes.
CASES: list[tuple[str, Job, dict[str, Any], str, list[str]]] = [
    ("nothing", waiting(), {}, NEXT, ["next"]),
    ("behind one", waiting(), {"ahead": 1}, "behind 1 other", ["behind"]),
    ("behind many", waiting(), {"ahead": 312}, "behind 312 others", ["behind"]),
    ("behind very many", waiting(), {"ahead": 10_000}, "behind 10,000 or more others", ["behind"]),
    (
        "the pool's pause",
        PUT_OFF,
        {"pauses": [PAUSED], "ahead": 312},
        "waits for the pause of pool main (rate_limited) until 22:17:05 (in 2m 05s), then behind 312 others",
        ["pool_paused", "behind"],
    ),
    (
        "the lane's pause by hand",
        waiting(),
        {"pauses": [a_window("lane", math.inf, reason=MANUAL)]},
        "waits for the pause of lane (by hand); `scheduler resume lane` opens it",
        ["lane_paused"],
    ),
    (
        "the lane's pause by hand for a time",
        waiting(),
        {"pauses": [a_window("lane", NOW + 60, reason=MANUAL)]},
        "waits for the pause of lane (by hand) until 22:16:00 (in 1m 00s); `scheduler resume lane` opens it",
        ["lane_paused"],
    ),
    (
        "the owner's pause",
        waiting(owner="ada l"),
        {"pauses": [a_window("owner:ada l", math.inf, reason=MANUAL)]},
        "waits for the pause of owner ada l (by hand); `scheduler resume 'owner:ada l'` opens it",
        ["owner_paused"],
    ),
    (
        "two pauses, the longer first",
        waiting(),
        {"pauses": [a_window("lane", NOW + 60), PAUSED]},
        "waits for the pause of pool main (rate_limited) until 22:17:05 (in 2m 05s); "
        "waits for the pause of lane (rate_limited) until 22:16:00 (in 1m 00s)",
        ["pool_paused", "lane_paused"],
    ),
    ("a pause by hand that is over", waiting(), {"pauses": [a_window("lane", NOW, reason=MANUAL)]}, NEXT, ["next"]),
    (
        "a probe to come",
        waiting(),
        {"pauses": [a_window("lane", NOW)]},
        "the pause of lane (rate_limited) is over: one job goes first to see whether it is open again",
        ["probing"],
    ),
    (
        "a probe that runs",
        waiting(),
        {"pauses": [a_window("pool:main", NOW, probe="other")], "ahead": 2},
        "waits for the probe of pool main (rate_limited): one job runs to see whether it is open again, then behind 2 others",
        ["probing", "behind"],
    ),
    (
        "pauses of others",
        waiting(owner="ada"),
        {"pauses": [a_window("pool:other"), a_window("other"), a_window("owner:grace"), a_window("owner:None", math.inf)]},
        NEXT,
        ["next"],
    ),
    ("nobody's pause", waiting(), {"pauses": [a_window("owner:None", math.inf)]}, NEXT, ["next"]),
    ("due later", waiting(run_after=NOW + 7_500), {"ahead": 5}, "due at 2023-11-15 00:20:00 (in 2h 05m)", ["due_later"]),
    (
        "to be tried again",
        waiting(status=Status.RETRY_AI, reason="overloaded", attempts=1, run_after=NOW + 12),
        {"ahead": 5},
        "tries again at 22:15:12 (in 12.0 s), for attempt 1 of 3 failed (overloaded)",
        ["backoff"],
    ),
    (
        "to be tried again by now",
        waiting(status=Status.RETRY_AI, reason="timeout", attempts=1),
        {"ahead": 5},
        "behind 5 others",
        ["behind"],
    ),
    ("put off", PUT_OFF._replace(run_after=NOW + 12), {}, "put off by the provider (rate_limited) until 22:15:12 (in 12.0 s)", ["put_off"]),
    (
        "held for ever",
        waiting(held=True, run_after=9e12),
        {},
        "paused by hand; `scheduler resume job:job` lets it go",
        ["held"],
    ),
    (
        "held for a time",
        waiting(held=True, run_after=NOW + 60),
        {},
        "paused by hand until 22:16:00 (in 1m 00s); `scheduler resume job:job` lets it go",
        ["held"],
    ),
    ("waits for others", waiting(blockers=2), {"ahead": 9}, "waits for 2 others to end", ["waits_for_others"]),
    (
        "waits for others and a time",
        waiting(blockers=1, run_after=NOW + 60),
        {},
        "waits for 1 other to end; due at 22:16:00 (in 1m 00s)",
        ["waits_for_others", "due_later"],
    ),
    (
        "doomed",
        waiting(doomed="fail 01-abc"),
        {},
        "fails without running as soon as a worker takes it, for 01-abc, which it waited for, failed",
        ["doomed"],
    ),
    ("no worker", waiting(), {"hands": []}, "no worker runs: start one with `scheduler serve`", ["no_worker"]),
    (
        "no living worker",
        waiting(),
        {"hands": [hand(lives=False)], "ahead": 3},
        "no worker lives (1 lost one): start one with `scheduler serve`, then behind 3 others",
        ["no_worker", "behind"],
    ),
    (
        "no handler",
        waiting(),
        {"hands": [hand(LEAVES), hand(lives=False)]},
        "no living worker has a handler for ('lane', 'code_entity'): start a service that loads it",
        ["no_handler"],
    ),
    (
        "no handler, and who fails it",
        waiting(),
        {"hands": [hand(Offers(10, True, {"lane": Offer(("file",))}))]},
        "no living worker has a handler for ('lane', 'code_entity'): "
        "the next free one fails it unless a service that loads one starts first",
        ["no_handler"],
    ),
    (
        "no handler and a pause",
        waiting(),
        {"hands": [hand(LEAVES)], "pauses": [a_window("lane", NOW + 60)]},
        "no living worker has a handler for ('lane', 'code_entity'): start a service that loads it; "
        "waits for the pause of lane (rate_limited) until 22:16:00 (in 1m 00s)",
        ["no_handler", "lane_paused"],
    ),
    ("a worker that does not say", waiting(), {"hands": [hand(None), hand(LEAVES)]}, NEXT, ["next"]),
    ("one of two has it", waiting(), {"hands": [hand(LEAVES), hand(Offers(1, False, {"lane": Offer(("code_entity",))}))]}, NEXT, ["next"]),
    (
        "no slots at all",
        waiting(),
        {"hands": [hand(Offers(0, True, {"lane": Offer()})), hand(LEAVES)]},
        "[scheduler] concurrency" + ZERO,
        ["concurrency_zero"],
    ),
    (
        "none of the type",
        waiting(),
        {"hands": [hand(Offers(9, True, {"lane": Offer(concurrency=0)}))]},
        "[task_types.lane] concurrency" + ZERO,
        ["concurrency_zero"],
    ),
    (
        "none in any",
        waiting(),
        {"hands": [hand(Offers(9, True, {"lane": Offer(max_running=0)}))]},
        "[task_types.lane] max_running" + ZERO,
        ["concurrency_zero"],
    ),
    (
        "none of the pool",
        waiting(),
        {"hands": [hand(Offers(9, True, {"lane": Offer(pool="p")}, {"p": 0}))]},
        "[pools.p] concurrency" + ZERO,
        ["concurrency_zero"],
    ),
    ("none in one of two", waiting(), {"hands": [hand(Offers(0, True, {"lane": Offer()})), hand()]}, NEXT, ["next"]),
    (
        "slots full",
        waiting(),
        {"hands": [hand(lane=4, other=6)], "ahead": 2},
        "every slot is taken: 10, then behind 2 others",
        ["slots_full", "behind"],
    ),
    ("slots full in two", waiting(), {"hands": [hand(lane=10), hand(lane=10)]}, "every slot is taken: 10 in 2 workers", ["slots_full"]),
    ("slots full in one of two", waiting(), {"hands": [hand(lane=10), hand(lane=9)]}, NEXT, ["next"]),
    ("slots full, and one that does not say", waiting(), {"hands": [hand(lane=10), hand(None, lane=99)]}, NEXT, ["next"]),
    ("the type's limit", waiting(), {"hands": [hand(LIMITED, lane=4)]}, "as many of its type run at once as may: 4", ["type_limit"]),
    (
        "the type's limit of all",
        waiting(),
        {"hands": [hand(LIMITED, lane=1)], "running": 20},
        "as many of its type run as may: 20 of 20, all workers together",
        ["type_limit"],
    ),
    (
        "the pool's limit",
        waiting(),
        {"hands": [hand(LIMITED, lane=1, more=5)]},
        "as many jobs of pool main run at once as may: 6",
        ["pool_limit"],
    ),
    (
        "the pool's quota",
        waiting(),
        {"pools": [a_pool(waiting=7), a_pool(name="other", waiting=9)]},
        "pool main has no room for more calls: it is so",
        ["pool_budget"],
    ),
    (
        "the pool's hold",
        waiting(),
        {"pools": [a_pool(state=State.HELD, held=Held(NOW + 9, "overloaded", NOW, 1, Door.SHUT, None))], "ahead": 1},
        "pool main has no room for more calls: it is so, then behind 1 other",
        ["pool_budget", "behind"],
    ),
    ("a pool with room", waiting(), {"pools": [a_pool()]}, NEXT, ["next"]),
    (
        "the pool as this process has it",
        waiting(),
        {"hands": [hand(None)], "policy": Policy(pool="main"), "pauses": [PAUSED]},
        "waits for the pause of pool main (rate_limited) until 22:17:05 (in 2m 05s)",
        ["pool_paused"],
    ),
    (
        "it runs",
        a_job(started_at=NOW - 12, progress_json='{"percent":45.5}', attempts=2, max_attempts=5),
        {"ahead": 0},
        "runs since 22:14:48 (12.0 s) on worker, attempt 2 of 5, 45.5 % done",
        ["running"],
    ),
    (
        "it runs as a probe, and somebody paused it",
        a_job(started_at=NOW, held=True),
        {"pauses": [a_window("pool:main", NOW, probe="job"), a_window("other", NOW, probe="another")]},
        "runs since 22:15:00 (0 ms) on worker, attempt 1 of 3; "
        "paused by hand: it stops where it can; `scheduler resume job:job` lets it go on; "
        "it is the probe of pool main: the others wait for its end",
        ["running", "held", "probing"],
    ),
    ("its worker is lost", a_job(started_at=NOW), {"hands": [hand(lives=False)]}, LOST, ["running", "worker_lost"]),
    ("its worker is gone", a_job(started_at=NOW), {"hands": []}, LOST, ["running", "worker_lost"]),
    (
        "completed",
        a_job(status=Status.COMPLETED, finished_at=T0 + 3.25),
        {},
        "completed at 22:13:23 after 3.2 s",
        ["ended"],
    ),
    (
        "cancelled",
        waiting(status=Status.CANCELLED, finished_at=T0),
        {},
        "cancelled at 22:13:20; `scheduler retry job` sends it back",
        ["ended"],
    ),
    (
        "failed",
        a_job(status=Status.FAILED_AI, reason="auth", error="AuthError:\nno  key", finished_at=T0, attempts=3),
        {},
        "failed_ai (auth) at 22:13:20 after 3 attempts: AuthError: no key; `scheduler retry job` sends it back",
        ["ended"],
    ),
]


@pytest.mark.parametrize(("job", "facts", "sentence", "kinds"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_cause_has_its_word_and_its_sentence(job: Job, facts: dict[str, Any], sentence: str, kinds: list[str]) -> None:
    told = asked(job, **facts)
    assert [cause.kind for cause in told.causes] == kinds
    assert told.sentence == sentence


def test_times_and_numbers_are_told_as_such() -> None:
    paused, behind = asked(PUT_OFF, pauses=[PAUSED], ahead=312).causes
    assert paused.to_dict() == {"kind": "pool_paused", "sentence": paused.sentence, "until": NOW + 125}
    assert behind.to_dict() == {"kind": "behind", "sentence": "behind 312 others", "until": None, "ahead": 312}
    (running,) = asked(a_job(started_at=NOW - 1, timeout_s=60.0, progress_json='{"percent":50.0}')).causes
    assert (running.until, running.numbers) == (NOW + 59, {"attempt": 1, "max_attempts": 3, "percent": 50.0})
    (full,) = asked(waiting(), hands=[hand(lane=10), hand(lane=10)]).causes
    assert full.numbers == {"running": 20, "limit": 20, "workers": 2}
    (held,) = asked(waiting(held=True, run_after=9e12)).causes
    assert held.until is None


def test_a_long_error_is_cut() -> None:
    told = asked(a_job(status=Status.FAILED_AI, reason="x", error="e" * 5_000, finished_at=T0))
    assert len(told.sentence) < 450


@pytest.mark.parametrize("offers", [OFFERS, LEAVES, LIMITED, Offers(0, False)])
def test_offers_survive_the_store(offers: Offers) -> None:
    assert offers_from(offers.to_json()) == offers


@pytest.mark.parametrize(
    "text", [None, "", "{", "null", "[]", "{}", '{"task_types":{"a":1}}', '{"task_types":{"a":{}}}', '{"task_types":[]}']
)
def test_what_another_release_says_is_nothing(text: str | None) -> None:
    assert offers_from(text) is None
