"""The planned privacy loss of a config: computed from the file, in agreement with dp-accounting."""

import math
import subprocess
import sys

import pytest

from homebody_privacy.accounting import epsilon_pld, spent_epsilon
from homebody_privacy.charges import CorrelatedRun, GaussianReleases, PoissonRounds, round_up
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.planned import PlannedLoss, planned_charges, planned_loss, withheld

from .config_edits import EXAMPLE, GONE, SAMPLED, edited

CHEAP: dict[str, object] = {
    **SAMPLED,
    "dp.epsilon_max": 0.6,
}  # two runs or so fit: few compositions


def loss_of(edits: dict[str, object], *, fast: bool = False) -> PlannedLoss:
    found = planned_loss(edited(edits), fast=fast)
    assert found is not None
    return found


def test_the_example_costs_what_the_design_says() -> None:
    loss = loss_of({})
    assert loss.mu is not None
    square = (3.98036 / 20) ** 2 + 8 / 60**2 + 4 / 80**2
    assert math.isclose(loss.mu**2, square, rel_tol=1e-5)
    assert round_up(loss.epsilon, 3) == 0.962
    assert loss.epsilon == loss.epsilon_unamplified
    assert (loss.best_guess, loss.cap, loss.cap_guess) == (73, 2.5, 93)
    assert loss.runs_to_cap == 5
    assert loss.years_to_cap is not None
    assert round(loss.years_to_cap, 1) == 2.5
    assert loss.method == "closed form"


def test_less_noise_costs_what_the_design_says() -> None:
    loss = loss_of({"dp.noise_multiplier": 14.0})
    assert (round_up(loss.epsilon, 3), loss.best_guess, loss.runs_to_cap) == (1.382, 80, 3)


def test_cr_31_the_closed_form_is_dp_accountings_to_a_millionth() -> None:
    config = edited({})
    charges = planned_charges(config)
    assert charges is not None
    reference = epsilon_pld(charges, config.dp.delta)
    assert abs(reference - loss_of({}).epsilon) < 1e-6


def test_five_runs_fit_under_the_cap_and_six_do_not() -> None:
    loss = loss_of({})
    assert loss.mu is not None
    assert gaussian_epsilon(loss.mu * math.sqrt(5), 1e-7) <= 2.5
    assert gaussian_epsilon(loss.mu * math.sqrt(6), 1e-7) > 2.5


def test_everything_a_run_releases_is_charged() -> None:
    charges = planned_charges(
        edited(
            {
                "statistics": {
                    "recipe": "both",
                    "popularity_multiplier": 50.0,
                    "gram_multiplier": 40.0,
                },
                "dp.tuning_data": "private",
                "dp.tuning_runs": 2,
            }
        )
    )
    assert charges is not None
    told = [(type(charge), charge.part) for charge in charges]
    assert told == [
        (GaussianReleases, "statistics"),
        (GaussianReleases, "statistics"),
        (GaussianReleases, "tuning"),
        (GaussianReleases, "tuning"),
        (CorrelatedRun, "training"),
        (CorrelatedRun, "tuning"),
        (GaussianReleases, "metrics"),
        (GaussianReleases, "metrics"),
    ]
    assert [c.runs for c in charges if isinstance(c, CorrelatedRun)] == [1, 2]
    assert [c.releases for c in charges if isinstance(c, GaussianReleases)] == [1, 1, 2, 2, 8, 4]


def test_a_run_of_statistics_alone_charges_no_rounds() -> None:
    config = edited(
        {
            "statistics": {
                "recipe": "statistics",
                "popularity_multiplier": 50.0,
                "gram_multiplier": 40.0,
            },
            "dp.noise_multiplier": GONE,
            "dp.blt": GONE,
            "metrics.hit_rate.releases_per_run": 1,
            "metrics.drift.releases_per_run": 1,
        }
    )
    loss = planned_loss(config)
    assert loss is not None
    assert loss.mu is not None
    assert math.isclose(loss.mu**2, 1 / 50**2 + 1 / 40**2 + 1 / 60**2 + 1 / 80**2)


