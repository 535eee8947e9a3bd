"""Interactions as arrays, one entry a product: what can be taken out again, one product at a time.

Each number below is a sum over a product's own events, so what is known without a product is what
is known less its entry. That is what makes reasons exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_client.light_dataclass import dataclass
from homebody_client.serving.interactions import CHOICES, INTEREST, OPINIONS, VIEWS, Interaction
from homebody_client.serving.query import Query
from homebody_client.serving.shelf import Shelf
from homebody_models.order import distinct

MOST_EVENTS: Final = 1_000
"""Newest events that count."""

_HALF_LIFE_S: Final = 3_600.0  # of the session's interest: an hour later a view counts half
_BUCKETS: Final = (0,) * 5 + (1,) * 6 + (2,) * 3 + (3,) * 4 + (4,) * 4 + (0,) * 2  # by hour

Floats = npt.NDArray[np.float64]


def hour_bucket(hour: int) -> int:
    """Return the part of the day: 0 night, 1 morning, 2 midday, 3 afternoon, 4 evening.

    Examples:
        >>> [hour_bucket(hour) for hour in (0, 5, 11, 14, 18, 22)]
        [0, 1, 2, 3, 4, 0]
    """
    return _BUCKETS[hour]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How often a product was chosen, and how often in moments like this one. Secret.

    Attributes:
        total: Events whose moment is known, shape ``(products,)``.
        like_now: Those of the same part of the day, or on the same kind of device.
    """

    total: Floats = field(repr=False)
    like_now: Floats = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of the person, a product at a time. Secret.

    Attributes:
        history: Model's numbers of the items that form the user vector, oldest first.
        products: Numbers of the distinct products, in the order they first came up.
        codes: Category of each product; -1 for none.
        interest: What each product says about the interest of the session.
        opinion: What the person said of each product last: above 0 liked, below 0 not.
        hour: The part of the day; None if it is not known now.
        device: The kind of device; None if it is not known now.
        verbs: The newest event about each product.
        cart: Which products lie in the cart that was asked about.
    """

    history: npt.NDArray[np.int64] = field(repr=False)
    products: npt.NDArray[np.int64] = field(repr=False)
    codes: npt.NDArray[np.int32] = field(repr=False)
    interest: Floats = field(repr=False)
    opinion: Floats = field(repr=False)
    hour: Moment | None = field(repr=False)
    device: Moment | None = field(repr=False)
    verbs: tuple[str, ...] = field(repr=False)
    cart: npt.NDArray[np.bool_] = field(repr=False)

    def __len__(self) -> int:
        """Count the products."""
        return len(self.products)

    def chosen(self) -> npt.NDArray[np.int64]:
        """Return the distinct items of the model's history."""
        return distinct(self.history)

    def unwanted(self) -> npt.NDArray[np.int64]:
        """Return the products the person spoke against."""
        return self.products[self.opinion < 0.0]


def gather(shelf: Shelf, interactions: Sequence[Interaction], query: Query) -> Evidence:
    """Sum up interactions by product; what the shelf does not have is skipped.

    Args:
        shelf: What can be listed.
        interactions: The person's events, as the read gate gave them. Secret.
        query: The call; its cart counts as the newest choices.
    """
    events = _newest(shelf, interactions)
    cart = [number for name in query.cart if (number := shelf.index.get(name)) is not None]
    products = list(dict.fromkeys([number for number, _ in events] + cart))
    row = {number: i for i, number in enumerate(products)}
    n = len(products)
    interest, opinion, verbs = [0.0] * n, [0.0] * n, [""] * n
    for number, event in events:
        i = row[number]
        age = max(0.0, query.now - event.at)
        interest[i] += INTEREST[event.event] * 0.5 ** (age / _HALF_LIFE_S)
        if event.event in OPINIONS:
            said = event.opinion()
            opinion[i] = opinion[i] if said is None else said
        verbs[i] = event.event
    for number in cart:
        verbs[row[number]] = "cart"
    array, said_last = np.array(products, np.int64), np.array(opinion)
    return Evidence(
        history=_history(events, cart, opinion, row, shelf.known),
        products=array,
        codes=shelf.codes[array],
        interest=np.where(said_last < 0.0, 0.0, interest),
        opinion=said_last,
        hour=_hours(events, row, query.hour),
        device=_devices(events, row, query.device),
        verbs=tuple(verbs),
        cart=np.isin(array, cart),
    )


def _newest(shelf: Shelf, interactions: Sequence[Interaction]) -> list[tuple[int, Interaction]]:
    """Return the newest events about known products that say anything, oldest first."""
    index = shelf.index
    known = [
        (index[event.product_id], event)
        for event in interactions
        if event.product_id in index and event.event in INTEREST and event.event != "impression"
    ]
    known.sort(key=lambda pair: pair[1].at)  # stable: events of one second keep their order
    return known[-MOST_EVENTS:]


def _history(
    events: Sequence[tuple[int, Interaction]],
    cart: Sequence[int],
    opinion: Sequence[float],
    row: Mapping[int, int],
    known: int,
) -> npt.NDArray[np.int64]:
    """Return what forms the user vector: all choices, and of each product its newest look.

    A product the person spoke against is not part of it: what is like it must not come up.
    """
    looked: set[int] = set()
    newest_first: list[int] = []
    for number, event in reversed(events):
        if number >= known or opinion[row[number]] < 0.0:
            continue
        if event.event in VIEWS:
            if number in looked:
                continue
            looked.add(number)
        elif event.event not in CHOICES:
            continue
        newest_first.append(number)
    history = [*reversed(newest_first), *(number for number in cart if number < known)]
    return np.array(history, np.int64)


def _hours(
    events: Sequence[tuple[int, Interaction]], row: Mapping[int, int], hour: int | None
) -> Moment | None:
    if hour is None:
        return None
    now = hour_bucket(hour)
    told = [(n, e.event, _BUCKETS[e.hour] == now) for n, e in events if e.hour is not None]
    return _moment(told, row)


def _devices(
    events: Sequence[tuple[int, Interaction]], row: Mapping[int, int], device: str | None
) -> Moment | None:
    if device is None:
        return None
    told = [(n, e.event, e.device == device) for n, e in events if e.device is not None]
    return _moment(told, row)


def _moment(told: Sequence[tuple[int, str, bool]], row: Mapping[int, int]) -> Moment:
    """Count events by whether their moment is like the present one."""
    total, like_now = [0.0] * len(row), [0.0] * len(row)
    for number, event, alike in told:
        if INTEREST[event] > 0.0:
            total[row[number]] += 1.0
            like_now[row[number]] += alike
    return Moment(total=np.array(total), like_now=np.array(like_now))
