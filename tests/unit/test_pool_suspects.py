"""Who may be all that ails a pool: what is held against a job that failed in an outage, and who need not probe."""

from __future__ import annotations

from scheduler.pools.suspects import AFTER_PAUSE_S, FIRST_PROBE_S, REMEMBERED, Suspects

FOUND = 1_000.0
PROBE, SECOND = FOUND + AFTER_PAUSE_S, FOUND + FIRST_PROBE_S


def in_outage(*job_ids: str) -> Suspects:
    suspects = Suspects()
    suspects.found(job_ids, FOUND)
    return suspects


def test_those_whose_failures_made_an_outage_that_the_first_probe_ended_are_known() -> None:
    suspects = in_outage("a", "b", "c")
    suspects.succeeded("healthy", PROBE)
    assert [suspects.is_known(job_id) for job_id in ("a", "b", "c", "healthy")] == [True, True, True, False]


def test_those_that_were_under_way_with_them_are_known_as_well() -> None:
    suspects = in_outage("a", "b", "c")
    suspects.failed("d", FOUND - 1.0)
    suspects.succeeded("healthy", PROBE)
    assert suspects.is_known("d")


def test_whoever_began_before_and_succeeds_shows_nothing() -> None:
    suspects = in_outage("a", "b", "c")
    suspects.succeeded("healthy", FOUND - 1.0)
    assert not suspects.is_known("a")
    suspects.succeeded("another", PROBE)
    assert suspects.is_known("a")


def test_where_another_job_probed_and_failed_it_was_the_provider() -> None:
    suspects = in_outage("a", "b", "c")
    suspects.failed("probe", PROBE)
    suspects.succeeded("healthy", PROBE + 1.0)
    assert not any(map(suspects.is_known, ("a", "b", "c", "probe")))


def test_a_success_that_may_have_been_another_workers_second_probe_shows_little() -> None:
    suspects = in_outage("a", "b", "c")
    suspects.succeeded("healthy", SECOND)
    assert not suspects.is_known("a")


def test_whoever_fails_in_two_outages_that_others_ended_is_known() -> None:
    suspects = in_outage("a", "b", "c")
    suspects.succeeded("healthy", SECOND)
    suspects.found(["a", "d", "e"], FOUND + 100.0)
    suspects.succeeded("healthy", SECOND + 100.0)
    assert [suspects.is_known(job_id) for job_id in "abcde"] == [True, False, False, False, False]


def test_whoever_succeeds_is_no_suspect_any_more() -> None:
    suspects = in_outage("a", "b", "c")
    suspects.succeeded("healthy", PROBE)
    suspects.succeeded("a", PROBE + 10.0)
    assert not suspects.is_known("a")
    assert set(suspects.avoid) == {"b", "c"}


def test_whoever_failed_in_an_outage_need_not_probe_also_in_the_next() -> None:
    suspects = in_outage("a", "b", "c")
    suspects.failed("d", PROBE)
    suspects.succeeded("healthy", SECOND)
    suspects.found(["e", "f", "g"], FOUND + 100.0)
    assert set(suspects.avoid) == set("abcdefg")


def test_where_nobody_else_is_left_suspects_probe_in_turns() -> None:
    suspects = in_outage("a", "b")
    at, probes = PROBE, []
    for _ in range(7):
        free = [job_id for job_id in "abc" if job_id not in suspects.avoid] or ["a", "b", "c"]
        probes.append(free[-1])
        suspects.failed(free[-1], at)
        at += 10.0
    assert probes[0] == "c"
    assert all(len(set(probes[turn : turn + 3])) == 3 for turn in (1, 4))


def test_newcomers_are_not_avoided_while_suspects_probe_in_turns() -> None:
    suspects = in_outage("a", "b")
    suspects.failed("a", PROBE)
    assert suspects.avoid == ("a",)


def test_the_oldest_are_forgotten() -> None:
    suspects = Suspects()
    for number in range(2 * REMEMBERED):
        suspects.failed(f"job-{number}", PROBE)
    assert suspects.avoid == tuple(f"job-{number}" for number in range(REMEMBERED, 2 * REMEMBERED))
    assert len(suspects.failed_now) == REMEMBERED


def test_nobody_is_known_any_more_once_another_jobs_probe_failed_too() -> None:
    suspects = in_outage("a", "b", "c")
    suspects.succeeded("healthy", PROBE)
    suspects.found(["a", "d", "e"], FOUND + 100.0)
    suspects.failed("probe", PROBE + 100.0)
    assert not any(map(suspects.is_known, ("a", "b", "c", "d", "e", "probe")))
    assert set(suspects.avoid) == {"a", "b", "c", "d", "e", "probe"}
