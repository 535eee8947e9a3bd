"""Fill in ``evidence.json`` from a case and sign it."""

import json
from typing import Any, Final

import rfc8785

from homebody_privacy.errors import IntegrityError
from homebody_privacy.signing import SigningKey, verify_ed25519
from homebody_server.evidence.audit_part import audit_block
from homebody_server.evidence.case import Case, app_of
from homebody_server.evidence.document_model import Evidence
from homebody_server.evidence.level import absent, said, user_level
from homebody_server.evidence.model_card import released_figures
from homebody_server.evidence.promise_part import (
    claim,
    not_covered,
    operators_word,
    switched_off,
    waived,
)
from homebody_server.evidence.sources import bundle_digest
from homebody_server.evidence.words import listed

_UNSIGNED: Final = "0" * 128


def evidence_document(case: Case, key: SigningKey) -> dict[str, Any]:
    """Return the signed document.

    Args:
        case: The run.
        key: Key of the ledger. Secret.

    Raises:
        pydantic.ValidationError: If a field breaks the schema; nothing is written then.
    """
    statement = claim(case)
    document: dict[str, Any] = {
        "schema": "homebody.evidence/1",
        "run": case.record.name,
        "verified": case.is_verified,
        "judged_on": case.day,
        "claim": {"statement": _why(case) if statement is None else statement.text},
        "user_level": _why(case) if case.figures is None else user_level(case, case.figures),
        "record_level": _why(case) if case.figures is None else _record_level(case),
        "trust": _trust(case),
        "outputs": _outputs(case),
        "accesses": _accesses(case),
        "lifetime": _lifetime(case),
        "consent": _consent(case),
        "domain": _domain(case),
        "security": _security(case),
        "implementation": _implementation(case),
        "audit": audit_block(case.record) or absent("does not apply", "the run was not audited"),
        "utility": said(*released_figures(case))
        or absent("does not apply", "no figure about people was released"),
        "limits": said(*operators_word(case), *waived(case), *not_covered(case)),
        "signature": {"algorithm": "Ed25519", "key": key.key_id, "value": _UNSIGNED},
    }
    document["signature"]["value"] = key.sign(_signed_bytes(document)).hex()
    Evidence.model_validate(document)
    return document


def check_signature(document: dict[str, Any], public: bytes) -> None:
    """Check what ``evidence_document`` signed.

    Raises:
        IntegrityError: If the signature is not of this document and key.
    """
    signature = document.get("signature")
    value = signature.get("value") if isinstance(signature, dict) else None
    try:
        raw = bytes.fromhex(str(value))
        message = _signed_bytes(document)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("evidence.json is not signed") from error
    if not verify_ed25519(public, raw, message):
        raise IntegrityError("evidence.json is not what was signed")


def _signed_bytes(document: dict[str, Any]) -> bytes:
    """Return the canonical JSON (RFC 8785) of a document without its signature's value."""
    signature = {name: v for name, v in document["signature"].items() if name != "value"}
    return rfc8785.dumps({**document, "signature": signature})


def _why(case: Case) -> dict[str, str]:
    return absent("not shown", "; ".join(case.withheld))


def _record_level(case: Case) -> dict[str, Any]:
    record = case.record.config.dp.record
    if record is None or not record.enabled:
        return absent("does not apply", "training on the device adds no noise of its own")
    # Its accountant takes seconds to load, and few runs have this layer.
    from homebody_server.evidence.record_part import record_level  # noqa: PLC0415

    return record_level(case, record)


def _trust(case: Case) -> dict[str, Any]:
    config, secagg = case.record.config, case.record.secagg
    update = "sums alone, then adds noise" if secagg else "each clipped update, then adds noise"
    sums = config.aggregation
    return {
        "model": "secure aggregation, central noise" if secagg else "central",
        "sees": {
            "user": "their own data and the released model",
            "device": "its own data and the released model",
            "relay": "sealed messages: sizes and times",
            "aggregator": update,
            "operator": "what the aggregator sees, if it looks; who takes part; addresses",
            "model recipient": "released models and figures",
            "auditor": "this pack",
        },
        "limits": {
            "max_corrupt": sums.max_corrupt,
            "max_dropout": sums.max_dropout,
            "min_nodes": sums.min_nodes,
            "report_goal": sums.report_goal,
        },
        "said": said(*operators_word(case)),
    }


