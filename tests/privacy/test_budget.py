"""The stop rule, resuming, and budgets over several runs."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody_privacy.accounting import epsilon_pld
from homebody_privacy.budget import Budget, earlier_charges
from homebody_privacy.charges import PoissonRounds
from homebody_privacy.errors import BudgetExhaustedError, IntegrityError, UsageError
from homebody_privacy.ledger import Header, Ledger

Build = Callable[..., PoissonRounds]
MODEL = "d" * 64


def run_folder(runs: Path, name: str, header: Header, charges: list[PoissonRounds]) -> Path:
    (runs / name).mkdir(parents=True)
    path = runs / name / "ledger.jsonl"
    with Ledger.create(path, header) as ledger:
        for number, charge in enumerate(charges, start=1):
            ledger.intend(number, charge)
    return path


def test_spending_is_what_the_ledger_composes_to(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    with Ledger.create(tmp_path / "l", header) as ledger:
        budget = Budget(ledger, ceiling=8.0, delta=1e-5)
        assert budget.spent() == 0.0
        for number in (1, 2, 3):
            budget.open(number, charge())
            budget.release(number, MODEL)
        reference = epsilon_pld([charge(rounds=3)], 1e-5)
        assert reference - 1e-9 <= budget.spent() <= reference + 1e-3
        assert budget.after(0) == budget.spent()
        reference = epsilon_pld([charge(rounds=10)], 1e-5)
        assert reference - 1e-9 <= budget.after(7) <= reference + 1e-3


def test_a_round_that_would_pass_the_ceiling_is_refused_before_anything_is_written(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, header) as ledger:
        ceiling = epsilon_pld([charge(rounds=2)], 1e-5) + 1e-3
        budget = Budget(ledger, ceiling=ceiling, delta=1e-5)
        budget.open(1, charge())
        budget.release(1, MODEL)
        budget.open(2, charge())
        budget.release(2, MODEL)
        before = path.read_bytes()
        with pytest.raises(BudgetExhaustedError, match=r"round 3 .*past the ceiling") as refusal:
            budget.open(3, charge())
        assert refusal.value.exit_code == 11
        assert path.read_bytes() == before
        assert ledger.opened == 2
        with pytest.raises(BudgetExhaustedError, match="inf"):
            budget.open(3, charge(noise_multiplier=0.0))


def test_an_interrupted_round_is_opened_again_without_a_second_charge(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, header) as ledger:
        Budget(ledger, ceiling=8.0, delta=1e-5).open(1, charge())
    before = path.read_bytes()
    with Ledger.open(path) as ledger:
        budget = Budget(ledger, ceiling=8.0, delta=1e-5)
        budget.open(1, charge())
        assert path.read_bytes() == before
        with pytest.raises(IntegrityError, match="charged otherwise"):
            budget.open(1, charge(noise_multiplier=3.0))
        budget.release(1, MODEL)
        with pytest.raises(ValueError, match="cannot be opened"):
            budget.open(1, charge())


def test_pf_14_a_crash_between_intent_and_release_counts_as_spent(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, header):
        pass
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from homebody_privacy.budget import Budget\n"
        "from homebody_privacy.charges import PoissonRounds\n"
        "from homebody_privacy.ledger import Ledger\n"
        "budget = Budget(Ledger.open(Path(sys.argv[1])), ceiling=8.0, delta=1e-5)\n"
        "budget.open(1, PoissonRounds(population=6040, cohort_size=100, cohort_cap=6040, "
        "noise_multiplier=2.0, rounds=1))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with Ledger.open(path) as ledger:
        assert (ledger.opened, ledger.released) == (1, 0)
        spent = Budget(ledger, ceiling=8.0, delta=1e-5).spent()
    assert spent >= epsilon_pld([charge()], 1e-5) - 1e-9 > 0.0


def test_pf_15_two_runs_on_the_same_devices_compose(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    run_folder(tmp_path, "spring", header, [charge()] * 3)
    stranger = header.model_copy(update={"population": "b" * 64})
    run_folder(tmp_path, "elsewhere", stranger, [charge()] * 50)
    own = run_folder(tmp_path, "autumn", header, [])
    with Ledger.open(own) as ledger:
        earlier = earlier_charges(tmp_path, header.population, own)
        assert earlier == [charge()] * 3
        lifetime = Budget(ledger, earlier=earlier, ceiling=8.0, delta=1e-5)
        lifetime.open(1, charge())
        assert lifetime.spent() > Budget(ledger, ceiling=8.0, delta=1e-5).spent()
        assert lifetime.spent() >= epsilon_pld([charge(rounds=4)], 1e-5) - 1e-9
    assert earlier_charges(tmp_path, header.population, own.parent) == [charge()] * 3
    assert len(earlier_charges(tmp_path, header.population)) == 4


def test_a_run_on_the_same_devices_in_progress_stops_another(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    path = run_folder(tmp_path, "spring", header, [charge()])
    with Ledger.open(path), pytest.raises(UsageError, match="in progress"):
        earlier_charges(tmp_path, header.population)
    with Ledger.open(path):
        assert earlier_charges(tmp_path, "b" * 64) == []


def test_a_damaged_ledger_of_another_run_is_not_passed_over(tmp_path: Path, header: Header) -> None:
    path = run_folder(tmp_path, "spring", header, [])
    path.write_bytes(b"damaged\n")
    with pytest.raises(IntegrityError, match="line 1"):
        earlier_charges(tmp_path, header.population)


def test_a_budget_laxer_than_the_ledger_promised_is_refused(tmp_path: Path, header: Header) -> None:
    with Ledger.create(tmp_path / "l", header) as ledger:
        for ceiling in (8.1, 0.0):
            with pytest.raises(ValueError, match="ceiling"):
                Budget(ledger, ceiling=ceiling, delta=1e-5)
        for delta in (1.1e-5, 0.0):
            with pytest.raises(ValueError, match="delta"):
                Budget(ledger, ceiling=8.0, delta=delta)


def test_a_forecast_before_the_first_round_needs_a_charge(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    with Ledger.create(tmp_path / "l", header) as ledger:
        budget = Budget(ledger, ceiling=8.0, delta=1e-5)
        with pytest.raises(ValueError, match="no round was opened"):
            budget.after(3)
        assert budget.after(3, charge()) >= epsilon_pld([charge(rounds=3)], 1e-5) - 1e-9
        with pytest.raises(ValueError, match="rounds"):
            budget.after(-1, charge())
