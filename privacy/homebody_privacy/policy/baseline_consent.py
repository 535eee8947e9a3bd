"""Baseline rules CON, FEA and TAX: what people are asked, what is collected, and in whose words."""

import hashlib
from collections.abc import Iterator
from typing import Final

from .identifiers import is_identifier, is_identifying
from .rule import Facts, Hit, Rule, limit, premise
from .terms import terms

_CALIFORNIA: Final = "US-CA"
_STRICT: Final = frozenset({"special", "criminal"})


def _starts_on(facts: Facts) -> Iterator[Hit]:
    for name, purpose in facts.config.purposes.items():
        if purpose.default != "off":
            yield Hit(f"purposes.{name}.default", "a purpose may not start switched on")


def _leaves_unasked(facts: Facts) -> Iterator[Hit]:
    for name, purpose in facts.config.purposes.items():
        if purpose.leaves_device and purpose.legal_basis != "consent":
            why = f"is {purpose.legal_basis}, but what leaves the device needs consent besides"
            yield Hit(f"purposes.{name}.legal_basis", why)


def _unreasoned(facts: Facts) -> Iterator[Hit]:
    for name, purpose in facts.config.purposes.items():
        if purpose.legal_basis != "consent" and not purpose.reason.strip():
            why = f"is empty: {purpose.legal_basis} instead of consent needs a reason"
            yield Hit(f"purposes.{name}.reason", why)


def _california(facts: Facts) -> Iterator[Hit]:
    consent = facts.config.consent
    if _CALIFORNIA in facts.config.activity.jurisdictions and not (
        consent.honour_gpc and "sec_gpc" in consent.signals
    ):
        path = "consent.signals" if consent.honour_gpc else "consent.honour_gpc"
        yield Hit(path, "people in California: the opt-out signal must be looked at and honoured")


