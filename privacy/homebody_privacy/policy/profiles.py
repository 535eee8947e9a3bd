"""Rule sets beside the baseline: laws, and kinds of business.

``retail`` is the baseline itself. Each set only adds: a config that passes with a profile passes
without it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from homebody_privacy.errors import UsageError

from .rule import Facts, Hit, Rule, limit

DEFAULT: Final = "retail"

_DAYS: Final = 365
_ART_9: Final = (
    "user.biometric",
    "user.demographic.political_opinion",
    "user.demographic.race_ethnicity",
    "user.demographic.religious_belief",
    "user.demographic.sexual_orientation",
    "user.health_and_medical",
)
_TELLING: Final = (
    "user.behavior.browsing_history",
    "user.behavior.media_consumption",
    "user.behavior.search_history",
)


def _is_below(category: str, keys: tuple[str, ...]) -> bool:
    return any(category == key or category.startswith(f"{key}.") for key in keys)


def _no_notice(facts: Facts) -> Iterator[Hit]:
    if not facts.config.consent.notices:
        yield Hit("consent.notices", "is empty: nothing proves which words people agreed to")


def _no_authority(facts: Facts) -> Iterator[Hit]:
    if not facts.config.activity.authority.strip():
        yield Hit("activity.authority", "is empty: people must be told where to complain")


def _short_proof(facts: Facts) -> Iterator[Hit]:
    consent = facts.config.consent
    if consent.receipts_years * _DAYS < consent.expiry_days:
        why = f"{consent.receipts_years} years end before a yes of {consent.expiry_days} days does"
        yield Hit("consent.receipts_years", why)


def _special_unasked(facts: Facts) -> Iterator[Hit]:
    purposes = facts.config.purposes
    for name, group in facts.config.features.items():
        if group.sensitivity != "special":
            continue
        for purpose in group.allow:
            if purpose in purposes and purposes[purpose].legal_basis != "consent":
                why = f"reads {name}, special data, and needs explicit consent"
                yield Hit(f"purposes.{purpose}.legal_basis", why)


def _mislabelled(facts: Facts) -> Iterator[Hit]:
    for name, group in facts.config.features.items():
        if group.sensitivity != "special" and _is_below(group.fides_category, _ART_9):
            why = f"is {group.sensitivity}, but {group.fides_category} is special data"
            yield Hit(f"features.{name}.sensitivity", why)


def _sold(facts: Facts) -> Iterator[Hit]:
    config = facts.config
    if config.activity.recipients and config.consent.refusal_days < _DAYS:
        why = f"is {config.consent.refusal_days}: where others get data a no holds for 12 months"
        yield Hit("consent.refusal_days", why)


def _elevated_leaves(facts: Facts) -> Iterator[Hit]:
    purposes = facts.config.purposes
    for name, group in facts.config.features.items():
        leaving = [p for p in group.allow if p in purposes and purposes[p].leaves_device]
        if group.sensitivity != "ordinary" and leaving:
            why = f"{group.sensitivity} data may not feed {', '.join(leaving)} where health is told"
            yield Hit(f"features.{name}.allow", why)


def _media_ordinary(facts: Facts) -> Iterator[Hit]:
    for name, group in facts.config.features.items():
        if group.sensitivity == "ordinary" and _is_below(group.fides_category, _TELLING):
            why = f"is ordinary, but {group.fides_category} tells of opinions and beliefs"
            yield Hit(f"features.{name}.sensitivity", why)


def _uneditable(facts: Facts) -> Iterator[Hit]:
    for name, group in facts.config.features.items():
        if not group.user_editable:
            yield Hit(f"features.{name}.user_editable", "is false: people may correct what is kept")


def _rule(source: str, **fields: Any) -> Rule:  # noqa: ANN401 - fields of Rule
    return Rule(source=source, **fields)


GDPR: Final = (
    _rule(
        "gdpr",
        id="GDPR-001",
        paths=("consent.notices",),
        fails_on="no notice whose words are pinned by a hash",
        ref="GDPR Art. 7(1), 12, 13",
        judge=_no_notice,
    ),
    _rule(
        "gdpr",
        id="GDPR-002",
        paths=("activity.authority",),
        fails_on="no supervisory authority named",
        ref="GDPR Art. 13(2)(d)",
        judge=_no_authority,
    ),
    _rule(
        "gdpr",
        id="GDPR-003",
        paths=("consent.receipts_years",),
        fails_on="receipts that are gone before the consent they prove",
        ref="GDPR Art. 7(1)",
        judge=_short_proof,
    ),
    _rule(
        "gdpr",
        id="GDPR-004",
        paths=("purposes.*.legal_basis",),
        fails_on="special data read on another basis than explicit consent",
        ref="GDPR Art. 9(2)(a)",
        judge=_special_unasked,
        waivable=False,
    ),
    _rule(
        "gdpr",
        id="GDPR-005",
        paths=("features.*.sensitivity",),
        fails_on="a category of Art. 9 that is not labelled special",
        ref="GDPR Art. 9(1); CJEU C-184/20",
        judge=_mislabelled,
        waivable=False,
    ),
    _rule(
        "gdpr",
        id="GDPR-006",
        paths=("features.*.user_editable",),
        fails_on="data a person cannot correct",
        ref="GDPR Art. 16",
        judge=_uneditable,
    ),
    limit(
        "GDPR-007",
        "consent.min_age",
        ">=",
        16,
        "some member states lower it to 13, none is told apart here",
        "GDPR Art. 8(1)",
        level="warn",
        source="gdpr",
    ),
    limit(
        "GDPR-008",
        "consent.reach_back",
        "==",
        False,  # noqa: FBT003 - a value of the file
        "a yes is for what comes; older rows need words that say so",
        "GDPR Art. 4(11), 5(1)(b)",
        level="warn",
        source="gdpr",
    ),
)
CCPA: Final = (
    limit(
        "CCPA-001",
        "consent.honour_gpc",
        "==",
        True,  # noqa: FBT003
        "an opt-out preference signal is an opt-out",
        "11 CCR 7025",
        source="ccpa",
        waivable=False,
    ),
    limit(
        "CCPA-002",
        "consent.signals",
        "contains",
        "sec_gpc",
        "the signal must be looked at to be honoured",
        "11 CCR 7025(b)",
        source="ccpa",
        waivable=False,
    ),
    _rule(
        "ccpa",
        id="CCPA-003",
        paths=("consent.refusal_days",),
        fails_on="asking again within 12 months of a no where others get data",
        ref="CCPA 1798.135(c)(4)",
        judge=_sold,
    ),
    limit(
        "CCPA-004",
        "activity.jurisdictions",
        "contains",
        "US-CA",
        "the file should say that people in California are meant",
        "CCPA 1798.140(i)",
        level="warn",
        source="ccpa",
    ),
)
HEALTH: Final = (
    limit(
        "HLT-001",
        "dp.epsilon_max",
        "<=",
        1.0,
        "what tells of health gets a tighter cap",
        "NIST SP 800-226; GDPR Art. 9",
        source="health",
    ),
    _rule(
        "health",
        id="HLT-002",
        paths=("features.*.allow",),
        fails_on="anything above ordinary that feeds a purpose that leaves the device",
        ref="GDPR Art. 9; CJEU C-184/20; FTC 16 CFR 318",
        judge=_elevated_leaves,
        waivable=False,
    ),
    limit(
        "HLT-003",
        "features.*.ttl_days",
        "<=",
        180,
        "what tells of health is kept half a year",
        "GDPR Art. 5(1)(e)",
        source="health",
    ),
    limit(
        "HLT-004",
        "retention.server_updates_hours",
        "==",
        0,
        "replies stay in memory",
        "GDPR Art. 5(1)(e), 32",
        source="health",
    ),
    _rule(
        "health",
        id="HLT-005",
        paths=("features.*.sensitivity",),
        fails_on="a category of Art. 9 that is not labelled special",
        ref="GDPR Art. 9(1); CJEU C-184/20",
        judge=_mislabelled,
        waivable=False,
    ),
    limit(
        "HLT-006",
        "release.min_k",
        ">=",
        100,
        "numbers about health are about many",
        "WP29 Opinion 05/2014",
        source="health",
    ),
)
MEDIA: Final = (
    limit(
        "MED-001",
        "transparency.non_profiling_option",
        "==",
        True,  # noqa: FBT003
        "a recommender of media has a list without profiling",
        "DSA Art. 38",
        source="media",
    ),
    _rule(
        "media",
        id="MED-002",
        paths=("features.*.sensitivity",),
        fails_on="reading, viewing or searching labelled ordinary",
        ref="GDPR Art. 9; CJEU C-184/20; 18 USC 2710",
        judge=_media_ordinary,
    ),
    _rule(
        "media",
        id="MED-003",
        paths=("features.*.user_editable",),
        fails_on="signals of a recommender people cannot change",
        ref="DSA Art. 27(3)",
        judge=_uneditable,
    ),
    limit(
        "MED-004",
        "features.*.ttl_days",
        "<=",
        365,
        "old viewing is not kept",
        "18 USC 2710(e); GDPR Art. 5(1)(e)",
        source="media",
    ),
)
PROFILES: Final[Mapping[str, tuple[Rule, ...]]] = {
    DEFAULT: (),
    "gdpr": GDPR,
    "ccpa": CCPA,
    "health": HEALTH,
    "media": MEDIA,
}
"""Rules of each profile, by name."""


def profile_names(listed: str) -> tuple[str, ...]:
    """Return the profiles of a list with commas between, sorted, each once.

    Raises:
        UsageError: If there is no such profile.
    """
    names = sorted({name.strip() for name in listed.split(",") if name.strip()})
    unknown = [name for name in names if name not in PROFILES]
    if unknown:
        raise UsageError(
            f"--profile {unknown[0]}: there is no such set of rules",
            fix=f"choose from {', '.join(PROFILES)}",
        )
    return tuple(names)
