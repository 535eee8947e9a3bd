"""Ranking against sampled negatives: for comparison with papers that report it, never a headline.

With 99 negatives instead of the catalog the order of models changes: it rewards telling a target
from unpopular items. Krichene and Rendle, "On Sampled Metrics for Item Recommendation" (2020),
https://doi.org/10.1145/3394486.3403226. Full ranking is in ``metrics``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from homebody_models.bootstrap import Estimate, bootstrap
from homebody_models.full_ranking import Ranks
from homebody_models.interactions import Interactions
from homebody_models.metrics import histories_of, hit, ndcg
from homebody_models.recommender import Scores
from homebody_models.split import Task

_BLOCK_SCORES = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Relevance among sampled negatives; comparable with other sampled figures alone."""

    negatives: int
    ndcg: Estimate
    hit: Estimate


def outside_history(data: Interactions, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw items outside each device's whole history, held-out items included.

    Args:
        data: Whole histories. Secret.
        count: Items for each device, at most those outside its history.
        seed: Of numpy's default generator; devices are drawn for in order.

    Returns:
        int64 of shape ``(devices, count)``, without repeats in a row.
    """
    rng = np.random.default_rng(seed)
    catalog = np.arange(len(data.catalog))
    return np.array(
        [
            rng.choice(np.setdiff1d(catalog, data.history(device)), count, replace=False)
            for device in range(data.devices)
        ],
        np.int64,
    ).reshape(data.devices, count)


def sampled_ranks(scores: Scores, task: Task, negatives: npt.NDArray[np.int64]) -> Ranks:
    """Return each target's rank from 0 among its negatives; a tie counts half.

    Args:
        scores: Scores every item for some histories.
        task: Histories and targets.
        negatives: One row for each device of ``task.data``; the target among them does not count.

    Raises:
        ValueError: If a score is not finite or the negatives are not of these devices.
    """
    if negatives.ndim != 2 or len(negatives) != task.data.devices:  # noqa: PLR2004 a matrix
        raise ValueError(f"negatives must have {task.data.devices} rows, got {negatives.shape}")
    block = max(1, _BLOCK_SCORES // len(task.data.catalog))
    ranks = np.empty(len(task))
    for start in range(0, len(task), block):
        rows = slice(start, start + block)
        found = scores(histories_of(task, rows))
        if not np.isfinite(found).all():
            raise ValueError("scores must be finite: a NaN would rank first")
        others = negatives[task.devices[rows]]
        targets = task.targets[rows].astype(np.int64)[:, None]
        own = np.take_along_axis(found, targets, axis=1)
        theirs = np.take_along_axis(found, others, axis=1)
        counts = (theirs > own) + 0.5 * (theirs == own)
        ranks[rows] = np.where(others == targets, 0.0, counts).sum(axis=1)
    return ranks


def sampled(
    scores: Scores, task: Task, negatives: npt.NDArray[np.int64], *, rng: np.random.Generator
) -> Sampled:
    """Return hit@10 and ndcg@10 among sampled negatives; see ``sampled_ranks``.

    Args:
        scores: Scores every item for some histories.
        task: Histories and targets.
        negatives: One row for each device of ``task.data``.
        rng: Draws the bootstrap samples.
    """
    ranks = sampled_ranks(scores, task, negatives)
    return Sampled(
        negatives=negatives.shape[1],
        ndcg=bootstrap(ndcg(ranks, 10), rng),
        hit=bootstrap(hit(ranks, 10), rng),
    )
