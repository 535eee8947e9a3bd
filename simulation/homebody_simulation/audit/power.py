"""How often an audit finds a fault: ``python -m homebody_simulation.audit.power``.

Projections are drawn as a run would release them, with the production sampler, and handed to the
tiers. No pipeline runs, so that hundreds of audits take seconds. Prints two Markdown tables.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_simulation.audit.claim import Claim, independent
from homebody_simulation.audit.conformance import conformance
from homebody_simulation.audit.one_run import one_run
from homebody_simulation.audit.projections import Projections

_KEY: Final = b"homebody audit power, no secret. "
_TAU: Final = 65536.0  # lattice units of one standard deviation, as in a run

DEFICITS: Final = (0.0, 0.02, 0.03, 0.05, 0.1)
"""Shares of the noise that are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run and what is wrong with it.

    Attributes:
        canaries: Planted devices.
        rounds: Rounds.
        sampling_rate: Probability that a device is drawn.
        noise_multiplier: Claimed noise on the sum / clip norm.
        noise: Actual noise over claimed noise.
        weight: What a device adds, in clip norms.
    """

    canaries: int
    rounds: int
    sampling_rate: float
    noise_multiplier: float = 1.0
    noise: float = 1.0
    weight: float = 1.0

    def projections(self, seed: int) -> Projections:
        """Draw what one such run would release on the canaries' rows."""
        m, rounds = self.canaries, self.rounds
        words = NoiseStream(derive_key(_KEY, "coins", seed)).words(m * (rounds + 1))
        joined = (words[m:] / 2.0**64 < self.sampling_rate).reshape(m, rounds)
        inside = (words[:m] & np.uint64(1)).astype(np.bool_)
        drawn = rounded_gaussian(m * rounds, _TAU, NoiseStream(derive_key(_KEY, "noise", seed)))
        noise = drawn.reshape(m, rounds) / _TAU * (self.noise_multiplier * self.noise)
        released = noise + self.weight * (joined & inside[:, None])
        return Projections(released=released, inside=inside, joined=joined)

    def claim(self, epsilon: float, delta: float = 1e-5) -> Claim:
        """Return what a run of these constants claims."""
        whole = self.sampling_rate == 1.0
        return Claim(
            mechanism="gaussian",
            epsilon=epsilon,
            delta=delta,
            noise_multiplier=self.noise_multiplier,
            coefficients=independent(self.rounds),
            sampling_rate=None if whole else self.sampling_rate,
            mu=math.sqrt(self.rounds) / self.noise_multiplier if whole else None,
            min_separation=1,
            max_rounds=self.rounds,
        )


def share_refuted(run: Run, audits: int) -> float:
    """Return the share of audits in which tier 1 refutes the claim."""
    claim = run.claim(epsilon=1.0)  # tier 1 does not look at it
    found = (conformance(run.projections(seed), claim) for seed in range(audits))
    return sum(bool(one.findings) for one in found) / audits


def power_rows(audits: int) -> Iterator[str]:
    """Yield the table of tier 1: share of audits that refute, by the noise that is missing."""
    yield (
        "| canaries | rounds | drawn | correct | "
        + " | ".join(f"{100.0 * deficit:.0f} % missing" for deficit in DEFICITS[1:])
        + " |"
    )
    yield "|---" * (3 + len(DEFICITS)) + "|"
    for canaries, rounds, rate in (
        (1000, 20, 0.1),
        (1000, 20, 1.0),
        (200, 20, 0.1),
        (100, 20, 0.1),
    ):
        shares = (
            share_refuted(
                Run(canaries=canaries, rounds=rounds, sampling_rate=rate, noise=1.0 - deficit),
                audits,
            )
            for deficit in DEFICITS
        )
        cells = " | ".join(_percent(share) for share in shares)
        yield f"| {canaries} | {rounds} | {rate:g} | {cells} |"


def bound_rows(audits: int) -> Iterator[str]:
    """Yield the table of tier 2: a claim that everybody can check, and faults."""
    right = Run(canaries=1000, rounds=20, sampling_rate=1.0, noise_multiplier=8.0)
    epsilon = gaussian_epsilon(math.sqrt(right.rounds) / right.noise_multiplier, 1e-5)
    yield "| state | lower bound, mean | estimate, mean | refuted |"
    yield "|---|---|---|---|"
    for name, noise, weight in (
        ("correct", 1.0, 1.0),
        ("5 % of the noise missing", 0.95, 1.0),
        ("half of the noise missing", 0.5, 1.0),
        ("weight 3", 1.0, 3.0),
        ("weight 5", 1.0, 5.0),
    ):
        run = Run(
            canaries=right.canaries,
            rounds=right.rounds,
            sampling_rate=1.0,
            noise_multiplier=right.noise_multiplier,
            noise=noise,
            weight=weight,
        )
        found = [one_run(run.projections(s), right.claim(epsilon)) for s in range(audits)]
        bound = np.mean([one.lower_bound for one in found])
        estimate = np.mean([one.estimate for one in found])
        refuted = sum(bool(one.findings) for one in found) / audits
        yield f"| {name} | {bound:.2f} | {estimate:.2f} | {_percent(refuted)} |"


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %"


def main(audits: int = 500) -> None:
    """Print both tables."""
    for line in (*power_rows(audits), "", *bound_rows(audits // 10)):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