def _outputs(case: Case) -> dict[str, Any]:
    scope = case.record.config.dp.budget_scope
    over = "of this run" if scope == "run" else "of all runs on the same devices"
    return {
        "covered": [f"every released model, statistic and figure {over}"],
        "unprotected_quantities": said(*not_covered(case)),
    }


def _accesses(case: Case) -> dict[str, Any]:
    dp = case.record.config.dp
    return {
        "run": f"one run, {case.record.ended}",
        "tuning_data": dp.tuning_data,
        "tuning_runs": dp.tuning_runs,
        "feature_selection": absent("does not apply", "features are fixed in the approved config"),
        "vocabulary": "a public list of items, fixed before the run",
        "early_stopping": "none: the number of rounds is fixed in advance",
        "evaluation": said(*released_figures(case)),
    }


def _lifetime(case: Case) -> dict[str, Any]:
    config, dp = case.record.config, case.record.config.dp
    carried = 0 if case.figures is None else case.figures.carried
    return {
        "data_dates": absent("not known", "dates of events are on people's devices alone"),
        "retention": {name: f"{g.ttl_days} days" for name, g in config.features.items()},
        "budget_scope": dp.budget_scope,
        "carried_charges": carried,
        "at_the_cap": "nothing more is released, and devices decline",
        "who_may_raise_it": (
            f"{config.approval.required} of: {listed(config.approval.approvers)}, by a new config"
        ),
        "device_epsilon_max": _own_cap(case),
    }


def _own_cap(case: Case) -> float | dict[str, str]:
    dp = case.record.config.dp
    if case.figures is None:
        return _why(case)
    if dp.device_epsilon_max is not None:
        return dp.device_epsilon_max
    if dp.mechanism == "blt":
        return dp.epsilon_max
    return absent("does not apply", "devices count and set no limit of their own")


def _consent(case: Case) -> dict[str, Any]:
    config = case.record.config
    goal = config.aggregation.report_goal
    return {
        "matrix": {name: list(group.allow) for name, group in config.features.items()},
        "receipts": absent("not known", "receipts are on people's devices; the pack has a sample"),
        "withdrawal": said(*switched_off(case)),
        "least_cohort": goal or absent("does not apply", "no round depends on how many came"),
    }


def _domain(case: Case) -> dict[str, Any]:
    features = case.record.config.features
    return {
        "holds": {name: list(group.fields) for name, group in features.items()},
        "exclusions": {name: list(group.exclude) for name, group in features.items()},
        "min_age": case.record.config.consent.min_age,
        "groups": absent(
            "not shown",
            "quality by group is a laboratory figure without noise; it stays in the run's report",
        ),
    }


def _security(case: Case) -> dict[str, Any]:
    transport = case.record.config.transport
    last = case.record.raw.lines[-1] if case.record.raw is not None else b"{}"
    return {
        "suite": transport.seal,
        "tls_min": transport.tls_min,
        "post_quantum": "the seal (ML-KEM-768); not the masks of secure aggregation",
        "secure_aggregation": case.record.secagg,
        "ledger_head": _head(last),
        "store": absent("not known", "each device says on its own page where its keys rest"),
        "side_channels": "messages are of one size; who sends when is not hidden",
    }


def _head(line: bytes) -> str:
    stored = json.loads(line)
    return str(stored.get("root") or stored.get("hash") or "none")


def _implementation(case: Case) -> dict[str, Any]:
    record, check = case.record, case.check
    app, model = app_of(record), bundle_digest(record)
    return {
        "versions": record.versions or "not stated",
        "app": app or absent("not known", "the ledger names no approved app"),
        "config": check.config_sha256,
        "model": model or absent("does not apply", "the run published no model"),
        "lock": absent("not known", "the run records versions, not a lock file"),
        "policy": check.policy or "baseline rules alone",
        "verified": case.is_verified,
        "verify": case.verify_log.splitlines(),
    }
