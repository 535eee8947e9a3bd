"""What one device may join in its life: the rules alone, without a file."""

import math
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from hypothesis import example, given
from hypothesis import strategies as st

from homebody_client.participation import Allowance, Join, Life
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.errors import BudgetExhaustedError, HomebodyError, PolicyViolationError

MODEL, OTHER = "d" * 64, "e" * 64
GAUSSIAN = Allowance(
    run="autumn",
    rounds=100,
    min_separation=10,
    max_rounds=4,
    loss_per_run=0.0,
    loss_per_join=0.25,
    delta=1e-5,
    epsilon_max=None,
)
BLT = replace(GAUSSIAN, run="winter", loss_per_run=0.5, loss_per_join=0.0)


def joined(
    rounds: Iterable[int], allowance: Allowance = GAUSSIAN, life: Life | None = None
) -> Life:
    """Return the life of a device that joined these rounds."""
    life = life or Life()
    for number in rounds:
        assert life.refusal(allowance, number, model=MODEL) is None
        life = after(life, allowance, number)
    return life


def after(life: Life, allowance: Allowance, number: int, model: str = MODEL) -> Life:
    return life.after(
        Join(
            device=0,
            run=allowance.run,
            round=number,
            model=model,
            terms=allowance.terms,
            square=life.cost(allowance),
        )
    )


def is_policy(error: HomebodyError | None, text: str) -> bool:
    return isinstance(error, PolicyViolationError) and text in str(error)


def test_pf_17_a_round_too_early_is_refused_and_the_first_one_far_enough_is_not() -> None:
    life = joined([7])
    assert all(is_policy(life.refusal(GAUSSIAN, n), "too few rounds") for n in range(8, 17))
    assert life.refusal(GAUSSIAN, 17) is None


def test_pf_17_no_more_rounds_than_the_cap_are_joined() -> None:
    life = joined([1, 11, 21, 31])
    refused = [life.refusal(GAUSSIAN, number) for number in range(41, 101)]
    assert all(is_policy(error, "participation cap") for error in refused)


def test_a_round_before_the_last_one_is_refused_even_if_it_was_joined() -> None:
    life = joined([1, 31])
    for number in (1, 2, 21, 30):
        assert is_policy(life.refusal(GAUSSIAN, number, model=MODEL), "too few rounds")


@pytest.mark.parametrize("number", [-1, 0, 101, 10**9])
def test_a_round_the_run_does_not_have_is_refused(number: int) -> None:
    assert is_policy(Life().refusal(GAUSSIAN, number), "no round of this number")


def test_the_last_round_may_be_answered_again_for_the_same_model_alone() -> None:
    life = joined([1, 11, 21, 31])  # at its cap
    assert life.is_repeat("autumn", 31)
    assert life.refusal(GAUSSIAN, 31) is None
    assert life.refusal(GAUSSIAN, 31, model=MODEL, known_joins=4) is None
    assert is_policy(life.refusal(GAUSSIAN, 31, model=OTHER), "another model")


def test_the_model_of_a_later_round_takes_the_place_of_the_one_before() -> None:
    life = after(joined([1]), GAUSSIAN, 11, model=OTHER)
    assert life.refusal(GAUSSIAN, 11, model=OTHER) is None
    assert is_policy(life.refusal(GAUSSIAN, 11, model=MODEL), "another model")


@given(
    losses=st.lists(st.tuples(st.floats(0.0, 1e3), st.floats(0.0, 1e3)), min_size=1, max_size=30)
)
def test_rounding_never_makes_the_squared_loss_smaller(losses: list[tuple[float, float]]) -> None:
    life, exact = Life(), Fraction(0)
    for number, (per_run, per_join) in enumerate(losses):
        life = joined(
            [1],
            replace(GAUSSIAN, run=str(number), loss_per_run=per_run, loss_per_join=per_join),
            life,
        )
        exact += Fraction(per_run) ** 2 + Fraction(per_join) ** 2
    assert (
        exact <= Fraction(life.square) <= exact * (1 + Fraction(1, 10**12)) + Fraction(1, 10**300)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 200},
        {"min_separation": 1},
        {"max_rounds": 100},
        {"loss_per_run": 1e-9},
        {"loss_per_join": 0.2},
    ],
)
def test_pf_32_the_rules_of_a_run_cannot_change_once_it_was_joined(change: dict[str, int]) -> None:
    changed = replace(GAUSSIAN, **change)  # type: ignore[arg-type]  # never the run
    life = joined([1])
    for number in (1, 50):
        assert is_policy(life.refusal(changed, number), "rules of the run changed")
    assert Life().refusal(changed, 50) is None


