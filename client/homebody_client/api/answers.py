"""Lists, decisions and what left, as JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime

from homebody_client.explain import Reason
from homebody_client.recommend import Recommendations
from homebody_privacy.consent import is_allowed
from homebody_privacy.consent_terms import ConsentTerms

from .device_like import ConsentLike, DeviceLike, Left

Json = dict[str, object]


def reason_json(reason: Reason) -> Json:
    """Return a reason: code, sentence, and the product ids that caused it."""
    return {"code": reason.code, "text": reason.text, "causes": list(reason.causes)}


def list_json(found: Recommendations) -> Json:
    """Return a list: the ids alone, then all about each."""
    return {
        "recommended_products": [item.product_id for item in found],
        "recommendation_id": found.recommendation_id,
        "items": [
            {
                "product_id": item.product_id,
                "score": round(item.score, 6),
                "reason": reason_json(item.reason),
            }
            for item in found
        ],
        "model_version": found.model_version,
        "personalised": found.personalised,
        "experiment": found.experiment,
        "fallback_reason": found.fallback_reason,
    }


def consent_json(consent: ConsentLike) -> Json:
    """Return every switch: purposes, and below each the feature groups that may be asked for."""
    terms = consent.terms
    return {
        "policy_version": terms.policy_version if terms else None,
        "paused": consent.restricted,
        "purposes": {name: _purpose(consent, terms, name) for name in terms.purposes}
        if terms
        else {},
    }


def _purpose(consent: ConsentLike, terms: ConsentTerms, name: str) -> Json:
    purpose = terms.purposes[name]
    decision = consent.decision(name)
    features: Json = {}
    for feature in terms.groups:
        if is_allowed(terms, name, feature):
            closed = consent.why(name, feature)
            features[feature] = {
                "chosen": decision.holds and feature in decision.features,
                "open": closed is None,
                "code": closed and closed.code,
                "sentence": closed and closed.sentence,
            }
    return {
        "title": purpose.title,
        "leaves_device": purpose.leaves_device,
        "requires": list(purpose.requires),
        "state": decision.state.value,
        "valid_until": moment(decision.valid_until) if decision.holds else None,
        "features": features,
    }


def left_json(entry: Left) -> Json:
    """Return an entry of the egress log."""
    return {
        "time": moment(entry.time),
        "kind": entry.kind,
        "purpose": entry.purpose,
        "bytes": entry.bytes,
        "summary": entry.summary,
        "round": entry.round,
        "charge": entry.charge,
        "sent": entry.sent,
        "why": entry.why or None,
    }


def known_json(device: DeviceLike) -> Json:
    """Return every row kept, oldest first."""
    return {
        "rows": [
            {
                "row": known.row,
                "feature": known.feature,
                "at": moment(known.at),
                "values": dict(known.values),
                "editable": known.editable,
            }
            for known in device.knows()
        ]
    }


def model_json(facts: Mapping[str, object]) -> Json:
    """Return the model in use: version, serial, whether it is stale, what may be claimed."""
    names = ("model_id", "version", "serial", "stale", "statement")
    return {name: facts.get(name) for name in names}


def moment(at: float) -> str:
    """Return Unix seconds as RFC 3339 text in UTC.

    Examples:
        >>> moment(1_800_000_000)
        '2027-01-15T08:00:00Z'
    """
    shown = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return shown.replace("+00:00", "Z")
