"""Why an item is in a list: the events that raised its score, in one honest sentence.

Everything that makes a score is a sum, so what an item falls by without a product is computed, not
guessed: the model's part by leaving the product out, the local part by its terms. A product of a
sensitive topic is never named, nor is a sensitive category; if nothing else raised the score, the
sentence names nothing.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_client.explain import (
    AGAIN,
    BECAUSE,
    CART,
    CATEGORY,
    CONTEXT,
    HISTORY,
    IN_CATALOG,
    LIKED,
    NEW,
    POPULAR,
    SIMILAR,
    Reason,
    listing,
)
from homebody_client.serving.adaptation import Drops, drops
from homebody_client.serving.evidence import Evidence
from homebody_client.serving.scoring import Setting
from homebody_client.serving.shelf import Shelf

_LEAST: Final = 1e-6  # of the spread: less is rounding
_MOST_CAUSES: Final = 10
_FRESH: Final = 0.5
_VERBS: Final = {
    "product_view": "looked at",
    "view": "looked at",
    "click": "looked at",
    "dwell": "looked at",
    "purchase": "bought",
    "add_to_cart": "put in your cart",
    "like": "liked",
    "rating": "rated",
}

Floats = npt.NDArray[np.float64]


def reasons(setting: Setting, items: Sequence[int]) -> list[Reason]:
    """Return why each of some items is listed, or would be.

    Args:
        setting: What the list was made from. Secret.
        items: Numbers of the shelf.
    """
    evidence = setting.evidence
    if evidence is None or not len(evidence) or not len(items):
        return [_public(setting, item) for item in items]
    array = np.asarray(items, np.int64)
    model = _model_drops(setting, evidence, array)
    scale = setting.gain * setting.shelf.spread
    local = drops(evidence, array, setting.shelf.codes[array])
    total = model + scale * local.total()
    return [
        _reason(setting, evidence, item, total[:, i], _parts(model, local, scale, i))
        for i, item in enumerate(items)
    ]


def _model_drops(setting: Setting, evidence: Evidence, items: npt.NDArray[np.int64]) -> Floats:
    """Return the model's falls, shape ``(products, items)``."""
    shelf = setting.shelf
    falls = np.zeros((len(evidence), len(items)))
    inside = np.flatnonzero(items < shelf.known)
    if shelf.ranker is None or not len(inside):
        return falls
    causes, fall = shelf.ranker.drops(evidence.history, items[inside].tolist(), gain=setting.gain)
    order = np.argsort(evidence.products, kind="stable")
    row = order[np.searchsorted(evidence.products, causes, sorter=order)]
    falls[np.ix_(row, inside)] = fall
    return falls


def _parts(model: Floats, local: Drops, scale: float, i: int) -> dict[str, Floats]:
    """Return the falls of one item by the code that would tell of them."""
    return {
        BECAUSE: model[:, i],
        CATEGORY: scale * local.session[:, i],
        LIKED: scale * local.opinion[:, i],
        CONTEXT: scale * local.moment[:, i],
    }


def _reason(
    setting: Setting, evidence: Evidence, item: int, fall: Floats, parts: dict[str, Floats]
) -> Reason:
    shelf = setting.shelf
    order = np.argsort(-fall, kind="stable")
    raised = order[fall[order] > _LEAST * shelf.spread]
    if not len(raised) or _rather_similar(setting, item, float(fall[raised].sum())):
        return _public(setting, item)
    named = raised[~shelf.sensitive[evidence.products[raised]]][:_MOST_CAUSES]
    if not len(named):
        return Reason(HISTORY, "Because of what you did here before")
    causes = tuple(shelf.ids[evidence.products[row]] for row in named)
    code = max(parts, key=lambda name: float(parts[name][named].sum()))
    return Reason(*_sentence(setting, evidence, item, code, named), causes)


def _sentence(
    setting: Setting, evidence: Evidence, item: int, code: str, named: npt.NDArray[np.int64]
) -> tuple[str, str]:
    """Return code and text for causes that may be named."""
    shelf, first = setting.shelf, int(named[0])
    category = int(shelf.codes[item])
    may_name = category >= 0 and not shelf.sensitive_category[category]
    if int(evidence.products[first]) == item and code == BECAUSE:
        verb = _verb(evidence, first)
        carted = verb == _VERBS["add_to_cart"]
        return AGAIN, "You put this in your cart before" if carted else f"You {verb} this before"
    if code == CATEGORY and may_name:
        return CATEGORY, f"Because you looked at {shelf.categories[category]} lately"
    if code == CONTEXT and may_name:
        name = shelf.categories[category]
        return CONTEXT, f"You choose {name} more often in moments like this"
    if code == LIKED and evidence.opinion[first] > 0.0:
        return LIKED, f"Because you liked {shelf.title(int(evidence.products[first]))}"
    if evidence.cart[first]:
        in_cart = [row for row in named if evidence.cart[row]]
        return CART, f"Goes with {_titles(shelf, evidence, in_cart)} in your cart"
    verb = _verb(evidence, first)
    alike = [row for row in named if _verb(evidence, int(row)) == verb]
    return BECAUSE, f"Because you {verb} {_titles(shelf, evidence, alike)}"


def _verb(evidence: Evidence, row: int) -> str:
    return _VERBS.get(evidence.verbs[row], "chose")


def _titles(shelf: Shelf, evidence: Evidence, rows: Sequence[int]) -> str:
    return listing([shelf.title(int(evidence.products[row])) for row in rows])


def _rather_similar(setting: Setting, item: int, raised: float) -> bool:
    """Return whether being like the product shown says more than the person's history."""
    return setting.similarity is not None and float(setting.similarity[item]) > raised


def _public(setting: Setting, item: int) -> Reason:
    """Return the reason of an item nothing of the person raised."""
    shelf = setting.shelf
    if setting.similarity is not None and setting.similarity[item] > 0.0:
        return Reason(SIMILAR, "Similar to what you are looking at")
    if setting.freshness is not None and setting.freshness[item] > _FRESH:
        return Reason(NEW, "New in the catalog")
    if shelf.popular[item]:
        return Reason(POPULAR, "Popular with many people")
    return Reason(IN_CATALOG, "From the catalog")
