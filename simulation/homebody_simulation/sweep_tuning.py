"""What choosing by a sweep costs: every run of it on the people the model is for is a release."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.charges import Charge, CorrelatedRun, PoissonRounds, round_up
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.ledger import read_ledger
from homebody_server.run_spec import SAMPLER_EPSILON, accounted_delta
from homebody_simulation.frontier_rows import RunFigures
from homebody_simulation.sweep_grid import Tuning

PUBLIC: Final = (
    "Tuning: declared public. Whoever ran this sweep says that its data is public, or of other "
    "people than those a model will be trained on; nothing is charged for choosing. That this is "
    "so is the operator's word."
)
PRIVATE: Final = (
    "Tuning: private. The sweep looked at the people a model is to be trained on: each of its runs "
    "is a tuning run, and is charged when the choice is used. The choice is made by figures that "
    "devices sent, noised and charged; the other figures here are not covered by any epsilon, and "
    "choosing by them is not charged."
)
_MOST: Final = 1 << 20


def words(tuning: Tuning) -> str:
    """Return what a sweep says of its data."""
    return PRIVATE if tuning == "private" else PUBLIC


def price(
    folder: Path, runs: Sequence[RunFigures], chosen: Sequence[RunFigures], config: PrivacyConfig
) -> dict[str, Any]:
    """Return what it costs to choose by a sweep and to train as chosen, on the same people.

    ``dp.tuning_runs`` counts runs like the final one; a sweep's runs have other noise. So it is the
    least number of runs like the chosen one that cost, together with it, what the ledgers say that
    the sweep and it do.

    Args:
        folder: Of the sweep; its runs are below ``runs``.
        runs: All runs with noise.
        chosen: The runs of the point that is chosen; the final run is to be like the first.
        config: The config of the sweep.

    Returns:
        ``runs``, ``tuning_runs``, ``epsilon_tuning``, ``epsilon_total``, ``allowed`` (whether the
        config's ceiling is not passed) and ``words``.
    """
    delta = accounted_delta(config.dp.delta)
    made = {run.point.name: _charges(folder / "runs" / run.point.name) for run in runs}
    swept = [charge for charges in made.values() for charge in charges]
    final = made[chosen[0].point.name]
    training = [charge for charge in final if charge.part != "metrics"]
    target = spent_epsilon([*swept, *final], delta)

    def enough(count: int) -> bool:
        like_it = [_times(charge, count) for charge in training]
        return spent_epsilon([*like_it, *final], delta) >= target

    count = _least(enough)
    like_it = [_times(charge, count) for charge in training]
    # The sampler's error is charged once a run.
    room = SAMPLER_EPSILON * (len(runs) + 1)
    total = round_up(spent_epsilon([*like_it, *final], delta) + room, 2)
    alone = round_up(spent_epsilon(swept, delta) + room, 2)
    found = {
        "runs": len(runs),
        "tuning_runs": count,
        "epsilon_tuning": alone,
        "epsilon_total": total,
        "allowed": total <= config.dp.epsilon_max,
    }
    return {**found, "words": _words(found, chosen[0], config)}


def _words(found: Mapping[str, Any], chosen: RunFigures, config: PrivacyConfig) -> str:
    said = (
        f"The {found['runs']} runs of this sweep cost these people epsilon "
        f"{found['epsilon_tuning']:g} (user level, delta {config.dp.delta:g}). To train as the row "
        f'of epsilon {chosen.point.epsilon:g}, write dp.tuning_data = "private" and '
        f"dp.tuning_runs = {found['tuning_runs']} into privacy.toml and ask for --epsilon "
        f"{found['epsilon_total']:g}: sweep and final run together."
    )
    if found["allowed"]:
        return said
    ceiling = f"dp.epsilon_max = {config.dp.epsilon_max:g}"
    return f"{said} That is above {ceiling}: this choice may not be used."


def _charges(run: Path) -> list[Charge]:
    """Return what a run charged for itself, without what it set aside for tuning."""
    record, _ = read_ledger(run / "ledger.jsonl")
    return [charge for charge in record.charges() if charge.part != "tuning"]


def _times(charge: Charge, count: int) -> Charge:
    """Return ``count`` of a charge."""
    if isinstance(charge, PoissonRounds):
        return replace(charge, rounds=charge.rounds * count, part="tuning")
    if isinstance(charge, CorrelatedRun):
        return replace(charge, runs=charge.runs * count, part="tuning")
    return replace(charge, releases=charge.releases * count, part="tuning")


def _least(enough: Callable[[int], bool]) -> int:
    """Return the least number of runs that is enough."""
    high = 1
    while not enough(high) and high < _MOST:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
