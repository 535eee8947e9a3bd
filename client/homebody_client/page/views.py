"""What the templates are given: a device's answers, in the words and order people read them."""

import hashlib
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Final

from homebody_client.api.device_like import DeviceLike, Known
from homebody_privacy.egress_map import words_of_charge

from . import words

_ROWS: Final = 60  # of the newest rows shown at once
_ENTRIES: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Something that raised an item, and can be forgotten."""

    product_id: str = field(repr=False)
    title: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One item of the list. Secret."""

    key: str
    product_id: str = field(repr=False)
    title: str = field(repr=False)
    reason: str = field(repr=False)
    causes: tuple[Cause, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The list and why it is as it is. Secret."""

    cards: tuple[Card, ...]
    personal: bool
    state: str
    strength: int
    announcement: str = field(repr=False)


def shown(device: DeviceLike, n: int) -> Shown:
    """Return a device's list as cards."""
    found = device.recommend(n=n)
    cards = tuple(
        Card(
            key=key(item.product_id),
            product_id=item.product_id,
            title=device.title(item.product_id),
            reason=str(item.reason),
            causes=tuple(
                Cause(product_id=cause, title=device.title(cause)) for cause in item.reason.causes
            ),
        )
        for item in found
    )
    first = f" First: {cards[0].title}. {cards[0].reason}." if cards else ""
    return Shown(
        cards=cards,
        personal=found.personalised,
        state=words.state_of_list(found.fallback_reason),
        strength=device.strength,
        announcement=f"The list changed.{first}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing the device keeps. Secret."""

    row: int
    title: str = field(repr=False)
    did: str = field(repr=False)
    when: str = field(repr=False)
    machine_time: str = field(repr=False)
    group: str
    product_id: str = field(repr=False)
    fields: tuple[tuple[str, str | int | float | bool | None], ...] = field(repr=False)
    editable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The newest rows, and how many there are."""

    rows: tuple[Row, ...]
    total: int


def rows(device: DeviceLike, zone: tzinfo | None = None) -> Rows:
    """Return what a device keeps, newest first."""
    known = device.knows()
    newest = tuple(_row(device, one, zone) for one in reversed(known[-_ROWS:]))
    return Rows(rows=newest, total=len(known))


def _row(device: DeviceLike, known: Known, zone: tzinfo | None) -> Row:
    product = known.values.get("product_id")
    product_id = product if isinstance(product, str) else ""
    fixed = ("event", "product_id")
    return Row(
        row=known.row,
        title=device.title(product_id) if product_id else words.spaced(known.feature),
        did=words.did(known.values.get("event")),
        when=words.when(known.at, zone),
        machine_time=words.machine_time(known.at, zone),
        group=words.spaced(known.feature),
        product_id=product_id,
        fields=tuple((name, value) for name, value in known.values.items() if name not in fixed),
        editable=known.editable,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One entry of the egress log, in words."""

    when: str
    machine_time: str
    sent: bool
    summary: str
    purpose: str
    size: str
    charge: str
    why: str


def sendings(device: DeviceLike, zone: tzinfo | None = None) -> tuple[Sending, ...]:
    """Return what left, newest first."""
    terms = device.consent.terms
    titles = {name: one.title for name, one in terms.purposes.items()} if terms else {}
    return tuple(
        Sending(
            when=words.when(one.time, zone),
            machine_time=words.machine_time(one.time, zone),
            sent=one.sent,
            summary=one.summary,
            purpose=titles.get(one.purpose, words.spaced(one.purpose)),
            size=words.size(one.bytes),
            charge=words_of_charge(one.charge),
            why=one.why.partition(": ")[2] or one.why,
        )
        for one in reversed(device.egress.tail(_ENTRIES))
    )


def key(product_id: str) -> str:
    """Return a short name for a product that can stand in the page's ids."""
    return hashlib.blake2s(product_id.encode("utf-8", "replace"), digest_size=6).hexdigest()
