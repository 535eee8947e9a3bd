"""The person's full copy of their consents: a record structured after ISO/IEC TS 27560 through DPV.

JSON-LD in the terms of the W3C Data Privacy Vocabulary (https://w3id.org/dpv), after the guide of
its Community Group for consent records, profile for the EU GDPR
(https://w3id.org/dpv/guides/consent-27560). "Structured after", never "certified": the group's
report is not a W3C Standard, and DPV has no term for federated learning.

What a record must have is in ``consent-record.schema.json`` (JSON Schema 2020-12). ``problems``
reads the few keywords that schema uses, so that a device needs no schema library; the SHACL shape
``consent-record.shapes.ttl`` says the same of the graph, for whoever receives a record.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

from .consent import OPEN_STATES, STRICT_SENSITIVITIES, ConsentState, is_allowed
from .consent_terms import ConsentTerms, GroupTerms
from .receipts import ConsentReceipt

SCHEMA_FILE: Final = "consent-record.schema.json"
SHAPES_FILE: Final = "consent-record.shapes.ttl"

_PROFILE: Final = "https://w3id.org/dpv/guides/consent-27560#record-eu-gdpr"
_ROOT: Final = "urn:homebody:consent-records"
_UNSTATED: Final = "not stated in the privacy config"
_CONTEXT: Final = {
    "dcmitype": "http://purl.org/dc/dcmitype/",
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
_RIGHTS: Final = (
    ("eu-gdpr:A7-3", "withdraw consent"),
    ("eu-gdpr:A15", "see the data"),
    ("eu-gdpr:A16", "correct the data"),
    ("eu-gdpr:A17", "have the data erased"),
    ("eu-gdpr:A18", "freeze processing"),
    ("eu-gdpr:A20", "take the data along"),
    ("eu-gdpr:A77", "complain to the authority"),
)
_SCREEN: Final = "the consent switches of the device page, and homebody device consent"
_KNOWN: Final = frozenset(ConsentState)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerFacts:
    """Who decides; from ``[activity]`` of the privacy config. Public.

    Attributes:
        name: Name with legal form.
        contact: Where people write to.
        address: Postal address; empty if the config states none, as below.
        authority: Who takes complaints.
        jurisdictions: Whose law applies.
        recipients: Who else receives anything.
        transfers: How anything leaves the jurisdictions.
    """

    name: str
    contact: str
    address: str = ""
    authority: str = ""
    jurisdictions: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    transfers: str = ""


def consent_records(
    receipts: Iterable[ConsentReceipt],
    terms: ConsentTerms,
    controller: ControllerFacts,
    *,
    subject: str,
    new_id: Callable[[], str],
) -> dict[str, Any]:
    """Return the records of all purposes anything was ever said of, as one JSON-LD document.

    Args:
        receipts: All receipts of the device, oldest first.
        terms: Terms in force.
        controller: Who decides.
        subject: Random id that stands for the person in this document alone.
        new_id: Draws a random id for each record.

    Raises:
        ValueError: If nothing was ever said of any purpose.
    """
    said: dict[str, list[ConsentReceipt]] = {}
    for receipt in receipts:
        if receipt.event in _KNOWN:
            said.setdefault(receipt.purpose, []).append(receipt)
    if not said:
        raise ValueError("there is no receipt to make a record of")
    parts = [
        _record(purpose, events, terms, controller, subject=subject, record_id=new_id())
        for purpose, events in sorted(said.items())
    ]
    return {
        "@context": dict(_CONTEXT),
        "@id": _ROOT,
        "@type": "dcmitype:Collection",
        "dct:hasPart": parts,
    }


def problems(document: object) -> list[str]:
    """Say what a document lacks to be a set of records; empty if it lacks nothing.

    Returns:
        A sentence for each problem, with the place of it; none holds a value of the document.
    """
    schema = record_schema()
    return [f"{place or '/'}: {what}" for place, what in _check(document, schema, schema, "")]


@cache
def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    text = files(__package__).joinpath(SCHEMA_FILE).read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def shapes() -> str:
    """Return the SHACL shapes of the document, in Turtle."""
    return files(__package__).joinpath(SHAPES_FILE).read_text("utf-8")


def _record(  # one row of the table of the design is one field here
    purpose: str,
    events: list[ConsentReceipt],
    terms: ConsentTerms,
    controller: ControllerFacts,
    *,
    subject: str,
    record_id: str,
) -> dict[str, Any]:
    asked = [name for name in terms.groups if is_allowed(terms, purpose, name)]
    features = sorted({f for event in events for f in event.features} or asked)  # a no names none
    groups = {name: terms.groups[name] for name in features if name in terms.groups}
    known = terms.purposes.get(purpose)
    leaves = known is not None and known.leaves_device
    return {
        "@id": f"urn:homebody:consent-record:{record_id}",
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": {"@id": _PROFILE},
        "dct:identifier": record_id,
        "dpv:hasDataSubject": {"@type": "dpv:DataSubject", "dct:identifier": subject},
        "dpv:hasNotice": [_notice(words) for words in _words_shown(events)],
        "dpv:hasPurpose": {
            "@type": "dpv:Purpose",
            "dct:identifier": purpose,
            "dct:title": purpose if known is None else known.title,
        },
        "dpv:hasLegalBasis": {"@id": _basis(groups.values())},
        "dpv:hasPersonalData": [_data(name, terms) for name in features],
        "dpv:hasDataController": {
            "@type": "dpv:DataController",
            "dct:identifier": controller.name,
            "dpv:hasName": controller.name,
            "dpv:hasAddress": controller.address or _UNSTATED,
            "dpv:hasContact": controller.contact,
        },
        "dpv:hasDataSource": {"@id": "dpv:DataSubjectDataSource"},
        "dpv:hasProcessing": [{"@id": "dpv:Collect"}, {"@id": "dpv:Profiling"}],
        "dpv:hasStorageCondition": [
            {"@type": "dpv:StorageLocation", "dpv:hasLocation": {"@id": "dpv:LocalLocation"}},
            *(_duration(name, group) for name, group in groups.items()),
        ],
        "dpv:hasRecipient": [
            {"@type": "dpv:Recipient", "dpv:hasName": name}
            for name in _recipients(controller, leaves=leaves)
        ],
        "dpv:hasLocation": controller.transfers or _UNSTATED,
        "dpv:hasJurisdiction": list(controller.jurisdictions) or [_UNSTATED],
        "dpv:hasAuthority": {
            "@type": "dpv:DataProtectionAuthority",
            "dpv:hasName": controller.authority or _UNSTATED,
        },
        "dpv:hasConsentControl": {
            "@type": "dpv:WithdrawConsent",
            "dpv:isExercisedAt": _SCREEN,
        },
        "dpv:hasRight": [
            {"@type": article, "dct:title": title, "dpv:isExercisedAt": _SCREEN}
            for article, title in _RIGHTS
        ],
        "dpv:hasConsentStatus": [_event(event) for event in events],
    }


def _event(receipt: ConsentReceipt) -> dict[str, Any]:
    expressed = "dpv:ExplicitlyExpressedConsent" if receipt.explicit else "dpv:ExpressedConsent"
    given = receipt.event in OPEN_STATES
    told: dict[str, Any] = {
        "@id": f"urn:homebody:receipt:{receipt.n}",
        "@type": [f"dpv:{receipt.event}", *([expressed] if given else [])],
        "dpv:isIndicatedAtTime": _time(receipt.at),
        "dpv:isIndicatedBy": {"@id": f"dpv:{receipt.by}"},
        "dpv:isExercisedAt": receipt.method or _SCREEN,
        "dct:description": ", ".join(receipt.features) or receipt.purpose,
    }
    if receipt.valid_until is not None:
        told["dct:valid"] = _time(receipt.valid_until)
    if receipt.cause:
        told["dct:provenance"] = receipt.cause
    return told


def _words_shown(events: Iterable[ConsentReceipt]) -> list[tuple[str, str, int]]:
    """Return digest, language and version of all words that were shown, in their order."""
    shown = {(e.notice_sha256, e.language, e.policy_version): None for e in events}
    with_words = [words for words in shown if words[0]]
    return with_words or list(shown)


def _notice(words: tuple[str, str, int]) -> dict[str, Any]:
    digest, language, version = words
    return {
        "@type": "dpv:ConsentNotice",
        "dct:identifier": f"sha256:{digest}" if digest else "no words were named",
        "dct:language": language or "und",
        "dct:hasVersion": str(version),
    }


def _data(name: str, terms: ConsentTerms) -> dict[str, Any]:
    group = terms.groups.get(name)
    special = group is not None and group.sensitivity in STRICT_SENSITIVITIES
    return {
        "@type": "dpv:SpecialCategoryPersonalData" if special else "dpv:PersonalData",
        "dct:identifier": name,
        "dct:description": name if group is None else ", ".join(group.fields),
        "dpv:hasNecessity": {"@id": "dpv:Optional"},
    }


def _duration(name: str, group: GroupTerms) -> dict[str, Any]:
    return {
        "@type": "dpv:StorageDuration",
        "dct:identifier": name,
        "dpv:hasDuration": {"@type": "xsd:duration", "@value": f"P{group.ttl_days}D"},
    }


def _basis(groups: Iterable[GroupTerms]) -> str:
    special = any(group.sensitivity == "special" for group in groups)
    return "eu-gdpr:A9-2-a" if special else "eu-gdpr:A6-1-a"


def _recipients(controller: ControllerFacts, *, leaves: bool) -> list[str]:
    if controller.recipients:
        return list(controller.recipients)
    return [f"{controller.name}, sums of many devices alone"] if leaves else ["nobody"]


def _time(seconds: int) -> dict[str, str]:
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"@type": "xsd:dateTime", "@value": moment}


_TYPES: Final[Mapping[str, type]] = {"object": dict, "array": list, "string": str}


def _check(
    value: object, schema: Mapping[str, Any], whole: Mapping[str, Any], place: str
) -> list[tuple[str, str]]:
    """Return what breaks a schema; knows the keywords of ours, and refuses any other.

    Raises:
        ValueError: If the schema uses a keyword that is not known here.
    """
    if "$ref" in schema:
        return _check(value, whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], whole, place)
    unknown = schema.keys() - _KEYWORDS
    if unknown:
        raise ValueError(f"the schema uses {', '.join(sorted(unknown))}, which is not known here")
    kind = schema.get("type")
    if kind is not None and not isinstance(value, _TYPES[kind]):
        return [(place, f"must be of type {kind}")]
    found = [] if "const" not in schema or value == schema["const"] else [(place, "must be fixed")]
    if "enum" in schema and value not in schema["enum"]:
        found.append((place, "is none of the values it may have"))
    if isinstance(value, str):
        found += _check_text(value, schema, place)
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append((place, "has too few items"))
        for number, item in enumerate(value):
            found += _check(item, schema.get("items", {}), whole, f"{place}/{number}")
    if isinstance(value, dict):
        found += _check_fields(value, schema, whole, place)
    return found


_KEYWORDS: Final = frozenset(
    {"$schema", "$id", "$defs", "title", "description", "type", "const", "enum", "required",
     "properties", "additionalProperties", "items", "minItems", "minLength", "pattern"}
)  # fmt: skip


def _check_text(value: str, schema: Mapping[str, Any], place: str) -> list[tuple[str, str]]:
    found = []
    if len(value) < schema.get("minLength", 0):
        found.append((place, "is too short"))
    if "pattern" in schema and re.search(schema["pattern"], value) is None:
        found.append((place, "has another form"))
    return found


def _check_fields(
    value: Mapping[str, object], schema: Mapping[str, Any], whole: Mapping[str, Any], place: str
) -> list[tuple[str, str]]:
    fields: Mapping[str, Any] = schema.get("properties", {})
    found = [
        (place, f"{name} is missing") for name in schema.get("required", ()) if name not in value
    ]
    if schema.get("additionalProperties") is False:
        found += [(place, "has a field that is not known") for name in value if name not in fields]
    for name, inner in fields.items():
        if name in value:
            found += _check(value[name], inner, whole, f"{place}/{name}")
    return found
