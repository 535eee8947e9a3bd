"""CN-21: a record passes schema and shape; without any mandatory field both refuse it."""

import copy
import json
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pyshacl
import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy import consent_record
from homebody_privacy.consent_record import (
    ControllerFacts,
    consent_records,
    problems,
    record_schema,
    shapes,
)
from homebody_privacy.consent_terms import ConsentTerms, GroupTerms, PurposeTerms
from homebody_privacy.receipts import ConsentReceipt

TERMS = ConsentTerms(
    config_sha256="c" * 64,
    revision=1,
    policy_version=4,
    purposes={
        "recommend": PurposeTerms(title="Suggest products", leaves_device=False),
        "training": PurposeTerms(title="Help improve", leaves_device=True),
    },
    groups={
        "purchases": GroupTerms(
            fields=("product_id",), allow=("recommend", "training"), ttl_days=365
        ),
        "health": GroupTerms(
            fields=("kind",), allow=("recommend",), ttl_days=30, sensitivity="special"
        ),
    },
)
FACTS = ControllerFacts(name="Example Grocer GmbH", contact="dpo@example.org")


def _receipt(n: int, event: str, purpose: str, **changed: Any) -> ConsentReceipt:  # noqa: ANN401
    usual: dict[str, Any] = {
        "n": n,
        "prev": "0" * 64,
        "event": event,
        "purpose": purpose,
        "features": ("purchases",),
        "policy_version": 4,
        "config_sha256": "c" * 64,
        "notice_sha256": "e" * 64,
        "language": "en",
        "at": 1_772_355_600 + n,
        "valid_until": None,
        "by": "DataSubject",
        "method": "tap",
        "explicit": False,
        "over_signal": False,
        "cause": "",
        "epoch": n,
    }
    return ConsentReceipt(**(usual | changed))


RECEIPTS = (
    _receipt(1, "ConsentGiven", "recommend", valid_until=1_803_891_600, explicit=True,
             features=("health", "purchases")),
    _receipt(2, "ConsentGiven", "training", valid_until=1_803_891_600),
    _receipt(3, "ProcessingRestricted", "", features=()),
    _receipt(4, "ConsentWithdrawn", "training", cause="signal"),
)  # fmt: skip


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The records of the receipts above."""
    numbers = count(1)
    return consent_records(
        RECEIPTS, TERMS, FACTS, subject="person", new_id=lambda: f"record-{next(numbers)}"
    )


@cache
def _shapes() -> rdflib.Graph:
    return rdflib.Graph().parse(data=shapes(), format="turtle")


def _shacl(document: object) -> bool:
    with warnings.catch_warnings(action="ignore"):  # rdflib 7 warns of itself
        conforms, _, _ = pyshacl.validate(
            json.dumps(document),
            data_graph_format="json-ld",
            shacl_graph=_shapes(),
        )
    return bool(conforms)


def test_cn_21_cr_14_a_generated_record_passes_both(document: dict[str, Any]) -> None:
    assert problems(document) == []
    jsonschema.Draft202012Validator.check_schema(record_schema())
    jsonschema.validate(document, record_schema())
    assert _shacl(document)


def _mandatory(
    value: object, schema: dict[str, Any], path: tuple[Any, ...]
) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field of a document that its schema says must be there."""
    if "$ref" in schema:
        schema = record_schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            yield (*path, name)
        for name, inner in value.items():
            yield from _mandatory(inner, schema.get("properties", {}).get(name, {}), (*path, name))
    if isinstance(value, list) and value:
        yield from _mandatory(value[0], schema.get("items", {}), (*path, 0))


