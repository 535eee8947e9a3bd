"""``egress.jsonl``: in words, what left a device, round by round; never which devices, or how many.

On a real device the log is the device's own. A simulation writes the one any device that took part
would have written: a line for each statistic and each round of the ledger.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from homebody_models.device_metrics import figure_names
from homebody_privacy.messages import StatisticName
from homebody_server.run_spec import RunSpec
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
        "ledger": f"purchase {plan.purchase}",
    }


def _of_update(number: int, size: int, spec: RunSpec) -> dict[str, object]:
    """Return the line of one update."""
    vote = spec.count_multiplier is not None
    return {
        "round": number,
        "what": "one clipped update, rounded to the lattice; every trained parameter, same length"
        + ("; and whether it was clipped" if vote else "")
        + _sealed(spec),
        "purpose": "training",
        "bytes": (size + vote) * WORD,
        "ledger": f"intent of round {number}",
    }


def _of_figures(number: int, spec: RunSpec) -> list[dict[str, object]]:
    """Return the lines of the figures asked after a round."""
    return [
        {
            "round": number,
            "what": f"figures about this device, never alone: {', '.join(figure_names(plan.name))}",
            "purpose": plan.purpose,
            "bytes": plan.length * FIGURE_WORD,
            "ledger": f"purchase {plan.purchase(number)}",
        }
        for plan in spec.metrics
        if spec.ceiling is not None and number in spec.figure_rounds(plan)
    ]


def _sealed(spec: RunSpec) -> str:
    return "; masked and sealed, readable in the sum alone" if spec.secagg else ""


def write_egress(
    file: Path,
    *,
    rounds: int,
    size: int,
    spec: RunSpec,
    statistics: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Write what a device sent in each statistic, and what one that was drawn sent in each round.

    Args:
        file: The log; replaced.
        rounds: Rounds released.
        size: Trained parameters: an update has as many integers, whatever the history.
        spec: The run's constants.
        statistics: Integers of each statistic that was released, by its name.
    """
    lines = [
        _of_statistic(plan, statistics[plan.name], spec)
        for plan in spec.statistics
        if plan.name in statistics
    ]
    if spec.statistics:
        lines += _of_figures(0, spec)
    for number in range(1, rounds + 1):
        lines += [_of_update(number, size, spec), *_of_figures(number, spec)]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