def _notices(facts: Facts) -> Iterator[Hit]:
    if facts.folder is None:  # a server has the config alone; devices have the words and their hash
        return
    for language, notice in facts.config.consent.notices.items():
        path = f"consent.notices.{language}"
        try:
            content = (facts.folder / notice.file).read_bytes()
        except OSError as error:
            yield Hit(f"{path}.file", f"{notice.file} cannot be read: {error.strerror}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found != notice.sha256:
            why = f"{notice.file} has SHA-256 {found[:16]}..., not the one people's receipts name"
            yield Hit(f"{path}.sha256", why)


def _strict_leaves(facts: Facts) -> Iterator[Hit]:
    purposes = facts.config.purposes
    for name, group in facts.config.features.items():
        leaving = [p for p in group.allow if p in purposes and purposes[p].leaves_device]
        if group.sensitivity in _STRICT and leaving:
            why = f"{group.sensitivity} data may not feed {', '.join(leaving)}, which leaves"
            yield Hit(f"features.{name}.allow", why)


def _unused(facts: Facts) -> Iterator[Hit]:
    for name, group in facts.config.features.items():
        if not group.allow:
            yield Hit(f"features.{name}.allow", "is empty: data nobody uses should not be kept")


def _unassessed(facts: Facts) -> Iterator[Hit]:
    for name, group in facts.config.features.items():
        if group.sensitivity != "ordinary" and not group.risk_ref.strip():
            why = f"is empty: {group.sensitivity} data needs the risk it is assessed under"
            yield Hit(f"features.{name}.risk_ref", why)


def _identifiers(facts: Facts) -> Iterator[Hit]:
    for name, group in facts.config.features.items():
        for field in group.fields:
            if is_identifier(field):
                why = f"{field} is an identifier of a person or a device: none is ever collected"
                yield Hit(f"features.{name}.fields", why)
        for key, category in (
            ("fides_category", group.fides_category),
            ("dpv_category", group.dpv_category),
        ):
            if is_identifying(category):
                why = f"{category} is a category of identifiers: none is ever collected"
                yield Hit(f"features.{name}.{key}", why)


def _unknown_uses(facts: Facts) -> Iterator[Hit]:
    for name, purpose in facts.config.purposes.items():
        if purpose.fides_use not in terms().fides_uses:
            why = f"{purpose.fides_use} is no data use of the Fides taxonomy"
            yield Hit(f"purposes.{name}.fides_use", why)


def _unknown_categories(facts: Facts) -> Iterator[Hit]:
    for name, group in facts.config.features.items():
        if group.fides_category not in terms().fides_categories:
            why = f"{group.fides_category} is no data category of the Fides taxonomy"
            yield Hit(f"features.{name}.fides_category", why)


def _unknown_purposes(facts: Facts) -> Iterator[Hit]:
    for name, purpose in facts.config.purposes.items():
        if purpose.dpv_purpose not in terms().dpv_purposes:
            why = f"{purpose.dpv_purpose} is no purpose of the DPV 2.0, written dpv:Name"
            yield Hit(f"purposes.{name}.dpv_purpose", why)


def _unknown_data(facts: Facts) -> Iterator[Hit]:
    for name, group in facts.config.features.items():
        if group.dpv_category not in terms().dpv_data:
            why = f"{group.dpv_category} is no personal data of the DPV 2.0, written pd:Name"
            yield Hit(f"features.{name}.dpv_category", why)


CONSENT: Final = (
    limit(
        "CON-001",
        "consent.expiry_days",
        "<=",
        395,
        "a yes is asked for again after a year or so",
        "GDPR Art. 5(1)(e), 7; EDPB Guidelines 05/2020",
    ),
    limit(
        "CON-003",
        "consent.honour_gpc",
        "==",
        True,  # noqa: FBT003 - a value of the file
        "an opt-out signal closes what leaves the device",
        "W3C GPC; GDPR Art. 21(5)",
    ),
    limit(
        "CON-004",
        "consent.min_age",
        ">=",
        13,
        "a child cannot give this consent",
        "GDPR Art. 8; COPPA 16 CFR 312",
    ),
    Rule(
        id="CON-010",
        paths=("purposes.*.default",),
        fails_on="a purpose that starts switched on",
        ref="GDPR Art. 4(11), 25(2); CJEU C-673/17",
        judge=_starts_on,
        waivable=False,
    ),
    Rule(
        id="CON-011",
        paths=("purposes.*.legal_basis",),
        fails_on="a purpose that leaves the device on another basis than consent",
        ref="ePrivacy Directive Art. 5(3); EDPB Guidelines 2/2023",
        judge=_leaves_unasked,
        waivable=False,
    ),
    Rule(
        id="CON-012",
        paths=("purposes.*.reason",),
        fails_on="a basis other than consent without a reason",
        ref="GDPR Art. 5(2), 6(1)",
        judge=_unreasoned,
    ),
    premise(
        "CON-013",
        ("purposes.*.requires", "purposes.training", "purposes.training.leaves_device"),
        "`requires` naming an unknown purpose, or no purpose `training` that leaves the device",
        "GDPR Art. 5(1)(b)",
    ),
    premise("CON-014", ("purposes.*.requires",), "`requires` in a circle", "GDPR Art. 7(4)"),
    Rule(
        id="CON-020",
        paths=("consent.honour_gpc", "consent.signals"),
        fails_on="people in California (`US-CA`) without Global Privacy Control",
        ref="CCPA 1798.135; 11 CCR 7025",
        judge=_california,
        waivable=False,
    ),
    Rule(
        id="CON-022",
        paths=("consent.notices.*.file", "consent.notices.*.sha256"),
        fails_on="a notice that is missing or differs from its SHA-256",
        ref="GDPR Art. 7(1), 13",
        judge=_notices,
    ),
    limit(
        "CON-023",
        "consent.grace_days",
        "<=",
        30,
        "data does not wait long for a new yes",
        "GDPR Art. 5(1)(e), 17(1)(b)",
    ),
)
FEATURES: Final = (
    premise(
        "FEA-001", ("features.*.allow",), "`allow` naming an unknown purpose", "GDPR Art. 5(1)(b)"
    ),
    Rule(
        id="FEA-002",
        paths=("features.*.allow",),
        fails_on="special or criminal data that feeds a purpose that leaves the device",
        ref="GDPR Art. 9, 10; CJEU C-184/20",
        judge=_strict_leaves,
        waivable=False,
    ),
    Rule(
        id="FEA-003",
        paths=("features.*.allow",),
        fails_on="data no purpose uses",
        ref="GDPR Art. 5(1)(c)",
        judge=_unused,
        level="warn",
    ),
    Rule(
        id="FEA-004",
        paths=("features.*.risk_ref",),
        fails_on="data above ordinary without an entry in the impact assessment",
        ref="GDPR Art. 35(7)",
        judge=_unassessed,
    ),
    Rule(
        id="FEA-005",
        paths=("features.*.fields", "features.*.fides_category", "features.*.dpv_category"),
        fails_on="a field or category that is an identifier: advertising id, IP, e-mail, phone",
        ref="GDPR Art. 4(1), 5(1)(c), 11",
        judge=_identifiers,
        waivable=False,
    ),
)
TAXONOMIES: Final = (
    Rule(
        id="TAX-001",
        paths=("purposes.*.fides_use",),
        fails_on="a data use the Fides taxonomy does not know",
        ref="fideslang 3.1",
        judge=_unknown_uses,
    ),
    Rule(
        id="TAX-002",
        paths=("features.*.fides_category",),
        fails_on="a data category the Fides taxonomy does not know",
        ref="fideslang 3.1",
        judge=_unknown_categories,
    ),
    Rule(
        id="TAX-003",
        paths=("purposes.*.dpv_purpose",),
        fails_on="a purpose the W3C DPV 2.0 does not know",
        ref="W3C DPV 2.0",
        judge=_unknown_purposes,
    ),
    Rule(
        id="TAX-004",
        paths=("features.*.dpv_category",),
        fails_on="personal data the W3C DPV 2.0 (PD) does not know",
        ref="W3C DPV 2.0 PD",
        judge=_unknown_data,
    ),
)
