"""Golden lists: made-up histories with the lists they must give on whatever engine serves.

The histories follow from the size of the catalog alone and are never a person's. Two engines agree
if scores differ by at most 1e-5 (relative, where scores exceed 1) and lists only swap items whose
scores are closer than that.
"""

from typing import Final

import numpy as np

from homebody_models.json_fields import to_list, to_object, to_whole
from homebody_models.ranking import Ranker
from homebody_models.strict_json import strict_loads

TOLERANCE: Final = 1e-5
_LENGTH: Final = 10
_MOST_CASES: Final = 100
_MOST_EVENTS: Final = 1_000
_LARGEST_SCORE: Final = 1e15


def golden_histories(n_items: int) -> list[list[int]]:
    """Return made-up histories: empty, one item, repeats, spread, and more than any window.

    Examples:
        >>> [len(history) for history in golden_histories(100)]
        [0, 1, 3, 5, 70]
    """
    last = n_items - 1
    spread = [last * step // 4 for step in range(5)]
    long = [(17 * step + 5) % n_items for step in range(70)]
    return [[], [0], [last, last, last], spread, long]


def golden_cases(ranker: Ranker) -> dict[str, object]:
    """Return the content of ``golden.json`` for one model."""
    cases = []
    for history in golden_histories(len(ranker)):
        top = ranker.top(history, _LENGTH)
        items, scores = [item for item, _ in top], [score for _, score in top]
        cases.append({"history": history, "top": items, "scores": scores})
    return {"cases": cases}


def check_golden(data: bytes, ranker: Ranker) -> None:
    """Rank every golden history and compare.

    Args:
        data: Bytes of ``golden.json``.
        ranker: The engine that will serve.

    Raises:
        ValueError: If the file is malformed or the engine disagrees with it.
    """
    content = to_object(strict_loads(data, floats=True), "golden.json", {"cases"})
    cases = to_list(content["cases"], "cases")
    if not 1 <= len(cases) <= _MOST_CASES:
        raise ValueError(f"golden.json must hold 1 to {_MOST_CASES} cases")
    for number, value in enumerate(cases):
        case = to_object(value, "a golden case", {"history", "top", "scores"})
        last = len(ranker) - 1
        history = [to_whole(i, "history", most=last) for i in to_list(case["history"], "history")]
        top = [to_whole(i, "top", most=last) for i in to_list(case["top"], "top")]
        expected = [_score(score) for score in to_list(case["scores"], "scores")]
        if len(history) > _MOST_EVENTS:
            raise ValueError(f"golden case {number} has more than {_MOST_EVENTS} events")
        _check_case(number, ranker, history, dict(zip(top, expected, strict=True)))


def _check_case(
    number: int, ranker: Ranker, history: list[int], expected: dict[int, float]
) -> None:
    """Compare one expected list with the engine's, as items and as scores."""
    scores = ranker.scores(history)
    if len(expected) != min(_LENGTH, len(ranker)):
        raise ValueError(f"golden case {number} must list {min(_LENGTH, len(ranker))} items")
    wanted = np.array(list(expected.values()), np.float64)
    tolerance = TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    served = [score for _, score in ranker.top(history, len(expected))]
    named = scores[list(expected)]
    if not (
        np.allclose(named, wanted, rtol=0.0, atol=tolerance)
        and np.allclose(served, wanted, rtol=0.0, atol=tolerance)
    ):
        raise ValueError(f"golden case {number}: this engine gives another list or other scores")


def _score(value: object) -> float:
    """Return a score of a golden list."""
    if not isinstance(value, int | float) or not abs(value) <= _LARGEST_SCORE:
        raise ValueError("a golden score must be a number")
    return float(value)
