"""Tier 1: are clip and noise what the claim says?

On a canary's row the released sum, whitened, is amplitude times participation plus independent
N(0, sigma^2), in units of the clip norm. Four things are measured, at confidence 99.9 %.

Noise: rows of canaries that are out hold nothing else; on the others one amplitude for the rounds
a canary joined and one for the rest are taken out row by row, at a degree of freedom each. The
interval is the exact chi-square one, whatever those amplitudes are.
Amplitude: what a canary adds to a round it joined, at most 1, and to any other round, at most 0;
pooled over the canaries, and for the loudest of them. An update that is not clipped, weighted,
counted twice or replayed later shows here.
Freshness: the correlation of next rounds, of the worst pair of rounds and of neighbouring rows.
Participation: how often a canary was drawn, where epsilon takes credit for that being rare, and
how close and how often it joined, by its own account.

Noise larger than claimed is reported and refutes nothing.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from homebody_simulation.audit.amplitudes import fit_rows
from homebody_simulation.audit.claim import Claim
from homebody_simulation.audit.estimates import Interval, deviation_interval, share_interval
from homebody_simulation.audit.freshness import (
    Correlation,
    WorstPair,
    by_distance,
    correlation,
    worst_pair,
)
from homebody_simulation.audit.joins import Joins
from homebody_simulation.audit.projections import Flags, Projections, whitened

ALPHA: Final = 1e-3
"""Chance that an interval misses, half of it on the side that refutes."""

SLACK: Final = 1e-4
"""Amplitude granted to rounding: a release is float32, its last digits 1e-7 apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformance:
    """What tier 1 found.

    Attributes:
        noise: Noise standard deviation over the claimed one; the claim is at least 1.
        amplitude: What a canary added to a round it joined, in clip norms; the claim is at most 1.
        loudest: The same, of the canary that exceeds 1 most clearly.
        stray: What a canary added to a round it had not joined, in clip norms; the claim is at most
            0. None if every canary joined every round.
        loudest_stray: The same, of the canary that exceeds 0 most clearly.
        lags: Correlation of rounds that are 1, 2, ... apart; only the first can refute.
        pair: The two rounds most alike; None for a run of one round.
        next_rows: Correlation of neighbouring rows.
        sampling: Share of rounds a canary joined over the claimed probability; the claim is at
            most 1. None where epsilon takes no credit for it.
        joins: How close and how often canaries joined, and what the claim allows.
    """

    noise: Interval
    amplitude: Interval
    loudest: Interval
    stray: Interval | None
    loudest_stray: Interval | None
    lags: tuple[Correlation, ...]
    pair: WorstPair | None
    next_rows: Correlation
    sampling: Interval | None
    joins: Joins

    @property
    def findings(self) -> tuple[str, ...]:
        """What refutes the claim, and by how much; empty if nothing does."""
        return (
            *_noise_findings(self.noise),
            *_amplitude_findings((self.amplitude, self.loudest), "a round", 1.0),
            *_amplitude_findings((self.stray, self.loudest_stray), "rounds it did not join", 0.0),
            *self._freshness_findings(),
            *_sampling_findings(self.sampling),
            *self.joins.findings,
        )

    @property
    def is_noise_larger(self) -> bool:
        """Whether noise is surely larger than claimed: it costs quality and refutes nothing."""
        return self.noise.lower_bound > 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        intervals = {
            "noise": self.noise,
            "amplitude": self.amplitude,
            "loudest": self.loudest,
            "stray": self.stray,
            "loudest_stray": self.loudest_stray,
            "sampling": self.sampling,
        }
        return {
            "confidence": 1.0 - ALPHA,
            **{name: interval and interval.to_dict() for name, interval in intervals.items()},
            "lags": [asdict(lag) for lag in self.lags],
            "pair": self.pair and asdict(self.pair),
            "next_rows": asdict(self.next_rows),
            "joins": asdict(self.joins),
            "noise_larger_than_claimed": self.is_noise_larger,
        }

    def _freshness_findings(self) -> Iterator[str]:
        if self.lags and self.lags[0].is_beyond:
            yield f"Noise of next rounds is correlated: {_beyond(self.lags[0])}."
        if self.pair is not None and self.pair.correlation.is_beyond:
            first, second = self.pair.rounds
            yield (
                f"Noise of rounds {first} and {second} is correlated: "
                f"{_beyond(self.pair.correlation)}."
            )
        if self.next_rows.is_beyond:
            yield f"Noise of neighbouring rows is correlated: {_beyond(self.next_rows)}."


