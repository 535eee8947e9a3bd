"""Ranking on the device: the inference contract, and reasons that are exact."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.item_table import ChunkedTable, DenseTable, int8_table
from homebody_models.quantise import pack
from homebody_models.ranking import HIDE, Ranker
from homebody_models.recommender import Exported

ITEMS, DIM = 30, 4


def _exported(encoder: str = "mean", seed: int = 0, history_decay: float = 0.9) -> Exported:
    rng = np.random.default_rng(seed)
    numbers: dict[str, dict[str, Any]] = {
        "ridge": {"ridge": 0.5, "unseen_weight": 0.1},
        "mean-repeat": {"repeat": 3.0},
    }
    dim = 0 if encoder == "none" else DIM
    return Exported(
        encoder=encoder,
        embeddings=rng.standard_normal((ITEMS, dim)).astype(np.float32),
        bias=rng.standard_normal(ITEMS).astype(np.float32),
        history_max=5,
        history_decay=history_decay,
        **numbers.get(encoder, {}),
    )


def _slow_scores(
    model: Exported, slots: list[tuple[int, float]], gain: float = 1.0
) -> npt.NDArray[np.float64]:
    """Score by the written contract, from (item, weight) pairs."""
    table = model.embeddings.astype(np.float64)
    user = np.zeros(table.shape[1])
    own = np.zeros(len(table))
    if model.encoder in {"mean", "mean-repeat"}:
        for item, weight in slots:
            share = weight / (sum(w for _, w in slots) + 1e-6)
            user += share * table[item]
            own[item] += share * (model.repeat or 0.0)
    elif model.encoder == "ridge":
        assert model.ridge is not None
        assert model.unseen_weight is not None
        system = model.unseen_weight * table.T @ table + model.ridge * np.eye(DIM)
        system += sum(w * np.outer(table[i], table[i]) for i, w in slots)
        user = np.linalg.solve(system, sum((w * table[i] for i, w in slots), np.zeros(DIM)))
    scores: npt.NDArray[np.float64] = gain * (table @ user + own) + model.bias
    return scores


def _slots(model: Exported, history: list[int]) -> list[tuple[int, float]]:
    newest = history[-model.history_max :]
    return [(i, model.history_decay ** (len(newest) - 1 - age)) for age, i in enumerate(newest)]


histories = st.lists(st.integers(0, ITEMS - 1), max_size=8)


@settings(max_examples=60)
@given(histories, st.sampled_from(["none", "mean", "mean-repeat", "ridge"]), st.floats(0, 1))
def test_scores_follow_the_written_contract(history: list[int], encoder: str, gain: float) -> None:
    model = _exported(encoder)
    got = Ranker(model).scores(history, gain=gain)
    assert got.dtype == np.float32
    assert got == pytest.approx(_slow_scores(model, _slots(model, history), gain), abs=1e-5)


@settings(max_examples=60)
@given(histories, st.sampled_from(["mean", "mean-repeat", "ridge"]))
def test_reasons_are_exact_leave_one_out(history: list[int], encoder: str) -> None:
    model = _exported(encoder)
    slots = _slots(model, history)
    full = _slow_scores(model, slots)
    asked = [0, 7, 29]
    for item, reasons in zip(asked, Ranker(model).reasons(history, asked), strict=True):
        wanted = {
            cause: full[item]
            - _slow_scores(model, [slot for slot in slots if slot[0] != cause])[item]
            for cause in {i for i, _ in slots}
        }
        for cause, drop in wanted.items():
            if abs(drop) > 1e-5:
                assert (cause in dict(reasons)) == (drop > 0)
        for cause, drop in reasons:
            assert drop == pytest.approx(wanted[cause], abs=1e-5)
        assert [drop for _, drop in reasons] == sorted((d for _, d in reasons), reverse=True)


def test_taking_the_cited_cause_away_lowers_the_score() -> None:
    rng = np.random.default_rng(3)
    lowered, cases = 0, 0
    for seed in range(60):
        ranker = Ranker(_exported(seed=seed))
        history = rng.integers(0, ITEMS, 5).tolist()
        item, score = ranker.top(history, 1)[0]
        causes = ranker.reasons(history, [item])[0]
        if causes:
            left = [i for i in history if i != causes[0][0]]
            lowered += ranker.scores(left)[item] < score
            cases += 1
    assert cases > 40
    assert lowered >= 0.95 * cases


@pytest.mark.parametrize("encoder", ["none", "mean", "mean-repeat", "ridge"])
def test_no_history_or_no_strength_gives_the_bias_and_no_reason(encoder: str) -> None:
    model = _exported(encoder)
    ranker = Ranker(model)
    for history, gain in ([], 1.0), ([1, 2], 0.0):
        assert ranker.scores(history, gain=gain) == pytest.approx(model.bias)
        assert ranker.reasons(history, [3, 4], gain=gain) == [[], []]


def test_list_is_ordered_by_score_then_index() -> None:
    model = Exported(
        encoder="none",
        embeddings=np.zeros((4, 0), np.float32),
        bias=np.array([1, 2, 2, 0], np.float32),
        history_max=1,
        history_decay=1.0,
    )
    assert Ranker(model).top([], 3) == [(1, 2.0), (2, 2.0), (0, 1.0)]


def test_hidden_item_is_dropped_and_not_merely_last() -> None:
    ranker = Ranker(_exported())
    adjust = np.zeros(ITEMS, np.float32)
    adjust[5:] = HIDE
    top = ranker.top([1], 10, adjust=adjust)
    assert sorted(item for item, _ in top) == [0, 1, 2, 3, 4]


def test_adjust_moves_an_item() -> None:
    ranker = Ranker(_exported())
    last = ranker.top([1], ITEMS)[-1][0]
    adjust = np.zeros(ITEMS, np.float32)
    adjust[last] = 100.0
    assert ranker.top([1], 1, adjust=adjust)[0][0] == last


@pytest.mark.parametrize(
    ("history", "keywords"),
    [
        ([ITEMS], {}),
        ([-1], {}),
        ([0.5], {}),
        ([[0]], {}),
        ([0], {"gain": math.nan}),
        ([0], {"gain": 1.5}),
        ([0], {"adjust": np.full(ITEMS, math.nan, np.float32)}),
        ([0], {"adjust": np.full(ITEMS, math.inf, np.float32)}),
        ([0], {"adjust": np.zeros(ITEMS - 1, np.float32)}),
    ],
)
def test_input_that_would_spoil_a_list_is_refused(
    history: list[int], keywords: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"items|gain|adjust"):
        Ranker(_exported()).top(history, 3, **keywords)


def test_reason_for_an_item_outside_the_catalog_is_refused() -> None:
    with pytest.raises(ValueError, match="items"):
        Ranker(_exported()).reasons([0], [ITEMS])


def test_chunked_table_equals_dense_table() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-127, 128, (5_000, 16)).astype(np.int8)
    scale = rng.random(5_000).astype(np.float32)
    chunked, dense = ChunkedTable(rows, scale), DenseTable(rows * scale[:, None])
    user = rng.standard_normal(16).astype(np.float32)
    picked = np.array([0, 2_047, 2_048, 4_999])
    assert chunked.shape == dense.shape == (5_000, 16)
    assert chunked.times(user) == pytest.approx(dense.times(user), rel=1e-4, abs=1e-3)
    assert np.array_equal(chunked.rows(picked), dense.rows(picked))
    assert chunked.gram() == pytest.approx(dense.gram(), rel=1e-4)


def test_table_above_four_megabytes_stays_int8() -> None:
    scale = np.ones(20_000, np.float32)
    assert isinstance(int8_table(np.zeros((15_000, 64), np.int8), scale[:15_000]), DenseTable)
    assert isinstance(int8_table(np.zeros((20_000, 64), np.int8), scale), ChunkedTable)


@pytest.mark.parametrize("encoder", ["mean", "ridge"])
def test_packed_model_ranks_almost_like_the_original(encoder: str) -> None:
    rng = np.random.default_rng(1)
    problem: dict[str, Any] = {"ridge": 0.5, "unseen_weight": 0.1} if encoder == "ridge" else {}
    model = Exported(
        encoder=encoder,
        embeddings=rng.standard_normal((2_000, 64)).astype(np.float32),
        bias=np.zeros(2_000, np.float32),
        history_max=64,
        history_decay=0.9,
        **problem,
    )
    exact, packed = Ranker(model), Ranker(pack(model))
    overlaps = []
    for _ in range(30):
        history = rng.integers(0, 2_000, 20).tolist()
        lists = [{item for item, _ in ranker.top(history, 10)} for ranker in (exact, packed)]
        overlaps.append(len(lists[0] & lists[1]) / 10)
    assert np.mean(overlaps) > 0.95
