"""Figures of many devices at once: the sum of what each would send, integer for integer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from homebody_client.figures import figure_contribution
from homebody_client.host import Host
from homebody_models.device_metrics import (
    DEVICE_METRICS,
    OwnLook,
    figure_names,
    figures_of_many,
    own_figures,
)
from homebody_models.interactions import Catalog, Interactions
from homebody_models.metrics import target_ranks
from homebody_models.recommender import scorer_of
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import FIGURES
from homebody_simulation.cohort.figures import figure_total

ITEMS = 30
MODELS: dict[str, dict[str, float]] = {
    "two-tower": {"dim": 8, "repeat": 1.5},
    "core-tower": {"dim": 4},
    "matrix-factorization": {"dim": 6},
    "popularity": {},
}


@pytest.fixture(scope="session")
def config(write_config: Callable[..., Path]) -> PrivacyConfig:
    """Return a config; figures need none of its fields."""
    return PrivacyConfig.load(write_config())


def host_of(
    config: PrivacyConfig,
    histories: list[list[int]],
    held_out: list[int] | None,
    *,
    model: str = "two-tower",
    repeats: bool = False,
    items: int = ITEMS,
) -> Host:
    """Return a node that hosts these devices."""
    names = tuple(f"item{i}" for i in range(items))
    catalog = Catalog(
        ids=names,
        titles=names,
        categories=("",) * items,
        features=np.zeros((items, 0), np.float32),
        feature_names=(),
    )
    return Host(
        config=config,
        model=ModelSpec(model, MODELS[model]).build(catalog),
        histories=Interactions(
            ptr=np.cumsum([0, *map(len, histories)]).astype(np.int64),
            items=np.array([item for own in histories for item in own], np.int32),
            repeats=repeats,
            catalog=catalog,
        ),
        devices=range(len(histories)),
        example_key=bytes(32),
        record_key=None,
        lattice=FIGURES,
        held_out=None if held_out is None else np.array(held_out, np.int32),
    )


def start(host: Host, scale: float = 1.0) -> npt.NDArray[np.float32]:
    """Return a model that likes some items more than others."""
    rng = np.random.default_rng(2)
    flat = host.model.init(rng)
    return ((flat + rng.normal(size=flat.shape)) * np.float32(scale)).astype(np.float32)


def one_by_one(host: Host, flat: npt.NDArray[np.float32], metric: str) -> list[int]:
    """Return the sum of what each device sends."""
    total = np.zeros(len(figure_names(metric)), np.int64)
    for device in host.devices:
        total += figure_contribution(host, device, flat, metric)
    return total.tolist()


OWN = st.tuples(st.lists(st.integers(0, ITEMS - 1), max_size=9), st.integers(-1, ITEMS - 1))


@settings(max_examples=60)
@given(
    own=st.lists(OWN, max_size=9),
    model=st.sampled_from(sorted(MODELS)),
    metric=st.sampled_from(DEVICE_METRICS),
    scale=st.sampled_from([0.0, 1.0, 1e38, np.nan]),
    repeats=st.booleans(),
    known=st.booleans(),
)
def test_the_sum_is_that_of_each_device(
    config: PrivacyConfig,
    own: list[tuple[list[int], int]],
    model: str,
    metric: str,
    scale: float,
    *,
    repeats: bool,
    known: bool,
) -> None:
    histories, held_out = [one for one, _ in own], [item for _, item in own]
    host = host_of(config, histories, held_out if known else None, model=model, repeats=repeats)
    assume(model != "core-tower" or np.isfinite(scale))  # its core would have no root
    with np.errstate(all="ignore"):
        flat = start(host, scale)
        added = figure_total(host, np.arange(len(own)), flat, metric)
        assert added.tolist() == one_by_one(host, flat, metric)
    assert added.dtype == np.int64


@pytest.fixture(scope="module")
def town(config: PrivacyConfig) -> Host:
    """Return two thousand devices of forty events over as many items as MovieLens has."""
    rng = np.random.default_rng(8)
    histories = [rng.integers(3_706, size=n).tolist() for n in rng.integers(80, size=2_000)]
    held_out = rng.integers(-1, 3_706, size=2_000).tolist()
    return host_of(config, histories, held_out, items=3_706)


def test_neither_threads_nor_shards_nor_order_change_the_sum(town: Host) -> None:
    flat, everyone = start(town), np.random.default_rng(1).permutation(2_000)
    whole = figure_total(town, everyone, flat, "quality")
    assert whole.all()
    assert whole.tolist() == figure_total(town, everyone, flat, "quality", threads=2).tolist()
    parts = [figure_total(town, part, flat, "quality") for part in np.array_split(everyone, 7)]
    assert np.sum(parts, axis=0).tolist() == whole.tolist()


def test_in_a_catalog_of_real_size_every_rank_is_the_devices_own(town: Host) -> None:
    flat, asked = start(town), np.arange(0, 2_000, 10)
    asked = asked[(np.diff(town.histories.ptr)[asked] > 0)]
    histories = [town.history(device) for device in asked.tolist()]
    targets = np.random.default_rng(4).integers(3_706, size=len(asked))
    apart = target_ranks(scorer_of(town.model, flat, apart=True)(histories), targets)
    alone = [
        target_ranks(town.model.scores(flat, [own]), targets[i : i + 1])[0]
        for i, own in enumerate(histories)
    ]
    assert apart.tolist() == alone
    narrowed = replace(town, devices=asked.tolist())
    total = figure_total(narrowed, asked, flat, "ndcg")
    assert total.tolist() == one_by_one(narrowed, flat, "ndcg")


def test_a_device_of_another_node_or_an_unknown_metric_is_refused(config: PrivacyConfig) -> None:
    host = host_of(config, [[1, 2], [3]], [4, 5])
    with pytest.raises(ValueError, match="no metric"):
        figure_total(host, np.arange(2), start(host), "loss")
    with pytest.raises(ValueError, match="not hosted"):
        figure_total(replace(host, devices=range(1)), np.arange(2), start(host), "ndcg")


@settings(max_examples=40)
@given(
    metric=st.sampled_from(DEVICE_METRICS),
    looks=st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 3.0, 9.5, 10.0, 31.0, np.inf]), st.integers(0, 200)),
        max_size=20,
    ),
)
def test_devices_that_add_the_same_are_counted(metric: str, looks: list[tuple[float, int]]) -> None:
    ranks = np.array([rank for rank, _ in looks], np.float64)
    events = np.array([number for _, number in looks], np.int64)
    wanted = np.zeros(len(figure_names(metric)), np.int64)
    for rank, number in looks:
        own = own_figures(metric, OwnLook(rank=rank, events=number))
        wanted += FIGURES.contribution(own)
    grouped = list(figures_of_many(metric, ranks, events))
    assert sum(times for _, times in grouped) == len(looks)
    summed = sum((n * FIGURES.contribution(v).astype(np.int64) for v, n in grouped), 0 * wanted)
    assert summed.tolist() == wanted.tolist()
