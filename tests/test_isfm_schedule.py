"""The number of proposals by the running effective sample size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_flowsac.isfm import MIN_PROPOSALS, running_ess_share, scheduled_proposals
from sb3_flowsac.isfm.schedule import MEMORY

shares, budgets = st.floats(0.0, 1.0), st.integers(MIN_PROPOSALS, 200)


@given(shares, budgets)
def test_the_smallest_even_number_with_enough_effective_proposals(share, budget):
    n = scheduled_proposals(share, budget)
    assert MIN_PROPOSALS <= n <= budget and (n % 2 == 0 or n == budget)
    slack = 1e-9
    assert n * share >= MIN_PROPOSALS - slack or n == budget
    assert n == MIN_PROPOSALS or (n - 2) * share < MIN_PROPOSALS + slack


@given(st.tuples(shares, shares).map(sorted), budgets)
def test_the_more_count_the_fewer_are_drawn(pair, budget):
    fewer, more = (scheduled_proposals(share, budget) for share in pair)
    assert fewer >= more


@pytest.mark.parametrize("budget", [12, 13, 16, 22, 32, 200])
def test_all_of_the_budget_at_the_start_and_the_fewest_at_the_fixed_point(budget):
    assert scheduled_proposals(0.0, budget) == budget
    assert scheduled_proposals(1.0, budget) == MIN_PROPOSALS


@pytest.mark.parametrize(
    ("share", "n"), [(0.3, 32), (0.375, 32), (0.4, 30), (0.5, 24), (0.51, 24), (0.61, 20), (0.99, 14)]
)
def test_some_numbers(share, n):
    assert scheduled_proposals(share, 32) == n


@pytest.mark.parametrize("budget", [1, 4, 11])
def test_a_budget_below_the_fewest_is_the_number(budget):
    assert {scheduled_proposals(share, budget) for share in (0.0, 0.3, 1.0)} == {budget}


def test_the_running_share_forgets_its_start():
    running = 0.0
    for update in range(1, 301):
        running = running_ess_share(running, 0.7)
        assert running == pytest.approx(0.7 * (1.0 - MEMORY**update))
    assert running == pytest.approx(0.7, rel=0.01)
