"""What the device adds to the model's scores from the person's own events, without any training.

Four terms, in units of the shelf's spread and of ``strength``, each a sum over products that can be
taken out again:

====================  ===========================================================================
session               what is looked at now lifts its category, an hour later half as much
opinion               a like lifts the item and, less, its category; a dislike lowers both
hour, device          a category chosen more often at this time, or on this kind of device, than
                      overall is lifted; one chosen less often is lowered
cart                  a category that lies in the cart already is lowered: complements, no doubles
====================  ===========================================================================
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_client.light_dataclass import dataclass
from homebody_client.serving.evidence import Evidence, Moment

SESSION: Final = 1.5
OPINION: Final = 1.5
OPINION_OF_CATEGORY: Final = 0.5
HOUR: Final = 1.0
DEVICE: Final = 0.5
CART: Final = 0.75
_INTEREST_SCALE: Final = 3.0
_OPINION_SCALE: Final = 2.0
_FEW: Final = 5.0  # events that a share must outweigh: one purchase at night is no habit

Floats = npt.NDArray[np.float64]
Wholes = npt.NDArray[np.integer]
_Effect = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Drops:
    """By how much each item falls without each product, by term; shape ``(products, items)``."""

    session: Floats
    opinion: Floats
    moment: Floats
    cart: Floats

    def total(self) -> Floats:
        """Return the sum of the terms."""
        return self.session + self.opinion + self.moment + self.cart


def added(evidence: Evidence, codes: Wholes, categories: int) -> npt.NDArray[np.float32]:
    """Return what is added to each item's score, in units of spread at full strength.

    Args:
        evidence: What is known of the person. Secret.
        codes: Category of each item of the shelf, -1 for none.
        categories: Number of categories.
    """
    lift = np.zeros(categories + 1)  # the last entry is that of items without a category
    lift[:-1] = _session(_by_category(evidence, evidence.interest, categories))
    lift[:-1] += _opinion_of_category(_by_category(evidence, evidence.opinion, categories))
    for moment, weight in _moments(evidence):
        like_now = _by_category(evidence, moment.like_now, categories)
        total = _by_category(evidence, moment.total, categories)
        lift[:-1] += weight * _habit(like_now, total, moment.like_now.sum(), moment.total.sum())
    lift[:-1] += _cart(_by_category(evidence, evidence.cart.astype(np.float64), categories))
    scores: npt.NDArray[np.float32] = lift.astype(np.float32)[codes]
    scores[evidence.products] += (OPINION * evidence.opinion).astype(np.float32)
    return scores


def drops(evidence: Evidence, items: Wholes, codes: Wholes) -> Drops:
    """Return by how much items fall without each product of the evidence.

    Args:
        evidence: What is known of the person. Secret.
        items: Numbers of the items to explain.
        codes: Category of each of them.
    """
    same = (evidence.codes[:, None] == codes[None]) & (codes >= 0)[None]
    itself = evidence.products[:, None] == items[None]
    moment = np.zeros(same.shape)
    for one, weight in _moments(evidence):
        moment += weight * _habit_drops(one, same)
    opinion = _drops(evidence.opinion, same, _opinion_of_category)
    return Drops(
        session=_drops(evidence.interest, same, _session),
        opinion=opinion + OPINION * itself * evidence.opinion[:, None],
        moment=moment,
        cart=_drops(evidence.cart.astype(np.float64), same, _cart),
    )


def _session(interest: Floats) -> Floats:
    """Return the lift of a category: the first looks count most."""
    lift: Floats = SESSION * (1.0 - np.exp(-interest / _INTEREST_SCALE))
    return lift


def _opinion_of_category(opinion: Floats) -> Floats:
    lift: Floats = OPINION_OF_CATEGORY * np.tanh(opinion / _OPINION_SCALE)
    return lift


def _cart(number: Floats) -> Floats:
    """Return the lift of a category of which so many products lie in the cart."""
    lift: Floats = np.where(number > 0.0, -CART, 0.0)
    return lift


def _habit(like_now: Floats, total: Floats, all_now: Floats, all_total: Floats) -> Floats:
    """Return how much larger a category's share is now than overall, in [-1, 1].

    Held back while there are few events like the present moment.
    """
    now_share = like_now / np.maximum(all_now, 1.0)
    share = total / np.maximum(all_total, 1.0)
    lift: Floats = (now_share - share) * all_now / (all_now + _FEW)
    return lift


def _moments(evidence: Evidence) -> list[tuple[Moment, float]]:
    pairs = ((evidence.hour, HOUR), (evidence.device, DEVICE))
    return [(moment, weight) for moment, weight in pairs if moment is not None]


def _by_category(evidence: Evidence, values: Floats, categories: int) -> Floats:
    """Return sums over the products of each category."""
    has = evidence.codes >= 0
    sums = np.bincount(evidence.codes[has], weights=values[has], minlength=categories)
    return sums.astype(np.float64)


def _drops(values: Floats, same: npt.NDArray[np.bool_], effect: _Effect) -> Floats:
    """Return the falls of a term that is an effect of its category's sum."""
    own = same * values[:, None]
    total = own.sum(axis=0)
    fall: Floats = effect(total)[None] - effect(total[None] - own)
    return fall


def _habit_drops(moment: Moment, same: npt.NDArray[np.bool_]) -> Floats:
    """Return the falls of a habit; without a product the shares of all categories change."""
    own_now, own_total = same * moment.like_now[:, None], same * moment.total[:, None]
    now, total = own_now.sum(axis=0), own_total.sum(axis=0)
    all_now, all_total = moment.like_now.sum(), moment.total.sum()
    full = _habit(now, total, all_now, all_total)
    without = _habit(
        now[None] - own_now,
        total[None] - own_total,
        (all_now - moment.like_now)[:, None],
        (all_total - moment.total)[:, None],
    )
    fall: Floats = full[None] - without
    return fall
