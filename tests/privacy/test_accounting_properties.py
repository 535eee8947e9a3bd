"""What must hold for every accountant: more release costs more, more noise or delta costs less."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from homebody_privacy.accounting import epsilon_pld, spent_epsilon
from homebody_privacy.charges import Charge, GaussianReleases, PoissonRounds
from homebody_privacy.closed_form import epsilon_unamplified
from homebody_privacy.fft_accounting import epsilon_fft
from homebody_privacy.solving import solve_noise_multiplier

Account = Callable[[list[Charge], float], float]

POPULATION = 6040
GRID = 1e-3  # what ``spent_epsilon`` and the third opinion may be loose by, each in its own way

# An example takes a tenth of a second and more: shrinking one takes minutes and tells little.
DEAR = (Phase.explicit, Phase.reuse, Phase.generate)

deltas = st.floats(-8.0, -3.0).map(lambda power: 10.0**power)
rounds_of_a_run = st.builds(
    PoissonRounds,
    population=st.just(POPULATION),
    cohort_size=st.integers(50, 500),
    cohort_cap=st.just(POPULATION),
    noise_multiplier=st.floats(1.5, 6.0),
    rounds=st.integers(20, 300),
)


def by_fft(charges: list[Charge], delta: float) -> float:
    """Epsilon by the third opinion, of charges that are Poisson rounds or plain Gaussians."""
    kinds = [
        (c.noise_multiplier, c.sampling_rate, c.rounds)
        if isinstance(c, PoissonRounds)
        else (1.0 / math.sqrt(c.squared_loss), 1.0, 1)
        for c in charges
    ]
    return epsilon_fft(kinds, delta)


QUICK: list[tuple[Account, float]] = [(spent_epsilon, GRID), (by_fft, GRID)]


def check_monotone(account: Account, slack: float, run: PoissonRounds, delta: float) -> None:
    """More rounds, a higher rate, less noise or a smaller delta each cost more."""
    base = account([run], delta)
    more = {
        "rounds": account([run.with_rounds(run.rounds + 1)], delta),
        "noise": account([replace(run, noise_multiplier=0.98 * run.noise_multiplier)], delta),
        "delta": account([run], 0.9 * delta),
    }
    much_more = {
        "rounds": account([run.with_rounds(2 * run.rounds)], delta),
        "noise": account([replace(run, noise_multiplier=0.7 * run.noise_multiplier)], delta),
        "delta": account([run], 0.01 * delta),
    }
    if account is not epsilon_unamplified:  # it gives no credit for sampling
        more["rate"] = account([replace(run, cohort_size=run.cohort_size + 1)], delta)
        much_more["rate"] = account([replace(run, cohort_size=2 * run.cohort_size)], delta)
    assert all(value >= base - slack for value in more.values()), (base, more)
    assert all(value > 1.02 * base + slack for value in much_more.values()), (base, much_more)


@settings(max_examples=100)
@given(rounds_of_a_run, deltas)
def test_the_closed_form_is_monotone(run: PoissonRounds, delta: float) -> None:
    check_monotone(epsilon_unamplified, 0.0, run, delta)


@settings(max_examples=3, phases=DEAR)
@given(rounds_of_a_run, deltas)
def test_the_quick_accountant_is_monotone(run: PoissonRounds, delta: float) -> None:
    check_monotone(spent_epsilon, GRID, run, delta)


@settings(max_examples=15, phases=DEAR)
@given(rounds_of_a_run, deltas)
def test_the_third_opinion_is_monotone(run: PoissonRounds, delta: float) -> None:
    check_monotone(by_fft, GRID, run, delta)


@pytest.mark.parametrize("multiplier", [3.0, pytest.param(0.7, marks=pytest.mark.slow)])
def test_the_reference_is_monotone(charge: Callable[..., PoissonRounds], multiplier: float) -> None:
    run = charge(noise_multiplier=multiplier, rounds=20, cohort_size=300)
    check_monotone(epsilon_pld, 0.0, run, 1e-5)


@settings(max_examples=4, phases=DEAR)
@given(rounds_of_a_run, rounds_of_a_run, st.floats(3.0, 30.0), deltas)
@pytest.mark.parametrize(("account", "slack"), QUICK)
def test_a_whole_costs_at_least_its_parts_and_no_more_than_they_do_apart(
    account: Account,
    slack: float,
    first: PoissonRounds,
    second: PoissonRounds,
    noise: float,
    delta: float,
) -> None:
    metrics = GaussianReleases(noise_multiplier=noise)
    parts: list[list[Charge]] = [[first], [second, metrics]]
    whole = account([first, second, metrics], delta)
    assert whole >= max(account(part, delta) for part in parts) - slack
    # basic composition: epsilons and deltas of the parts add up
    assert whole <= sum(account(part, delta / 2.0) for part in parts) + slack


@settings(max_examples=3, phases=DEAR)
@given(rounds_of_a_run, rounds_of_a_run, st.floats(3.0, 30.0), deltas)
@pytest.mark.parametrize("account", [spent_epsilon, epsilon_unamplified, by_fft])
def test_the_order_of_charges_does_not_matter(
    account: Account, first: PoissonRounds, second: PoissonRounds, noise: float, delta: float
) -> None:
    charged: list[Charge] = [first, second, GaussianReleases(noise_multiplier=noise)]
    values = [account(list(order), delta) for order in permutations(charged)]
    assert values == pytest.approx([values[0]] * len(values), rel=1e-6)


@settings(max_examples=5, phases=DEAR)
@given(rounds_of_a_run, deltas)
def test_sampling_in_secret_costs_less_than_being_seen(run: PoissonRounds, delta: float) -> None:
    assert spent_epsilon([run], delta) < epsilon_unamplified([run], delta)


@settings(max_examples=3, phases=DEAR)
@given(rounds_of_a_run, deltas)
def test_independent_accountants_agree(run: PoissonRounds, delta: float) -> None:
    assert by_fft([run], delta) == pytest.approx(spent_epsilon([run], delta), rel=1e-3, abs=2e-3)


def test_a_larger_budget_needs_less_noise() -> None:
    solved = [
        solve_noise_multiplier(
            epsilon, 1e-5, population=6040, cohort_size=600, cohort_cap=6040, rounds=10
        )
        for epsilon in (0.1, 0.102, 0.5)
    ]
    assert solved == sorted(solved, reverse=True)
    assert len(set(solved)) == len(solved)
    assert solved[0] > 1.5 * solved[-1]
