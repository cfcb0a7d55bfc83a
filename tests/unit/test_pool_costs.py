"""What a call will use, learned from what calls like it used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.pools.costs import TYPES, UNKNOWN, Costs, estimate_of, expected
from scheduler.pools.messages import Cost, Estimate, Used
from scheduler.pools.quotas import Dimension

amounts = st.floats(min_value=0.0, max_value=1e7)


def used(
    task_type: str = "task", estimate: float | None = 1_000.0, took: float = 300.0, gave: float = 100.0, calls: int = 1
) -> tuple[str, Used]:
    """What ``calls`` equal calls of a task type used."""
    together = Used()
    for _ in range(calls):
        together.add(Cost(500.0, 500.0), Cost(took, gave), estimate)
    return task_type, together


class TestExpected:
    @pytest.mark.parametrize(
        ("known", "tokens", "output", "cost"),
        [
            (None, None, None, UNKNOWN),
            (None, 1_000.0, 400.0, Cost(600.0, 400.0)),
            (None, 1_000.0, 0.0, Cost(1_000.0, 0.0)),
            (None, 1_000.0, 5_000.0, Cost(0.0, 1_000.0)),  # an answer is no longer than the whole
            (Estimate(0.5, 300.0, 100.0), None, None, Cost(300.0, 100.0)),
            (Estimate(0.5, 300.0, 100.0), 1_000.0, None, Cost(375.0, 125.0)),
            (Estimate(0.5, 300.0, 100.0), 1_000.0, 800.0, Cost(375.0, 125.0)),  # what was really answered says more than what is allowed
            (Estimate(2.0, 0.0, 0.0), 0.0, None, Cost(0.0, 0.0)),
        ],
    )
    def test_an_estimate_is_corrected_by_what_calls_like_it_used(
        self, known: Estimate | None, tokens: float | None, output: float | None, cost: Cost
    ) -> None:
        found = expected(known, tokens, output)
        assert (found.input_tokens, found.output_tokens) == pytest.approx((cost.input_tokens, cost.output_tokens))

    @given(st.builds(Estimate, st.floats(0.05, 20.0), amounts, amounts) | st.none(), amounts | st.none(), amounts | st.none())
    def test_a_cost_is_never_negative_and_its_parts_make_the_whole(
        self, known: Estimate | None, tokens: float | None, output: float | None
    ) -> None:
        cost = expected(known, tokens, output)
        assert all(cost.of(dimension) >= 0.0 for dimension in Dimension)
        assert cost.of(Dimension.REQUESTS) == 1.0
        assert cost.of(Dimension.TOKENS) == cost.input_tokens + cost.output_tokens
        if tokens is not None:
            assert cost.tokens == pytest.approx(tokens * (known.ratio if known else 1.0))


class TestLearning:
    def test_the_first_call_of_a_type_is_believed_at_once(self) -> None:
        costs = Costs()
        costs.learn(*used(took=300.0, gave=100.0))
        assert expected(costs.by_type["task"], None, None) == Cost(300.0, 100.0)

    def test_the_ratio_of_used_to_estimated_is_learned(self) -> None:
        costs = Costs()
        for _ in range(200):
            costs.learn(*used(estimate=1_000.0, took=300.0, gave=100.0))
        cost = expected(costs.by_type["task"], 2_000.0, None)
        assert (cost.input_tokens, cost.output_tokens) == pytest.approx((600.0, 200.0), rel=0.01)

    def test_calls_told_together_teach_the_same_as_one_by_one(self) -> None:
        together, one_by_one = Costs(), Costs()
        for costs in (together, one_by_one):
            costs.learn(*used(took=10.0, gave=10.0))
        together.learn(*used(calls=20))
        for _ in range(20):
            one_by_one.learn(*used())
        assert together.by_type["task"].input_tokens == pytest.approx(one_by_one.by_type["task"].input_tokens, rel=0.01)
        assert together.by_type["task"].ratio == pytest.approx(one_by_one.by_type["task"].ratio, rel=0.01)
        assert together.calls == one_by_one.calls == 21

    def test_one_odd_call_changes_little(self) -> None:
        costs = Costs()
        for _ in range(100):
            costs.learn(*used())
        costs.learn(*used(estimate=1.0, took=1e6, gave=1e6))
        assert costs.by_type["task"].ratio < 2.0

    def test_types_are_learned_apart_and_the_pool_as_a_whole(self) -> None:
        costs = Costs()
        for _ in range(100):
            costs.learn(*used("small", took=10.0, gave=0.0))
            costs.learn(*used("large", took=990.0, gave=0.0))
        assert costs.by_type["small"].input_tokens == 10.0
        assert costs.by_type["large"].input_tokens == 990.0
        assert costs.mean.input_tokens == pytest.approx(500.0, rel=0.1)

    @pytest.mark.parametrize("estimate", [None, 0.0])
    def test_without_an_estimate_the_ratio_stays(self, estimate: float | None) -> None:
        costs = Costs()
        costs.learn(*used(estimate=estimate))
        assert costs.by_type["task"].ratio == 1.0

    def test_only_so_many_types_are_remembered(self) -> None:
        costs = Costs()
        for number in range(10 * TYPES):
            costs.learn(*used(f"type {number}"))
        assert len(costs.by_type) == TYPES
        assert estimate_of(f"type {10 * TYPES - 1}", costs.by_type) is not None

    def test_a_type_that_goes_on_is_not_forgotten_for_new_ones(self) -> None:
        costs = Costs()
        for number in range(10 * TYPES):
            costs.learn(*used("the usual one"))
            costs.learn(*used(f"type {number}"))
        assert estimate_of("the usual one", costs.by_type) is not None

    def test_a_type_with_a_very_long_name_is_learned_as_well(self) -> None:
        costs = Costs()
        costs.learn(*used("long " * 100))
        assert estimate_of("long " * 100, costs.by_type) is not None

    @given(st.lists(st.builds(used, st.sampled_from("ab"), st.none() | amounts, amounts, amounts), min_size=1, max_size=30))
    def test_means_stay_within_what_was_seen(self, calls: list[tuple[str, Used]]) -> None:
        costs = Costs()
        for call in calls:
            costs.learn(*call)
        least, most = min(call.actual.input_tokens for _, call in calls), max(call.actual.input_tokens for _, call in calls)
        assert least - 1e-6 <= costs.mean.input_tokens <= most + 1e-6
        for known in costs.by_type.values():
            assert least - 0.01 <= known.input_tokens <= most + 0.01
            assert 0.05 <= known.ratio <= 20.0
