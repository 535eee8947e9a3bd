"""The planted structure is really in the synthetic population, at the planted strength."""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.columns import ColumnWriter
from homebody_models.interactions import Interactions
from homebody_privacy.errors import InvalidFileError
from homebody_simulation.datasets import Dataset, PlantedTruth, load_dataset, synthetic
from homebody_simulation.datasets.loader import YEAR_S
from homebody_simulation.datasets.synthetic import Synthetic


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset("synthetic", devices=6000, items=400, seed=3)


def _truth(data: Dataset) -> PlantedTruth:
    assert data.truth is not None
    return data.truth


def _device(inter: Interactions) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(inter.devices), np.diff(inter.ptr))


@given(devices=st.integers(1, 60), items=st.integers(10, 80), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_any_population_has_ordered_histories_without_repeats(
    devices: int, items: int, seed: int
) -> None:
    inter = load_dataset("synthetic", devices=devices, items=items, seed=seed).interactions
    lengths = np.diff(inter.ptr)
    assert (inter.devices, len(inter.catalog)) == (devices, items)
    assert 3 <= lengths.min() <= lengths.max() <= items // 2
    for device in range(devices):
        history = inter.history(device)
        assert len(set(history.tolist())) == len(history)
        assert (np.diff(inter.times[inter.ptr[device] : inter.ptr[device + 1]]) >= 0).all()
    assert (inter.values > 0).all()


def test_the_same_seed_gives_the_same_population_and_another_does_not(data: Dataset) -> None:
    again, other = (load_dataset("synthetic", devices=6000, items=400, seed=s) for s in (3, 4))
    assert again.interactions.digest() == data.interactions.digest()
    assert other.interactions.digest() != data.interactions.digest()
    assert other.interactions.catalog.digest() != data.interactions.catalog.digest()


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_population_does_not_depend_on_how_many_blocks_are_drawn_at_once(
    data: Dataset, workers: int
) -> None:
    drawn = Synthetic(devices=6000, items=400, seed=3).draw(workers=workers)
    assert drawn.interactions.digest() == data.interactions.digest()
    assert (_truth(drawn).user_factors == _truth(data).user_factors).all()


def test_a_larger_population_begins_with_the_same_whole_blocks(data: Dataset) -> None:
    one = load_dataset("synthetic", devices=4096, items=400, seed=3).interactions
    events = len(one.items)
    assert (data.interactions.ptr[:4097] == one.ptr).all()
    assert (data.interactions.items[:events] == one.items).all()
    assert (data.interactions.times[:events] == one.times).all()


def test_blocks_are_not_drawn_alike() -> None:
    truth = _truth(load_dataset("synthetic", devices=3 * 4096, items=20))
    first, second, third = (truth.user_factors[at : at + 100] for at in (0, 4096, 8192))
    for one, other in ((first, second), (second, third), (first, third)):
        cosine = (one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other))
        assert abs(cosine) < 0.5  # of equal blocks it is 1
        assert not (one == other).all(axis=1).any()


