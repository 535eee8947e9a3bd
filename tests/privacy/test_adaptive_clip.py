"""The adaptive clip norm: it finds the quantile, its count is noised, and the noise is charged."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from homebody_privacy.accounting import epsilon_by_part, spent_epsilon
from homebody_privacy.adaptive_clip import (
    ABSTAINED,
    CLIPPED,
    WITHIN,
    AdaptiveClip,
    sum_multiplier,
    vote,
)
from homebody_privacy.charges import PoissonRounds
from homebody_privacy.ledger import Ledger
from homebody_privacy.ledger_record import Header
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream, derive_key

Build = Callable[..., PoissonRounds]
Vector = npt.NDArray[np.float64]
UPDATES = hnp.arrays(np.float64, 4, elements=st.floats(width=64))
COHORT = 200


def stream(number: int) -> NoiseStream:
    """Return the keystream of a round's count."""
    return NoiseStream(derive_key(bytes(32), "counts", number))


def norms(quantile: float) -> tuple[list[Vector], float]:
    """Return updates of known norms and the quantile of the norms."""
    wanted = np.exp(np.linspace(-2.0, 2.0, COHORT)) * 0.037
    directions = np.random.default_rng(1).normal(size=(COHORT, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return list(directions * wanted[:, None]), float(np.quantile(wanted, quantile))


def trajectory(clip: AdaptiveClip, start: float, updates: list[Vector], rounds: int) -> list[float]:
    """Return the clip norm of each round."""
    found = [start]
    for number in range(rounds):
        votes = sum(vote(update, found[-1]) for update in updates)
        found.append(clip.following(found[-1], clip.released_share(votes, stream(number))))
    return found


@pytest.mark.parametrize("factor", [0.02, 50.0])
@pytest.mark.parametrize("quantile", [0.5, 0.8])
def test_the_clip_norm_settles_at_the_quantile_from_above_and_below(
    factor: float, quantile: float
) -> None:
    updates, wanted = norms(quantile)
    clip = AdaptiveClip(cohort_size=COHORT, count_multiplier=1.0, quantile=quantile)
    found = trajectory(clip, factor * wanted, updates, 140)
    assert found[-1] == pytest.approx(wanted, rel=0.05)
    # Never away from it on the way, but for what the noise of a count of one vote can do.
    distances = np.abs(np.log(np.array(found) / wanted))
    assert (np.diff(distances) < 0.2 * 6 / (2 * COHORT)).all()


@pytest.mark.parametrize("factor", [0.02, 50.0])
def test_the_clip_norm_settles_at_the_median_with_the_noise_of_the_paper(factor: float) -> None:
    updates, median = norms(0.5)
    clip = AdaptiveClip.for_cohort(COHORT)
    assert clip.count_multiplier == 20.0
    late = trajectory(clip, factor * median, updates, 260)[130:]
    assert float(np.median(late)) == pytest.approx(median, rel=0.1)
    assert max(late) / min(late) < 2.0


def test_pf_26_the_sign_is_that_of_the_unclipped(charge: Build) -> None:
    del charge
    clip = AdaptiveClip.for_cohort(COHORT)
    assert clip.following(1.0, share=1.0) < 1.0 < clip.following(1.0, share=0.0)
    assert clip.following(0.7, share=0.5) == 0.7
    # Counting the clipped instead sends the clip norm away from the median.
    updates, median = norms(0.5)
    wrong = 2.0 * median
    for number in range(20):
        votes = sum(vote(update, wrong) for update in updates)
        wrong = clip.following(wrong, clip.released_share(-votes, stream(number)))
    assert wrong > 4.0 * median


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**5), st.integers(0, 50))
def test_the_released_share_is_a_share(votes: int, cohort: int, number: int) -> None:
    share = AdaptiveClip.for_cohort(cohort).released_share(votes, stream(number))
    assert 0.0 <= share <= 1.0


def test_who_is_missing_counts_half_a_vote_for_either_side() -> None:
    clip = AdaptiveClip(cohort_size=10**6, count_multiplier=1.0)
    shares = [clip.released_share(votes, stream(1)) for votes in (0, -(10**6), 10**6, 5 * 10**5)]
    assert shares == pytest.approx([0.5, 0.0, 1.0, 0.75], abs=1e-5)


def test_pf_01_the_noise_of_the_count_is_the_streams_and_no_others() -> None:
    clip = AdaptiveClip(cohort_size=1000, count_multiplier=25.0)
    for number in range(5):
        drawn = int(rounded_gaussian(1, 25.0, stream(number))[0])
        assert clip.released_share(40, stream(number)) == 0.5 + (40 + drawn) / 2000
    source = stream(1)
    clip.released_share(40, source)
    assert repr(source) != repr(stream(1))  # words were used up


