"""What the person says, as the book takes it: a yes, a no, a freeze, a signal."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from homebody_privacy.consent import (
    CLOCK_SLACK_S,
    GRACE_STATES,
    STRICT_SENSITIVITIES,
    ConsentState,
    Decision,
    closed,
)
from homebody_privacy.consent_terms import DAY_S, ConsentTerms
from homebody_privacy.errors import UsageError
from homebody_privacy.receipts import LIFTED, RESTRICTED, ConsentReceipt

from .keeper import PERSON, Keeper, refusal
from .state import Pending
from .transitions import Closing, after_doubt, apply, no_grant, signals_on, with_dependent

_ASKED: Final = frozenset({ConsentState.UNKNOWN, ConsentState.REQUESTED, ConsentState.DEFERRED})


def take_yes(
    keeper: Keeper,
    purpose: str,
    features: Sequence[str],
    *,
    language: str,
    explicit: bool,
    over_signal: bool,
    method: str,
) -> ConsentReceipt:
    """Take a yes, as ``ConsentBook.grant`` describes it."""
    keeper.heal()
    _refuse(keeper, purpose, features, explicit=explicit, over_signal=over_signal)
    terms = keeper.state.terms
    notice = _notice(terms, language)
    keeper.set_right(clock=True)
    keeper.settle()
    keeper.drop_ended()
    _refuse(keeper, purpose, features, explicit=explicit, over_signal=over_signal)
    if terms is None:
        raise refusal(closed("config_not_approved"))
    at = keeper.time()
    strict = any(terms.groups[f].sensitivity in STRICT_SENSITIVITIES for f in features)
    conflict = terms.purposes[purpose].leaves_device and signals_on(keeper.situation(), terms)
    said = Decision(
        purpose=purpose,
        features=tuple(features),
        policy_version=terms.policy_version,
        notice_sha256=notice,
        language=language,
        given_at=at,
        changed_at=at,
        valid_until=at + terms.expiry_days * DAY_S,
        over_signal=over_signal and conflict,
        explicit=explicit and strict,
    )
    return keeper.admit(said, method=method)


def take_no(
    keeper: Keeper, purpose: str, state: ConsentState, *, method: str, cause: str = ""
) -> ConsentReceipt:
    """Take a no, as ``ConsentBook.withdraw`` and ``refuse`` describe it.

    Where nothing is on and nothing waits, the no said last stands, and its receipt is returned.
    """
    keeper.heal()
    terms = keeper.state.terms
    known = terms is not None and purpose in terms.purposes
    if not known and purpose not in keeper.state.decisions:
        raise refusal(closed("unknown_purpose"))
    keeper.set_right(clock=False)
    keeper.settle()
    decision = keeper.state.decision(purpose)
    if decision.holds:
        state = ConsentState.WITHDRAWN
    elif decision.state in _ASKED:
        state = ConsentState.REFUSED
    elif decision.state not in GRACE_STATES:
        said = [r for r in keeper.journal.receipts() if r.purpose == purpose]
        is_new = state is ConsentState.REFUSED and decision.state is not state
        if said and not is_new:
            return said[-1]
    before = keeper.stamped()
    if state is ConsentState.REFUSED and terms is not None:
        before = before.with_decision(replace(decision, policy_version=terms.policy_version))
    no = person_closes(keeper, purpose, state, cause=cause, method=method)
    receipts = keeper.close(
        with_dependent([no], before.decisions, terms, at=before.last_seen), before
    )
    return next(receipt for receipt in receipts if receipt.purpose == purpose)


def note_asked(keeper: Keeper, purpose: str, state: ConsentState) -> None:
    """Note that the person was asked; the data that waits for a new yes goes on waiting."""
    decision = keeper.state.decision(purpose)
    if decision.holds or decision.state in GRACE_STATES or decision.state is state:
        return
    after = keeper.next()
    asked = replace(
        decision,
        state=state,
        changed_at=after.last_seen,
        epoch=after.epoch,
        features=(),
        since={},
        cause="",
    )
    keeper.note(after.with_decision(asked))


def freeze(keeper: Keeper, *, method: str) -> None:
    """Freeze processing, as ``ConsentBook.restrict`` describes it."""
    keeper.heal()
    if keeper.state.restricted:
        return
    keeper.set_right(clock=False)
    keeper.settle()
    state = keeper.next()
    promise = Pending(event=RESTRICTED, at=state.last_seen, by=PERSON, method=method)
    with keeper.writing():
        keeper.journal.shut(replace(state, restricted=True, pending=(promise,)))
    keeper.tell()


def thaw(keeper: Keeper, *, method: str) -> None:
    """Lift the freeze, as ``ConsentBook.lift`` describes it."""
    keeper.heal()
    if keeper.state.restricted:
        keeper.set_right(clock=False)
        state = keeper.next()
        said = Pending(event=LIFTED, at=state.last_seen, by=PERSON, method=method)
        keeper.admit_lifting(said, replace(state, restricted=False))


def heed_signal(keeper: Keeper, name: str, *, on: bool | None) -> None:
    """Keep what a signal says, as ``ConsentBook.set_signal`` describes it."""
    keeper.heal()
    before = keeper.state
    if name in before.signals and before.signals[name] is on:
        return
    state = replace(keeper.next(), signals={**before.signals, name: on})
    if on is not None:
        state = replace(state, remembered={**before.remembered, name: on})
    if on and not before.remembered.get(name, False):
        for decision in before.decisions.values():
            state = state.with_decision(replace(decision, over_signal=False))
    keeper.note(state)


def person_closes(
    keeper: Keeper, purpose: str, state: ConsentState, *, cause: str, method: str
) -> Closing:
    """Return the closing of a purpose by the person, now."""
    return Closing(
        purpose=purpose, state=state, at=keeper.time(), cause=cause, by=PERSON, method=method
    )


def _refuse(
    keeper: Keeper, purpose: str, features: Sequence[str], *, explicit: bool, over_signal: bool
) -> None:
    """Refuse a yes that could not be taken even after what is in doubt was set right."""
    state, doubts = after_doubt(keeper.stamped(), keeper.see(), CLOCK_SLACK_S)
    for closing in doubts:
        state = apply(state, closing, "")
    situation = keeper.situation(state)
    shut = no_grant(situation, purpose, features, explicit=explicit, over_signal=over_signal)
    if shut is not None:
        raise refusal(shut)


def _notice(terms: ConsentTerms | None, language: str) -> str:
    notices = {} if terms is None else terms.notices
    if notices and language not in notices:
        raise UsageError(
            "there is no notice in this language",
            fix=f"name one of {', '.join(sorted(notices))}",
        )
    return notices.get(language, "")