def test_the_person_may_lower_the_ceiling_within_a_run() -> None:
    life = joined([1])
    assert life.refusal(replace(GAUSSIAN, epsilon_max=9.0), 11) is None
    lower = life.refusal(replace(GAUSSIAN, epsilon_max=0.5), 11)
    assert isinstance(lower, BudgetExhaustedError)


def test_pf_15_cr_34_a_run_under_another_name_is_charged_in_full_and_stops_at_the_ceiling() -> None:
    life, ceiling = Life(), gaussian_epsilon(math.sqrt(3) * 0.5, 1e-5) * (1 + 1e-9)
    for number in range(3):
        renamed = replace(BLT, run=f"run {number}", epsilon_max=ceiling)
        life = joined([1, 11], renamed, life)
    renamed = replace(BLT, run="run 3", epsilon_max=ceiling)
    assert isinstance(life.refusal(renamed, 1), BudgetExhaustedError)
    assert life.epsilon(1e-5) == pytest.approx(ceiling, rel=1e-8)


def test_no_more_runs_than_allowed_are_joined_whatever_their_names() -> None:
    two = replace(BLT, max_runs=2)
    life = joined([1], two, joined([1], replace(two, run="autumn")))
    assert is_policy(life.refusal(replace(two, run="spring"), 1), "another run")
    assert life.refusal(two, 11) is None


@given(known=st.integers(-5, 10))
def test_pf_42_the_servers_count_is_obeyed_where_it_is_higher_alone(known: int) -> None:
    life = joined([1, 11])
    refused = life.refusal(GAUSSIAN, 21, known_joins=known)
    assert (refused is None) == (known < 4)
    forgetful = Life().refusal(GAUSSIAN, 21, known_joins=known)
    assert (forgetful is None) == (known < 4)


def test_pf_42_joins_that_only_the_server_remembers_count_against_the_ceiling() -> None:
    ceiling = gaussian_epsilon(math.sqrt(3) * 0.25, 1e-5) * (1 + 1e-9)
    tight = replace(GAUSSIAN, epsilon_max=ceiling)
    assert Life().refusal(tight, 21, known_joins=2) is None
    assert isinstance(Life().refusal(tight, 21, known_joins=3), BudgetExhaustedError)
    assert joined([1, 11], tight).refusal(tight, 21, known_joins=2) is None
    assert isinstance(
        joined([1, 11], tight).refusal(tight, 21, known_joins=3), BudgetExhaustedError
    )


def test_spent_agrees_with_the_reference_accountant_over_two_runs() -> None:
    life = joined([1, 30, 60], GAUSSIAN, joined([5, 25], BLT))
    accountant = PLDAccountant()
    accountant.compose(GaussianDpEvent(1 / 0.5))  # once, not twice
    accountant.compose(GaussianDpEvent(1 / 0.25), 3)
    for delta in (1e-5, 1e-7):
        reference = accountant.get_epsilon(delta)
        assert life.epsilon(delta) == pytest.approx(reference, rel=2e-3)
        for wrong in (2 / 3, 3 / 2):
            assert life.epsilon(delta) != pytest.approx(wrong * reference, rel=0.1)


def test_a_device_that_joined_nothing_spent_nothing() -> None:
    assert Life().epsilon(1e-5) == 0.0
    assert Life().joins("autumn") == 0


def test_no_noise_is_an_infinite_loss() -> None:
    bare = replace(GAUSSIAN, loss_per_join=math.inf)
    assert joined([1], bare).epsilon(1e-5) == math.inf
    capped = replace(bare, epsilon_max=1e6)
    assert isinstance(Life().refusal(capped, 1), BudgetExhaustedError)


RULES = st.builds(
    Allowance,
    run=st.just("any"),
    rounds=st.integers(1, 40),
    min_separation=st.integers(1, 12),
    max_rounds=st.integers(1, 5),
    loss_per_run=st.sampled_from([0.0, 0.3, 1.0]),
    loss_per_join=st.sampled_from([0.0, 0.2, 0.7]),
    delta=st.sampled_from([1e-5, 1e-3]),
    epsilon_max=st.none() | st.floats(0.1, 8.0),
    max_runs=st.none() | st.integers(1, 3),
)
INVITATIONS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, 45)), max_size=40)
Joined = dict[str, list[int]]


def exact_epsilon(rules: Allowance, done: Joined) -> float:
    squares = [rules.loss_per_run**2 for rounds in done.values() if rounds]
    squares += [rules.loss_per_join**2 for rounds in done.values() for _ in rounds]
    return gaussian_epsilon(math.sqrt(math.fsum(squares)), rules.delta)


