"""How good a list is: full ranking of the catalog, one held-out item per device.

A tie counts half, so a constant scorer gets nothing and no metric depends on the order of the
catalog, which may encode popularity. Non-finite scores raise: NaN compares false and would rank
first. Relevance is reported with bootstrap intervals (Efron 1979, percentile).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.order import serving_order
from homebody_models.recommender import Recommender
from homebody_models.split import Kind, Task

COLD_AT_MOST: Final = 5
HOT_ABOVE: Final = 100
_BLOCK_SCORES: Final = 8_000_000  # float32 and three masks of it: about 60 MB at once
_BLOCK_DEVICES: Final = 8_192
_BLOCK_RESAMPLES: Final = 50

Ranks = npt.NDArray[np.float64]
Scores = Callable[[Sequence[npt.NDArray[np.integer]]], npt.NDArray[np.floating]]
"""From n histories, oldest event first, to a score for each item: shape ``(n, items)``."""


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
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite: a NaN would rank first")
    own = np.take_along_axis(scores, np.asarray(targets, np.int64)[:, None], axis=1)
    ranks: Ranks = (scores > own).sum(axis=1) + 0.5 * ((scores == own).sum(axis=1) - 1)
    if hidden is not None:
        for i, items in enumerate(hidden):
            unique = np.unique(items)
            if targets[i] in unique:
                raise ValueError(f"the target of row {i} is hidden, it has no rank")
            gone = scores[i, unique]
            ranks[i] -= (gone > own[i]).sum() + 0.5 * (gone == own[i]).sum()
    return ranks


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
    return len(np.unique(top[top >= 0])) / items


def novelty(top: npt.NDArray[np.integer], popularity: npt.NDArray[np.integer]) -> float:
    """Return the mean surprise of a recommended item, in bits.

    Args:
        top: Lists of shape ``(n, k)``; -1 where a list is shorter.
        popularity: Events per item, shape ``(items,)``; each count is raised by one, so that an
            item never chosen has a finite surprise.

    Returns:
        Mean of -log2(share of events); NaN if every list is empty.
    """
    share = (popularity + 1.0) / (popularity + 1.0).sum()
    shown = top[top >= 0]
    return float(-np.log2(share[shown]).mean()) if len(shown) else float("nan")


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
    shown = np.unique(top[top >= 0], return_counts=True)[1].astype(np.float64)
    return float(1.0 - (shown * (shown - 1.0)).sum() / (n * (n - 1.0) * k))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over devices with its 95 % bootstrap interval.

    Attributes:
        mean: Mean over devices.
        low: 2.5th percentile of resampled means.
        high: 97.5th percentile of resampled means.
        n: Number of devices.
    """

    mean: float
    low: float
    high: float
    n: int


def bootstrap(
    values: npt.NDArray[np.float64], rng: np.random.Generator, resamples: int = 1000
) -> Estimate:
    """Estimate the mean of ``values`` with a percentile interval over resampled devices.

    Raises:
        ValueError: If ``values`` is empty or not one-dimensional.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values must be one-dimensional and not empty, got {values.shape}")
    n = len(values)
    means = np.concatenate(
        [
            values[rng.integers(n, size=(min(_BLOCK_RESAMPLES, resamples - done), n))].mean(axis=1)
            for done in range(0, resamples, _BLOCK_RESAMPLES)
        ]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(mean=float(values.mean()), low=float(low), high=float(high), n=n)


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
    top: npt.NDArray[np.int64] = field(repr=False)

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
    return rank_scores(partial(model.scores, parameters), task, k=k)


def rank_scores(scores: Scores, task: Task, *, k: int = 10) -> Ranked:
    """Rank the whole catalog for every device of a task.

    Args:
        scores: Scores every item for some histories.
        task: Histories and targets; a ``new`` task hides the history from the lists.
        k: Length of the lists, at least 1.

    Returns:
        Ranks and lists. Devices are scored in blocks, so that memory stays below 200 MB for
        catalogs of up to a million items.

    Raises:
        ValueError: If the task is empty or a score is not finite.
    """
    if not len(task):
        raise ValueError("the task has no device to evaluate")
    block = min(max(1, _BLOCK_SCORES // len(task.data.catalog)), _BLOCK_DEVICES)
    blocks = [
        _rank_block(scores, task, range(start, min(start + block, len(task))), k)
        for start in range(0, len(task), block)
    ]
    return Ranked(
        ranks=np.concatenate([ranks for ranks, _ in blocks]),
        top=np.concatenate([top for _, top in blocks]),
    )


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
        novelty=novelty(ranked.top, np.bincount(task.data.items, minlength=items)),
        personalisation=personalisation(ranked.top),
    )


def _rank_block(
    score: Scores, task: Task, rows: range, k: int
) -> tuple[Ranks, npt.NDArray[np.int64]]:
    """Return target ranks and lists, padded with -1, of some devices of a task."""
    histories = [task.history(i) for i in rows]
    scores = score(histories)
    hidden = histories if task.kind == "new" else None
    ranks = target_ranks(scores, task.targets[rows.start : rows.stop], hidden)
    top = np.full((len(rows), k), -1, np.int64)
    visible = np.ones(scores.shape[1], bool)
    for row, history in enumerate(histories):
        if hidden is not None:
            visible[history] = False
        best = serving_order(scores[row], k, visible)
        top[row, : len(best)] = best
        visible[history] = True
    return ranks, top


def _relevance(ranks: Ranks, k: int, rng: np.random.Generator) -> Relevance:
    """Estimate every relevance metric from ranks."""
    return Relevance(
        ndcg=bootstrap(ndcg(ranks, k), rng),
        hit=bootstrap(hit(ranks, k), rng),
        mrr=bootstrap(mrr(ranks, k), rng),
        recall=bootstrap(recall(ranks, k), rng),
    )