def conformance(projections: Projections, claim: Claim) -> Conformance:
    """Measure noise, amplitude and freshness of a run.

    Args:
        projections: What the releases show of the canaries.
        claim: What they are held to, over as many rounds.

    Raises:
        ValueError: If the rounds differ, or no canary that is in joined any round.
    """
    if claim.rounds != projections.rounds:
        raise ValueError(f"the claim is about {claim.rounds} rounds, not {projections.rounds}")
    inside, joined = projections.inside, projections.joined
    seen = whitened(projections.released, claim.coefficients)
    out = seen[~inside]
    rows = fit_rows(
        seen[inside],
        whitened(joined[inside], claim.coefficients),
        whitened(~joined[inside], claim.coefficients),
    )
    if rows.joined.is_empty:
        raise ValueError("no canary joined a round: use more canaries or more rounds")
    freedom = out.size + rows.freedom
    noise = deviation_interval(float((out**2).sum()) + rows.squares, freedom, ALPHA)
    sigma, has_others = noise.estimate, not rows.others.is_empty
    return Conformance(
        noise=_over(noise, claim.noise_multiplier),
        amplitude=rows.joined.pooled(sigma, freedom, ALPHA),
        loudest=rows.joined.loudest(1.0, sigma, freedom, ALPHA),
        stray=rows.others.pooled(sigma, freedom, ALPHA) if has_others else None,
        loudest_stray=rows.others.loudest(0.0, sigma, freedom, ALPHA) if has_others else None,
        lags=by_distance(out),
        pair=worst_pair(out, ALPHA),
        next_rows=correlation(out[:-1], out[1:]),
        sampling=_sampling(joined, claim.sampling_rate),
        joins=Joins.of(joined, claim),
    )


def _sampling(joined: Flags, rate: float | None) -> Interval | None:
    if rate is None:
        return None
    return _over(share_interval(int(joined.sum()), joined.size, ALPHA), rate)


def _over(interval: Interval, unit: float) -> Interval:
    return replace(
        interval,
        estimate=interval.estimate / unit,
        lower_bound=interval.lower_bound / unit,
        upper_bound=interval.upper_bound / unit,
    )


def _noise_findings(noise: Interval) -> Iterator[str]:
    if noise.upper_bound < 1.0:
        yield (
            f"Noise std is at most {noise.upper_bound:.4f} of the stated value: at least "
            f"{1.0 - noise.upper_bound:.1%} of it is missing."
        )


def _amplitude_findings(
    found: tuple[Interval | None, Interval | None], where: str, allowed: float
) -> Iterator[str]:
    for who, interval in zip(("A device", "One device"), found, strict=True):
        if interval is not None and interval.lower_bound > allowed + SLACK:
            yield (
                f"{who} adds at least {interval.lower_bound:.4f} clip norms to {where}; the claim "
                f"allows {allowed:g}."
            )
            return


def _sampling_findings(sampling: Interval | None) -> Iterator[str]:
    if sampling is not None and sampling.lower_bound > 1.0:
        yield (
            f"A device is drawn at least {sampling.lower_bound:.3f} times as often as the claim's "
            "sampling probability says."
        )


def _beyond(found: Correlation) -> str:
    return f"{found.estimate:.3f}, where chance keeps within {found.limit:.3f}"