def may_join(rules: Allowance, done: Joined, run: str, number: int) -> bool:
    """Decide from the bare list of what was joined, the ceiling left out."""
    rounds = done.get(run, [])
    in_time = 1 <= number <= rules.rounds
    far = all(number - other >= rules.min_separation for other in rounds)
    known = bool(rounds) or rules.max_runs is None or len(done) < rules.max_runs
    return in_time and far and known and len(rounds) < rules.max_rounds


@given(rules=RULES, invitations=INVITATIONS)
@example(rules=replace(BLT, epsilon_max=2.0), invitations=[("a", 1), ("b", 1), ("b", 12)])
def test_what_is_joined_keeps_separation_cap_and_ceiling_for_any_invitations(
    rules: Allowance, invitations: list[tuple[str, int]]
) -> None:
    life, done = Life(), Joined()
    for run, number in invitations:
        allowance = replace(rules, run=run)
        if number in done.get(run, [])[-1:]:
            assert life.refusal(allowance, number, model=MODEL) is None
            continue
        would_be = exact_epsilon(rules, {**done, run: [*done.get(run, []), number]})
        ceiling = math.inf if rules.epsilon_max is None else rules.epsilon_max
        if math.isclose(would_be, ceiling, rel_tol=1e-9):
            continue  # rounding decides
        expected = may_join(rules, done, run, number) and would_be < ceiling
        assert (life.refusal(allowance, number, model=MODEL) is None) == expected
        if expected:
            life = after(life, allowance, number)
            done.setdefault(run, []).append(number)
        assert life.epsilon(rules.delta) <= ceiling
        assert life.epsilon(rules.delta) >= exact_epsilon(rules, done)
    for run, rounds in done.items():
        gaps = [late - early for early, late in pairwise(rounds)]
        assert all(gap >= rules.min_separation for gap in gaps)
        assert life.joins(run) == len(rounds) <= rules.max_rounds


@given(rules=RULES, invitations=INVITATIONS, known=st.integers(-2, 8))
def test_a_count_from_the_server_never_opens_what_the_device_would_refuse(
    rules: Allowance, invitations: list[tuple[str, int]], known: int
) -> None:
    life = Life()
    for run, number in invitations:
        allowance = replace(rules, run=run)
        own = life.refusal(allowance, number, model=MODEL)
        told = life.refusal(allowance, number, model=MODEL, known_joins=known)
        assert own is None or told is not None
        if known <= life.joins(run):
            assert (own is None) == (told is None)
        if own is None and not life.is_repeat(run, number):
            life = after(life, allowance, number)


def test_no_refusal_says_how_often_or_when_the_device_joined() -> None:
    life = joined([1, 11, 21, 31])
    capped = replace(GAUSSIAN, epsilon_max=0.1)
    errors = [
        life.refusal(GAUSSIAN, 33),
        life.refusal(GAUSSIAN, 77),
        life.refusal(GAUSSIAN, 31, model=OTHER),
        life.refusal(replace(GAUSSIAN, run="spring", max_runs=1), 1),
        Life().refusal(capped, 1),
    ]
    said = [f"{error} {error.fix}" for error in errors if error is not None]
    assert len(said) == len(errors)
    assert not any(character.isdigit() for text in said for character in text)
    assert not any("autumn" in text or MODEL in text for text in said)


@pytest.mark.parametrize(
    "change",
    [
        {"run": ""},
        {"run": "a\nb"},
        {"run": "x" * 257},
        {"rounds": 0},
        {"min_separation": 0},
        {"max_rounds": 0},
        {"max_runs": 0},
        {"rounds": 2**53},
        {"loss_per_run": -0.1},
        {"loss_per_run": math.nan},
        {"loss_per_join": math.nan},
        {"delta": 0.0},
        {"delta": 1.0},
        {"epsilon_max": 0.0},
        {"epsilon_max": math.nan},
    ],
)
def test_an_allowance_no_config_can_mean_cannot_be_built(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(GAUSSIAN, **change)  # type: ignore[arg-type]  # one value of a wrong kind each


@pytest.mark.parametrize(
    "change",
    [
        {"device": -1},
        {"device": 2**53},
        {"run": ""},
        {"round": -1},
        {"model": "D" * 64},
        {"model": "d" * 63},
        {"terms": ""},
        {"square": -1.0},
        {"square": math.nan},
    ],
)
def test_a_join_no_device_could_have_made_cannot_be_built(change: dict[str, object]) -> None:
    good = Join(device=0, run="autumn", round=1, model=MODEL, terms=OTHER, square=0.0)
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(good, **change)  # type: ignore[arg-type]  # one value of a wrong kind each
