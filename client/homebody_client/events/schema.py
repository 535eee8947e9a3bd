"""The vocabulary as JSON Schema 2020-12, derived from the table the parser uses."""

from typing import Any, Final, Literal

from .vocabulary import EVENTS, FIELDS, OPTIONAL, REQUIRED

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def event_schema(mode: Literal["strict", "lax"] = "strict") -> dict[str, Any]:
    """Return the schema of every event that ``parse_event`` accepts.

    Args:
        mode: ``strict`` refuses unknown fields, ``lax`` lets them be.

    Guarantees:
        It and ``parse_event`` agree on every JSON value, but for what a schema cannot say: a time
        more than a day ahead, and the size of unknown fields.
    """
    kinds = {name: _kind(name, closed=mode == "strict") for name in EVENTS}
    fields = {f"field_{name}": rule.schema() for name, rule in FIELDS.items()}
    return {
        "$schema": DIALECT,
        "$id": f"urn:homebody:events:1:{mode}",
        "title": "homebody event",
        "type": "object",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": kinds | fields,
    }


def _kind(name: str, *, closed: bool) -> dict[str, Any]:
    kind = EVENTS[name]
    fields = (*REQUIRED, *kind.required, *OPTIONAL, *kind.optional)
    shape: dict[str, Any] = {
        "type": "object",
        "properties": {
            field: {"const": name} if field == "event" else {"$ref": f"#/$defs/field_{field}"}
            for field in fields
        },
        "required": [*REQUIRED, *kind.required],
    }
    return shape | {"additionalProperties": False} if closed else shape
