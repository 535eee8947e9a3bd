"""The keystone: whatever trains the devices, and however they are grouped, the model is the same.

One device after another by the ClientApp's own code, kernels of numba and torch, one node a device
or sixteen shards, one thread or two: the released model of the same seed. Across engines it is the
same to 1e-5 in each parameter; with one engine it is the same to the bit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from homebody_privacy.errors import UsageError
from homebody_server.run_folder import RunFolder
from homebody_simulation.request import Request
from homebody_simulation.runtimes import run_cohort
from homebody_simulation.setup import prepare

DEVICES = 120
FIGURE = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 5.0
releases_per_run = 2

[statistics]
recipe = "both"
"""
Write = Callable[..., Path]
Model = npt.NDArray[np.float32]


def config_of(write_config: Write) -> Path:
    """Return a config of few rounds; statistics and figures are used where the recipe has them."""
    return write_config(
        mechanism="blt",
        rounds=2,
        min_separation=1,
        max_rounds_per_device=2,
        cohort_size=60,
        cohort_cap=110,
        delta=1e-3,
        more=FIGURE,
    )


def released(
    tmp_path: Path, config: Path, asked: dict[str, Any], *, apart: bool | None = None
) -> Model:
    """Run a simulation to the end of training and return the model."""
    usual: dict[str, Any] = {"data": "synthetic", "options": {"devices": DEVICES, "items": 30}}
    name = f"{asked['engine']}-{apart}"
    request = Request(**usual, config_file=config, runs=tmp_path, name=name, seed=4, **asked)
    prepared = prepare(request)
    run_cohort(prepared, lambda *_: None, apart=apart)
    outcome = prepared.folder.read_json("outcome.json")
    assert outcome["ended"] == "finished", outcome
    return RunFolder(prepared.folder.path).load_state().parameters


CASES = [
    ("two-tower", "both", "numba"),
    ("logistic-factorization", "rounds", "numba"),
    pytest.param("two-tower", "rounds", "numba", marks=pytest.mark.slow),
    pytest.param("matrix-factorization", "rounds", "numba", marks=pytest.mark.slow),
    pytest.param("popularity", "rounds", "numba", marks=pytest.mark.slow),
    pytest.param("two-tower", "rounds", "torch", marks=pytest.mark.slow),
    pytest.param("matrix-factorization", "rounds", "torch", marks=pytest.mark.slow),
    pytest.param("logistic-factorization", "rounds", "torch", marks=pytest.mark.slow),
    pytest.param("two-tower", "both", "torch", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("model", "recipe", "engine"), CASES)
def test_engines_release_the_model_of_the_devices_own_code(
    tmp_path: Path, write_config: Write, model: str, recipe: str, engine: str
) -> None:
    config = config_of(write_config)
    usual = {"model": model, "recipe": recipe}
    one_by_one = released(tmp_path, config, {**usual, "engine": "reference"})
    at_once = released(tmp_path, config, {**usual, "engine": engine, "threads": 2})
    assert one_by_one.any()
    assert np.abs(one_by_one - at_once).max() <= 1e-5


def test_one_engine_gives_one_model_to_the_bit_however_devices_are_grouped(
    tmp_path: Path, write_config: Write
) -> None:
    config = config_of(write_config)
    shards = released(tmp_path, config, {"engine": "numba", "threads": 2})
    apart = released(tmp_path, config, {"engine": "numba", "threads": 1}, apart=True)
    assert shards.any()
    assert shards.tobytes() == apart.tobytes()


def test_a_secure_sum_of_an_engines_replies_is_the_plain_sum(
    tmp_path: Path, write_config: Write
) -> None:
    config = write_config(rounds=1, cohort_size=8, cohort_cap=25, delta=1e-3)
    few: dict[str, Any] = {"options": {"devices": 12, "items": 20}, "engine": "numba"}
    request = {"data": "synthetic", "config_file": config, "runs": tmp_path, "seed": 4, **few}
    models = []
    for name, secagg in (("sealed", True), ("plain", False)):
        prepared = prepare(Request(**request, name=name, secagg=secagg))
        run_cohort(prepared, lambda *_: None)
        models.append(prepared.folder.load_state().parameters)
    assert models[0].any()
    assert models[0].tobytes() == models[1].tobytes()


def test_the_same_devices_are_silent_whatever_trains_them(
    tmp_path: Path, write_config: Write
) -> None:
    config = config_of(write_config)
    usual: dict[str, Any] = {"model": "popularity"}
    silent = {**usual, "availability": 0.7, "drop_out": 0.2, "slow": 0.1}
    models = [
        released(tmp_path / str(number), config, asked)
        for number, asked in enumerate(
            (
                {**usual, "engine": "numba"},
                {**silent, "engine": "numba"},
                {**silent, "engine": "reference"},
            )
        )
    ]
    assert np.abs(models[1] - models[2]).max() <= 1e-5
    assert np.abs(models[0] - models[1]).max() > 1e-3


def test_devices_that_never_answer_are_refused(tmp_path: Path) -> None:
    for chance in ({"availability": 0.0}, {"drop_out": 1.0}, {"slow": float("nan")}):
        with pytest.raises(UsageError, match="simulated so"):
            Request(runs=tmp_path, **chance)  # type: ignore[arg-type]
