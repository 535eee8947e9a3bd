"""The fit finds planted structure, uses content, and survives any noise."""

import numpy as np
import numpy.typing as npt
import pytest

from homebody_models.statistics.bilinear import fit_bilinear
from homebody_models.statistics.factor import Factored, clean_popularity, factor
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.space import Space

Vector = npt.NDArray[np.float64]

ITEMS, RANK = 120, 4
PAIRS = np.triu_indices(ITEMS, 1)


def planted(seed: int) -> tuple[Vector, Vector, Vector]:
    """Return popularity, inner products and mean counts of a log-bilinear population."""
    rng = np.random.default_rng(seed)
    popularity = np.exp(rng.normal(0.0, 0.5, ITEMS))
    rows = rng.normal(0.0, 0.6, (ITEMS, RANK))
    inner = rows @ rows.T
    return popularity, inner, 20.0 * np.outer(popularity, popularity) * np.exp(inner)


def agreement(rows: npt.NDArray[np.float32], inner: Vector) -> float:
    """Correlate fitted with planted inner products of different items."""
    found = (rows @ rows.T)[PAIRS]
    return float(np.corrcoef(found, inner[PAIRS])[0, 1])


def noised(counts: Vector, sigma: float, seed: int) -> Vector:
    noise = np.zeros_like(counts)
    noise[PAIRS] = sigma * np.random.default_rng(seed).standard_normal(len(PAIRS[0]))
    return counts + noise + noise.T


def fitted(
    counts: Vector, popularity: Vector, sigma: float, prior: float = 3.0
) -> npt.NDArray[np.float32]:
    nothing = np.zeros((ITEMS, 0))
    return fit_bilinear(counts, popularity, nothing, sigma=sigma, prior=prior, rank=8).rows


def test_a_planted_model_is_found_without_noise() -> None:
    popularity, inner, counts = planted(1)
    assert agreement(fitted(counts, popularity, 0.0), inner) > 0.9


def test_noise_weakens_what_is_found_and_knowing_its_scale_limits_the_loss() -> None:
    popularity, inner, counts = planted(2)
    seen = noised(counts, 20.0, 3)
    told = agreement(fitted(seen, popularity, 20.0), inner)
    assert 0.6 < told < agreement(fitted(counts, popularity, 0.0), inner)
    assert told > agreement(fitted(seen, popularity, 1.0), inner) + 0.02


def test_the_diagonal_is_not_looked_at_and_the_result_is_repeatable() -> None:
    popularity, _, counts = planted(4)
    once = fitted(counts, popularity, 1.0)
    other = counts.copy()
    np.fill_diagonal(other, 1e9)
    np.testing.assert_array_equal(once, fitted(other, popularity, 1.0))


def test_a_stronger_prior_leaves_less_of_noise() -> None:
    popularity = np.exp(np.random.default_rng(6).normal(0.0, 0.5, ITEMS))
    seen = noised(20.0 * np.outer(popularity, popularity), 20.0, 7)
    loose, close = (fitted(seen, popularity, 20.0, prior) for prior in (0.1, 30.0))
    assert float((close**2).sum()) < 0.1 * float((loose**2).sum())


def test_an_item_is_not_taken_to_be_rare_beside_itself() -> None:
    twin = np.arange(12) // 2
    counts = np.where(twin[:, None] == twin, 50.0, 5.0)
    nothing = np.zeros((12, 0))
    model = fit_bilinear(counts, np.ones(12), nothing, sigma=0.1, prior=0.1, rank=8)
    fit = np.exp(model.rows @ model.rows.T + model.level[:, None] + model.level)
    off = ~np.eye(12, dtype=bool)
    np.testing.assert_allclose(fit[off], counts[off], rtol=0.1)


def start(head: int, *, sigma: float, features: npt.NDArray[np.float32]) -> Factored:
    """Return the table of items in two kinds, of which pairs of one kind are frequent."""
    kind = np.arange(ITEMS) % 2
    popularity = np.linspace(40.0, 4.0, ITEMS).astype(np.float32)
    space = Space.of(popularity, head)
    rows, columns = np.triu_indices(space.size, 1)
    same = kind[space.head[rows]] == kind[space.head[columns]]
    gram = np.where(same, 9.0, 3.0)
    gram += sigma * np.random.default_rng(5).standard_normal(space.length)
    settings = StatisticsSettings(window=1.0, head=head, history_decay=0.9, prior=1.0, rank=8)
    return factor(space, popularity, features, gram, sigma, settings)


KINDS = np.eye(2, dtype=np.float32)[np.arange(ITEMS) % 2]


def test_an_item_outside_the_head_is_placed_by_its_content() -> None:
    table = start(60, sigma=0.0, features=KINDS).embeddings
    own = table[60:] @ table[:60].T
    same = np.arange(60, ITEMS)[:, None] % 2 == np.arange(60) % 2
    assert own[same].min() > own[~same].max()


def test_without_content_an_item_outside_the_head_ranks_by_popularity_alone() -> None:
    made = start(60, sigma=0.0, features=np.zeros((ITEMS, 0), np.float32))
    assert (made.embeddings[60:] == 0.0).all()
    assert (np.diff(made.bias[60:]) <= 0.0).all()


@pytest.mark.parametrize("sigma", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("head", [0, 1, 2, ITEMS])
@pytest.mark.parametrize("features", [KINDS, np.zeros((ITEMS, 0), np.float32)])
def test_any_head_and_any_noise_give_a_finite_table_of_the_same_shape(
    sigma: float, head: int, features: npt.NDArray[np.float32]
) -> None:
    made = start(head, sigma=sigma, features=features)
    assert made.embeddings.shape == (ITEMS, 8)
    assert made.bias.shape == (ITEMS,)
    assert np.isfinite(made.embeddings).all()
    assert np.isfinite(made.bias).all()


def test_popularity_is_above_zero_whatever_the_noise_left() -> None:
    released = np.array([-50.0, 0.0, 3.0])
    for sigma in (0.0, 4.0):
        cleaned = clean_popularity(released, sigma)
        assert cleaned.min() > 0.0
        assert cleaned[0] == cleaned[1] <= cleaned[2]
