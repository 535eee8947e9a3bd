"""The part of SARIF 2.1.0's schema that a check uses: names, types and what is required.

Written after section 3 of the standard: like its own schema it lets no other property in.
"""

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_INDEX: Final = {"type": "integer", "minimum": -1}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "type": "object",
        "required": list(required),
        "properties": {name.rstrip("_"): value for name, value in properties.items()},
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_BAG: Final = {"type": "object"}
_MESSAGE: Final = _object(("text",), text={"type": "string", "minLength": 1})
_ARTIFACT_LOCATION: Final = _object(
    uri={"type": "string", "format": "uri-reference"}, uriBaseId=_TEXT, index=_INDEX
)
_REGION: Final = _object(startLine={"type": "integer", "minimum": 1})
_LOCATION: Final = _object(
    physicalLocation=_object(artifactLocation=_ARTIFACT_LOCATION, region=_REGION),
    logicalLocations=_list(_object(fullyQualifiedName=_TEXT, kind=_TEXT, name=_TEXT)),
)
_SUPPRESSION: Final = _object(
    ("kind",),
    kind={"enum": ["inSource", "external"]},
    status={"enum": ["accepted", "underReview", "rejected"]},
    justification=_TEXT,
)
_RESULT: Final = _object(
    ("message",),
    ruleId=_TEXT,
    ruleIndex=_INDEX,
    level={"enum": ["none", "note", "warning", "error"]},
    message=_MESSAGE,
    locations=_list(_LOCATION),
    partialFingerprints={"type": "object", "additionalProperties": _TEXT},
    suppressions=_list(_SUPPRESSION),
)
_DESCRIPTOR: Final = _object(
    ("id",), id=_TEXT, shortDescription=_MESSAGE, help=_MESSAGE, helpUri=_TEXT, properties=_BAG
)
_DRIVER: Final = _object(
    ("name",), name=_TEXT, version=_TEXT, semanticVersion=_TEXT, rules=_list(_DESCRIPTOR)
)
_ARTIFACT: Final = _object(
    location=_ARTIFACT_LOCATION,
    roles=_list({"enum": ["analysisTarget", "policy", "resultFile"]}),
    properties=_BAG,
)
_RUN: Final = _object(
    ("tool",),
    tool=_object(("driver",), driver=_DRIVER),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    artifacts=_list(_ARTIFACT),
    results=_list(_RESULT),
    properties=_BAG,
)
SARIF: Final = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": _list(_RUN),
    },
    "additionalProperties": False,
}
"""JSON Schema (2020-12)."""