def _without(document: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    inner: Any = changed
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return changed


def test_cn_21_cr_14_without_any_mandatory_field_both_refuse_it(document: dict[str, Any]) -> None:
    one = {**document, "dct:hasPart": document["dct:hasPart"][:1]}
    paths = list(_mandatory(one, record_schema(), ()))
    assert len(paths) > 60
    assert sum(path[-1] == "dpv:isExercisedAt" for path in paths) == 3
    validator = jsonschema.Draft202012Validator(record_schema())
    for path in paths:
        changed = _without(one, path)
        assert problems(changed), f"{path} was not missed at run time"
        assert not validator.is_valid(changed), f"{path} was not missed by the schema"
        if path not in {("@context", "dcmitype"), ("@context", "eu-gdpr"), ("@context", "xsd")}:
            assert not _shacl(changed), f"{path} was not missed by the shape"


@settings(max_examples=60)
@given(data=st.data())
def test_the_check_at_run_time_equals_jsonschema(data: st.DataObject) -> None:
    numbers = count(1)
    whole = consent_records(
        RECEIPTS, TERMS, FACTS, subject="person", new_id=lambda: f"record-{next(numbers)}"
    )
    paths = [path for path in _everywhere(whole, ()) if path]
    path = data.draw(st.sampled_from(paths))
    inner: Any = whole
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = data.draw(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.just([]),
                  st.just({}), st.just([""]), st.just("dpv:Optional"))
    )  # fmt: skip
    valid = jsonschema.Draft202012Validator(record_schema()).is_valid(whole)
    assert (problems(whole) == []) == valid


def _everywhere(value: object, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for step, one in inner:
        yield from _everywhere(one, (*path, step))


def test_special_categories_and_ends_are_told(document: dict[str, Any]) -> None:
    recommend, training = document["dct:hasPart"]
    assert recommend["dpv:hasLegalBasis"] == {"@id": "eu-gdpr:A9-2-a"}
    assert training["dpv:hasLegalBasis"] == {"@id": "eu-gdpr:A6-1-a"}
    [given_, withdrawn] = training["dpv:hasConsentStatus"]
    assert given_["@type"] == ["dpv:ConsentGiven", "dpv:ExpressedConsent"]
    assert withdrawn["@type"] == ["dpv:ConsentWithdrawn"]
    assert withdrawn["dct:provenance"] == "signal"
    assert given_["dpv:isIndicatedAtTime"]["@value"] == "2026-03-01T09:00:02Z"


def test_no_retired_term_is_used(document: dict[str, Any]) -> None:
    assert "WithinDevice" not in json.dumps(document)
    assert "certified" not in json.dumps(document)


def test_there_is_no_record_of_nothing() -> None:
    with pytest.raises(ValueError, match="no receipt"):
        consent_records(RECEIPTS[2:3], TERMS, FACTS, subject="s", new_id=lambda: "r")


def test_problems_name_places_and_no_values(document: dict[str, Any]) -> None:
    changed = copy.deepcopy(document)
    changed["dct:hasPart"][0]["dct:identifier"] = 7
    changed["secret-field"] = "SECRET"
    found = problems(changed)
    assert "/dct:hasPart/0/dct:identifier: must be of type string" in found
    assert not any("SECRET" in line or "secret" in line for line in found)
    assert problems([]) == ["/: must be of type object"]


def test_named_recipients_are_told(document: dict[str, Any]) -> None:
    facts = ControllerFacts(name="G", contact="c", recipients=("Auditor AG",))
    told = consent_records(RECEIPTS, TERMS, facts, subject="s", new_id=lambda: "r")
    assert told["dct:hasPart"][0]["dpv:hasRecipient"] == [
        {"@type": "dpv:Recipient", "dpv:hasName": "Auditor AG"}
    ]
    nobody, sums = (part["dpv:hasRecipient"][0]["dpv:hasName"] for part in document["dct:hasPart"])
    assert (nobody, sums) == ("nobody", "Example Grocer GmbH, sums of many devices alone")


def test_values_that_are_none_of_those_allowed_and_empty_lists_are_problems(
    document: dict[str, Any],
) -> None:
    changed = copy.deepcopy(document)
    changed["dct:hasPart"][0]["dpv:hasLegalBasis"]["@id"] = "eu-gdpr:A6-1-f"
    changed["dct:hasPart"][0]["dpv:hasRight"] = []
    changed["dct:hasPart"][0]["dct:identifier"] = ""
    assert set(problems(changed)) == {
        "/dct:hasPart/0/dct:identifier: is too short",
        "/dct:hasPart/0/dpv:hasLegalBasis/@id: is none of the values it may have",
        "/dct:hasPart/0/dpv:hasRight: has too few items",
    }


def test_a_keyword_the_check_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent_record, "record_schema", lambda: {"oneOf": []})
    with pytest.raises(ValueError, match="oneOf"):
        problems({})
