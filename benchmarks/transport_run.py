"""A whole simulated run with sealing and secure sums, beside the same run without.

Runtime ``cohort``, where both can be had; the same seed, hence the same model to the bit, which is
checked. Reading the data and the evaluation at the end are part of both.
"""

import statistics
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

from device_figure import Figure

from homebody_privacy.environment import silence
from homebody_simulation.api import simulate

_CONFIG: Final = Path(__file__).parents[1] / "privacy.toml"
_DEVICES: Final = 200
_COHORT: Final = 20
_ROUNDS: Final = 4
_WAYS: Final = (("secured", True), ("plain", False))


def whole_run(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the time of a run with secure sums, beside one without; medians of turns."""
    silence()
    turns = [
        tuple(_run(folder, f"{way}-{turn}", secagg=secagg) for way, secagg in _WAYS)
        for turn in range(1 if quick else 3)
    ]
    models = {model for turn in turns for _, model in turn}
    if len(models) != 1:
        raise RuntimeError("a run with secure sums gave another model than one without")
    pairs = [(secured, plain) for (secured, _), (plain, _) in turns]
    return [
        Figure(
            what=f"a whole run, {_DEVICES} devices, {_COHORT} a round, {_ROUNDS} rounds",
            unit="{:.1f} s",
            value=statistics.median(secured for secured, _ in pairs),
            reference="without sealing and secure sums",
            beside=statistics.median(plain for _, plain in pairs),
            by_turns=statistics.median(secured / plain for secured, plain in pairs),
        )
    ]


def _run(folder: Path, name: str, *, secagg: bool) -> tuple[float, str]:
    """Return wall seconds of a run and the digest of its model."""
    started = time.perf_counter()
    run = simulate(
        "synthetic",
        config=_CONFIG,
        runs=folder,
        name=name,
        seed=1,
        secagg=secagg,
        epsilon=8.0,
        cohort=_COHORT,
        rounds=_ROUNDS,
        devices=_DEVICES,
    )
    seconds = time.perf_counter() - started
    weights = run.bundle / "model.safetensors"
    return seconds, sha256(weights.read_bytes()).hexdigest()
