"""The only judge of consent: may this purpose use this feature group now, and if not, why.

Pure: it is told the situation and answers. Unknown is closed, and so is whatever goes wrong. The
first reason that holds is given, in this order:

===========================  =====================================================================
code                         closed when
===========================  =====================================================================
``chain_broken``             receipts, their anchor or a data key do not verify
``config_not_approved``      the privacy config fails the device's check
``unknown_purpose``,         not in the config, or the matrix does not allow the pair; nor does it
``unknown_feature``,         ever allow special or criminal data for a purpose that leaves
``not_in_matrix``
``restricted``               the person froze processing (GDPR Art. 18)
``not_asked``, ``deferred``, the state is not Given or Renewed; ``expired`` also by the clock alone
``refused``, ``withdrawn``,
``expired``, ``revoked``,
``invalidated``
``clock_went_back``          now is before the last time seen
``terms_changed``            the yes was to another version of the notice
``feature_not_chosen``       the yes was not to this feature group, or not explicit where it must be
``age_locked``               the purpose leaves the device; age under the limit or not known
``opt_out_signal``           the purpose leaves the device; a signal is on, or unreadable
``needs:<purpose>``          a required purpose is closed, at any depth
``internal_error``           an exception
===========================  =====================================================================

States are named as in the W3C Data Privacy Vocabulary (https://w3id.org/dpv).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from .consent_terms import ConsentTerms

CLOCK_SLACK_S: Final = 60.0
"""A clock may be set back this far, as time servers do, without closing anything: the time in
force is the latest one seen in any case."""

AGE_BANDS: Final = MappingProxyType({"under_13": 0, "13_15": 13, "16_17": 16, "18_plus": 18})
"""What is stored of an age, with the least age of each band."""

STRICT_SENSITIVITIES: Final = frozenset({"special", "criminal"})
"""Data that feeds no purpose that leaves, and others only after a second, explicit yes."""


class ConsentState(StrEnum):
    """Where a purpose stands; the values are DPV's names."""

    UNKNOWN = "ConsentUnknown"
    REQUESTED = "ConsentRequested"
    DEFERRED = "ConsentRequestDeferred"
    REFUSED = "ConsentRefused"
    GIVEN = "ConsentGiven"
    RENEWED = "RenewedConsentGiven"
    WITHDRAWN = "ConsentWithdrawn"
    EXPIRED = "ConsentExpired"
    REVOKED = "ConsentRevoked"
    INVALIDATED = "ConsentInvalidated"


OPEN_STATES: Final = frozenset({ConsentState.GIVEN, ConsentState.RENEWED})
"""A yes that holds, if nothing else closes it."""

