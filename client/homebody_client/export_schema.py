"""The JSON Schema of a person's own copy (GDPR Art. 20: structured and machine-readable).

It says what ``rights.export_of`` writes. Nothing may be in a copy that no description names, except
what an app's groups list as fields and what a model's publisher says of it.
"""

from dataclasses import fields
from types import NoneType
from typing import Any, Final, get_args

from homebody_client.consent.egress import KINDS, EgressEntry
from homebody_client.rights import SCHEMA
from homebody_client.store import Value
from homebody_privacy.consent import ConsentState
from homebody_privacy.receipts import ConsentReceipt

_KINDS: Final = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
}
_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_NUMBER: Final = {"type": "number"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_DIGEST: Final = {"type": "string", "pattern": "^([0-9a-f]{64})?$"}


def export_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of what a device exports of a person."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:homebody:export:1",
        "title": "homebody export",
        "description": "Everything a device keeps of a person, for the person.",
        **_closed(
            {
                "schema": {"const": SCHEMA},
                "exported_at": _NUMBER,
                "rows": _list(_row()),
                "decisions": _list(_decision()),
                "receipts": _list(_receipt()),
                "groups": {"type": "object", "additionalProperties": _group()},
                "strength": {"type": "integer", "minimum": 0, "maximum": 100},
                "model": {"type": "object"},
                "reasons": _list(_closed({"product_id": _TEXT, "code": _TEXT, "text": _TEXT})),
                "left": _list(_left()),
                "joined": _list(_closed({"run": _TEXT, "rounds": _COUNT, "last_round": _COUNT})),
                "problems": _TEXTS,
            }
        ),
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _row() -> dict[str, Any]:
    kinds = sorted({_KINDS[kind] for kind in get_args(Value)})
    values = {"type": "object", "additionalProperties": {"type": kinds}}
    return _closed({"feature": _TEXT, "at": _NUMBER, "values": values})


def _group() -> dict[str, Any]:
    return _closed({"fields": _TEXTS, "ttl_days": {"type": "integer", "minimum": 1}})


def _decision() -> dict[str, Any]:
    return _closed(
        {
            "purpose": _TEXT,
            "state": {"enum": [state.value for state in ConsentState]},
            "features": _TEXTS,
            "policy_version": _COUNT,
            "notice_sha256": _DIGEST,
            "language": _TEXT,
            "given_at": _NUMBER,
            "valid_until": _NUMBER,
        }
    )


def _receipt() -> dict[str, Any]:
    """Describe a receipt, every field of it: the class says which there are."""
    known = {
        "features": _TEXTS,
        "valid_until": {"type": ["integer", "null"], "minimum": 0},
        "by": {"enum": ["DataSubject", "DataController"]},
    }
    plain: dict[Any, dict[str, Any]] = {str: _TEXT, int: _COUNT, bool: {"type": "boolean"}}
    said = {one.name: known.get(one.name) or plain[one.type] for one in fields(ConsentReceipt)}
    return _closed({"v": {"const": 1}, **said})


def _left() -> dict[str, Any]:
    """Describe an entry of the egress log."""
    known = {
        "kind": {"enum": list(KINDS)},
        "time": _NUMBER,
        "round": {"type": ["integer", "null"], "minimum": 1},
        "charge": {"type": ["string", "null"]},
        "bytes": _COUNT,
        "sent": {"type": "boolean"},
    }
    return _closed({one.name: known.get(one.name, _TEXT) for one in fields(EgressEntry)})
