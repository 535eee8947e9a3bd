"""``egress.jsonl``: in words, what left a device, round by round; never which devices, or how many.

On a real device the log is the device's own. A simulation writes the one any device that took part
would have written: a line for each round of the ledger.
"""

import json
from pathlib import Path

import numpy as np


def write_egress(file: Path, *, rounds: int, size: int) -> None:
    """Write what a device that was drawn sent in each round.

    Args:
        file: The log; replaced.
        rounds: Rounds released.
        size: Parameters of the model: an update has as many integers, whatever the history.
    """
    lines = [
        {
            "round": number,
            "what": "one clipped update, rounded to the lattice; every parameter, same length",
            "purpose": "training",
            "bytes": size * np.dtype(np.int32).itemsize,
            "ledger": f"intent of round {number}",
        }
        for number in range(1, rounds + 1)
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
