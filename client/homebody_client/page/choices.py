"""The switches of the page: where each stands, and what each of its two buttons sends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from homebody_client.api.device_like import ConsentLike
from homebody_privacy.consent import AGE_BANDS, STRICT_SENSITIVITIES, ConsentState, is_allowed
from homebody_privacy.consent_terms import ConsentTerms, PurposeTerms

from . import words

_SAID_NO: Final = (ConsentState.REFUSED, ConsentState.WITHDRAWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One purpose and one feature group.

    Attributes:
        feature: Name of the feature group.
        name: The same, in words.
        keeps: What is kept of it, and how long.
        guarded: How it is protected specially; empty for ordinary data.
        yes: Whether the person said yes to it.
        no: Whether the person said no to the purpose, or yes to others without it.
        state: Where it stands, in words.
        on: Body of the request behind "Yes".
        off: Body of the request behind "No".
        ask_again: Question before a yes that must be confirmed; empty where one tap is enough.
    """

    feature: str
    name: str
    keeps: str
    guarded: str
    yes: bool
    no: bool
    state: str
    on: dict[str, object]
    off: dict[str, object]
    ask_again: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One purpose with its consequences and switches."""

    purpose: str
    title: str
    leaves: bool
    if_yes: str
    if_no: str
    switches: tuple[Switch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Everything the person can decide.

    Attributes:
        purposes: The switches; empty while no config was accepted.
        paused: Whether everything is paused.
        asks_age: Whether purposes are locked because the age is not known.
        ages: Age bands with their words.
    """

    purposes: tuple[Choice, ...]
    paused: bool
    asks_age: bool
    ages: tuple[tuple[str, str], ...]


def choices(consent: ConsentLike) -> Choices:
    """Return every switch of a device."""
    terms = consent.terms
    purposes = terms.purposes if terms else {}
    leaving = any(purpose.leaves_device for purpose in purposes.values())
    return Choices(
        purposes=tuple(
            Choice(
                purpose=name,
                title=purpose.title,
                leaves=purpose.leaves_device,
                if_yes=words.if_yes(terms, name),
                if_no=words.if_no(terms, name),
                switches=tuple(
                    _switch(consent, terms, name, feature)
                    for feature in terms.groups
                    if is_allowed(terms, name, feature)
                ),
            )
            for name, purpose in purposes.items()
            if terms
        ),
        paused=consent.restricted,
        asks_age=leaving and consent.age_band is None,
        ages=tuple((band, words.age(band)) for band in AGE_BANDS),
    )


def _switch(
    consent: ConsentLike,
    terms: ConsentTerms,
    purpose: str,
    feature: str,
) -> Switch:
    decision = consent.decision(purpose)
    chosen = list(decision.features) if decision.holds else []
    yes = feature in chosen
    group = terms.groups[feature]
    closed = consent.why(purpose, feature)
    others = [name for name in chosen if name != feature]
    over = _over_signal(consent.signals, terms, terms.purposes[purpose])
    strict = group.sensitivity in STRICT_SENSITIVITIES
    return Switch(
        feature=feature,
        name=words.spaced(feature),
        keeps=words.kept(group),
        guarded=words.guarded(group.sensitivity),
        yes=yes,
        no=not yes and (bool(chosen) or decision.state in _SAID_NO),
        state=words.state_of_switch(closed, yes=yes, until=decision.valid_until),
        on=_grant(terms, purpose, [*others, feature], over=over),
        off=_grant(terms, purpose, others, over=decision.over_signal)
        if yes and others
        else {
            "decision": "withdraw" if decision.holds else "refuse",
            "purpose": purpose,
            "method": "tap",
        },
        ask_again="" if yes else words.ask_again(strict=strict, over_signal=over),
    )


def _over_signal(
    signals: Mapping[str, bool | None], terms: ConsentTerms, purpose: PurposeTerms
) -> bool:
    """Return whether a yes would go against an opt-out signal that is on."""
    on = any(signals.get(name) for name in terms.signals)
    return purpose.leaves_device and terms.honour_gpc and on


def _grant(
    terms: ConsentTerms, purpose: str, features: Sequence[str], *, over: bool
) -> dict[str, object]:
    """Return the body of a yes to exactly these feature groups."""
    strict = any(terms.groups[name].sensitivity in STRICT_SENSITIVITIES for name in features)
    return {
        "decision": "grant",
        "purpose": purpose,
        "features": sorted(features),
        "method": "tap",
        **({"explicit": True} if strict else {}),
        **({"over_signal": True} if over else {}),
    }
