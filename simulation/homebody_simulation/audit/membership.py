"""Tier 3: who was in the training set, guessed from the final model? Estimates, never bounds.

Two attacks. Loss threshold (Yeom et al., "Privacy Risk in Machine Learning" (2018),
https://arxiv.org/abs/1709.01604): what the model predicts well was trained on. Offline LiRA
(Carlini et al., "Membership Inference Attacks From First Principles" (2022),
https://arxiv.org/abs/2112.03570): a device's loss against its losses under shadow
models that were trained without it; one variance for all devices, as they advise for few shadows.

An attack that fails says nothing about a better one, and one that succeeds by chance says nothing
about the claim: no pass or fail hangs on these figures.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from scipy.stats import rankdata

from homebody_simulation.audit.projections import Flags, Matrix

RATES: Final = (0.001, 0.01)
"""False positive rates at which an attack is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """How well one attack told members from others; all of it estimates.

    Attributes:
        name: ``loss`` or ``lira``.
        auroc: Chance that a member scores above a non-member; 0.5 is no attack.
        true_positive_rates: Share of members found, at each of ``RATES``.
    """

    name: str
    auroc: float
    true_positive_rates: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What tier 3 found.

    Attributes:
        attacks: One entry an attack.
        largest_rates: Greatest share of members any attack can find at each of ``RATES`` if the
            claim holds.
        members: Devices that were in.
        others: Devices that were out; a false positive rate below 1 / others is none at all.
        shadows: Shadow models trained.
    """

    attacks: tuple[Attack, ...]
    largest_rates: tuple[float, ...]
    members: int
    others: int
    shadows: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; every figure of an attack is an estimate."""
        names = tuple(f"tpr@{rate:g}" for rate in RATES)
        return {
            "unit": "user",
            "attacks": [
                {
                    "attack": attack.name,
                    "estimate": {
                        "auroc": attack.auroc,
                        **dict(zip(names, attack.true_positive_rates, strict=True)),
                    },
                }
                for attack in self.attacks
            ],
            "upper_bound": dict(zip(names, self.largest_rates, strict=True)),
            "members": self.members,
            "others": self.others,
            "shadows": self.shadows,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Losses of every device under the model that is attacked and under its shadows. Secret.

    Attributes:
        target: Loss of each device, of shape ``(devices,)``.
        members: Which devices the model was trained on, same shape.
        shadows: Losses under the shadow models, of shape ``(shadows, devices)``.
        shadow_members: Which devices each shadow was trained on, same shape.
    """

    target: Matrix = field(repr=False)
    members: Flags = field(repr=False)
    shadows: Matrix = field(repr=False)
    shadow_members: Flags = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit, and a population on one side."""
        if self.target.shape != self.members.shape or self.target.ndim != 1:
            raise ValueError("target and members must be of the same shape (devices,)")
        shape = (len(self.shadows), len(self.target))
        if self.shadows.shape != shape or self.shadow_members.shape != shape:
            raise ValueError("shadows and shadow_members must be of shape (shadows, devices)")
        if not 0 < int(self.members.sum()) < len(self.members):
            raise ValueError("an attack needs members and others")


def attack(losses: Losses, *, epsilon: float, delta: float) -> Membership:
    """Carry out both attacks.

    Args:
        losses: What the attacker computed; a device whose loss is not finite is left out.
        epsilon: Claimed epsilon, at user level, for the rates no attack can pass.
        delta: Its failure chance.
    """
    usable = np.isfinite(losses.target) & np.isfinite(losses.shadows).all(axis=0)
    members = losses.members[usable]
    found = {
        "loss": -losses.target[usable],
        "lira": lira(
            losses.target[usable], losses.shadows[:, usable], losses.shadow_members[:, usable]
        ),
    }
    return Membership(
        attacks=tuple(
            Attack(
                name=name,
                auroc=auroc(scores, members),
                true_positive_rates=tuple(found_at(scores, members, rate) for rate in RATES),
            )
            for name, scores in found.items()
        ),
        largest_rates=tuple(largest_rate(rate, epsilon, delta) for rate in RATES),
        members=int(members.sum()),
        others=int((~members).sum()),
        shadows=len(losses.shadows),
    )


def lira(target: Matrix, shadows: Matrix, shadow_members: Flags) -> Matrix:
    """Return offline LiRA scores: how far a loss lies below those of models without the device.

    Args:
        target: Loss of each device, of shape ``(devices,)``.
        shadows: Losses under the shadows, of shape ``(shadows, devices)``.
        shadow_members: Which devices each shadow was trained on.

    Returns:
        Scores of shape ``(devices,)``, in standard deviations; minus infinity where every shadow
        was trained with the device.
    """
    out = ~shadow_members
    count = out.sum(axis=0)
    mean = np.where(out, shadows, 0.0).sum(axis=0) / np.maximum(count, 1)
    left = np.where(out, shadows - mean, 0.0)
    freedom = int(np.maximum(count - 1, 0).sum())
    spread = math.sqrt(float((left**2).sum()) / freedom) if freedom else 0.0
    scores: Matrix = np.where(count > 0, (mean - target) / (spread or 1.0), -np.inf)
    return scores


def auroc(scores: Matrix, members: Flags) -> float:
    """Return the chance that a member scores above a non-member; a tie counts half."""
    inside = int(members.sum())
    outside = len(members) - inside
    ranks = float(rankdata(scores)[members].sum())
    return (ranks - inside * (inside + 1) / 2.0) / (inside * outside)


def found_at(scores: Matrix, members: Flags, rate: float) -> float:
    """Return the share of members above a threshold that at most ``rate`` of the others pass.

    Examples:
        >>> scores = np.array([4.0, 3.0, 2.0, 1.0])
        >>> found_at(scores, np.array([True, False, True, False]), 0.001)
        0.5
    """
    others = np.sort(scores[~members])[::-1]
    allowed = int(rate * len(others))
    return float((scores[members] > others[allowed]).mean()) if allowed < len(others) else 1.0


def largest_rate(rate: float, epsilon: float, delta: float) -> float:
    """Return the greatest true positive rate at a false positive ``rate`` under (epsilon, delta).

    Kairouz, Oh and Viswanath, "The Composition Theorem for Differential Privacy" (2015),
    https://arxiv.org/abs/1311.0776.

    Examples:
        >>> round(largest_rate(0.01, 1.0, 1e-5), 4)
        0.0272
    """
    return min(1.0, math.exp(epsilon) * rate + delta, 1.0 - math.exp(-epsilon) * (1 - delta - rate))
