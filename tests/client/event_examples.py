"""Events that are right, events that are wrong, and strategies that mix the two."""

from typing import Any, Final

from hypothesis import strategies as st

from homebody_client.events.vocabulary import DEVICES, EVENTS, FIELDS

NOW: Final = 1_800_000_000.0
END_OF_TIME: Final = 4_200_000_000.0
"""Unix seconds after any time the vocabulary can write."""

SEED: Final = {
    "user_id": "12345",
    "event": "product_view",
    "product_id": "SKU-987",
    "timestamp": "2026-05-15T10:45:00Z",
    "device": "mobile",
}

_VALUES: Final[dict[str, Any]] = {
    "user_id": "12345",
    "event_id": "e-1",
    "timestamp": "2026-05-15T10:45:00.250+02:00",
    "device": "mobile",
    "session_id": "s-1",
    "product_id": "SKU-987",
    "category": "Coffee & tea",
    "price": 12.5,
    "quantity": 3,
    "currency": "EUR",
    "order_id": "o-1",
    "surface": "home",
    "position": 0,
    "recommendation_id": "r-1",
    "query": "grüner Tee 🍵",
    "results": 40,
    "rating": 4.5,
    "cause": "not_interested",
    "seconds": 31.5,
    "amount": -19.99,
    "merchant": "Corner Bakery",
    "feature": "export",
    "role": "marketer",
    "campaign_id": "c-1",
}


def smallest(kind: str) -> dict[str, Any]:
    """Return an event of a kind with its required fields alone."""
    return {
        "user_id": "12345",
        "event": kind,
        "timestamp": "2026-05-15T10:45:00Z",
        **{name: _VALUES[name] for name in EVENTS[kind].required},
    }


def fullest(kind: str) -> dict[str, Any]:
    """Return an event of a kind with every field it can have."""
    return {"event": kind, **{name: _VALUES[name] for name in EVENTS[kind].fields}}


WRONG: Final[dict[str, list[Any]]] = {
    "user_id": ["", "x" * 129, 12345, None, "a\nb"],
    "event_id": ["", "x" * 129, 7],
    "timestamp": [
        "2026-05-15T10:45:00",
        "2026-05-15 10:45:00Z",
        "2026-02-29T10:45:00Z",
        "2026-04-31T10:45:00Z",
        "2026-05-15T24:00:00Z",
        "2026-05-15T10:45:60Z",
        "2026-05-15T10:45:00+0200",
        "2026-05-15T10:45:00Z\n",
        "2026-W20-5T10:45:00Z",
        "\u0662026-05-15T10:45:00Z",
        1_778_841_900,
    ],
    "device": ["iPhone 17 of Ada", "Mobile", "", 1, ["mobile"], {"type": "mobile"}],
    "product_id": ["", "x" * 129, "a\x00b", "\ud800", 7, None, ["SKU-1"]],
    "price": ["12.50", True, 1e10, float("inf"), None],
    "quantity": [0, -1, 1.5, "3", True, 10**400],
    "currency": ["eur", "EURO", "€", "EUR\n", 978],
    "position": [-1, 0.5, 10_001],
    "rating": [-0.5, 5.5, "5"],
    "cause": ["", "because", None],
    "seconds": [-1, 86_401],
    "query": ["", "x" * 257, "a\tb"],
    "results": [-1, 2.5],
    "amount": ["12", float("-inf"), False],
    "feature": ["", "x" * 65],
    "role": ["", "\x7f"],
}
"""Values no event may have, by field."""


def anything() -> st.SearchStrategy[Any]:
    """Return any JSON value, with lone surrogates and huge numbers."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(min_value=10**30, max_value=10**400)
        | st.floats(allow_nan=False)
        | st.text(st.characters(), max_size=40)
    )
    names = st.text(st.characters(), max_size=20) | st.sampled_from(sorted(FIELDS))
    return st.recursive(
        leaves,
        lambda part: st.lists(part, max_size=4) | st.dictionaries(names, part, max_size=4),
        max_leaves=8,
    )


def _field(name: str) -> st.SearchStrategy[Any]:
    """Return values of a field, most of them right."""
    right = st.just(_VALUES[name])
    if name == "timestamp":
        right |= st.datetimes().map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}Z")
    elif name == "device":
        right |= st.sampled_from(DEVICES)
    elif isinstance(_VALUES[name], str):
        right |= st.text(st.characters(), max_size=140)
    else:
        right |= st.floats(allow_nan=False) | st.integers(-5, 100_010)
    return st.one_of(right, right, right, st.sampled_from(WRONG.get(name, [""])), anything())


@st.composite
def near_events(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an object that is an event, or nearly one."""
    kind = draw(st.sampled_from(sorted(EVENTS)))
    names = list(EVENTS[kind].fields)
    if draw(st.integers(0, 5)) == 0:
        names.remove(draw(st.sampled_from(names)))
    found = {"event": kind}
    spoiled = draw(st.sampled_from(names)) if draw(st.booleans()) else None
    required = {"user_id", "timestamp", *EVENTS[kind].required}
    for name in names:
        if name in required or draw(st.booleans()):
            found[name] = draw(_field(name)) if name == spoiled else _VALUES[name]
    if draw(st.integers(0, 5)) == 0:
        found[draw(st.text(min_size=1, max_size=8))] = draw(anything())
    return found
