"""Settings are chosen on validation, and nothing about the test reaches the choice."""

from collections.abc import Callable

import numpy as np
import pytest

from homebody_models.baselines.choosing import NAMES, choose, quality
from homebody_models.baselines.linear import EASE_WINDOWED
from homebody_models.interactions import Interactions
from homebody_models.metrics import rank_scores, summarise
from homebody_models.split import leave_one_out

Make = Callable[..., Interactions]
QUICK = tuple(name for name in NAMES if name not in ("ials", "two-tower"))  # those are slow


@pytest.fixture(scope="module")
def histories() -> list[list[int]]:
    """Return sixty walks around a ring of twenty items."""
    rng = np.random.default_rng(11)
    return [
        ((rng.integers(20) + np.cumsum(rng.integers(1, 3, size=7))) % 20).tolist()
        for _ in range(60)
    ]


def test_a_baseline_is_chosen_without_opening_the_test(
    interactions: Make, histories: list[list[int]]
) -> None:
    split = leave_one_out(interactions(histories, n_items=20, repeats=False))
    chosen = choose(split, QUICK)
    assert split.test.opened == 0
    assert [c.name for c in chosen] == list(QUICK)
    assert {c.kind for c in chosen} == {"new"}


def test_no_choice_and_no_score_depends_on_the_last_events(
    interactions: Make, histories: list[list[int]]
) -> None:
    changed = [[*history[:-1], 0] for history in histories]
    one, other = (
        choose(leave_one_out(interactions(data, n_items=20)), QUICK)
        for data in (histories, changed)
    )
    asked = [np.array(history[:-1]) for history in histories[:5]]
    for a, b in zip(one, other, strict=True):
        assert (a.setting, a.tried, a.validation) == (b.setting, b.tried, b.validation)
        assert np.array_equal(a.scores(asked), b.scores(asked))


def test_the_choice_is_fitted_again_with_the_validation_event(
    interactions: Make, histories: list[list[int]]
) -> None:
    split = leave_one_out(interactions(histories, n_items=20, repeats=False))
    (chosen,) = choose(split, ["popularity"])
    counted = np.bincount(split.refit.items, minlength=20)  # no item twice in a short walk
    assert chosen.scores([np.array([0])])[0].sum() == len(
        set(zip(np.repeat(np.arange(60), 6), split.refit.items.tolist(), strict=True))
    )
    assert counted.sum() == 60 * 6


def test_the_setting_that_validation_prefers_is_taken(
    interactions: Make, histories: list[list[int]]
) -> None:
    split = leave_one_out(interactions(histories, n_items=20, repeats=False))
    (chosen,) = choose(split, ["ease-windowed"])
    axes = EASE_WINDOWED.axes(split.train)
    assert set(chosen.setting) == set(axes)
    assert chosen.tried == 1 + sum(len(values) - 1 for values in axes.values())
    (same,) = EASE_WINDOWED.fit_each(split.train, [chosen.setting], seed=0)
    assert chosen.validation == pytest.approx(quality(same, split.validation))
    for name, values in axes.items():
        if name == list(axes)[-1]:  # the last axis was searched at the chosen point
            line = [{**chosen.setting, name: value} for value in values]
            found = [quality(s, split.validation)
                     for s in EASE_WINDOWED.fit_each(split.train, line, seed=0)]  # fmt: skip
            assert max(found) == pytest.approx(chosen.validation)


def test_again_data_has_a_row_for_each_task(interactions: Make, histories: list[list[int]]) -> None:
    repeated = [[*history[:4], *history[:2], history[5], history[6]] for history in histories]
    split = leave_one_out(interactions(repeated, n_items=20))
    chosen = choose(split, ["popularity", "local-only", "ease"])
    assert [(c.name, c.kind) for c in chosen] == [
        ("popularity", "again"),
        ("popularity", "new"),
        ("local-only", "again"),
        ("local-only", "new"),
        ("ease", "again"),
        ("ease", "new"),
    ]
    assert set(chosen[4].setting) == {"ridge", "repeat"}


def test_quality_is_the_mean_ndcg_of_full_ranking(
    interactions: Make, histories: list[list[int]]
) -> None:
    split = leave_one_out(interactions(histories, n_items=20, repeats=False))
    (chosen,) = choose(split, ["ease"])
    whole = rank_scores(chosen.scores, split.validation)
    full = summarise(whole, split.validation, rng=np.random.default_rng(0))
    assert quality(chosen.scores, split.validation) == pytest.approx(full.overall.ndcg.mean)


def test_an_unknown_baseline_and_data_without_validation_are_refused(interactions: Make) -> None:
    split = leave_one_out(interactions([[0, 1], [1]]))
    with pytest.raises(ValueError, match="no baseline is called 'svd'"):
        choose(split, ["svd"])
    with pytest.raises(ValueError, match="no device has an item"):
        choose(split, ["popularity"])
