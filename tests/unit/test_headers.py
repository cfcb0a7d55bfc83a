"""What providers write into headers: every spelling that was seen, and anything else is "not said"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.headers import duration_s, retry_after_s, until_reset_s

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


class CaseInsensitive(dict[str, str]):
    """Like the headers of HTTP clients: keeps the case that came, finds any."""

    def __getitem__(self, key: str) -> str:
        return next(value for name, value in self.items() if name.lower() == key.lower())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"RETRY-AFTER": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "999999"}, 86_400.0),
        ({"retry-after": "9" * 90}, 86_400.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:14:20 GMT"}, 60.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:14:20 -0000"}, 60.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "627"}, 0.627),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"x-amz-retry-after": "2500"}, 2.5),
        ({"retry-after": "3", "x-amz-retry-after": "2500"}, 3.0),
    ],
)
def test_a_wait_is_read_in_every_spelling_and_clamped_to_a_day(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_s(headers, NOW) == pytest.approx(seconds)
    assert retry_after_s(CaseInsensitive(headers), NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "soon", "nan", "inf", "1e3", "1_000", "0x10", "5 s", "٥", "Tue, 99 Nov 2023 22:14:20 GMT", "1" * 200]
)
def test_a_wait_that_cannot_be_parsed_is_not_said(value: str) -> None:
    assert retry_after_s({"retry-after": value}, NOW) is None
    assert retry_after_s({}, NOW) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("12ms", 0.012),
        ("2s81ms", 2.081),
        ("1h16m0.667s", 4560.667),
        ("57.238747106s", 57.238747106),
        ("53s", 53.0),
        ("250µs", 0.00025),
        ("1.5h", 5400.0),
    ],
)
def test_go_durations_read_ms_before_m(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "12", "1m 2s", "5x", "ms", "1s!", "-1s", "1" * 200 + "s"])
def test_what_is_no_go_duration_is_not_said(text: str) -> None:
    assert duration_s(text) is None


def test_a_reset_is_a_duration_or_a_moment_with_an_offset() -> None:
    assert until_reset_s("6m0s", NOW) == 360.0
    assert until_reset_s("2023-11-14T22:14:20Z", NOW) == pytest.approx(60.0)
    assert until_reset_s("2023-11-14T23:14:20.123456789+01:00", NOW) == pytest.approx(60.123456)
    assert until_reset_s("2023-11-14T22:00:00Z", NOW) == 0.0
    assert until_reset_s("2023-11-14T22:14:20", NOW) is None
    assert until_reset_s("never", NOW) is None


@given(st.text(), st.text(), st.floats(min_value=0, max_value=4e9))
def test_no_header_value_makes_it_fail(name: str, value: str, now: float) -> None:
    for headers in ({name: value}, {"Retry-After": value}, {"retry-after-ms": value}, {"x-amz-retry-after": value}):
        wait_s = retry_after_s(headers, now)
        assert wait_s is None or 0 <= wait_s <= 86_400
    assert (duration_s(value) or 0) >= 0
    assert (until_reset_s(value, now) or 0) >= 0
