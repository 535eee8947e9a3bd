"""Figures of one device: named, bounded by one, and summed back to means."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.device_metrics import (
    DEVICE_METRICS,
    TOP,
    OwnLook,
    figure_names,
    figure_scale,
    means,
    needs_held_out,
    own_figures,
)

METRICS = st.sampled_from(DEVICE_METRICS)
QUALITY = st.sampled_from(["hit_rate", "ndcg", "quality"])
RANKS = st.one_of(st.integers(0, 10**6).map(lambda n: n / 2), st.just(math.inf))
LOOKS = st.builds(OwnLook, rank=RANKS, events=st.integers(0, 10_000))


def test_metrics_and_figures_have_the_names_reports_use() -> None:
    assert {name: figure_names(name) for name in DEVICE_METRICS} == {
        "hit_rate": ("hit@10",),
        "ndcg": ("ndcg@10",),
        "quality": ("hit@10", "ndcg@10"),
        "active": ("active",),
        "history": (
            "events 0",
            "events 1 to 5",
            "events 6 to 20",
            "events 21 to 100",
            "events over 100",
        ),
    }


@given(metric=METRICS, own=LOOKS)
def test_a_device_adds_a_vector_of_norm_at_most_one(metric: str, own: OwnLook) -> None:
    vector = own_figures(metric, own)
    assert vector.shape == (len(figure_names(metric)),)
    assert math.fsum(vector**2) <= 1.0 + 1e-12
    assert (vector >= 0.0).all()


@given(metric=QUALITY, own=LOOKS)
def test_quality_counts_the_first_ten_places_alone(metric: str, own: OwnLook) -> None:
    assert own_figures(metric, own).any() == (own.rank < TOP)


def test_a_device_whose_first_place_is_right_uses_the_whole_bound() -> None:
    for metric in DEVICE_METRICS:
        own = OwnLook(rank=0.0, events=3)
        assert np.linalg.norm(own_figures(metric, own)) == pytest.approx(1.0)


@given(st.lists(RANKS, min_size=1, max_size=40), QUALITY)
def test_means_of_the_sum_are_the_means_of_hits_and_gains(ranks: list[float], metric: str) -> None:
    looks = [OwnLook(rank=rank, events=1) for rank in ranks]
    total = np.sum([own_figures(metric, own) for own in looks], axis=0)
    found = means(metric, total, len(ranks))
    inside = [rank for rank in ranks if rank < TOP]
    by_hand = {
        "hit@10": len(inside) / len(ranks),
        "ndcg@10": sum(1.0 / math.log2(rank + 2.0) for rank in inside) / len(ranks),
    }
    assert found == pytest.approx({name: by_hand[name] for name in figure_names(metric)})


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40))
def test_a_histogram_and_a_count_are_those_of_the_devices(events: list[int]) -> None:
    looks = [OwnLook(rank=math.inf, events=n) for n in events]
    total = np.sum([own_figures("history", own) for own in looks], axis=0)
    shares = list(means("history", total, len(events)).values())
    by_hand, _ = np.histogram(events, bins=[0, 1, 6, 21, 101, 10**9])
    assert shares == pytest.approx((by_hand / len(events)).tolist())
    counted = np.sum([own_figures("active", own) for own in looks], axis=0)
    active = sum(n > 0 for n in events) / len(events)
    assert means("active", counted, len(events)) == pytest.approx({"active": active})


def test_one_unit_of_the_sum_is_the_scale_in_every_figure() -> None:
    for metric in DEVICE_METRICS:
        ones = np.ones(len(figure_names(metric)))
        assert set(means(metric, ones, 40).values()) == {figure_scale(metric, 40)}
    assert figure_scale("quality", 40) == pytest.approx(math.sqrt(2.0) / 40)


def test_an_unknown_metric_is_refused_everywhere() -> None:
    for call in (
        lambda: figure_names("loss"),
        lambda: own_figures("loss", OwnLook(rank=0.0, events=0)),
        lambda: figure_scale("loss", 3),
        lambda: means("loss", np.zeros(1), 3),
    ):
        with pytest.raises(ValueError, match="'loss' is no metric"):
            call()


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1)])
def test_a_sum_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="quality has 2 figures"):
        means("quality", np.zeros(shape), 3)


@given(METRICS, RANKS, RANKS, st.integers(0, 10_000))
def test_a_metric_that_needs_no_held_out_event_is_the_same_wherever_one_came(
    metric: str, rank: float, other: float, events: int
) -> None:
    one, two = (own_figures(metric, OwnLook(rank=at, events=events)) for at in (rank, other))
    assert needs_held_out(metric) or (one == two).all()


def test_metrics_of_the_list_need_an_event_that_was_held_out() -> None:
    assert [name for name in DEVICE_METRICS if needs_held_out(name)] == [
        "hit_rate",
        "ndcg",
        "quality",
    ]
