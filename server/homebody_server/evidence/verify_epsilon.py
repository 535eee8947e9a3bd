"""Is the epsilon that is claimed the epsilon that was spent? Computed anew, and held to the cap."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homebody_privacy.charges import round_up
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.planned import withheld

from .facts import RunFacts
from .independent import Recomputed, recompute
from .independent_lines import number
from .verify_lines import BUDGET, Line, note, ok, wrong

TOLERANCE: Final = 0.02
"""Share by which a stated epsilon may differ from what is computed anew."""

_ROUNDED: Final = 0.0021  # what rounding up to 3 digits and the faster accountant add at most
_LOOSE: Final = 1e-3  # by which two accountants may differ at the cap
_DIGITS: Final = 3
_DECIDED: Final = (
    "a round was void for who came: no credit is taken for secret coins; the cap was kept with it"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure that somebody states. Public.

    Attributes:
        where: Who states it, such as ``report.json``.
        what: ``epsilon``, ``unamplified``, ``parts/NAME`` or ``parts_unamplified/NAME``.
        value: What is stated; anything but a number is wrong.
    """

    where: str
    what: str
    value: object


def check_epsilon(
    facts: RunFacts, claims: Sequence[Claim], *, holds: bool
) -> tuple[tuple[Line, ...], Mapping[str, Any]]:
    """Compute epsilon from the raw ledger and compare everything that states one.

    Args:
        facts: The run's files.
        claims: What is stated.
        holds: Whether the ledger is what was signed: of another one no figure is computed.

    Returns:
        Lines, and the figures as JSON values.

    Raises:
        IntegrityError: If a charge of the ledger is none.
        ModuleNotFoundError: If dp-accounting is not installed.
    """
    if facts.ledger is None or facts.config is None:
        return (), {}
    if not holds:
        return (note("epsilon was not recomputed: the ledger is not what was signed"),), {}
    found = recompute(facts.ledger)
    lines = [
        wrong(f"the charge of {name} states less than its worst pattern moves")
        for name in found.understated
    ]
    cap = min(number(facts.ledger.header, "ceiling"), facts.config.dp.epsilon_max)
    lines.append(_against_cap(facts.config, found, cap))
    if facts.config.dp.amplification and not found.is_amplified:
        lines.append(note(_DECIDED))
    lines += _against_claims(found, claims)
    return tuple(lines), {**_figures(found), "epsilon_max": cap}


def _against_cap(config: PrivacyConfig, found: Recomputed, cap: float) -> Line:
    dp = config.dp
    failed = withheld(config)
    if failed:  # the number would be about nothing
        return note(f"epsilon of the ledger: not printed, {', '.join(failed)} failed")
    spent = f"{round_up(found.epsilon, _DIGITS):g}" if math.isfinite(found.epsilon) else "infinite"
    about = f"(delta {found.delta:g}, per {dp.unit}, {dp.adjacency}, {dp.budget_scope})"
    if found.with_credit > cap * (1.0 + _LOOSE) + _LOOSE:
        return wrong(f"epsilon recomputed from the ledger: {spent}, over {cap:g} {about}", BUDGET)
    return ok(f"epsilon recomputed from the ledger: {spent} of {cap:g} {about}")


def _against_claims(found: Recomputed, claims: Sequence[Claim]) -> Iterator[Line]:
    values: dict[str, float] = {
        "epsilon": found.epsilon,
        "unamplified": found.unamplified,
        **{f"parts/{name}": value for name, value in found.parts.items()},
        **{f"parts_unamplified/{n}": value for n, value in found.parts_unamplified.items()},
    }
    off = [one for one in claims if not _agrees(one.value, values.get(one.what))]
    for one in off:
        shown = f"{one.value:g}" if type(one.value) in {int, float} else "no number"
        computed = values.get(one.what)
        known = "nothing" if computed is None else f"{round_up(computed, _DIGITS):g}"
        yield wrong(f"{one.where} states {one.what} {shown}, the ledger comes to {known}")
    if claims and not off:
        places = dict.fromkeys(one.where for one in claims)
        yield ok(f"what {' and '.join(places)} state of epsilon is within 2 % of it")


def _agrees(stated: object, computed: float | None) -> bool:
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or computed is None:
        return False
    least, most = computed * (1.0 - TOLERANCE) - 1e-6, computed * (1.0 + TOLERANCE) + _ROUNDED
    return math.isfinite(stated) and math.isfinite(computed) and least <= stated <= most


def _figures(found: Recomputed) -> Mapping[str, Any]:
    return {
        "epsilon": _json(found.epsilon),
        "epsilon_unamplified": _json(found.unamplified),
        "amplified": found.is_amplified,
        "delta": found.delta,
        "parts": {name: _json(value) for name, value in found.parts.items()},
        "parts_unamplified": {n: _json(value) for n, value in found.parts_unamplified.items()},
        "sensitivity": {name: _json(own) for name, _, own in found.sensitivities},
    }


def _json(value: float) -> float | None:
    """Return a figure as JSON has it, rounded up; None where there is none."""
    return round_up(value, 6) if math.isfinite(value) else None
