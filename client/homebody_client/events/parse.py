"""Read one event: strict about what it says, silent about what it said.

A refusal names the field, what is wrong and what helps. It never shows a value, nor the name of a
field that the vocabulary does not know, for a name can carry data as well.
"""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn

from homebody_privacy.errors import UsageError

from .event import Event
from .plain_json import bounded_copy, read_object
from .rules import Rule
from .vocabulary import EVENTS, FIELDS, NAIVE_TIME, REQUIRED

Mode = Literal["strict", "lax"]

MOST_BYTES: Final = 65_536
"""Largest JSON text of one event."""

AHEAD_S: Final = 86_400
"""How far a clock may be ahead before its event is refused."""

_MOST_HINTS: Final = 3  # unknown names looked at for a hint: looking costs
_ENVELOPE: Final = frozenset({"user_id", "event", "timestamp", "event_id"})
_RULES: Final[dict[str, dict[str, Rule]]] = {
    name: {field: FIELDS[field] for field in kind.fields} for name, kind in EVENTS.items()
}
_REQUIRED: Final = {name: frozenset((*REQUIRED, *kind.required)) for name, kind in EVENTS.items()}
_is_naive: Final = re.compile(NAIVE_TIME).match


def parse_event(
    data: Mapping[str, Any] | str | bytes,
    *,
    now: float,
    mode: Mode = "strict",
    source: str = "app",
) -> Event:
    """Return the event that some JSON describes.

    Args:
        data: JSON text, or what a JSON parser made of it. Secret.
        now: Unix seconds.
        mode: ``strict`` refuses a field the vocabulary does not know for this kind of event,
            ``lax`` keeps it in ``ext``.
        source: Where it came from, one of ``SOURCES``.

    Raises:
        UsageError: If it is no event of the vocabulary, or more than a day ahead of ``now``. The
            message holds no value.

    Examples:
        >>> parse_event('{"user_id": "12345", "event": "like", "product_id": "SKU-987", '
        ...             '"timestamp": "2026-05-15T10:45:00Z"}', now=1.8e9)
        Event(event='like', source='app')
    """
    given = _object(data)
    kind = given.get("event")
    if not isinstance(kind, str) or kind not in EVENTS:
        what = "must be one of the vocabulary" if "event" in given else "is missing"
        _refuse(f"field event {what}", f"use one of {', '.join(EVENTS)}")
    fields, unknown = _checked(kind, given)
    ext = _kept(kind, unknown, mode) if unknown else {}
    given.update(ext)
    timestamp = datetime.fromisoformat(given["timestamp"]).timestamp()
    if not timestamp - now <= AHEAD_S:
        fix = "set the clock of whatever wrote it, or check the offset of the time"
        _refuse(f"{kind}: field timestamp is more than 24 h ahead", fix)
    event_id = given.get("event_id")
    return Event(
        event=kind,
        user_id=given["user_id"],
        timestamp=timestamp,
        event_id=event_id or _derived_id(kind, given["user_id"], timestamp, fields, ext),
        source=source,
        fields=MappingProxyType(fields),
        ext=MappingProxyType(ext),
        given=MappingProxyType(given),
    )


def _object(data: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
    """Return a fresh dictionary of what was given."""
    if isinstance(data, Mapping):
        if not all(isinstance(name, str) for name in data):
            _refuse("an event's field names must be text", "give one JSON object")
        return dict(data)
    if not isinstance(data, str | bytes):
        _refuse("an event must be a JSON object", "give one JSON object")
    if len(data) > MOST_BYTES:
        _refuse(f"an event has at most {MOST_BYTES} bytes", "leave out what is not of the event")
    value = read_object(data)
    if value is None:
        _refuse("an event must be one JSON object, no name twice, no NaN", "give one JSON object")
    return value


def _checked(kind: str, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of a kind of event, each of them right, and the unknown ones."""
    rules = _RULES[kind]
    fields: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in given.items():
        rule = rules.get(name)
        if rule is None:
            if name != "event":
                unknown[name] = value
            continue
        problem = rule.problem(value)
        if problem is not None:
            _refuse_value(kind, name, value, problem)
        if name not in _ENVELOPE:
            fields[name] = value
    if not _REQUIRED[kind] <= given.keys():
        missing = next(name for name in (*REQUIRED, *EVENTS[kind].required) if name not in given)
        _refuse(f"{kind}: field {missing} is missing", f"give {FIELDS[missing].words}")
    return fields, unknown


def _kept(kind: str, unknown: dict[str, Any], mode: Mode) -> dict[str, Any]:
    """Return the fields to keep in ``ext``; refuse them in strict mode."""
    if mode == "strict":
        _refuse_unknown(kind, unknown)
    ext = bounded_copy(unknown)
    if ext is None:
        _refuse(
            f"{kind}: an unknown field is not plain JSON, too deep or too large",
            "send plain JSON, or leave the field out",
        )
    return ext


def _refuse_unknown(kind: str, unknown: Iterable[str]) -> NoReturn:
    from difflib import get_close_matches  # noqa: PLC0415  # on the way to a refusal only

    known = list(_RULES[kind])
    names = [name[:64] for name in itertools.islice(unknown, _MOST_HINTS)]
    near = next((found for name in names for found in get_close_matches(name, known, 1)), "")
    hint = f"did you mean {near}? " if near else ""
    _refuse(
        f"{kind}: a field that this kind of event does not have",
        f"{hint}known: {', '.join(known)}; mode lax keeps others apart",
    )


def _refuse_value(kind: str, name: str, value: object, problem: str) -> NoReturn:
    if name == "timestamp" and isinstance(value, str) and _is_naive(value):
        _refuse(
            f"{kind}: field timestamp has no offset",
            "add Z for UTC or an offset such as +02:00: a time without one names no moment",
        )
    _refuse(f"{kind}: field {name} {problem}", f"give {FIELDS[name].words}")


def _refuse(message: str, fix: str) -> NoReturn:
    raise UsageError(message, fix=fix)


def _derived_id(
    kind: str, user_id: str, timestamp: float, fields: Mapping[str, Any], ext: Mapping[str, Any]
) -> str:
    """Return the SHA-256 of what an event says, whatever the order and notation of its JSON."""
    said = {n: v if isinstance(v, str) else v + 0.0 for n, v in fields.items()}
    content = [kind, user_id, math.floor(timestamp * 1e6 + 0.5), said, ext]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
