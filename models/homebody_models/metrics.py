"""How good a list is: full ranking of the catalog, one held-out item per device.

A tie counts half, so a constant scorer gets nothing and no metric depends on the order of the
catalog, which may encode popularity. Non-finite scores raise: NaN compares false and would rank
first. Relevance is reported with bootstrap intervals (Efron 1979, percentile).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.bootstrap import Estimate, bootstrap
from homebody_models.columns import blocks, release
from homebody_models.full_ranking import Lists, Ranks, best_lists, ranks_of, visible_scores
from homebody_models.history_columns import Histories
from homebody_models.recommender import Recommender, Scores, scorer_of
from homebody_models.split import Kind, Task

COLD_AT_MOST: Final = 5
HOT_ABOVE: Final = 100
_BLOCK_SCORES: Final = 8_000_000  # float32, masked twice: about 60 MB at once
_CACHED_SCORES: Final = 500_000  # what is counted several times should stay near the processor
_LEAST_DEVICES: Final = 64  # fewer make a thin matrix product
_BLOCK_DEVICES: Final = 8_192
_COUNTED: Final = 65_536  # lists counted at once


def target_ranks(
    scores: npt.NDArray[np.floating],
    targets: npt.NDArray[np.integer],
    hidden: Sequence[npt.NDArray[np.integer]] | None = None,
) -> Ranks:
    """Return each target's rank from 0: better items, plus half of those that tie.

    Args:
        scores: Shape ``(n, items)``, finite; larger is better.
        targets: Shape ``(n,)``, the held-out items.
        hidden: For each device the items left out of its ranking; None for none.

    Returns:
        float64 of shape ``(n,)``; a multiple of one half.

    Raises:
        ValueError: If a score is not finite or a target is hidden.

    Examples:
        >>> target_ranks(np.array([[3.0, 1.0, 2.0, 1.0]]), np.array([1]))
        array([2.5])
        >>> target_ranks(np.array([[3.0, 1.0, 2.0, 1.0]]), np.array([1]), [np.array([0, 3])])
        array([1.])
    """
    gone = None if hidden is None else Histories.of(hidden)
    return ranks_of(visible_scores(scores, targets, gone), targets)


def hit(ranks: Ranks, k: int) -> Ranks:
    """Return 1 where the target is among the first ``k``, else 0."""
    return (ranks < k).astype(np.float64)


def recall(ranks: Ranks, k: int) -> Ranks:
    """Return the share of targets found in the first ``k``; with one target it is ``hit``."""
    return hit(ranks, k)


def ndcg(ranks: Ranks, k: int) -> Ranks:
    """Return 1 / log2(rank + 2) where the target is among the first ``k``, else 0.

    Examples:
        >>> ndcg(np.array([0.0, 2.0, 10.0]), 10)
        array([1. , 0.5, 0. ])
    """
    return hit(ranks, k) / np.log2(ranks + 2.0)


def mrr(ranks: Ranks, k: int) -> Ranks:
    """Return 1 / (rank + 1) where the target is among the first ``k``, else 0."""
    return hit(ranks, k) / (ranks + 1.0)


def coverage(top: npt.NDArray[np.integer], items: int) -> float:
    """Return the share of the catalog found in any list.

    Args:
        top: Lists of shape ``(n, k)``; -1 where a list is shorter.
        items: Size of the catalog, at least 1.
    """
    return int(np.count_nonzero(_shown(top, items))) / items


def novelty(top: npt.NDArray[np.integer], popularity: npt.NDArray[np.integer]) -> float:
    """Return the mean surprise of a recommended item, in bits.

    Args:
        top: Lists of shape ``(n, k)``; -1 where a list is shorter.
        popularity: Events per item, shape ``(items,)``; each count is raised by one, so that an
            item never chosen has a finite surprise.

    Returns:
        Mean of -log2(share of events); NaN if every list is empty.
    """
    surprise = -np.log2((popularity + 1.0) / (popularity + 1.0).sum())
    shown = _shown(top, len(surprise))
    return float(shown @ surprise / shown.sum()) if shown.any() else float("nan")


def personalisation(top: npt.NDArray[np.integer]) -> float:
    """Return how different lists are: 1 minus the mean overlap of two devices' lists.

    Args:
        top: Lists of shape ``(n, k)`` without repeats in a row; -1 where a list is shorter.

    Returns:
        0 if all lists hold the same items, 1 if no two share any; NaN for fewer than two lists.
    """
    n, k = top.shape
    if n < 2 or not k:  # noqa: PLR2004 a pair is two
        return float("nan")
    shown = _shown(top).astype(np.float64)
    return float(1.0 - (shown * (shown - 1.0)).sum() / (n * (n - 1.0) * k))


def _shown(top: npt.NDArray[np.integer], items: int = 0) -> npt.NDArray[np.int64]:
    """Return how many lists each item is in, for ``items`` or as many as there are in lists."""
    items = max(items, int(top.max(initial=-1)) + 1)
    shown = np.zeros(items + 1, np.int64)
    for block in blocks(top, _COUNTED):
        shown += np.bincount(block.ravel() + 1, minlength=len(shown))  # -1, of no item, is first
    return shown[1:]


def segments(lengths: npt.NDArray[np.integer]) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which devices are cold (at most 5 events), warm, and hot (more than 100)."""
    cold, hot = lengths <= COLD_AT_MOST, lengths > HOT_ABOVE
    return {"cold": cold, "warm": ~cold & ~hot, "hot": hot}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relevance:
    """Relevance of one group of devices at one list length."""

    ndcg: Estimate
    hit: Estimate
    mrr: Estimate
    recall: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What one model does on one task. Aggregates of secret data: charge it before release.

    Attributes:
        kind: ``new`` or ``again``; the two are never averaged.
        k: Length of the lists.
        overall: Relevance over all devices.
        by_segment: Relevance of ``cold``, ``warm`` and ``hot`` devices; without empty groups.
        coverage: Share of the catalog in any list.
        novelty: Mean surprise of a recommended item, in bits.
        personalisation: Mean difference of two devices' lists, in [0, 1]; NaN for one device.
    """

    kind: Kind
    k: int
    overall: Relevance
    by_segment: Mapping[str, Relevance]
    coverage: float
    novelty: float
    personalisation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """What one model did for each device of a task. Secret.

    Attributes:
        ranks: Rank of each device's target from 0, shape ``(n,)``.
        top: Best items of each device, shape ``(n, k)``; -1 where a list is shorter.
    """

    ranks: Ranks = field(repr=False)
    top: Lists = field(repr=False)

    @property
    def k(self) -> int:
        """Length of the lists."""
        return int(self.top.shape[1])

    def ndcg(self) -> npt.NDArray[np.float64]:
        """Return each device's ndcg at the length of the lists."""
        return ndcg(self.ranks, self.k)


