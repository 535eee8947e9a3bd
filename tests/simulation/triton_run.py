"""A whole simulated run, small enough for Triton's interpreter.

``python triton_run.py CONFIG RUNS ENGINE MODEL RECIPE FILE``: runs it and writes its parameters.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from homebody_server.run_folder import RunFolder
from homebody_simulation.request import Request
from homebody_simulation.runtimes import run_cohort
from homebody_simulation.setup import prepare


def released(
    config: Path, runs: Path, *, engine: str, model: str, recipe: str
) -> npt.NDArray[np.float32]:
    """Run a simulation to the end of training and return the model."""
    asked: dict[str, Any] = {"engine": engine, "model": model, "recipe": recipe}
    request = Request(
        data="synthetic",
        options={"devices": 60, "items": 20},
        config_file=config,
        runs=runs,
        name=engine,
        seed=4,
        **asked,
    )
    prepared = prepare(request)
    run_cohort(prepared, lambda *_: None)
    outcome = prepared.folder.read_json("outcome.json")
    assert outcome["ended"] == "finished", outcome
    return RunFolder(prepared.folder.path).load_state().parameters


def _main(config: str, runs: str, engine: str, model: str, recipe: str, file: str) -> None:
    np.save(file, released(Path(config), Path(runs), engine=engine, model=model, recipe=recipe))


if __name__ == "__main__":
    _main(*sys.argv[1:])
