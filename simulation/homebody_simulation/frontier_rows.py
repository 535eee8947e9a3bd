"""Figures of a sweep's runs, brought together over seeds, and the rule that marks the knee.

The knee is chosen on validation, or on the figures that devices sent with noise; the test's figures
are shown beside it and are no argument of the rule.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self

from scipy.special import stdtrit

from homebody_simulation.sweep_grid import Curve, Point

GAIN_KEPT: Final = 0.9
"""Share of the gain that the knee keeps."""

KNEE_RULE: Final = (
    "The knee is the smallest epsilon that keeps at least 90 % of the gain in ndcg@10 over "
    "popularity that the best epsilon of its curve has, both on validation items, means over seeds."
)
KNEE_RULE_PRIVATE: Final = (
    "The knee is the smallest epsilon with at least 90 % of the best epsilon's ndcg@10, both as "
    "devices sent them: with noise, and charged."
)
_NORMAL_95: Final = 1.959964
Kind = Literal["point", "no-dp", "baseline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and its 95 % interval.

    Attributes:
        mean: Mean over devices, and over seeds where there are some.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half the width."""
        return (self.high - self.low) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """What one finished run came to.

    Attributes:
        point: Which run.
        mechanism: Mechanism of its rounds; None without differential privacy.
        recipe: How it was trained.
        ndcg: ndcg@10 on the test, over devices.
        hit: hit@10 on the test.
        coverage: Share of the catalog in any list of ten.
        validation: ndcg@10 on validation items, as the laboratory sees it.
        floor: The same of popularity.
        released: ndcg@10 that devices sent, noised and charged; None where none was asked for.
        spent: User-level epsilon of everything released; None without differential privacy.
        noise: Noise multiplier of the statistic of pairs, where there is one; else of the rounds.
        upload_bytes: Bytes that one device is expected to send over the run.
        model_digest: SHA-256 of the model.
    """

    point: Point
    mechanism: str | None
    recipe: str
    ndcg: Interval
    hit: float
    coverage: float
    validation: float | None
    floor: float
    released: float | None
    spent: float | None
    noise: float | None
    upload_bytes: float | None
    model_digest: str

    @classmethod
    def of(cls, point: Point, report: Mapping[str, Any]) -> Self:
        """Read a run's report.

        Args:
            point: Which run it is.
            report: Its ``report.json``.
        """
        utility, epsilon = report["utility"], report["epsilon"]
        ndcg = utility["model"]["ndcg@10"]
        return cls(
            point=point,
            mechanism=epsilon and epsilon["user"]["mechanism"],
            recipe=report["recipe"],
            ndcg=Interval(mean=ndcg["mean"], low=ndcg["low"], high=ndcg["high"]),
            hit=utility["model"]["hit@10"]["mean"],
            coverage=utility["model"]["coverage@10"],
            validation=utility["validation"]["ndcg@10"],
            floor=utility["baselines"]["popularity"]["validation_ndcg@10"],
            released=_released(report),
            spent=epsilon and epsilon["user"]["spent"],
            noise=_noise(report),
            upload_bytes=report["upload_bytes"],
            model_digest=report["digests"]["model"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {"name": self.point.name, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the figures that ``to_dict`` wrote down."""
        kept = {name: value for name, value in values.items() if name != "name"}
        point, ndcg = Point(**kept.pop("point")), Interval(**kept.pop("ndcg"))
        return cls(point=point, ndcg=ndcg, **kept)


def _released(report: Mapping[str, Any]) -> float | None:
    """Return the best of the figures devices sent: by it, what was shipped was chosen."""
    sent = [
        figures["ndcg@10"]["value"]
        for figures in report["released"].values()
        if "ndcg@10" in figures
    ]
    return max(sent, default=None)


def _noise(report: Mapping[str, Any]) -> float | None:
    """Return the noise of the statistic of pairs, where there is one; else of the rounds."""
    privacy = report["privacy"]
    if not privacy:
        return None
    passes = {each["name"]: each["noise_multiplier"] for each in privacy["statistics"]}
    return float(passes.get("gram", privacy["noise_multiplier"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a sweep's table: a point over its seeds, or what it is compared with.

    Attributes:
        kind: ``point``, ``no-dp`` (the same training without noise) or ``baseline``.
        name: Name of the model.
        note: What it is, in words; "" for a point.
        mechanism: Mechanism of the rounds; None without differential privacy.
        recipe: How it was trained; None for a baseline.
        epsilon: User-level epsilon asked for; None without differential privacy.
        spent: The most any of its runs spent; None without differential privacy.
        noise: Noise multiplier.
        seeds: How many runs; 0 for a baseline.
        ndcg: ndcg@10 on the test, over seeds and devices.
        sd: Standard deviation over seeds; 0 with one.
        hit: hit@10.
        coverage: Share of the catalog in any list of ten.
        validation: ndcg@10 on validation items.
        against: ndcg@10 relative to no-dp, less one; None where there is no such row.
        upload_bytes: Bytes that one device is expected to send.
        knee: Whether more epsilon stops paying here.
    """

    kind: Kind
    name: str
    note: str = ""
    mechanism: str | None = None
    recipe: str | None = None
    epsilon: float | None = None
    spent: float | None = None
    noise: float | None = None
    seeds: int = 0
    ndcg: Interval
    sd: float = 0.0
    hit: float
    coverage: float
    validation: float | None = None
    against: float | None = None
    upload_bytes: float | None = None
    knee: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self)


def combined(intervals: Sequence[Interval]) -> tuple[Interval, float]:
    """Return the mean of runs with its 95 % interval over devices and seeds, and the sd over seeds.

    The devices are the same in each run, so that more seeds make the interval over devices no
    narrower; the interval over seeds is Student's. Both half-widths are added as squares.

    Args:
        intervals: One a seed, over devices; at least one.

    Examples:
        >>> one = Interval(mean=0.5, low=0.4, high=0.6)
        >>> combined([one])[0] == one
        True
    """
    count = len(intervals)
    mean = math.fsum(each.mean for each in intervals) / count
    below = math.fsum(each.mean - each.low for each in intervals) / count
    above = math.fsum(each.high - each.mean for each in intervals) / count
    if count == 1:
        return Interval(mean=mean, low=mean - below, high=mean + above), 0.0
    variance = math.fsum((each.mean - mean) ** 2 for each in intervals) / (count - 1)
    noise = float(stdtrit(count - 1, 0.975)) * math.sqrt(variance / count)
    interval = Interval(  # the metric lies in 0..1
        mean=mean,
        low=max(mean - math.hypot(below, noise), 0.0),
        high=min(mean + math.hypot(above, noise), 1.0),
    )
    return interval, math.sqrt(variance)


def row_of(runs: Sequence[RunFigures], *, no_dp: float | None, knee: bool) -> Row:
    """Return the row of one point over its seeds.

    Args:
        runs: Its runs; at least one, alike but for the seed.
        no_dp: ndcg@10 of the same training without noise; None if there is none.
        knee: Whether it is the knee.
    """
    first = runs[0]
    ndcg, sd = combined([run.ndcg for run in runs])
    bare = first.point.epsilon is None
    return Row(
        kind="no-dp" if bare else "point",
        name=first.point.model,
        note="the same training without noise; its model is given to nobody" if bare else "",
        mechanism=first.mechanism,
        recipe=first.recipe,
        epsilon=first.point.epsilon,
        spent=max((run.spent for run in runs if run.spent is not None), default=None),
        noise=_mean([run.noise for run in runs]),
        seeds=len(runs),
        ndcg=ndcg,
        sd=sd,
        hit=_whole_mean([run.hit for run in runs]),
        coverage=_whole_mean([run.coverage for run in runs]),
        validation=_mean([run.validation for run in runs]),
        against=ndcg.mean / no_dp - 1.0 if no_dp else None,
        upload_bytes=_mean([run.upload_bytes for run in runs]),
        knee=knee,
    )


def knee_of(values: Mapping[float, float | None], floor: float) -> float | None:
    """Return the smallest epsilon that keeps 90 % of the best gain over ``floor``.

    Args:
        values: What each epsilon is worth, on validation; None where it is not known.
        floor: What needs no epsilon, on validation.

    Returns:
        The knee; None with fewer than two epsilons, where a value is not known, or if the best is
        not above the floor.

    Examples:
        >>> knee_of({1.0: 0.2, 2.0: 0.49, 4.0: 0.5, 8.0: 0.5}, 0.1)
        2.0
        >>> knee_of({1.0: 0.1, 8.0: 0.1}, 0.1) is None
        True
    """
    known = {epsilon: value for epsilon, value in values.items() if value is not None}
    if len(known) < 2 or len(known) < len(values):  # noqa: PLR2004 a point alone has no knee
        return None
    best = max(known.values())
    if not best > floor:
        return None
    enough = floor + GAIN_KEPT * (best - floor)
    return min(epsilon for epsilon, value in known.items() if value >= enough)


def worth(runs: Sequence[RunFigures], *, private: bool) -> tuple[dict[float, float | None], float]:
    """Return what each epsilon of one curve is worth and the floor; nothing of the test's.

    Args:
        runs: The runs of a curve with noise.
        private: Whether only what devices sent may be looked at.
    """
    values: dict[float, float | None] = {}
    for epsilon in sorted({run.point.epsilon for run in runs if run.point.epsilon is not None}):
        own = [run for run in runs if run.point.epsilon == epsilon]
        values[epsilon] = _mean([run.released if private else run.validation for run in own])
    return values, 0.0 if private else _whole_mean([run.floor for run in runs])


def by_curve(runs: Sequence[RunFigures]) -> dict[Curve, list[RunFigures]]:
    """Return the runs with noise by what they are compared within, in the order they have."""
    curves: dict[Curve, list[RunFigures]] = {}
    for run in runs:
        if run.point.epsilon is not None:
            curves.setdefault(run.point.curve, []).append(run)
    return curves


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


def _whole_mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
