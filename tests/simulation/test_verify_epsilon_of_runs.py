"""Real runs of every kind: verified without an alarm, their epsilon found again by other code."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody_privacy.blt import BltParameters, Participation, sensitivity
from homebody_server.evidence.independent import recompute
from homebody_server.evidence.independent_lines import parse_ledger
from homebody_server.evidence.independent_patterns import worst_sensitivity
from homebody_server.evidence.verify import verify_run
from homebody_simulation.api import simulate
from homebody_simulation.simulate import SimulatedRun

_ROUNDED = 1.5e-3  # figures are rounded up to three digits, the faster accountant errs by 1e-3


@pytest.fixture(scope="module")
def adaptive_run(
    tmp_path_factory: pytest.TempPathFactory, write_config: Callable[..., Path]
) -> SimulatedRun:
    """Return a finished run of coins whose clip norm adapts; read only."""
    config = write_config(rounds=2, cohort_size=40, cohort_cap=80, delta=1e-3, adaptive_clip=True)
    runs = tmp_path_factory.mktemp("adaptive")
    return simulate("synthetic", devices=40, items=20, config=config, runs=runs, name="adaptive")


EACH = pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("small_run", {"training"}),
        ("both_run", {"statistics", "training", "metrics"}),
        pytest.param("correlated_run", {"training", "metrics"}, marks=pytest.mark.slow),
        pytest.param("statistics_run", {"statistics"}, marks=pytest.mark.slow),
        pytest.param("adaptive_run", {"training", "clipping"}, marks=pytest.mark.slow),
    ],
)


@EACH
def test_a_simulated_run_raises_no_alarm(
    request: pytest.FixtureRequest, name: str, parts: set[str]
) -> None:
    run: SimulatedRun = request.getfixturevalue(name)
    found = verify_run(run.folder, None, int(time.time()))
    assert [one.text for one in found.lines if one.mark == "WRONG"] == []
    assert set(found.facts["parts"]) >= parts


@pytest.mark.slow
def test_a_run_without_noise_has_no_promise_to_verify(reference_run: SimulatedRun) -> None:
    assert verify_run(reference_run.folder, None, int(time.time())).exit_code == 10


@EACH
def test_cr_41_epsilon_of_a_real_run_is_found_again_from_its_raw_ledger(
    request: pytest.FixtureRequest, name: str, parts: set[str]
) -> None:
    run: SimulatedRun = request.getfixturevalue(name)
    found = recompute(parse_ledger((run.folder / "ledger.jsonl").read_bytes()))
    user, privacy = run.report["epsilon"]["user"], run.report["privacy"]
    assert found.epsilon == pytest.approx(user["spent"], rel=0.01, abs=_ROUNDED)
    assert found.unamplified == pytest.approx(
        privacy["epsilon_unamplified"], rel=0.01, abs=_ROUNDED
    )
    assert found.delta == user["delta"]
    assert found.is_amplified is user["amplified"]
    assert found.understated == ()
    assert set(found.parts) == set(user["parts"]) >= parts
    for part, value in user["parts"].items():
        assert found.parts[part] == pytest.approx(value, rel=0.01, abs=_ROUNDED)
        unseen = privacy["parts_unamplified"][part]
        assert found.parts_unamplified[part] == pytest.approx(unseen, rel=0.01, abs=_ROUNDED)


def test_the_searched_sensitivity_of_a_real_run_is_that_of_the_formula(
    both_run: SimulatedRun,
) -> None:
    blt = both_run.report["privacy"]["blt"]
    ledger = parse_ledger((both_run.folder / "ledger.jsonl").read_bytes())
    ((_, stated, own),) = recompute(ledger).sensitivities
    formula = sensitivity(
        BltParameters(theta=tuple(blt["theta"]), omega=tuple(blt["omega"])),
        Participation(rounds=2, min_separation=2, max_rounds=1),
    )
    assert own == pytest.approx(formula, rel=1e-9)
    assert own == worst_sensitivity(tuple(blt["theta"]), tuple(blt["omega"]), 2, 2, 1)
    assert own <= stated <= own * (1.0 + 2e-4)  # the rest is what the lattice rounds
