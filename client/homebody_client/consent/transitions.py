"""What becomes of decisions: which close by themselves, what that pulls along, what a yes needs.

Pure: states and situations in, closings or refusals out. A closing is ordered by how much it ends:
what was withdrawn or revoked is erased at once, what expired or was invalidated waits shut.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from homebody_client.light_dataclass import dataclass
from homebody_privacy.consent import (
    GRACE_STATES,
    STRICT_SENSITIVITIES,
    Closed,
    ConsentState,
    Decision,
    Situation,
    all_required,
    closed,
    is_allowed,
    is_old_enough,
    why_purpose,
)
from homebody_privacy.consent_terms import DAY_S, ConsentTerms

from .state import BookState

_BY_DEVICE: Final = "DataController"
_PULLED: Final = {  # state of a required purpose -> state of those that need it
    ConsentState.WITHDRAWN: ConsentState.WITHDRAWN,
    ConsentState.REFUSED: ConsentState.WITHDRAWN,
    ConsentState.REVOKED: ConsentState.REVOKED,
    ConsentState.INVALIDATED: ConsentState.INVALIDATED,
}
_MOST_TAGS: Final = 32  # older ones lapse by themselves: nobody heard from the device since
ERASING: Final = frozenset({ConsentState.WITHDRAWN, ConsentState.REFUSED, ConsentState.REVOKED})
"""States that erase at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """One purpose that closes, or some of its feature groups.

    Attributes:
        purpose: The switch.
        state: What it becomes; of a part, what is said of that part.
        at: Since when, Unix seconds.
        cause: Why, where the person did not say it of this purpose.
        part: Feature groups that close while the rest stays open; empty for all.
        by: ``DataSubject`` or ``DataController``.
        method: How it was said.
    """

    purpose: str
    state: ConsentState
    at: float
    cause: str = ""
    part: tuple[str, ...] = ()
    by: str = _BY_DEVICE
    method: str = "device"

    @property
    def erases(self) -> bool:
        """Whether data goes at once."""
        return self.state in ERASING


def due(situation: Situation) -> list[Closing]:
    """Return what has to close now by itself, required purposes before those that need them.

    Args:
        situation: As the judge sees it, with terms in force.
    """
    own = {
        name: closing
        for name, decision in situation.decisions.items()
        if (closing := _own(situation, decision)) is not None
    }
    return with_dependent(own.values(), situation.decisions, situation.terms, at=situation.time)


def with_dependent(
    closings: Iterable[Closing],
    decisions: Mapping[str, Decision],
    terms: ConsentTerms | None,
    *,
    at: float,
) -> list[Closing]:
    """Return closings together with those of all purposes that cannot go on without them.

    Args:
        closings: What closes by itself or by the person.
        decisions: The book before.
        terms: What requires what.
        at: The time in force, Unix seconds.
    """
    own = {closing.purpose: closing for closing in closings}
    found = list(own.values())
    for name, decision in sorted(decisions.items()) if terms is not None else ():
        mine = own.get(name)
        if terms is None or (mine is not None and mine.erases and not mine.part):
            continue
        pulled = _pulled(decision, own, decisions, terms, at)
        if pulled is not None and (mine is None or pulled.erases or mine.part):
            found = [closing for closing in found if closing is not mine]
            found.append(pulled)
    return found


def apply(state: BookState, closing: Closing, tag: str) -> BookState:
    """Return the state after a closing: the next epoch, a new tag, the old one to be told."""
    decision = state.decision(closing.purpose)
    epoch = state.epoch + 1
    kept = tuple(f for f in decision.features if f not in closing.part)
    if closing.part:
        since = {f: t for f, t in decision.since.items() if f in kept}
        after = replace(decision, features=kept, since=since, epoch=epoch, tag=tag)
    else:
        after = replace(
            decision,
            state=closing.state,
            changed_at=closing.at,
            epoch=epoch,
            tag=tag,
            cause=closing.cause,
        )
    return replace(told(state, closing.purpose), epoch=epoch).with_decision(after)


