"""What a person may ask of their device: see, take along, correct, delete (GDPR Art. 15 to 17, 20).

The rows are the person's own: they may be seen while a switch is shut or everything is paused, as
long as they are there. A copy taken along carries rows and what was decided, but no yes: on another
device the person is asked again, and only then rows come in, through the collect gate.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from homebody_client.api.device_like import Known
from homebody_client.consent.book import ConsentBook
from homebody_client.consent.gates import Gates
from homebody_client.row_check import is_never_kept, problem_of
from homebody_client.store import NewRow, Store, Value
from homebody_client.store.rows import check_values
from homebody_models.catalog import ItemCatalog
from homebody_privacy.consent import Decision
from homebody_privacy.consent_terms import ConsentTerms
from homebody_privacy.errors import InvalidFileError
from homebody_privacy.receipts import ConsentReceipt

SCHEMA: Final = "homebody/export/v1"
_MOST_ROWS: Final = 1_000_000


def known_rows(book: ConsentBook, store: Store, gates: Gates) -> list[Known]:
    """Return every row kept, in the order it was kept. Secret."""
    terms = book.terms
    found = []
    for feature, key in gates.held_keys().items():
        group = None if terms is None else terms.groups.get(feature)
        editable = group is not None and group.user_editable
        found += [
            Known(row=row.seq, feature=feature, at=row.at, values=row.values, editable=editable)
            for row in store.rows(feature, key)
        ]
    return sorted(found, key=lambda row: row.row)


def correct(
    book: ConsentBook,
    store: Store,
    gates: Gates,
    row: int,
    values: Mapping[str, Value],
    *,
    catalog: ItemCatalog | None,
) -> None:
    """Change fields of a row (Art. 16).

    Args:
        book: Consent.
        store: The rows.
        gates: The device's gates.
        row: Number of the row.
        values: New values of fields its group lists. Secret.
        catalog: What is known of products; None without one.

    Raises:
        ValueError: If there is no such row, its group may not be corrected, or a field is not one
            of the group's, cannot hold the value or may never be kept with it.
    """
    found = next((known for known in known_rows(book, store, gates) if known.row == row), None)
    group = None if found is None or book.terms is None else book.terms.groups.get(found.feature)
    if found is None or group is None:
        raise ValueError("there is no such row")
    if not found.editable:
        raise ValueError("rows of this kind may be deleted, not changed")
    if not set(values) <= set(group.fields):
        raise ValueError(f"a row of this kind has the fields {', '.join(group.fields)}")
    _check_kinds(found.values, values)
    after = {**found.values, **values}
    problem = problem_of(after)
    if problem is not None:
        raise ValueError(problem)
    if is_never_kept(after, group, catalog):
        raise ValueError("a row with such a value is never kept: delete it instead")
    store.replace(row, after, gates.held_keys()[found.feature])


def _check_kinds(before: Mapping[str, Value], after: Mapping[str, Value]) -> None:
    for name, value in after.items():
        numbers = isinstance(value, int | float) and isinstance(before.get(name), int | float)
        if name in before and type(value) is not type(before[name]) and not numbers:
            raise ValueError(f"field {name} must stay of the kind it is")


def export_of(
    book: ConsentBook,
    rows: Sequence[Known],
    receipts: Sequence[ConsentReceipt],
    more: Mapping[str, object],
) -> dict[str, object]:
    """Return everything of the person, as JSON (Art. 15 and 20). Secret.

    Args:
        book: Consent.
        rows: Every row kept.
        receipts: Every receipt that verifies.
        more: What else the device has to say of itself.
    """
    terms = book.terms
    purposes = () if terms is None else tuple(terms.purposes)
    return {
        "schema": SCHEMA,
        "rows": [
            {"feature": row.feature, "at": row.at, "values": dict(row.values)} for row in rows
        ],
        "decisions": [_decision(book.decision(purpose)) for purpose in purposes],
        "receipts": [receipt.to_json() for receipt in receipts],
        "groups": {} if terms is None else _groups(terms),
        **more,
    }


def _decision(decision: Decision) -> dict[str, object]:
    return {
        "purpose": decision.purpose,
        "state": decision.state.value,
        "features": list(decision.features),
        "policy_version": decision.policy_version,
        "notice_sha256": decision.notice_sha256,
        "language": decision.language,
        "given_at": decision.given_at,
        "valid_until": decision.valid_until,
    }


def _groups(terms: ConsentTerms) -> dict[str, object]:
    return {
        name: {"fields": list(group.fields), "ttl_days": group.ttl_days}
        for name, group in terms.groups.items()
    }


def rows_of_export(
    document: object, gates: Gates, now: float, *, catalog: ItemCatalog | None
) -> list[NewRow]:
    """Return the rows of an export that this device may collect now, as it would keep them.

    Args:
        document: What ``export_of`` returned, parsed. Secret.
        gates: The device's gates.
        now: The time in force: on this device the rows are collected now.
        catalog: What is known of products; None without one.

    Raises:
        InvalidFileError: If it is no export.
    """
    found: list[NewRow] = []
    alike: Counter[str] = Counter()
    terms = gates.book.terms
    for number, row in enumerate(_rows(document)):
        feature, at, given = _row(number, row)
        values = gates.collect({feature: given}).get(feature)
        if terms is None or values is None:
            continue
        if is_never_kept(values, terms.groups[feature], catalog):
            continue
        said = json.dumps([feature, at, values], sort_keys=True)
        alike[said] += 1  # taken in again, also in a later export, a row is the same row
        event_id = hashlib.sha256(f"export/{alike[said]}/{said}".encode()).hexdigest()
        found.append(NewRow(feature=feature, values=values, at=now, event_id=event_id))
    return found


def _row(number: int, row: object) -> tuple[str, float, dict[str, Value]]:
    match row:
        case {"feature": str() as feature, "at": float() | int() as at, "values": dict() as values}:
            with suppress(ValueError):
                check_values(values)
                if problem_of(values) is None:
                    return feature, at, values
    raise InvalidFileError(f"row {number} of the export is damaged", fix="export it again")


def _rows(document: object) -> list[Any]:
    match document:
        case {"schema": schema, "rows": list() as rows} if schema == SCHEMA:
            if len(rows) <= _MOST_ROWS:
                return rows
    raise InvalidFileError(
        "it is no export of a device", fix="name a file of homebody device export"
    )
