"""The matrix of choices as a person sees it: one row for each pair that may be asked."""

from dataclasses import dataclass
from typing import Final

from homebody_privacy.consent import OPEN_STATES, Closed, Decision, Situation, is_allowed, why

_APART: Final = ("elevated", "special", "criminal")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One switch of the matrix. For the person's own screen, nowhere else.

    Attributes:
        purpose: Name of the purpose.
        title: What the person reads beside it.
        leaves_device: Whether anything computed from the data is sent.
        feature: Name of the feature group.
        state: Where the purpose stands, as a ``ConsentState`` value.
        chosen: Whether the present yes names this feature group.
        open: Whether it may be used now.
        code: Why not; empty if it may.
        sentence: The same for people.
        valid_until: Unix seconds at which the yes runs out; None if there is none.
        sensitivity: ``ordinary``, ``elevated``, ``special`` or ``criminal``.
        alone: It must be chosen by itself, never together with others by one action.
        explicit: It needs a second, explicit yes.
    """

    purpose: str
    title: str
    leaves_device: bool
    feature: str
    state: str
    chosen: bool
    open: bool
    code: str
    sentence: str
    valid_until: float | None
    sensitivity: str
    alone: bool
    explicit: bool


def matrix_rows(situation: Situation) -> list[MatrixRow]:
    """Return all pairs the terms allow, in their order; none without terms.

    Nothing is preselected: a row is on only where the person chose it.
    """
    terms = situation.terms
    if terms is None:
        return []
    return [
        _row(situation, purpose, feature, why(situation, purpose, feature))
        for purpose in terms.purposes
        for feature in terms.groups
        if is_allowed(terms, purpose, feature)
    ]


def _row(situation: Situation, purpose: str, feature: str, shut: Closed | None) -> MatrixRow:
    terms = situation.terms
    if terms is None:
        raise ValueError("a row needs terms")
    decision = situation.decisions.get(purpose, Decision(purpose=purpose))
    group = terms.groups[feature]
    given = decision.state in OPEN_STATES and feature in decision.features
    return MatrixRow(
        purpose=purpose,
        title=terms.purposes[purpose].title,
        leaves_device=terms.purposes[purpose].leaves_device,
        feature=feature,
        state=decision.state.value,
        chosen=given,
        open=shut is None,
        code="" if shut is None else shut.code,
        sentence="" if shut is None else shut.sentence,
        valid_until=decision.valid_until if given else None,
        sensitivity=group.sensitivity,
        alone=group.sensitivity in _APART,
        explicit=group.sensitivity in _APART[1:],
    )
