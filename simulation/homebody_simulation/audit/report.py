"""What an audit found, as data and in words.

An audit refutes a claim or does not; no sentence says more. Estimates, lower bounds and upper
bounds have keys of their own, because an estimate sold as a bound can lie on either side.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from homebody_simulation.audit.claim import Claim
from homebody_simulation.audit.conformance import Conformance
from homebody_simulation.audit.estimates import Interval
from homebody_simulation.audit.membership import RATES, Membership
from homebody_simulation.audit.one_run import OneRun

CLOSING: Final = "An audit can refute a claim; it cannot prove it."
REFUTED: Final = "The audit refuted the claim."
NOT_REFUTED: Final = "The audit did not refute the claim."

_ATTACKS: Final = {"loss": "loss threshold", "lira": "offline LiRA"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The run that was audited. Public.

    Attributes:
        canaries: Planted devices.
        population: Devices, canaries included.
        cohort_size: Expected devices a round.
        config_digest: SHA-256 of the privacy config, as hex.
        seeded: Whether everything random followed from a seed.
    """

    canaries: int
    population: int
    cohort_size: int
    config_digest: str
    seeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """One audit.

    Attributes:
        claim: What was audited.
        setting: On what run.
        conformance: Tier 1; None if it was not asked for.
        one_run: Tier 2; None if it was not asked for.
        membership: Tier 3; None if it was not asked for.
    """

    claim: Claim
    setting: Setting
    conformance: Conformance | None
    one_run: OneRun | None
    membership: Membership | None

    @property
    def findings(self) -> tuple[str, ...]:
        """What refutes the claim, and by how much. No estimate is among it."""
        tiers = (self.conformance, self.one_run)
        return tuple(words for tier in tiers if tier is not None for words in tier.findings)

    @property
    def is_refuted(self) -> bool:
        """Whether the claim is false, by a bound."""
        return bool(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return ``audit.json``: JSON values alone."""
        claim, setting = self.claim, self.setting
        return {
            "schema": "audit/1",
            "refuted": self.is_refuted,
            "findings": list(self.findings),
            "claim": {
                "unit": "user",
                "adjacency": "zero_out",
                "mechanism": claim.mechanism,
                "epsilon": {"upper_bound": claim.epsilon},
                "delta": claim.delta,
                "noise_multiplier": claim.noise_multiplier,
                "sampling_rate": claim.sampling_rate,
                "rounds": claim.rounds,
            },
            "setting": {
                "canaries": setting.canaries,
                "population": setting.population,
                "cohort_size": setting.cohort_size,
                "config_digest": setting.config_digest,
                "seeded": setting.seeded,
            },
            "conformance": self.conformance and self.conformance.to_dict(),
            "one_run": self.one_run and self.one_run.to_dict(),
            "membership": self.membership and self.membership.to_dict(),
            "sentences": list(self.sentences()),
        }

    def sentences(self) -> Iterator[str]:
        """Return the audit in words, the closing sentence last."""
        claim, setting = self.claim, self.setting
        yield (
            f"Claim: user level, epsilon {claim.epsilon:g} for training at delta {claim.delta:g}, "
            f"zero-out adjacency; {claim.mechanism}, noise multiplier {claim.noise_multiplier:g}, "
            f"{claim.rounds} rounds."
        )
        yield (
            f"Audit build: {setting.canaries:,} canaries among {setting.population:,} synthetic "
            f"devices, cohort {setting.cohort_size} expected."
        )
        if self.conformance is not None:
            yield from _conformance_sentences(self.conformance)
        if self.one_run is not None:
            yield from _one_run_sentences(self.one_run)
        if self.membership is not None:
            yield from _membership_sentences(self.membership)
        yield from self.findings
        yield REFUTED if self.is_refuted else NOT_REFUTED
        yield CLOSING


def _conformance_sentences(found: Conformance) -> Iterator[str]:
    yield (
        f"Noise std is {_between(found.noise)} of the stated value; amplitude "
        f"{_between(found.amplitude)} (99.9 % confidence)."
    )
    if found.is_noise_larger:
        yield "Noise is larger than stated: it costs quality and refutes nothing."
    yield f"The loudest canary's amplitude is at least {found.loudest.lower_bound:.4f}."
    if found.stray is not None:
        yield f"In rounds a canary did not join its amplitude is {_between(found.stray)}."
    if found.lags and found.pair is not None:
        yield (
            f"Correlation of noise: {found.lags[0].estimate:+.4f} between next rounds, "
            f"{found.pair.correlation.estimate:+.4f} between the two rounds most alike, "
            f"{found.next_rows.estimate:+.4f} between neighbouring rows; chance keeps within "
            f"{found.lags[0].limit:.4f}, {found.pair.correlation.limit:.4f} and "
            f"{found.next_rows.limit:.4f}."
        )
    if found.sampling is not None:
        yield f"A device was drawn {_between(found.sampling)} times as often as stated."


def _one_run_sentences(found: OneRun) -> Iterator[str]:
    yield (
        f"With 95 % confidence epsilon is at least {found.lower_bound:.3f} at user level, delta "
        f"{found.delta:g}; the claim is {found.upper_bound:g}."
    )
    yield (
        f"Estimate, on either side of the truth: epsilon {found.estimate:.2f} at user level; "
        "nothing hangs on it."
    )


def _membership_sentences(found: Membership) -> Iterator[str]:
    for attack in found.attacks:
        rates = ", ".join(
            f"{share:.1%} of members at {rate:.1%} false positives"
            for rate, share in zip(RATES, attack.true_positive_rates, strict=True)
        )
        yield (
            f"Estimate, {_ATTACKS[attack.name]} on the final model: AUROC {attack.auroc:.3f}, "
            f"{rates}; nothing hangs on it."
        )
    largest = " and ".join(f"{share:.1%}" for share in found.largest_rates)
    yield (
        f"Under the claim no attack finds more than {largest} there. {found.members:,} members, "
        f"{found.others:,} others, {found.shadows} shadow models."
    )


def _between(interval: Interval) -> str:
    return f"between {interval.lower_bound:.4f} and {interval.upper_bound:.4f}"
