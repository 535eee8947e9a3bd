"""The figures of a pack: computed from the ledger's charges, never typed, rounded up.

Where a premise of them failed nothing asks for them (``case``), and every writer prints the reason
in the place of the number.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

from homebody_privacy.charges import (
    PARTS,
    Charge,
    CorrelatedRun,
    PoissonRounds,
    charge_from_dict,
    of_part,
    round_up,
)
from homebody_privacy.closed_form import epsilon_unamplified
from homebody_privacy.withdrawal_words import odds_in_100
from homebody_server.evidence.sources import RunRecord

DELTAS: Final = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
"""Failure chances at which the curve is given."""

FALSE_ALARMS: Final = 0.01
"""Rate of false positives at which a test's greatest power is given."""

SAMPLER_SHARE: Final = 1e-3
"""Part of delta kept for the noise sampler's own error, as the run charged it."""

SAMPLER_EPSILON: Final = 1e-6
"""What that error may add to epsilon."""

_MOST_STEPS: Final = 12  # points of the chart; each costs an accounting where coins are secret
_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class Spent:
    """Epsilon after an entry of the ledger.

    Attributes:
        index: The entry.
        name: What it paid for.
        epsilon: Everything up to it, rounded up.
    """

    index: int
    name: str
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the ledger comes to at user level. Public.

    Attributes:
        epsilon: Spent, toward those the claim is about; rounded up.
        unamplified: Toward whoever sees who takes part; rounded up.
        amplified: Whether ``epsilon`` takes credit for secret coins.
        delta: Failure chance of the claim.
        cap: Epsilon that is never passed.
        curve: Failure chance and epsilon, pairs.
        mu: Strength as one Gaussian release; None where coins are secret.
        power: Greatest rate of true positives at ``FALSE_ALARMS``; rounded up.
        guess: How often in 100 a guess that began even is right at most.
        cap_guess: The same at the cap.
        parts: Epsilon of each part by itself; they do not add up.
        steps: Epsilon after each charge, or some of them; the last is ``epsilon``.
        carried: How many charges earlier runs carried in.
        method: Accountant.
        second: The same by verify, from the raw lines; None where it computed none.
        second_method: What that code is.
    """

    epsilon: float
    unamplified: float
    amplified: bool
    delta: float
    cap: float
    curve: tuple[tuple[float, float], ...]
    mu: float | None
    power: float
    guess: int
    cap_guess: int
    parts: Mapping[str, float]
    steps: tuple[Spent, ...]
    carried: int
    method: Literal["closed form", "pld"]
    second: float | None
    second_method: str = "PLD of dp-accounting, composed from the raw lines by code of its own"


def figures_of(record: RunRecord, second: float | None) -> Figures:
    """Compute the figures of a run whose premises hold.

    Args:
        record: The run; its ledger must be readable.
        second: Epsilon as verify computed it, by code of its own; None if it did not.

    Raises:
        ValueError: If the ledger cannot be read.
    """
    if record.ledger is None or record.raw is None:
        raise ValueError("a ledger that cannot be read has no figures")
    header = record.ledger.header
    share = header.delta * (1.0 - SAMPLER_SHARE)
    named = charges_of(record)
    every = [charge for _, _, charge in named]
    credit = _has_coins(every) and not record.ledger.decided
    loss = _spent if credit else epsilon_unamplified
    curve = tuple((d, _up(loss(every, d * (1.0 - SAMPLER_SHARE)))) for d in DELTAS)
    mu = None if _has_coins(every) else math.sqrt(math.fsum(c.squared_loss for c in every))
    epsilon = _up(loss(every, share))
    return Figures(
        epsilon=epsilon,
        unamplified=_up(epsilon_unamplified(every, share)),
        amplified=credit,
        delta=header.delta,
        cap=header.ceiling,
        curve=curve,
        mu=None if mu is None else round_up(mu, 4),
        power=_power(mu, [*curve, (header.delta, epsilon)]),
        guess=odds_in_100(epsilon),
        cap_guess=odds_in_100(header.ceiling),
        parts=_parts(every, share, credit=credit),
        steps=_steps(named, share, credit=credit),
        carried=sum(index == 0 for index, _, _ in named),
        method="pld" if credit else "closed form",
        second=second,
    )


def charges_of(record: RunRecord) -> list[tuple[int, str, Charge]]:
    """Return everything charged: entry, name and charge; entry 0 is what came from earlier runs."""
    found = []
    for entry in record.entries:
        values = entry.values
        if entry.kind == "header":
            carried = values.get("carried") or []
            found += [(0, "earlier runs", charge_from_dict(one)) for one in carried]
        elif entry.kind == "purchase":
            found.append((entry.index, str(values["name"]), charge_from_dict(values["charge"])))
        elif entry.kind == "intent" and values["charge"] is not None:
            charge = charge_from_dict(values["charge"])
            found.append((entry.index, f"round/{values['round']}", charge))
    return found


def correlated_of(record: RunRecord) -> CorrelatedRun | None:
    """Return the charge of the run's correlated rounds; None where rounds are charged singly."""
    runs = [c for i, name, c in charges_of(record) if i and name == "run"]
    return next((c for c in runs if isinstance(c, CorrelatedRun)), None)


def _has_coins(charges: Iterable[Charge]) -> bool:
    return any(isinstance(charge, PoissonRounds) for charge in charges)


def _spent(charges: Sequence[Charge], delta: float) -> float:
    # An accountant takes seconds to load, and only secret coins need it.
    from homebody_privacy.accounting import spent_epsilon  # noqa: PLC0415

    return spent_epsilon(charges, delta)


def _up(epsilon: float) -> float:
    """Return an epsilon as it is printed: with the sampler's own error, rounded up."""
    return round_up(epsilon + SAMPLER_EPSILON, _DIGITS)


def _parts(charges: Sequence[Charge], delta: float, *, credit: bool) -> dict[str, float]:
    loss = _spent if credit else epsilon_unamplified
    own = {part: of_part(charges, part) for part in PARTS}
    return {part: _up(loss(found, delta)) for part, found in own.items() if found}


def _steps(
    named: Sequence[tuple[int, str, Charge]], delta: float, *, credit: bool
) -> tuple[Spent, ...]:
    """Return epsilon after each charge; of many after some, the first and last among them."""
    first = max(0, sum(index == 0 for index, _, _ in named) - 1)  # earlier runs are one step
    shown = list(range(first, len(named)))
    if len(shown) > _MOST_STEPS:
        last = len(shown) - 1
        places = {round(i * last / (_MOST_STEPS - 1)) for i in range(_MOST_STEPS)}
        shown = [shown[place] for place in sorted(places)]
    loss = _spent if credit else epsilon_unamplified
    so_far = [charge for _, _, charge in named]
    return tuple(Spent(named[i][0], named[i][1], _up(loss(so_far[: i + 1], delta))) for i in shown)


def _power(mu: float | None, curve: Iterable[tuple[float, float]]) -> float:
    """Return the greatest rate of true positives at ``FALSE_ALARMS``, rounded up.

    Of a Gaussian it is exact; else the least that a point of the curve allows,
    exp(epsilon) * rate + delta.
    """
    if mu is not None:
        normal = NormalDist()
        return round_up(normal.cdf(normal.inv_cdf(FALSE_ALARMS) + mu), 4)
    bounds = (math.exp(epsilon) * FALSE_ALARMS + delta for delta, epsilon in curve)
    return min(1.0, round_up(min(bounds), 4))
