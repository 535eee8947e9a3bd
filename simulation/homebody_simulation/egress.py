"""``egress.jsonl``: in words, what left a device, round by round; never which devices, or how many.

On a real device the log is the device's own. A simulation writes the one any device that took part
would have written: a line for each round of the ledger.
"""

import json
from pathlib import Path

import numpy as np

from homebody_models.device_metrics import figure_names
from homebody_server.run_spec import RunSpec


def _of_round(number: int, size: int, spec: RunSpec) -> list[dict[str, object]]:
    """Return the lines of one round: the update, and the figures asked after it."""
    vote = spec.count_multiplier is not None
    lines: list[dict[str, object]] = [
        {
            "round": number,
            "what": "one clipped update, rounded to the lattice; every parameter, same length"
            + ("; and whether it was clipped" if vote else "")
            + ("; masked and sealed, readable in the sum alone" if spec.secagg else ""),
            "purpose": "training",
            "bytes": (size + vote) * np.dtype(np.int32).itemsize,
            "ledger": f"intent of round {number}",
        }
    ]
    if spec.ceiling is None:
        return lines
    for plan in spec.metrics:
        if number in plan.rounds(spec.rounds):
            figures = figure_names(plan.name)
            lines.append(
                {
                    "round": number,
                    "what": f"figures about this device, never alone: {', '.join(figures)}",
                    "purpose": plan.purpose,
                    "bytes": len(figures) * np.dtype(np.int64).itemsize,
                    "ledger": f"purchase {plan.purchase(number)}",
                }
            )
    return lines


def write_egress(file: Path, *, rounds: int, size: int, spec: RunSpec) -> None:
    """Write what a device that was drawn sent in each round.

    Args:
        file: The log; replaced.
        rounds: Rounds released.
        size: Parameters of the model: an update has as many integers, whatever the history.
        spec: The run's constants.
    """
    lines = [line for number in range(1, rounds + 1) for line in _of_round(number, size, spec)]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
