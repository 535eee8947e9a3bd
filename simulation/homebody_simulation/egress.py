"""``egress.jsonl``: in words, what left a device, round by round; never which devices, or how many.

On a real device the log is the device's own. A simulation writes the one any device that took part
would have written: a line for each statistic, each round and each figure that the ledger charged,
and the name of that charge (``egress_map``).
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from homebody_models.device_metrics import figure_names
from homebody_privacy.egress_map import charge_of_round
from homebody_privacy.ledger import read_ledger
from homebody_privacy.ledger_record import LedgerRecord
from homebody_privacy.messages import StatisticName
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import MetricPlan, RunSpec
from homebody_server.spending import anchors_of
from homebody_server.statistic_plan import StatisticPass
from homebody_simulation.uploads import FIGURE_WORD, WORD

_STATISTICS: Final[Mapping[StatisticName, str]] = {
    "popularity": "which items, each equally, in a vector of norm 1",
    "gram": "which pairs of the most chosen items come close together, in a vector of norm 1",
}


def _of_statistic(plan: StatisticPass, length: int, spec: RunSpec) -> dict[str, object]:
    """Return the line of one statistic."""
    return {
        "round": 0,
        "what": f"{_STATISTICS[plan.name]}, rounded to the lattice; every entry, same length"
        + _sealed(spec),
        "purpose": "training",
        "bytes": length * WORD,
        "charge": None if spec.ceiling is None else plan.purchase,
    }


def _of_update(number: int, spec: RunSpec) -> dict[str, object]:
    """Return the line of one update."""
    vote = spec.count_multiplier is not None
    charge = charge_of_round(number, whole_run=spec.run_charge() is not None)
    return {
        "round": number,
        "what": "one clipped update, rounded to the lattice; every trained parameter, same length"
        + ("; and whether it was clipped" if vote else "")
        + _sealed(spec),
        "purpose": "training",
        "bytes": (spec.trained_size + vote) * WORD,
        "charge": None if spec.ceiling is None else charge,
    }


def _of_figures(number: int, spec: RunSpec, record: LedgerRecord | None) -> list[dict[str, object]]:
    """Return the lines of the figures that were paid for after a round."""
    return [
        _of_figure(number, plan, spec)
        for plan in spec.metrics
        if record is not None and record.bought(plan.purchase(number)) is not None
    ]


def _of_figure(number: int, plan: MetricPlan, spec: RunSpec) -> dict[str, object]:
    """Return the line of one figure; one that nobody was asked for says that nothing was sent."""
    names = ", ".join(figure_names(plan.name))
    line: dict[str, object] = {
        "round": number,
        "what": f"figures about this device, never alone: {names}",
        "purpose": plan.purpose,
        "bytes": plan.length * FIGURE_WORD,
        "charge": plan.purchase(number),
    }
    if spec.devices >= plan.min_k:
        return line
    return {**line, "what": f"nothing; too few people to be asked for {names}", "bytes": 0} | {
        "sent": False
    }


def _sealed(spec: RunSpec) -> str:
    return "; masked and sealed, readable in the sum alone" if spec.secagg else ""


def write_egress(
    folder: RunFolder,
    spec: RunSpec,
    *,
    rounds: int,
    statistics: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Write what a device sent in each statistic, and what one that was drawn sent in each round.

    A round that was charged is in the log, whatever became of it: devices were asked. A reference
    without noise charges nothing, and its lines name no charge.

    Args:
        folder: The run; its log is replaced.
        spec: The run's constants.
        rounds: Rounds that were run, where there is no ledger to say so.
        statistics: Integers of each statistic that was released, by its name.
    """
    record = None
    if spec.ceiling is not None:
        record, _ = read_ledger(folder.ledger_file, anchors_of(spec))
        rounds = record.opened
    lines = [
        _of_statistic(plan, statistics[plan.name], spec)
        for plan in spec.statistics
        if plan.name in statistics
    ]
    lines += _of_figures(0, spec, record)
    for number in range(1, rounds + 1):
        lines += [_of_update(number, spec), *_of_figures(number, spec, record)]
    folder.egress_file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