def test_the_noise_of_the_count_has_its_scale_and_no_other() -> None:
    clip = AdaptiveClip(cohort_size=10**6, count_multiplier=300.0)
    source = stream(7)
    drawn = [(clip.released_share(0, source) - 0.5) * 2e6 for _ in range(4000)]
    noise = np.array(drawn) / 300.0
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert 1e-3 < stats.chi2.cdf((noise**2).sum(), 4000) < 1 - 1e-3
    for wrong in (2 / 3, 0.9, 1.1, 3 / 2):
        chance = stats.chi2.cdf((noise**2).sum() / wrong**2, 4000)
        assert min(chance, 1 - chance) < 1e-6


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ([0.0, 0.0], WITHIN),
        ([-0.0, 5e-324], WITHIN),
        ([0.3, 0.4], WITHIN),
        ([0.3, 0.41], CLIPPED),
        ([1e200, 1e200], CLIPPED),  # its square is no float64
        ([1.7e308, -1.7e308], CLIPPED),
        ([np.nan, 0.0], ABSTAINED),
        ([np.inf, 0.0], ABSTAINED),
        ([-np.inf, np.nan], ABSTAINED),
        ([1e200, np.nan], ABSTAINED),
        ([], WITHIN),
    ],
)
def test_every_update_has_a_vote(update: list[float], expected: int) -> None:
    assert vote(np.array(update), 0.5) == expected


@given(st.lists(UPDATES, max_size=5), UPDATES, st.floats(1e-6, 1e6))
def test_one_device_moves_the_count_by_at_most_one(
    others: list[Vector], update: Vector, clip_norm: float
) -> None:
    without = sum(vote(other, clip_norm) for other in others)
    with_it = without + vote(update, clip_norm)
    assert abs(with_it - without) <= 1
    if not np.isfinite(update).all():
        assert with_it == without  # PF-06: the same as absence


@pytest.mark.parametrize(
    "change",
    [
        {"cohort_size": 0},
        {"count_multiplier": 0.99},
        {"count_multiplier": math.inf},
        {"count_multiplier": math.nan},
        {"quantile": 0.0},
        {"quantile": 1.0},
        {"quantile": math.nan},
        {"rate": 0.0},
        {"rate": math.inf},
        {"rate": math.nan},
    ],
)
def test_a_rule_that_does_not_settle_or_counts_without_noise_is_refused(
    change: dict[str, float],
) -> None:
    usual: dict[str, float] = {"cohort_size": 100, "count_multiplier": 10.0}
    with pytest.raises(ValueError, match=next(iter(change))):
        AdaptiveClip(**(usual | change))  # type: ignore[arg-type]


def test_small_cohorts_still_have_a_vote_of_noise() -> None:
    assert AdaptiveClip.for_cohort(3).count_multiplier == 1.0
    assert AdaptiveClip.for_cohort(100).count_multiplier == 10.0


@pytest.mark.parametrize("count", [1.0, 0.5, 0.99])
def test_a_count_that_costs_more_than_the_round_leaves_no_sum(count: float) -> None:
    with pytest.raises(ValueError, match="costs more than the whole round"):
        sum_multiplier(1.0, count)


def test_pf_26_the_count_is_charged(charge: Build) -> None:
    fixed = charge(noise_multiplier=2.0, rounds=20)
    adaptive = charge(noise_multiplier=2.0, count_multiplier=5.0, rounds=20)
    assert spent_epsilon([adaptive], 1e-5) > spent_epsilon([fixed], 1e-5)
    parts = epsilon_by_part([adaptive], 1e-5)
    assert set(parts) == {"training", "clipping"}
    assert parts["clipping"] > 0.0
    # What was planned for a fixed norm is kept to by a sum with more noise.
    kept = charge(
        noise_multiplier=sum_multiplier(2.0, 5.0) * (1 + 1e-9), count_multiplier=5.0, rounds=20
    )
    assert spent_epsilon([kept], 1e-5) <= spent_epsilon([fixed], 1e-5) + 1e-6


def test_pf_26_every_clip_norm_follows_from_the_ledger_alone(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    updates, median = norms(0.5)
    clip, norm, used = AdaptiveClip.for_cohort(COHORT), 3.0 * median, []
    with Ledger.create(tmp_path / "ledger.jsonl", header) as ledger:
        for number in range(1, 9):
            ledger.intend(number, charge(count_multiplier=clip.count_multiplier))
            used.append(norm)
            if number == 4:
                ledger.void(number)
                continue
            share = clip.released_share(sum(vote(u, norm) for u in updates), stream(number))
            norm = clip.following(norm, share)
            ledger.release(number, "d" * 64, share)
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    shares = [json.loads(line)["entry"].get("unclipped") for line in lines[1:]][1::2]
    replayed = [3.0 * median]
    for share in shares:
        replayed.append(replayed[-1] if share is None else clip.following(replayed[-1], share))
    assert replayed[:-1] == used
    assert replayed[-1] == norm
    assert len(set(used)) == 7
