"""The columns of a catalog, and the only way to read them from verified JSON."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

import numpy as np
import numpy.typing as npt

from homebody_models.json_fields import to_list, to_object, to_text, to_whole

CATALOG_SCHEMA: Final = 1
MOST_ITEMS: Final = 1_000_000
LONGEST_ID: Final = 200
LONGEST_TITLE: Final = 500
_MOST_TOPICS: Final = 1_000
_MOST_CATEGORIES: Final = 10_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOPIC = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PRICE = r"(?:[0-9]{1,12}(?:\.[0-9]{1,4})?)?"  # empty where it is not said
_PRICES = re.compile(rf"{_PRICE}(?:\n{_PRICE})*")
_CURRENCY = re.compile(r"[A-Z]{3}")
_FIELDS: Final = {
    "schema",
    "catalog_id",
    "version",
    "ids",
    "titles",
    "categories",
    "category",
    "topics",
}
_OPTIONAL: Final = {"currency", "prices", "created"}

T = TypeVar("T", bound=Sequence[object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a catalog says of its items, one entry an item. Public.

    Attributes:
        catalog_id: Which line of catalogs this is.
        version: Rises with each publication, from 1.
        ids: Product ids, distinct.
        titles: Name shown to people.
        categories: Names of the categories, distinct.
        category: int32, index of the item's category; -1 for none.
        topics: Indices of the items of each topic, rising.
        currency: ISO 4217 code of the prices; empty where there are none.
        prices: float64; NaN for none.
        created: int64, Unix seconds; 0 where that is not said.
    """

    catalog_id: str
    version: int
    ids: tuple[str, ...] = field(repr=False)
    titles: tuple[str, ...] = field(repr=False)
    categories: tuple[str, ...] = field(repr=False)
    category: npt.NDArray[np.int32] = field(repr=False)
    topics: Mapping[str, npt.NDArray[np.int64]] = field(repr=False)
    currency: str
    prices: npt.NDArray[np.float64] = field(repr=False)
    created: npt.NDArray[np.int64] = field(repr=False)


def parse_columns(value: object) -> Columns:
    """Read the columns of a catalog.

    Args:
        value: Parsed JSON, already verified.

    Raises:
        ValueError: If the schema is another, or a field is missing, unknown, malformed or of
            another length than ``ids``.
    """
    whole = dict(to_object(value, "the catalog"))
    if type(whole.get("schema")) is not int or whole["schema"] != CATALOG_SCHEMA:
        raise ValueError(f"schema must be {CATALOG_SCHEMA}: another one needs another app")
    extra = {name: whole.pop(name) for name in _OPTIONAL & set(whole)}
    fields = to_object(whole, "the catalog", _FIELDS)
    ids = to_texts(fields["ids"], "ids", longest=LONGEST_ID)
    if not 1 <= len(ids) <= MOST_ITEMS:
        raise ValueError(f"a catalog has 1 to {MOST_ITEMS} items")
    if len(set(ids)) != len(ids):
        raise ValueError("ids must be distinct")
    categories = to_texts(fields["categories"], "categories", longest=LONGEST_ID)
    if len(set(categories)) != len(categories) or len(categories) > _MOST_CATEGORIES:
        raise ValueError(f"categories must be distinct, at most {_MOST_CATEGORIES}")
    n = len(ids)
    currency, prices = _prices(extra, n)
    return Columns(
        catalog_id=to_text(fields["catalog_id"], "catalog_id"),
        version=to_whole(fields["version"], "version", least=1),
        ids=ids,
        titles=_of_length(to_texts(fields["titles"], "titles", longest=LONGEST_TITLE), n, "titles"),
        categories=categories,
        category=_wholes(fields["category"], "category", n, -1, len(categories) - 1).astype(
            np.int32
        ),
        topics=_topics(fields["topics"], n),
        currency=currency,
        prices=prices,
        created=_wholes(extra.get("created", [0] * n), "created", n, 0, 2**53 - 1),
    )


def to_texts(value: object, name: str, *, longest: int) -> tuple[str, ...]:
    """Return a list of texts that are not empty, not too long and hold no control character."""
    texts = to_list(value, name)
    if not set(map(type, texts)) <= {str}:
        raise ValueError(f"{name} must hold texts")
    strings = cast("list[str]", texts)
    if strings and not 0 < min(map(len, strings)) <= max(map(len, strings)) <= longest:
        raise ValueError(f"{name} must hold texts of 1 to {longest} characters")
    joined = "".join(strings)
    if _CONTROL.search(joined):
        raise ValueError(f"{name} must not hold control characters")
    joined.encode()  # half a surrogate pair is no text
    return tuple(strings)


def _prices(extra: Mapping[str, object], n: int) -> tuple[str, npt.NDArray[np.float64]]:
    """Return currency and prices, which come together or not at all."""
    if ("currency" in extra) != ("prices" in extra):
        raise ValueError("currency and prices come together or not at all")
    if "prices" not in extra:
        return "", np.full(n, np.nan)
    currency = to_text(extra["currency"], "currency")
    if not _CURRENCY.fullmatch(currency):
        raise ValueError("currency must be three capital letters")
    texts = _of_length(to_list(extra["prices"], "prices"), n, "prices")
    words = "prices must hold decimal texts such as 2.49, or empty ones"
    if not set(map(type, texts)) <= {str}:
        raise ValueError(words)
    strings = cast("list[str]", texts)
    joined = "\n".join(strings)  # one look at all of them: a device reads thousands at a start
    if joined.count("\n") != max(0, n - 1) or not _PRICES.fullmatch(joined):
        raise ValueError(words)
    return currency, np.array([float(text or "nan") for text in strings], np.float64)


def _topics(value: object, n: int) -> dict[str, npt.NDArray[np.int64]]:
    """Return the items of each topic."""
    table = to_object(value, "topics")
    if len(table) > _MOST_TOPICS or not all(_TOPIC.fullmatch(name) for name in table):
        raise ValueError(
            f"topics must have at most {_MOST_TOPICS} names of lower-case letters, digits, - and _"
        )
    return {name: _rising(items, n) for name, items in table.items()}


def _rising(value: object, n: int) -> npt.NDArray[np.int64]:
    items = to_list(value, "topics")
    array = _wholes(items, "topics", len(items), 0, n - 1)
    if (np.diff(array) <= 0).any():
        raise ValueError("topics must list rising indices of items")
    return array


def _wholes(value: object, name: str, n: int, least: int, most: int) -> npt.NDArray[np.int64]:
    """Return a list of ``n`` whole numbers in a range; true and false are none."""
    numbers = _of_length(to_list(value, name), n, name)
    if not set(map(type, numbers)) <= {int}:
        raise ValueError(f"{name} must hold whole numbers")
    wholes = cast("list[int]", numbers)
    if wholes and not least <= min(wholes) <= max(wholes) <= most:
        raise ValueError(f"{name} must hold whole numbers in {least}..{most}")
    return np.array(wholes, np.int64)


def _of_length(values: T, n: int, name: str) -> T:
    if len(values) != n:
        raise ValueError(f"{name} must have {n} entries, one for each id")
    return values