def told(state: BookState, purpose: str) -> BookState:
    """Return the state with the present tag of a leaving purpose among those to be told."""
    decision, terms = state.decision(purpose), state.terms
    known = None if terms is None else terms.purposes.get(purpose)
    if not decision.tag or (known is not None and not known.leaves_device):
        return state
    tags = (*state.leaves.get(purpose, ()), decision.tag)[-_MOST_TAGS:]
    return replace(state, leaves={**state.leaves, purpose: tags})


def no_grant(
    situation: Situation,
    purpose: str,
    features: Sequence[str],
    *,
    explicit: bool,
    over_signal: bool,
) -> Closed | None:
    """Say why a yes cannot be taken now; None means that it can."""
    terms = situation.terms
    if terms is None or not situation.config_ok:
        return closed("config_not_approved")
    if purpose not in terms.purposes:
        return closed("unknown_purpose")
    code = next(
        filter(None, (_no_feature(terms, purpose, f, explicit=explicit) for f in features)), None
    )
    if code is not None:
        return closed(code)
    if situation.restricted:
        return closed("restricted")
    return _not_let_out(situation, terms, purpose, over_signal=over_signal) or _needs(
        situation, terms, purpose
    )


def after_doubt(state: BookState, now: float, slack_s: float) -> tuple[BookState, list[Closing]]:
    """Return what a choice of the person sets right first, and what closes for it.

    A broken chain begins anew; a clock that went back is believed. Every decision made before
    can no longer be relied on.
    """
    at, cause = now, ""
    if now < state.last_seen - slack_s:
        cause = "clock_reset"
        state = replace(state, last_seen=now, unswept=True)
        for decision in state.decisions.values():
            state = state.with_decision(_not_after(decision, now))
    if state.broken_at is not None:
        at, cause = min(state.broken_at, now), "chain_broken"
        state = replace(state, base=state.end, broken_at=None)
    if not cause:
        return state, []
    closings = [
        Closing(purpose=name, state=ConsentState.INVALIDATED, at=at, cause=cause)
        for name, decision in sorted(state.decisions.items())
        if decision.holds
    ]
    return state, closings


def signals_on(situation: Situation, terms: ConsentTerms) -> bool:
    """Say whether an opt-out signal that the terms honour is on."""
    return terms.honour_gpc and any(situation.signals.get(name) for name in terms.signals)


def lost(terms: ConsentTerms, decision: Decision) -> tuple[str, ...]:
    """Return the features of a decision that the terms do not allow it, or not without more."""
    gone = [f for f in decision.features if not is_allowed(terms, decision.purpose, f)]
    strict = [
        f
        for f in decision.features
        if f in terms.groups
        and terms.groups[f].sensitivity in STRICT_SENSITIVITIES
        and not decision.explicit
    ]
    return tuple(sorted({*gone, *strict}))


def _own(situation: Situation, decision: Decision) -> Closing | None:
    """Return what closes one decision, whatever becomes of others; the most final first."""
    waits = decision.state in GRACE_STATES
    if not decision.holds and not waits:
        return None
    final = _erased(situation, decision)
    return final if final is not None or waits else _ended(situation, decision)


def _erased(situation: Situation, decision: Decision) -> Closing | None:
    """Return the closing of a decision whose data must go at once, if it must."""
    terms, name, at = situation.terms, decision.purpose, situation.time
    if name in situation.unkeyed:
        return Closing(purpose=name, state=ConsentState.WITHDRAWN, at=at, cause="key_missing")
    if terms is None or not situation.config_ok:
        return None  # a config that is not approved erases nothing
    if name not in terms.purposes or lost(terms, decision) == decision.features:
        return Closing(purpose=name, state=ConsentState.REVOKED, at=at, cause="config")
    too_young = situation.age is not None and not is_old_enough(situation.age, terms.min_age)
    opted_out = signals_on(situation, terms) and not decision.over_signal
    if terms.purposes[name].leaves_device and (too_young or opted_out):
        cause = "age" if too_young else "signal"
        return Closing(
            purpose=name,
            state=ConsentState.WITHDRAWN,
            at=at,
            cause=cause,
            by="DataSubject",
            method=cause,
        )
    return None


