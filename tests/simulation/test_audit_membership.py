"""Tier 3: the attacks, the figures made of them, and that nothing hangs on them."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_simulation.audit.membership import (
    Losses,
    attack,
    auroc,
    found_at,
    largest_rate,
    lira,
)
from homebody_simulation.audit.shadows import train_with_shadows
from homebody_simulation.request import Request
from homebody_simulation.setup import Prepared, prepare

_ROOT = Path(__file__).parents[2]
_TAU = 65536.0

Matrix = npt.NDArray[np.float64]


def normals(shape: tuple[int, ...], *labels: str | int) -> Matrix:
    stream = NoiseStream(derive_key(bytes(32), *labels))
    return (rounded_gaussian(math.prod(shape), _TAU, stream) / _TAU).reshape(shape)


def flips(shape: tuple[int, ...], *labels: str | int) -> npt.NDArray[np.bool_]:
    words = NoiseStream(derive_key(bytes(32), "flips", *labels)).words(math.prod(shape))
    return (words & np.uint64(1)).astype(np.bool_).reshape(shape)


def losses(devices: int = 2000, shadows: int = 16, gap: float = 1.0) -> Losses:
    """Losses with a level of each device's own; being trained on lowers one by ``gap``."""
    level = 5.0 * normals((devices,), "level")
    members, shadow_members = flips((devices,), "in"), flips((shadows, devices), "shadows")
    noise = normals((shadows + 1, devices), "loss")
    return Losses(
        target=level + noise[0] - gap * members,
        members=members,
        shadows=level + noise[1:] - gap * shadow_members,
        shadow_members=shadow_members,
    )


def test_lira_finds_what_a_threshold_on_the_loss_cannot() -> None:
    found = {a.name: a.auroc for a in attack(losses(), epsilon=4.0, delta=1e-5).attacks}
    # Level and gap are known: the best scores are normal, a gap apart.
    assert found["loss"] == pytest.approx(stats.norm.cdf(1 / math.sqrt(2 * 26)), abs=0.03)
    ideal = stats.norm.cdf(1 / math.sqrt(2 * (1 + 1 / 8)))
    assert found["lira"] == pytest.approx(ideal, abs=0.03)


def test_without_a_trace_of_training_no_attack_finds_anything() -> None:
    found = attack(losses(gap=0.0), epsilon=4.0, delta=1e-5)
    for one in found.attacks:
        assert one.auroc == pytest.approx(0.5, abs=0.05)
        assert one.true_positive_rates[1] == pytest.approx(0.01, abs=0.015)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=60))
def test_auroc_is_the_mann_whitney_statistic(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in pairs])
    members = np.array([inside for _, inside in pairs])
    if members.all() or not members.any():
        return
    statistic = stats.mannwhitneyu(scores[members], scores[~members]).statistic
    size = int(members.sum()) * int((~members).sum())
    assert auroc(scores, members) == pytest.approx(statistic / size)


@settings(max_examples=40)
@given(st.integers(1, 300), st.floats(0.0, 1.0), st.integers(0, 999))
def test_no_more_false_positives_than_allowed(others: int, rate: float, seed: int) -> None:
    scores = np.round(normals((others + 5,), "rate", seed), 1)  # with ties
    members = np.arange(others + 5) < 5
    beyond = np.sort(scores[members])[::-1]
    share = found_at(scores, members, rate)
    if 0.0 < share < 1.0:
        threshold = beyond[round(share * 5) - 1]
        assert (scores[~members] >= threshold).sum() <= rate * others


@settings(max_examples=60)
@given(st.floats(0.05, 3.0), st.floats(1e-4, 0.5))
def test_the_best_test_of_a_gaussian_stays_below_the_largest_rate(mu: float, rate: float) -> None:
    epsilon = gaussian_epsilon(mu, 1e-5)
    best = float(stats.norm.cdf(stats.norm.ppf(rate) + mu))
    assert best <= largest_rate(rate, epsilon, 1e-5) + 1e-9


def test_a_device_no_shadow_left_out_is_never_called_a_member() -> None:
    shadow_members = np.array([[True, True], [True, False], [True, False]])
    scores = lira(np.zeros(2), np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 4.0]]), shadow_members)
    assert scores[0] == -np.inf
    assert scores[1] == pytest.approx(3.0 / math.sqrt(2.0))


def test_a_device_without_a_loss_is_left_out() -> None:
    whole = losses(devices=100)
    broken = whole.target.copy()
    broken[:3] = np.nan
    found = attack(
        Losses(
            target=broken,
            members=whole.members,
            shadows=whole.shadows,
            shadow_members=whole.shadow_members,
        ),
        epsilon=4.0,
        delta=1e-5,
    )
    assert found.members + found.others == 97


def test_arrays_that_do_not_fit_are_refused() -> None:
    some = np.array([True, False, True])
    with pytest.raises(ValueError, match="same shape"):
        Losses(target=np.zeros(2), members=some, shadows=np.zeros((2, 2)), shadow_members=some)
    with pytest.raises(ValueError, match=r"\(shadows, devices\)"):
        Losses(target=np.zeros(3), members=some, shadows=np.zeros((2, 3)), shadow_members=some)
    both = np.zeros((2, 3), np.bool_)
    with pytest.raises(ValueError, match="members and others"):
        Losses(target=np.zeros(3), members=both[0], shadows=np.zeros((2, 3)), shadow_members=both)


def prepared(folder: Path, epsilon: float | None) -> Prepared:
    return prepare(
        Request(
            data="synthetic",
            options={"devices": 60, "items": 20},
            config_file=_ROOT / "privacy.toml",
            epsilon=epsilon,
            rounds=8,
            cohort=12 if epsilon else 30,
            mechanism=None if epsilon is None else "blt",
            recipe="rounds",
            seed=5,
            name="attacked",
            runs=folder,
        )
    )


def test_the_attack_sees_into_a_model_without_noise_and_its_estimates_stay_estimates(
    tmp_path: Path,
) -> None:
    found = train_with_shadows(prepared(tmp_path / "runs", None), 4, tmp_path / "s", bytes(32))
    result = attack(found, epsilon=4.0, delta=1e-5)
    best = {one.name: one.auroc for one in result.attacks}
    assert best["lira"] > 0.6
    assert result.shadows == 4
    for one in result.to_dict()["attacks"]:
        assert set(one) == {"attack", "estimate"}
    assert not hasattr(result, "findings")


def test_every_shadow_trains_on_its_own_half_and_one_is_too_few(tmp_path: Path) -> None:
    run = prepared(tmp_path / "runs", 4.0)
    with pytest.raises(ValueError, match="at least 2"):
        train_with_shadows(run, 1, tmp_path / "s", bytes(32))
    found = train_with_shadows(run, 2, tmp_path / "s", bytes(32))
    assert found.shadows.shape == found.shadow_members.shape == (2, 60)
    everyone = np.vstack([found.members, found.shadow_members])
    assert 15 < everyone.sum(axis=1).min() <= everyone.sum(axis=1).max() < 45
    assert len({row.tobytes() for row in everyone}) == 3
    assert len({row.tobytes() for row in np.vstack([found.target, found.shadows])}) == 3