def test_a_population_in_a_file_is_the_one_in_memory_and_leaves_no_name(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(synthetic, "ColumnWriter", partial(ColumnWriter, long=1000))
    mapped = load_dataset("synthetic", devices=6000, items=400, seed=3)
    assert list(tmp_path.iterdir()) == []
    assert not mapped.interactions.items.flags.writeable
    assert mapped.interactions.digest() == data.interactions.digest()
    assert (mapped.interactions.values == data.interactions.values).all()
    assert (_truth(mapped).user_factors == _truth(data).user_factors).all()


def test_a_full_folder_for_temporary_files_is_named_as_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    monkeypatch.setattr(synthetic, "ColumnWriter", partial(ColumnWriter, long=10))
    with pytest.raises(InvalidFileError, match="temporary files cannot take 50 devices") as caught:
        load_dataset("synthetic", devices=50, items=20)
    assert "TMPDIR" in caught.value.fix


def test_a_hundred_thousand_devices_take_seconds() -> None:
    start = time.perf_counter()
    data = load_dataset("synthetic", devices=100_000, items=100)
    assert data.interactions.devices == 100_000
    assert time.perf_counter() - start < 30  # about 3 on one idle core


def test_history_lengths_are_lognormal_with_the_planted_scale(data: Dataset) -> None:
    logs = np.log(np.diff(data.interactions.ptr))
    assert abs(np.median(logs) - 3.0) < 0.05
    spread = (np.quantile(logs, 0.84) - np.quantile(logs, 0.16)) / 2  # free of the clipping
    assert abs(spread - 0.7) < 0.05


def _gini(counts: npt.NDArray[np.int64]) -> float:
    ranks = np.arange(1, len(counts) + 1)
    return float((2 * ranks - len(counts) - 1) @ np.sort(counts) / (len(counts) * counts.sum()))


def test_popularity_has_a_long_tail(data: Dataset) -> None:
    counts = np.bincount(data.interactions.items, minlength=400)
    assert 0.35 < _gini(counts) < 0.75
    assert np.sort(counts)[::-1][:40].sum() > 0.25 * counts.sum()
    assert np.corrcoef(np.log1p(counts), _truth(data).popularity)[0, 1] > 0.8


def _ndcg(scores: npt.NDArray[np.float64], data: Dataset) -> npt.NDArray[np.float64]:
    """Return ndcg@10 of each device's last item, its earlier items hidden; a tie counts half."""
    inter = data.interactions
    last = inter.ptr[1:] - 1
    target = inter.items[last]
    hidden = np.ones(len(inter.items), bool)
    hidden[last] = False
    scores = scores.copy()
    scores[_device(inter)[hidden], inter.items[hidden]] = -np.inf
    own = scores[np.arange(len(target)), target][:, None]
    rank = (scores > own).sum(axis=1) + 0.5 * ((scores == own).sum(axis=1) - 1)
    return np.where(rank < 10, 1 / np.log2(rank + 2), 0.0)


def test_the_oracle_beats_popularity_clearly_and_seasons_help(data: Dataset) -> None:
    inter, truth = data.interactions, _truth(data)
    devices = np.arange(inter.devices)
    tastes = truth.tastes(devices)
    seasons = truth.seasons(inter.times[inter.ptr[1:] - 1])
    popular = np.tile(np.bincount(inter.items, minlength=400).astype(float), (len(devices), 1))
    full, timeless, head = (_ndcg(s, data) for s in (tastes + seasons, tastes, popular))
    error = 4 / np.sqrt(len(devices))  # four standard errors at a standard deviation of 1
    assert full.mean() > 1.5 * head.mean() + error / 4
    assert full.mean() > timeless.mean() > head.mean()
    assert (full - timeless).mean() > 4 * (full - timeless).std() / np.sqrt(len(devices))


def test_other_devices_tastes_are_no_help(data: Dataset) -> None:
    truth = _truth(data)
    devices = np.arange(data.interactions.devices)
    own, others = (_ndcg(truth.tastes(d), data).mean() for d in (devices, np.roll(devices, 1)))
    assert own > 2 * others


def _resample(
    weights: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw item by item without replacement, the slow way; return how often each came."""
    odds = np.exp(weights - weights.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    drawn = [rng.choice(len(p), n, replace=False, p=p) for p, n in zip(odds, lengths, strict=True)]
    return np.concatenate(drawn)


def test_items_follow_the_planted_tastes_and_not_two_thirds_or_three_halves_of_them(
    data: Dataset,
) -> None:
    inter, truth = data.interactions, _truth(data)
    devices = np.arange(2000)
    lengths = np.diff(inter.ptr)[:2000]
    who = np.repeat(devices, lengths)
    affinity = truth.tastes(devices) - truth.popularity
    rng = np.random.default_rng(5)
    seen = affinity[who, inter.items[: len(who)]]
    error = 5 * seen.std() * np.sqrt(2 / len(seen))
    drawn = {
        scale: affinity[who, _resample(scale * affinity + truth.popularity, lengths, rng)].mean()
        for scale in (2 / 3, 1.0, 3 / 2)
    }
    assert abs(seen.mean() - drawn[1.0]) < error
    assert abs(seen.mean() - drawn[2 / 3]) > error
    assert abs(seen.mean() - drawn[3 / 2]) > error


def test_seasonal_items_peak_at_their_phase_with_the_planted_strength(data: Dataset) -> None:
    inter, truth = data.interactions, _truth(data)
    angle = 2 * np.pi * (inter.times - truth.start) / YEAR_S
    seasonal = truth.season_strength[inter.items] > 0
    offset = angle - truth.season_phase[inter.items]
    lean = np.cos(offset[seasonal])
    # Of a von Mises with concentration k the mean cosine is I1(k)/I0(k): 2 .698, 3 .810, 4.5 .881.
    assert abs(lean.mean() - 0.810) < 0.01
    assert abs(np.sin(offset[seasonal]).mean()) < 0.02
    assert abs(np.cos(offset[~seasonal]).mean()) < 0.02
    assert 0.2 < (truth.season_strength > 0).mean() < 0.4


def test_the_season_density_integrates_to_one_over_the_circle(data: Dataset) -> None:
    truth = _truth(data)
    times = truth.start + np.linspace(0, YEAR_S, 366, endpoint=False).astype(np.int64)
    assert np.exp(truth.seasons(times)).mean(axis=0) == pytest.approx(np.ones(400), abs=1e-6)


def test_content_features_name_the_planted_shelf(data: Dataset) -> None:
    catalog, truth = data.interactions.catalog, _truth(data)
    assert (catalog.features.sum(axis=1) == 1).all()
    centres = (catalog.features.T @ truth.item_factors) / catalog.features.sum(axis=0)[:, None]
    within = np.linalg.norm(truth.item_factors - catalog.features @ centres, axis=1).mean()
    overall = np.linalg.norm(truth.item_factors - truth.item_factors.mean(axis=0), axis=1).mean()
    assert within < 0.5 * overall
