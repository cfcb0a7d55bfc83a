"""Pause windows: extended, never shortened; doubled once an incident; opened by a probe."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pauses import MANUAL, MAX_PAUSE_S, Gate, PauseRequest, PauseWindow, clamp_retry_after, extended, paused_by_hand, pool_scope
from tests.support.jobs import T0, a_request, a_window

seconds = st.floats(min_value=0, max_value=200_000)
hints = st.none() | st.floats(min_value=-10, max_value=1e9) | st.just(math.inf) | st.just(math.nan)
windows = st.none() | st.builds(
    a_window,
    until=st.just(math.inf) | seconds.map(lambda s: T0 + s),
    reason=st.sampled_from(["rate_limited", "overloaded", MANUAL]),
    strikes=st.integers(0, 2_000),
    probe=st.none() | st.sampled_from(["job", "other"]),
)
requests = st.builds(
    a_request,
    retry_after_s=hints,
    base_s=st.sampled_from([0.0, 5.0, 60.0, 3_600.0]),
    cap_s=st.sampled_from([900.0, 86_400.0]),
    claimed_at=st.floats(min_value=T0 - 1_000, max_value=T0 + 200_000),
)


class TestGates:
    def test_closed_until_its_time_is_up_then_a_probe_goes_first(self) -> None:
        window = a_window(until=T0 + 60)
        assert window.gate(T0 + 59.999) is Gate.CLOSED
        assert window.gate(T0 + 60) is Gate.PROBE
        assert replace(window, probe="job").gate(T0 + 60) is Gate.PROBING
        assert not any(replace(window, probe=probe).is_open(T0 + second) for probe in (None, "job") for second in (0, 60, 6_000))

    @pytest.mark.parametrize("probe", [None, "job"])
    def test_a_providers_window_has_run_out_when_its_time_is_up_with_or_without_a_probe(self, probe: str | None) -> None:
        window = replace(a_window(until=T0 + 60), probe=probe)
        assert [window.ran_out(T0 + second) for second in (0, 59.999, 60, 6_000)] == [False, False, True, True]
        assert not any(replace(window, reason=MANUAL).ran_out(T0 + second) for second in (0, 60, 6_000))

    def test_a_window_set_by_hand_ends_with_its_time(self) -> None:
        window = paused_by_hand(None, "lane", T0 + 60, T0)
        assert (window.gate(T0 + 59), window.gate(T0 + 60)) == (Gate.CLOSED, Gate.OPEN)
        assert window.is_open(T0 + 60)

    def test_a_window_without_an_end_never_opens_by_itself(self) -> None:
        window = paused_by_hand(None, "lane", math.inf, T0)
        assert window.gate(1e300) is Gate.CLOSED
        assert window.next_open(T0) is None

    def test_next_open_is_never_in_the_past(self) -> None:
        window = a_window(until=T0 + 60)
        assert window.next_open(T0) == T0 + 60
        assert window.next_open(T0 + 100) == T0 + 100

    def test_a_pools_scope_is_told_from_a_lanes(self) -> None:
        assert pool_scope("main") == "pool:main"


class TestExtending:
    @given(windows, requests, seconds)
    def test_a_pause_is_extended_and_never_shortened(self, window: PauseWindow | None, request: PauseRequest, after_s: float) -> None:
        now = T0 + after_s
        longer = extended(window, request, now)
        assert longer.until >= (window.until if window else now)
        assert longer.until <= max(window.until if window else 0.0, now + MAX_PAUSE_S)
        assert longer.strikes >= max(1, window.strikes if window else 0)
        assert longer.probe != request.job_id

    @given(windows, requests, seconds)
    def test_a_provider_does_not_touch_a_longer_pause_of_an_operator(
        self, window: PauseWindow | None, request: PauseRequest, after_s: float
    ) -> None:
        by_hand = paused_by_hand(window, "lane", math.inf, T0)
        assert extended(by_hand, request, T0 + after_s).reason == by_hand.reason
        assert extended(by_hand, request, T0 + after_s).until == math.inf

    def test_the_first_pause_says_who_set_it_why_and_when(self) -> None:
        window = extended(None, a_request("ada", retry_after_s=30), T0 + 5)
        assert window == PauseWindow("lane", T0 + 35, "rate_limited", T0 + 5, "ada", 1, None)

    def test_without_a_hint_pauses_double_while_the_limit_repeats_up_to_the_cap(self) -> None:
        window, now, lengths = None, T0, []
        for _ in range(7):
            window = extended(window, a_request(claimed_at=now), now)
            lengths.append(window.until - now)
            now = window.until
        assert lengths == [60, 120, 240, 480, 900, 900, 900]

    def test_ten_thousand_repetitions_do_not_overflow(self) -> None:
        window = a_window(strikes=10_000)
        assert extended(window, a_request(claimed_at=T0 + 60), T0 + 60).until == T0 + 960

    def test_a_burst_of_one_incident_counts_once(self) -> None:
        window = None
        for second in range(20):  # all were claimed before the first of them was refused
            window = extended(window, a_request(f"job-{second}", claimed_at=T0 - 1), T0 + second)
        assert window is not None
        assert (window.strikes, window.until, window.set_at) == (1, T0 + 19 + 60, T0)
        probe = extended(window, a_request("probe", claimed_at=T0 + 79), T0 + 80)
        assert (probe.strikes, probe.until) == (2, T0 + 80 + 120)

    def test_a_hint_is_believed_and_not_doubled(self) -> None:
        window = a_window(until=T0, strikes=5, set_at=T0 - 60)
        assert extended(window, a_request(retry_after_s=7), T0).until == T0 + 7

    def test_a_repetition_that_does_not_extend_is_still_a_repetition(self) -> None:
        window = a_window(until=T0 + 500)
        again = extended(window, a_request(retry_after_s=1, claimed_at=T0 + 1), T0 + 2)
        assert (again.until, again.strikes, again.set_by) == (T0 + 500, 2, window.set_by)

    def test_the_probe_that_was_refused_probes_no_more(self) -> None:
        window = a_window(probe="probe", until=T0)
        assert extended(window, a_request("probe"), T0 + 1).probe is None
        assert extended(window, a_request("other"), T0 + 1).probe == "probe"


@pytest.mark.parametrize(
    ("hint", "clamped"),
    [(None, None), (math.nan, None), (-3, 0), (0, 0), (12.5, 12.5), (86_400, 86_400), (86_401, 86_400), (math.inf, 86_400)],
)
def test_a_retry_after_is_clamped_to_a_day(hint: float | None, clamped: float | None) -> None:
    assert clamp_retry_after(hint) == clamped


class TestByHand:
    @given(windows, seconds)
    def test_a_pause_by_hand_never_shortens(self, window: PauseWindow | None, for_s: float) -> None:
        paused = paused_by_hand(window, "lane", T0 + for_s, T0)
        assert paused.until == max(T0 + for_s, window.until if window else 0.0)

    def test_a_longer_pause_by_hand_becomes_the_operators(self) -> None:
        paused = paused_by_hand(a_window(strikes=3, probe="job"), "lane", T0 + 500, T0 + 1)
        assert paused == PauseWindow("lane", T0 + 500, MANUAL, T0 + 1, None, 3, "job")

    def test_a_shorter_pause_by_hand_leaves_the_providers(self) -> None:
        window = a_window(until=T0 + 60)
        assert paused_by_hand(window, "lane", T0 + 30, T0) is window


def test_a_limit_that_repeats_and_says_retry_after_0_still_pauses_a_second() -> None:
    first = extended(None, PauseRequest("lane", "rate_limited", "a", 0.0, 60.0, 900.0, claimed_at=100.0), 101.0)
    assert first.until == 101.0
    again = extended(first, PauseRequest("lane", "rate_limited", "b", 0.0, 60.0, 900.0, claimed_at=101.0), 102.0)
    assert (again.strikes, again.until) == (2, 103.0)