def rank_task(
    model: Recommender, parameters: npt.NDArray[np.float32], task: Task, *, k: int = 10
) -> Ranked:
    """Rank the whole catalog with a model; see ``rank_scores``.

    Args:
        model: Model to evaluate.
        parameters: Its shared parameters.
        task: Histories and targets; a ``new`` task hides the history from the lists.
        k: Length of the lists, at least 1.
    """
    return rank_scores(scorer_of(model, parameters), task, k=k)


def rank_scores(scores: Scores, task: Task, *, k: int = 10) -> Ranked:
    """Rank the whole catalog for every device of a task.

    Args:
        scores: Scores every item for some histories.
        task: Histories and targets; a ``new`` task hides the history from the lists.
        k: Length of the lists, at least 1.

    Returns:
        Ranks and lists. Devices are scored in blocks, so that memory stays below 200 MB for
        catalogs of up to a million items, beside ``4 k + 8`` bytes a device.

    Raises:
        ValueError: If the task is empty or a score is not finite.
    """
    if not len(task):
        raise ValueError("the task has no device to evaluate")
    n, block = len(task), block_of(len(task.data.catalog))
    ranks, top = np.empty(n), np.empty((n, k), np.int32)
    for start in range(0, n, block):
        rows = slice(start, start + block)
        histories, targets = histories_of(task, rows), task.targets[rows]
        hidden = histories if task.kind == "new" else None
        visible = visible_scores(scores(histories), targets, hidden, overwrite=True)
        ranks[rows] = ranks_of(visible, targets)
        top[rows] = best_lists(visible, k)
        release(task.data.items)
    return Ranked(ranks=ranks, top=top)


def histories_of(task: Task, rows: slice) -> Histories:
    """Return what is known of some devices of a task, as columns. Secret."""
    return Histories.rows(task.data.ptr, task.data.items, task.devices[rows])


def evaluate(
    model: Recommender,
    parameters: npt.NDArray[np.float32],
    task: Task,
    *,
    rng: np.random.Generator,
    k: int = 10,
) -> Evaluation:
    """Rank the whole catalog for every device of a task, and take the means.

    Args:
        model: Model to evaluate.
        parameters: Its shared parameters.
        task: Histories and targets; a ``new`` task hides the history from the lists.
        rng: Draws the bootstrap samples.
        k: Length of the lists, at least 1.

    Raises:
        ValueError: If the task is empty or a score is not finite.
    """
    return summarise(rank_task(model, parameters, task, k=k), task, rng=rng)


def summarise(ranked: Ranked, task: Task, *, rng: np.random.Generator) -> Evaluation:
    """Return the metrics of ``ranked`` over all devices of its task and per segment.

    Args:
        ranked: What a model did on ``task``.
        task: The task.
        rng: Draws the bootstrap samples.
    """
    items = len(task.data.catalog)
    lengths = np.diff(task.data.ptr)[task.devices]
    return Evaluation(
        kind=task.kind,
        k=ranked.k,
        overall=_relevance(ranked.ranks, ranked.k, rng),
        by_segment={
            name: _relevance(ranked.ranks[rows], ranked.k, rng)
            for name, rows in segments(lengths).items()
            if rows.any()
        },
        coverage=coverage(ranked.top, items),
        novelty=novelty(ranked.top, task.data.item_counts()),
        personalisation=personalisation(ranked.top),
    )


def block_of(items: int) -> int:
    """Return how many devices to rank at once with a catalog of ``items``."""
    near = max(_CACHED_SCORES // items, _LEAST_DEVICES)
    return min(near, max(1, _BLOCK_SCORES // items), _BLOCK_DEVICES)


def _relevance(ranks: Ranks, k: int, rng: np.random.Generator) -> Relevance:
    """Estimate every relevance metric from ranks."""
    return Relevance(
        ndcg=bootstrap(ndcg(ranks, k), rng),
        hit=bootstrap(hit(ranks, k), rng),
        mrr=bootstrap(mrr(ranks, k), rng),
        recall=bootstrap(recall(ranks, k), rng),
    )