@pytest.mark.parametrize(
    "edits",
    [
        {"dp.noise_multiplier": GONE},
        {"dp.blt": GONE},
        {"statistics": {"recipe": "both"}, "dp.noise_multiplier": GONE},
        {**SAMPLED, "dp.noise_multiplier": GONE},
    ],
)
def test_noise_that_is_left_to_be_solved_has_no_figure_yet(edits: dict[str, object]) -> None:
    config = edited(edits)
    assert withheld(config) == ()
    assert planned_charges(config) is None
    assert planned_loss(config) is None


def test_cr_33_secret_cohorts_are_told_with_and_without_credit() -> None:
    edits = CHEAP
    config, loss = edited(edits), loss_of(edits)
    charges = planned_charges(config)
    assert charges is not None
    assert loss.method == "pld"
    assert loss.mu is None
    assert abs(loss.epsilon - epsilon_pld(charges, config.dp.delta)) < 1e-2 * loss.epsilon
    assert loss.epsilon_unamplified > 2 * loss.epsilon
    assert loss.runs_to_cap is not None
    fits = [
        spent_epsilon(
            [
                c.with_rounds(c.rounds * runs)
                if isinstance(c, PoissonRounds)
                else GaussianReleases(
                    noise_multiplier=c.noise_multiplier, releases=c.releases * runs
                )
                for c in charges
                if not isinstance(c, CorrelatedRun)
            ],
            config.dp.delta,
        )
        <= 0.6
        for runs in (loss.runs_to_cap, loss.runs_to_cap + 1)
    ]
    assert fits == [True, False]


def test_a_fast_figure_is_an_upper_bound_and_says_so() -> None:
    edits = CHEAP
    fast, exact = loss_of(edits, fast=True), loss_of(edits)
    assert fast.epsilon == fast.epsilon_unamplified == exact.epsilon_unamplified
    assert fast.epsilon >= exact.epsilon
    assert fast.method == "bound without sampling"
    assert fast.runs_to_cap is not None
    assert exact.runs_to_cap is not None
    assert fast.runs_to_cap <= exact.runs_to_cap
    assert loss_of({}, fast=True) == loss_of({})


def test_fewer_people_than_the_file_says_cost_more() -> None:
    config = edited(CHEAP)
    many, few = planned_loss(config), planned_loss(config, population=100_000)
    assert many is not None
    assert few is not None
    assert few.epsilon > many.epsilon
    with pytest.raises(PolicyViolationError, match="more than the 500 devices"):
        planned_loss(config, population=500)


def test_an_adaptive_clip_norm_is_charged() -> None:
    fixed = planned_charges(edited(CHEAP))
    adaptive = planned_charges(edited({**CHEAP, "dp.adaptive_clip": True}))
    assert fixed is not None
    assert adaptive is not None
    assert isinstance(fixed[0], PoissonRounds)
    assert isinstance(adaptive[0], PoissonRounds)
    assert fixed[0].count_multiplier is None
    assert adaptive[0].count_multiplier is not None
    assert adaptive[0].effective_multiplier < fixed[0].effective_multiplier


def test_a_run_with_a_budget_of_its_own_counts_no_runs() -> None:
    loss = loss_of({"dp.budget_scope": "run"})
    assert (loss.runs_to_cap, loss.years_to_cap) == (None, None)


def test_without_a_fresh_start_no_years_are_told() -> None:
    loss = loss_of({"rights.trained_model": "dp_only_stop_future"})
    assert (loss.runs_to_cap, loss.years_to_cap) == (5, None)


def test_one_run_above_the_cap_fits_no_time() -> None:
    loss = loss_of({"dp.epsilon_max": 0.5})
    assert loss.epsilon > loss.cap
    assert loss.runs_to_cap == 0


def test_a_figure_without_its_premises_is_refused_by_name() -> None:
    config = edited({"dp.unit": "record", "dp.delta": 1e-4})
    assert withheld(config) == ("DP-003", "DP-004")
    for compute in (planned_charges, planned_loss):
        with pytest.raises(PolicyViolationError, match="DP-003, DP-004 failed"):
            compute(config)


def test_the_plan_of_a_correlated_run_loads_no_accountant() -> None:
    program = (
        "import sys; from homebody_privacy.config import PrivacyConfig; "
        "from homebody_privacy.planned import planned_loss; "
        f"assert planned_loss(PrivacyConfig.read({str(EXAMPLE)!r})); "
        "print([m for m in ('dp_accounting', 'scipy', 'torch', 'cel') if m in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"
