"""Triton's kernels are held against the app, device by device, in Triton's interpreter.

The interpreter runs a program's instructions one after another on whole tensors: it judges the
arithmetic, not races or speed. That the programs also compile for a GPU is asked for apart.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from homebody_models.popularity import Popularity
from homebody_privacy.errors import UsageError
from homebody_simulation.cohort.engine import Status

from .triton_statistics import populations
from .triton_world import (
    STATISTICS,
    Arrays,
    alone,
    interpret,
    model_of,
    run_interpreted,
    work_of,
)

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

CORES = ["core", "repeats", "wide-core"]
FEW = 4
"""Coordinates of a device that may be one lattice step off: float32 sums of another order."""

EVERYDAY = ["factorization", "content", "ridge", "core", "popularity"]
LONG = ["tower", "repeats", "factorization:full", "gentle:long", "content:long", "ridge:long"]
LONG += ["core:long", "popularity:long"]
READING = [case for case in EVERYDAY if case != "popularity"]  # it looks at no parameters
BROKEN = [f"{case}:broken" for case in READING]
PAST = [f"{case}:past" for case in READING]
LEAST = {"factorization": 1, "content": 2, "ridge": 1, "core": 2, "popularity": 1}
"""Events that a device needs to train."""


@pytest.fixture(scope="session")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Arrays]:
    """Return what the interpreter makes of the cases of every day; read only."""
    return interpret(tmp_path_factory.mktemp("triton"), *EVERYDAY, STATISTICS)


def check_case(case: str, found: Arrays) -> None:
    """Hold what a kernel found against the code of a device."""
    assert found["sum"].dtype == np.int64
    assert found["sum"].tolist() == found["each"].sum(axis=0).tolist()
    assert found["sharded"].tolist() == found["sum"].tolist()
    work = work_of([], case)
    for row, own, norm in zip(found["rows"], found["each"], found["norms"], strict=True):
        expected, length = alone(case, int(row), work)
        off = np.abs(own - expected)
        assert off.max() <= 1
        assert np.count_nonzero(off) <= FEW
        assert work.lattice.is_within_bound(own)
        assert norm == pytest.approx(length, rel=2e-6, abs=1e-6)


@pytest.mark.parametrize("case", EVERYDAY)
def test_it_equals_the_code_of_a_device_in_any_order_and_sharding(
    interpreted: dict[str, Arrays], case: str
) -> None:
    check_case(case, interpreted[case])
    assert np.count_nonzero(interpreted[case]["sum"]) > len(interpreted[case]["sum"]) // 2


@pytest.mark.parametrize("case", EVERYDAY)
def test_a_device_with_too_little_history_is_marked_and_adds_nothing(
    interpreted: dict[str, Arrays], case: str
) -> None:
    found = interpreted[case]
    little = found["rows"] < LEAST[case]  # device 0 has no event, device 1 has one
    assert found["status"].tolist() == np.where(little, Status.EMPTY, Status.OK).tolist()
    assert not found["each"][little].any()
    assert not found["norms"][little].any()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_engine_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from homebody_simulation.cohort.on_triton.kernels import kernel_of  # noqa: PLC0415

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UsageError, match="CUDA") as caught:
        kernel_of(model_of("tower"))
    assert "numba" in caught.value.fix


def test_a_model_that_may_compute_something_else_has_no_kernel() -> None:
    from homebody_simulation.cohort.on_triton.kernels import kernel_of  # noqa: PLC0415

    class Other(Popularity):
        """Who knows what it does."""

    assert kernel_of(Other(3)) is None


def test_a_popularity_is_that_of_a_device_exactly(interpreted: dict[str, Arrays]) -> None:
    found = interpreted["popularity"]
    work = work_of([])
    each = [alone("popularity", int(row), work)[0].tolist() for row in found["rows"]]
    assert found["each"].tolist() == each


def check_statistics(case: str, number: int, what: str, found: Arrays) -> None:
    """Hold what was counted against what the devices of a population send in turn."""
    asked = populations(case)[number]
    expected = asked.alone()[what]
    assert expected.any() == bool(asked.histories)
    assert found[f"{number}-{what}"].dtype == np.int64
    assert found[f"{number}-{what}"].tolist() == expected.tolist()


@pytest.mark.parametrize("number", range(len(populations(STATISTICS))))
@pytest.mark.parametrize("what", ["popularity", "pairs"])
def test_a_statistic_is_that_of_each_device_in_any_order_and_sharding(
    interpreted: dict[str, Arrays], number: int, what: str
) -> None:
    check_statistics(STATISTICS, number, what, interpreted[STATISTICS])


@pytest.mark.slow  # interpreted: tens of seconds
def test_statistics_of_long_histories_are_those_of_each_device(tmp_path: Path) -> None:
    case = f"{STATISTICS}:long"
    found = interpret(tmp_path, case)[case]
    for number in range(len(populations(case))):
        for what in ("popularity", "pairs"):
            check_statistics(case, number, what, found)


@pytest.mark.slow  # interpreted: a minute
@pytest.mark.parametrize(("what", "examples"), [("statistics", "150"), ("models", "100")])
def test_many_more_populations_come_out_as_device_by_device(what: str, examples: str) -> None:
    run_interpreted("triton_ragged.py", what, examples)


@pytest.mark.slow  # interpreted: tens of seconds
def test_more_shapes_and_entries_that_run_out_change_nothing(tmp_path: Path) -> None:
    for case, found in interpret(tmp_path, *LONG).items():
        check_case(case, found)


@pytest.mark.slow  # interpreted: tens of seconds
def test_what_is_no_number_adds_nothing(tmp_path: Path) -> None:
    for case, found in interpret(tmp_path, *BROKEN).items():
        trains = found["rows"] >= LEAST[case.partition(":")[0]]
        assert (
            found["status"].tolist() == np.where(trains, Status.NOT_FINITE, Status.EMPTY).tolist()
        )
        assert np.isnan(found["norms"]).tolist() == trains.tolist()
        assert not found["sum"].any()
        assert not found["each"].any()


@pytest.mark.slow  # interpreted: tens of seconds
def test_who_would_pass_the_bound_is_taken_back_whole_and_done_alone(tmp_path: Path) -> None:
    for case, found in interpret(tmp_path, *PAST).items():
        work = work_of([])
        for row, own in zip(found["rows"], found["each"], strict=True):
            assert own.tolist() == alone(case, int(row), work)[0].tolist()
        assert found["sum"].tolist() == found["each"].sum(axis=0).tolist()
        assert found["sharded"].tolist() == found["sum"].tolist()
        assert found["sum"].any()


@pytest.mark.slow  # interpreted: ten seconds
def test_integers_that_passed_the_bound_are_not_counted(tmp_path: Path) -> None:
    statistics, popularity = (f"{case}:past" for case in (STATISTICS, "popularity"))
    found = interpret(tmp_path, statistics, popularity)
    assert len(found[statistics]) == 2 * len(populations(statistics))
    assert not any(total.any() for total in found[statistics].values())
    assert not found[popularity]["each"].any()
    assert not found[popularity]["sum"].any()


@pytest.mark.slow  # compiles some twenty programs
@pytest.mark.parametrize("capability", [80, 90])
def test_every_program_compiles_for_a_gpu_once_and_keeps_to_its_registers(
    tmp_path: Path, capability: int
) -> None:
    # No GPU is needed to compile for one. The cohorts differ, the compiled program must not: or a
    # run would stop to compile in the middle.
    path = tmp_path / "taken.json"
    driver = Path(__file__).with_name("triton_compiler.py")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-W", "error", str(driver), str(path), str(capability)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert not done.returncode, done.stderr
    found = json.loads(path.read_text("utf-8"))
    assert {name.partition(": ")[2] for name in found} == {
        *("start_users", "train", "choose_cuts", "read_windows"),
        *("score", "residual", "multiply", "measure", "add_products", "fit", "add_outer"),
        *("hide", "add_core", "count", "add_pairs"),
    }
    for name, taken in found.items():
        case, _, program = name.partition(": ")
        # The table, and the content weights; a core's users are turned, and its scores go back.
        twice = {"add_products", "multiply"} if case in CORES else {"add_products"}
        assert taken["variants"] <= 1 + (program in twice), name
        if program in {"count", "add_pairs"}:  # to the bit what a device computes
            assert not taken["otherwise"], name
        assert taken["local"] == 0, name  # nothing is spilled to memory
        assert taken["stack"] <= 128, name
        assert taken["shared"] <= 160 * 1024, name
    assert found["wide-factorization: train"]["reg"] <= 128  # four programs a multiprocessor
