"""Intervals over resampled devices: the same draws as ever for few, the same law for many."""

import numpy as np
import numpy.typing as npt
import pytest

from homebody_models.bootstrap import DRAWN, bootstrap
from homebody_models.metrics import ndcg

Values = npt.NDArray[np.float64]


def first_form(values: Values, rng: np.random.Generator, resamples: int) -> tuple[float, float]:
    """Return the interval by drawing devices, fifty resamples at a time, as it was defined."""
    n = len(values)
    means = np.concatenate(
        [
            values[rng.integers(n, size=(min(50, resamples - done), n))].mean(axis=1)
            for done in range(0, resamples, 50)
        ]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def relevance(devices: int) -> Values:
    """Return ndcg@10 of ranks of which a third are in the list."""
    return ndcg(np.random.default_rng(1).integers(60, size=devices) / 2.0, 10)


@pytest.mark.parametrize(("devices", "resamples"), [(1, 7), (3, 1000), (700, 130), (DRAWN, 60)])
@pytest.mark.parametrize("draws", [1_000_000, 1_500])
def test_up_to_a_size_the_draws_are_those_of_the_first_form(
    devices: int, resamples: int, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homebody_models.bootstrap._BLOCK_DRAWS", draws)
    values = relevance(devices)
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    found = bootstrap(values, rng, resamples)
    assert (found.low, found.high) == first_form(values, same, resamples)
    assert rng.integers(1000) == same.integers(1000)  # nor is what comes after another
    assert (found.mean, found.n) == (float(values.mean()), devices)


def ends(values: Values, *, by_counts: bool, monkeypatch: pytest.MonkeyPatch) -> Values:
    """Return the ends of many intervals about the same devices."""
    monkeypatch.setattr("homebody_models.bootstrap.DRAWN", 0 if by_counts else DRAWN)
    rng = np.random.default_rng(9)
    found = [bootstrap(values, rng, 400) for _ in range(60)]
    return np.array([(each.low, each.high) for each in found])


def test_beyond_it_counts_are_drawn_by_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    values = relevance(400)
    devices = ends(values, by_counts=False, monkeypatch=monkeypatch)
    counts = ends(values, by_counts=True, monkeypatch=monkeypatch)

    def apart(a: Values, b: Values) -> Values:
        deviation = np.sqrt((a.var(axis=0) + b.var(axis=0)) / len(a))
        return np.asarray(np.abs(a.mean(axis=0) - b.mean(axis=0)) / deviation)

    assert (apart(devices, counts) < 4.0).all()
    # and it can tell a wrong law: of half as many devices the interval is wider
    half = ends(values[::2], by_counts=True, monkeypatch=monkeypatch)
    half += values.mean() - values[::2].mean()
    assert (apart(devices, half) > 10.0).all()


def test_counts_of_many_devices_are_a_binomial_for_two_values() -> None:
    values = np.zeros(DRAWN * 5)
    values[: len(values) // 4] = 1.0
    found = bootstrap(values, np.random.default_rng(2), 4000)
    deviation = np.sqrt(0.25 * 0.75 / len(values))
    assert found.low == pytest.approx(0.25 - 1.96 * deviation, abs=0.1 * deviation)
    assert found.high == pytest.approx(0.25 + 1.96 * deviation, abs=0.1 * deviation)
    assert found == bootstrap(values, np.random.default_rng(2), 4000)


def test_of_values_that_are_all_different_devices_are_drawn_whatever_their_number() -> None:
    values = np.random.default_rng(3).random(DRAWN + 1)
    found = bootstrap(values, np.random.default_rng(4), 30)
    assert (found.low, found.high) == first_form(values, np.random.default_rng(4), 30)