def _ended(situation: Situation, decision: Decision) -> Closing | None:
    """Return the closing of a yes that has run out, or of the part that has, if it has."""
    terms, name, at = situation.terms, decision.purpose, situation.time
    if at >= decision.valid_until:
        return Closing(purpose=name, state=ConsentState.EXPIRED, at=decision.valid_until)
    if terms is None or not situation.config_ok:
        return None
    if decision.policy_version != terms.policy_version:
        return Closing(purpose=name, state=ConsentState.EXPIRED, at=at, cause="terms_changed")
    part = lost(terms, decision)
    if part:
        return Closing(purpose=name, state=ConsentState.REVOKED, at=at, cause="config", part=part)
    return None


def _pulled(
    decision: Decision,
    own: Mapping[str, Closing],
    decisions: Mapping[str, Decision],
    terms: ConsentTerms,
    now: float,
) -> Closing | None:
    """Return what the purposes above make of a decision: the most final, else the earliest."""
    waits = decision.state in GRACE_STATES
    if not decision.holds and not waits:
        return None
    found: list[Closing] = []
    for name in all_required(terms, decision.purpose):
        closing = own.get(name)
        above = decisions.get(name, Decision(purpose=name))
        if closing is not None and not closing.part:
            state, at, by = closing.state, closing.at, closing.by
        elif above.holds:
            continue
        else:
            at = above.changed_at if above.state in _PULLED or above.state in GRACE_STATES else now
            state, by = above.state, _BY_DEVICE
        found.append(
            Closing(
                purpose=decision.purpose,
                state=_PULLED.get(state, ConsentState.EXPIRED),
                at=at,
                cause=f"cascade:{name}",
                by=by,
                method="cascade",
            )
        )
    erasing = next((closing for closing in found if closing.erases), None)
    if erasing is not None or waits:
        return erasing
    return min(found, key=lambda closing: closing.at, default=None)


def _no_feature(terms: ConsentTerms, purpose: str, feature: str, *, explicit: bool) -> str | None:
    if feature not in terms.groups:
        return "unknown_feature"
    if not is_allowed(terms, purpose, feature):
        return "not_in_matrix"
    strict = terms.groups[feature].sensitivity in STRICT_SENSITIVITIES
    return "explicit_needed" if strict and not explicit else None


def _not_let_out(
    situation: Situation, terms: ConsentTerms, purpose: str, *, over_signal: bool
) -> Closed | None:
    if not terms.purposes[purpose].leaves_device:
        return None
    if not is_old_enough(situation.age, terms.min_age):
        return closed("age_locked")
    unreadable = any(situation.signals.get(name, False) is None for name in terms.signals)
    if terms.honour_gpc and (unreadable or (signals_on(situation, terms) and not over_signal)):
        return closed("opt_out_signal")
    return None


def _needs(situation: Situation, terms: ConsentTerms, purpose: str) -> Closed | None:
    for name in terms.purposes[purpose].requires:
        if why_purpose(situation, name) is not None:
            title = terms.purposes[name].title
            return Closed(f"needs:{name}", f"it needs another choice that is off: {title}")
    return None


def _not_after(decision: Decision, now: float) -> Decision:
    """Return a decision none of whose times lies ahead of a clock that was set right."""
    return replace(
        decision,
        given_at=min(decision.given_at, now),
        changed_at=min(decision.changed_at, now),
        since={f: min(t, now) for f, t in decision.since.items()},
    )


def grace_ends(terms: ConsentTerms, since: float) -> float:
    """Return until when data waits for a new yes, Unix seconds."""
    return since + terms.grace_days * DAY_S
