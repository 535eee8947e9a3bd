"""A check as SARIF 2.1.0, which code hosts show beside the line of a change.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

import hashlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote

from .findings import CheckResult, Finding
from .lines import line_of
from .registry import in_force

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS: Final = {"fail": "error", "warn": "warning"}


def to_sarif(
    result: CheckResult, file: str, numbers: Mapping[str, int], version: str
) -> dict[str, Any]:
    """Return a check as a SARIF log.

    Args:
        result: What was found.
        file: Name of the config, as it was given: relative names let a code host find the line.
        numbers: Lines of the file's fields (``lines.line_numbers``).
        version: Version of homebody.
    """
    descriptors = _descriptors(result)
    places = {one["id"]: place for place, one in enumerate(descriptors)}
    driver = {"name": "homebody", "semanticVersion": version, "rules": descriptors}
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "artifacts": [
            {
                "location": {"uri": _uri(file)},
                "roles": ["analysisTarget"],
                "properties": {"configSha256": result.config_sha256},
            }
        ],
        "results": [_result(one, places[one.rule], file, numbers) for one in result.findings],
        "properties": {
            "policy": result.policy,
            "policySha256": result.policy_sha256,
            "profiles": list(result.profiles),
            "withheld": list(result.withheld),
            "exitCode": result.exit_code,
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _descriptors(result: CheckResult) -> list[dict[str, Any]]:
    """Return every rule in force, and the firm's that found something, each once."""
    told: dict[str, dict[str, Any]] = {}
    for rule in in_force(result.profiles):
        text = f"refuses {rule.fails_on}"
        told.setdefault(rule.id, _descriptor(rule.id, text, rule.ref, rule.source))
    for one in result.findings:
        told.setdefault(one.rule, _descriptor(one.rule, one.message, one.ref, one.source))
    return list(told.values())


def _descriptor(rule: str, text: str, ref: str, source: str) -> dict[str, Any]:
    return {
        "id": rule,
        "shortDescription": {"text": text},
        "help": {"text": f"docs/policy.md, {rule}" + (f" [{ref}]" if ref else "")},
        "properties": {"source": source, "reference": ref},
    }


def _result(finding: Finding, place: int, file: str, numbers: Mapping[str, int]) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(file), "index": 0}}
    line = line_of(finding.path, numbers)
    if line is not None:
        physical["region"] = {"startLine": line}
    told: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": place,
        "level": _LEVELS[finding.level],
        "message": {"text": f"{finding.path} {finding.message}"},
        "locations": [
            {
                "physicalLocation": physical,
                "logicalLocations": [{"fullyQualifiedName": finding.path, "kind": "member"}],
            }
        ],
        "partialFingerprints": {"homebody/v1": _fingerprint(finding)},
    }
    if finding.waived:
        told["suppressions"] = [{"kind": "external", "status": "accepted"}]
    return told


def _fingerprint(finding: Finding) -> str:
    """Return what stays the same when other lines change: rule and field."""
    return hashlib.sha256(f"{finding.rule}|{finding.path}".encode()).hexdigest()[:32]


def _uri(file: str) -> str:
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
