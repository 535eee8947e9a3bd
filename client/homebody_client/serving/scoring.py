"""The score of everything that can be listed, for one call: a sum of public and personal parts."""

from dataclasses import field
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_client.light_dataclass import dataclass
from homebody_client.serving.adaptation import added
from homebody_client.serving.evidence import Evidence
from homebody_client.serving.rules import Outcome
from homebody_client.serving.shelf import Shelf

_FRESHNESS: Final = 0.25
_SIMILARITY: Final = 3.0
_SAME_CATEGORY: Final = 0.5

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a list is made from. Secret.

    Attributes:
        shelf: What can be listed.
        evidence: What is known of the person; None in a list for all.
        gain: Strength of personalisation in [0, 1].
        similarity: What being like the product shown adds to each item; None elsewhere.
        freshness: How new each item is, in [0, 1]; None where nothing says so.
    """

    shelf: Shelf
    evidence: Evidence | None = field(repr=False)
    gain: float
    similarity: Floats | None = field(default=None, repr=False)
    freshness: Floats | None = field(default=None, repr=False)


def similarity(shelf: Shelf, product_id: str | None) -> Floats | None:
    """Return what being like a product adds to each item; None if it is not known.

    Public: it follows from the page the list is shown on.
    """
    item = None if product_id is None else shelf.index.get(product_id)
    if item is None:
        return None
    like = np.zeros(len(shelf), np.float32)
    if shelf.ranker is not None and item < shelf.known:
        like[: shelf.known] = shelf.ranker.likeness(item)
    if shelf.codes[item] >= 0:
        like += np.float32(_SAME_CATEGORY) * (shelf.codes == shelf.codes[item])
    like[item] = 0.0
    return np.float32(_SIMILARITY * shelf.spread) * like


def scores(setting: Setting, outcome: Outcome) -> Floats:
    """Return the score of every item of the shelf.

    Args:
        setting: What the list is made from. Secret.
        outcome: What the rules say.
    """
    shelf, evidence = setting.shelf, setting.evidence
    if evidence is not None and shelf.ranker is not None:
        total = _personal(shelf, evidence, setting.gain)
    else:
        total = shelf.base.copy()
    if setting.freshness is not None:
        total += np.float32(_FRESHNESS * shelf.spread) * setting.freshness
    if setting.similarity is not None:
        total += setting.similarity
    if outcome.lift:
        lift = [outcome.lift.get(name, 0.0) for name in shelf.categories]
        table = shelf.spread * np.array([*lift, 0.0])
        total += table.astype(np.float32)[shelf.codes]
    return total


def _personal(shelf: Shelf, evidence: Evidence, gain: float) -> Floats:
    """Return model and local terms together, both as strong as ``gain``."""
    ranker = shelf.ranker
    if ranker is None:
        return shelf.base.copy()
    model = ranker.scores(evidence.history, gain=gain)
    total = model if len(model) == len(shelf) else np.concatenate((model, shelf.base[len(model) :]))
    local = added(evidence, shelf.codes, len(shelf.categories))
    total += np.float32(gain * shelf.spread) * local
    return total