GRACE_STATES: Final = frozenset({ConsentState.EXPIRED, ConsentState.INVALIDATED})
"""A yes that ended by itself: shut, and data waits a while for a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person said about one purpose, and what became of it.

    Attributes:
        purpose: The switch.
        features: Feature groups the yes is to; for an ended one, those it was to.
        state: Where it stands.
        policy_version: Version of the notice it was given under.
        notice_sha256: SHA-256 of the words shown, as hex; empty where the config names none.
        language: Language of those words.
        given_at: Unix seconds of the yes; 0 if there was none.
        valid_until: Unix seconds at which the yes expires; 0 if there was none.
        changed_at: Unix seconds since which the state holds.
        over_signal: A second confirmation was given while an opt-out signal was on.
        explicit: A second, explicit yes was given to special categories of data.
        epoch: The device's counter of changes when this one was made. Never leaves the device.
        tag: Drawn at random with each change, 32 hex digits; stands for the epoch on the wire.
        cause: Why it ended; empty where the person alone decided.
        since: Start of the unbroken yes for each feature group, Unix seconds.
    """

    purpose: str
    features: tuple[str, ...] = ()
    state: ConsentState = ConsentState.UNKNOWN
    policy_version: int = 0
    notice_sha256: str = ""
    language: str = ""
    given_at: float = 0.0
    valid_until: float = 0.0
    changed_at: float = 0.0
    over_signal: bool = False
    explicit: bool = False
    epoch: int = 0
    tag: str = ""
    cause: str = ""
    since: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a yes to nothing, and keep order and types fixed."""
        object.__setattr__(self, "features", tuple(sorted(set(self.features))))
        object.__setattr__(self, "state", ConsentState(self.state))
        object.__setattr__(self, "since", MappingProxyType(dict(self.since)))
        if self.state in OPEN_STATES and not self.features:
            raise ValueError("a yes must name at least one feature group")
        if not set(self.since) <= set(self.features):
            raise ValueError("since may name only features of the decision")

    @property
    def holds(self) -> bool:
        """Whether the state is a yes."""
        return self.state in OPEN_STATES


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a gate is shut: a stable code and a sentence for people."""

    code: str
    sentence: str

    def __str__(self) -> str:
        """Return code and sentence, as messages show them."""
        return f"{self.code}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All the judge looks at.

    Attributes:
        terms: What the approved config says; None if there is none.
        decisions: The current decision by purpose.
        now: The clock, Unix seconds.
        last_seen: The latest time the device ever saw.
        restricted: The person froze processing.
        chain_ok: Receipts, anchor and data keys verify.
        config_ok: The config passed the device's check.
        age: One of ``AGE_BANDS``; None or anything else is not known.
        signals: Opt-out signals: True is on, False off, None unreadable. One that no adapter ever
            reported is absent and closes nothing.
        unkeyed: Purposes whose data key is missing: a no, whatever the decision says.
    """

    terms: ConsentTerms | None
    decisions: Mapping[str, Decision]
    now: float
    last_seen: float = 0.0
    restricted: bool = False
    chain_ok: bool = True
    config_ok: bool = True
    age: str | None = None
    signals: Mapping[str, bool | None] = field(default_factory=dict)
    unkeyed: frozenset[str] = frozenset()

    @property
    def time(self) -> float:
        """The time in force: a clock that goes back never makes anything last longer."""
        return max(self.now, self.last_seen)


def why(situation: Situation, purpose: str, feature: str) -> Closed | None:
    """Say why a purpose may not use a feature group; None means that it may.

    Guarantees:
        Never raises: an exception is the answer ``internal_error``.

    Examples:
        >>> why(Situation(terms=None, decisions={}, now=0.0), "training", "tastes").code
        'config_not_approved'
    """
    return _judged(situation, purpose, feature)


def why_purpose(situation: Situation, purpose: str) -> Closed | None:
    """Say why a purpose is closed whatever the feature group; None means that it is not."""
    return _judged(situation, purpose, None)


def closed(code: str, sentence: str = "") -> Closed:
    """Return the answer of a code, with its own sentence where none is given."""
    return Closed(code, sentence or _SENTENCES[code])


def is_old_enough(age: str | None, min_age: int) -> bool:
    """Say whether everybody of an age band has reached an age; not known is no."""
    return AGE_BANDS.get(age or "", -1) >= min_age


def is_allowed(terms: ConsentTerms, purpose: str, feature: str) -> bool:
    """Say whether the matrix has a pair: ``allow`` names it, and no sensitive data would leave."""
    group, kept = terms.groups.get(feature), terms.purposes.get(purpose)
    if group is None or kept is None or purpose not in group.allow:
        return False
    return not (kept.leaves_device and group.sensitivity in STRICT_SENSITIVITIES)


def all_required(terms: ConsentTerms, purpose: str) -> tuple[str, ...]:
    """Return all purposes that must be on for one, at any depth, nearest first."""
    found: dict[str, None] = {}
    waiting = [purpose]
    while waiting:
        known = terms.purposes.get(waiting.pop(0))
        for name in () if known is None else known.requires:
            if name not in found and name != purpose:
                found[name] = None
                waiting.append(name)
    return tuple(found)


def all_dependent(terms: ConsentTerms, purpose: str) -> tuple[str, ...]:
    """Return all purposes that cannot be on without one, at any depth, sorted."""
    return tuple(sorted(p for p in terms.purposes if purpose in all_required(terms, p)))


_SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "chain_broken": "the record of your choices does not verify; please choose again",
        "config_not_approved": "the privacy config did not pass this device's check",
        "unknown_purpose": "this device knows no such purpose",
        "unknown_feature": "this device knows no such group of data",
        "not_in_matrix": "this data may not be used for this purpose",
        "restricted": "you have frozen the use of your data",
        "not_asked": "you have not been asked yet",
        "deferred": "you said: not now",
        "refused": "you said no",
        "withdrawn": "you switched this off",
        "expired": "your yes has run out",
        "revoked": "this use was ended by its provider",
        "invalidated": "your earlier choice can no longer be relied on; please choose again",
        "clock_went_back": "the clock of this device went back; a new yes sets it right",
        "terms_changed": "what you agreed to has changed; please choose again",
        "feature_not_chosen": "you did not choose this data for this purpose",
        "age_locked": "this is locked below the age limit, or while the age is not known",
        "opt_out_signal": "an opt-out signal is on, or cannot be read",
        "explicit_needed": "this data is specially protected and needs a second, explicit yes",
        "not_fresh": "a choice has changed since this was read",
        "internal_error": "something went wrong, so nothing is used",
    }
)

_BY_STATE: Final[Mapping[ConsentState, str]] = MappingProxyType(
    {
        ConsentState.UNKNOWN: "not_asked",
        ConsentState.REQUESTED: "not_asked",
        ConsentState.DEFERRED: "deferred",
        ConsentState.REFUSED: "refused",
        ConsentState.WITHDRAWN: "withdrawn",
        ConsentState.EXPIRED: "expired",
        ConsentState.REVOKED: "revoked",
        ConsentState.INVALIDATED: "invalidated",
    }
)

_BY_CAUSE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "terms_changed": "what you agreed to has changed; please choose again",
        "signal": "an opt-out signal switched this off",
        "age": "this was switched off because of the age given",
    }
)


def _judged(situation: Situation, purpose: str, feature: str | None) -> Closed | None:
    try:
        return _first(situation, purpose, feature, frozenset())
    except Exception:  # noqa: BLE001 - whatever fails, the answer must be no
        return closed("internal_error")


def _first(
    situation: Situation, purpose: str, feature: str | None, above: frozenset[str]
) -> Closed | None:
    """Return the first reason of the table; ``above`` are the purposes that need this one."""
    terms = situation.terms
    if not situation.chain_ok:
        return closed("chain_broken")
    if terms is None or not situation.config_ok:
        return closed("config_not_approved")
    code = (
        _in_matrix(terms, purpose, feature)
        or ("restricted" if situation.restricted else None)
        or _stands(situation, purpose)
        or _fits(situation, terms, purpose, feature)
        or _leaves(situation, terms, purpose)
    )
    if code is not None:
        return _told(situation, purpose, code)
    for name in terms.purposes[purpose].requires:
        if name in above or _first(situation, name, None, above | {purpose}) is not None:
            title = terms.purposes[name].title if name in terms.purposes else name
            return Closed(f"needs:{name}", f"it needs another choice that is off: {title}")
    return None


def _in_matrix(terms: ConsentTerms, purpose: str, feature: str | None) -> str | None:
    if purpose not in terms.purposes:
        return "unknown_purpose"
    if feature is None:
        return None
    if feature not in terms.groups:
        return "unknown_feature"
    return None if is_allowed(terms, purpose, feature) else "not_in_matrix"


def _stands(situation: Situation, purpose: str) -> str | None:
    decision = situation.decisions.get(purpose, Decision(purpose=purpose))
    if not decision.holds:
        return _BY_STATE[decision.state]
    if purpose in situation.unkeyed:
        return "withdrawn"
    return None if situation.time < decision.valid_until else "expired"


def _fits(
    situation: Situation, terms: ConsentTerms, purpose: str, feature: str | None
) -> str | None:
    decision = situation.decisions[purpose]
    if not situation.now >= situation.last_seen - CLOCK_SLACK_S:  # not a number closes, too
        return "clock_went_back"
    if decision.policy_version != terms.policy_version:
        return "terms_changed"
    if feature is None:
        return None
    strict = terms.groups[feature].sensitivity in STRICT_SENSITIVITIES
    if feature not in decision.features or (strict and not decision.explicit):
        return "feature_not_chosen"
    return None


def _leaves(situation: Situation, terms: ConsentTerms, purpose: str) -> str | None:
    if not terms.purposes[purpose].leaves_device:
        return None
    if not is_old_enough(situation.age, terms.min_age):
        return "age_locked"
    over = situation.decisions[purpose].over_signal
    if terms.honour_gpc:
        states = [situation.signals.get(name, False) for name in terms.signals]
        if None in states or (True in states and not over):
            return "opt_out_signal"
    return None


def _told(situation: Situation, purpose: str, code: str) -> Closed:
    decision = situation.decisions.get(purpose)
    if decision is None or _BY_STATE.get(decision.state) != code:
        return closed(code)
    return closed(code, _BY_CAUSE.get(decision.cause, ""))
