"""The stop rule, resuming, and budgets over several runs."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody_privacy.accounting import epsilon_pld, spent_epsilon
from homebody_privacy.anchor import START, AnchorBook
from homebody_privacy.budget import Budget, earlier_charges
from homebody_privacy.charges import CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.closed_form import epsilon_unamplified
from homebody_privacy.errors import BudgetExhaustedError, IntegrityError, UsageError
from homebody_privacy.ledger import Ledger, anchor_name
from homebody_privacy.ledger_record import INTERRUPTED, Header

Build = Callable[..., PoissonRounds]
BuildRun = Callable[..., CorrelatedRun]
MODEL = "d" * 64
FIGURE = GaussianReleases(noise_multiplier=9.0)


@pytest.fixture
def anchors(tmp_path: Path) -> AnchorBook:
    """Anchors in a folder of their own."""
    return AnchorBook.open(tmp_path / "state" / "anchors")


@pytest.fixture
def lifetime(header: Header) -> Header:
    """Promise of a run whose budget outlives it."""
    return header.model_copy(update={"scope": "lifetime"})


def run_folder(
    runs: Path,
    name: str,
    header: Header,
    charges: list[PoissonRounds],
    anchors: AnchorBook | None = None,
    reason: str = INTERRUPTED,
) -> Path:
    """Write the ledger of a run whose rounds were charged, all but the last of them void."""
    (runs / name).mkdir(parents=True)
    path = runs / name / "ledger.jsonl"
    with Ledger.create(path, header, anchors) as ledger:
        for number, charge in enumerate(charges, start=1):
            if number > 1:
                ledger.void(number - 1, reason)
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
        assert budget.after([]) == budget.spent()
        reference = epsilon_pld([charge(rounds=10)], 1e-5)
        assert reference - 1e-9 <= budget.after([charge(rounds=7)]) <= reference + 1e-3
        assert budget.after([charge(rounds=7), FIGURE]) > budget.after([charge(rounds=7)])
        assert budget.spent() == spent_epsilon([charge(rounds=3)], 1e-5)  # asking spends nothing


def test_cr_34_a_round_that_would_pass_the_ceiling_is_stopped_and_not_charged(
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
        with pytest.raises(BudgetExhaustedError, match=r"round 3 .*past the ceiling") as refusal:
            budget.open(3, charge())
        assert refusal.value.exit_code == 11
        assert ledger.charges() == [charge(), charge()]
        assert (ledger.record.opened, ledger.record.stops) == (2, ("round/3",))
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


def test_pf_14_cr_34_a_crash_between_intent_and_release_counts_as_spent(
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
        assert (ledger.record.opened, ledger.record.released) == (1, 0)
        spent = Budget(ledger, ceiling=8.0, delta=1e-5).spent()
    assert spent >= epsilon_pld([charge()], 1e-5) - 1e-9 > 0.0


def test_pf_15_cr_34_two_runs_on_the_same_devices_compose(
    tmp_path: Path, lifetime: Header, charge: Build, anchors: AnchorBook
) -> None:
    runs = tmp_path / "runs"
    run_folder(runs, "spring", lifetime, [charge()] * 3, anchors)
    stranger = lifetime.model_copy(update={"population": "b" * 64})
    run_folder(runs, "elsewhere", stranger, [charge()] * 50, anchors)
    own = run_folder(runs, "autumn", lifetime, [], anchors)
    with Ledger.open(own, anchors) as ledger:
        earlier = earlier_charges(runs, lifetime.population, anchors=anchors, exclude=own)
        assert earlier == [charge()] * 3
        both = Budget(ledger, earlier=earlier, ceiling=8.0, delta=1e-5)
        both.open(1, charge())
        assert both.spent() > Budget(ledger, ceiling=8.0, delta=1e-5).spent()
        assert both.spent() >= epsilon_pld([charge(rounds=4)], 1e-5) - 1e-9
    people = lifetime.population
    for exclude in (own, own.parent):
        found = earlier_charges(runs, people, anchors=anchors, exclude=exclude)
        assert found == [charge()] * 3
    assert len(earlier_charges(runs, people, anchors=anchors)) == 4


def test_pf_10_rounds_that_were_void_for_who_came_cost_later_runs_their_full_price(
    tmp_path: Path, lifetime: Header, charge: Build, anchors: AnchorBook
) -> None:
    runs = tmp_path / "runs"
    run_folder(runs, "spring", lifetime, [charge(count_multiplier=5.0)] * 2, anchors, "quorum")
    earlier = earlier_charges(runs, lifetime.population, anchors=anchors)
    assert earlier == [charge(count_multiplier=5.0).without_credit()] * 2
    assert spent_epsilon(earlier, 1e-5) == pytest.approx(
        epsilon_unamplified([charge(count_multiplier=5.0)] * 2, 1e-5), rel=1e-3
    )
    assert spent_epsilon(earlier, 1e-5) > 2 * spent_epsilon([charge()] * 2, 1e-5)


def test_pf_15_two_folders_of_runs_share_a_lifetime_budget(
    tmp_path: Path, lifetime: Header, charge: Build, correlated: BuildRun, anchors: AnchorBook
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    run_folder(here, "spring", lifetime, [charge()] * 2, anchors)
    path = run_folder(there, "autumn", lifetime, [charge(noise_multiplier=3.0)], anchors)
    with Ledger.open(path, anchors) as ledger:
        ledger.purchase("tuning", correlated())
    both = [charge()] * 2 + [charge(noise_multiplier=3.0), correlated()]
    for runs in (here, there, tmp_path / "empty"):
        assert earlier_charges(runs, lifetime.population, anchors=anchors) == both
    elsewhere = AnchorBook.open(tmp_path / "other state")
    assert earlier_charges(tmp_path / "empty", lifetime.population, anchors=elsewhere) == []


def test_a_ledger_without_a_budget_of_a_lifetime_counts_where_it_lies(
    tmp_path: Path, header: Header, charge: Build, anchors: AnchorBook
) -> None:
    run_folder(tmp_path / "runs", "spring", header, [charge()])
    found = earlier_charges(tmp_path / "runs", header.population, anchors=anchors)
    assert found == [charge()]


def test_pf_15_cr_34_a_deleted_ledger_stops_every_later_run(
    tmp_path: Path, lifetime: Header, charge: Build, anchors: AnchorBook
) -> None:
    path = run_folder(tmp_path / "runs", "spring", lifetime, [charge()], anchors)
    path.unlink()
    with pytest.raises(IntegrityError, match=r"is gone: what it charged") as refusal:
        earlier_charges(tmp_path / "runs", lifetime.population, anchors=anchors)
    assert "cannot be spent again" in refusal.value.fix
    assert earlier_charges(tmp_path / "runs", "b" * 64, anchors=anchors) == []


def test_pf_15_cr_34_a_cut_ledger_stops_every_later_run(
    tmp_path: Path, lifetime: Header, charge: Build, anchors: AnchorBook
) -> None:
    path = run_folder(tmp_path / "runs", "spring", lifetime, [charge()], anchors)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(IntegrityError, match="entries at its end were removed"):
        earlier_charges(tmp_path / "runs", lifetime.population, anchors=anchors)


def test_pf_15_a_lifetime_ledger_that_no_anchor_knows_is_refused(
    tmp_path: Path, lifetime: Header, charge: Build, anchors: AnchorBook
) -> None:
    path = run_folder(tmp_path / "runs", "spring", lifetime, [charge()], anchors)
    elsewhere = AnchorBook.open(tmp_path / "other state")
    with pytest.raises(IntegrityError, match="its anchor is gone"):
        earlier_charges(tmp_path / "runs", lifetime.population, anchors=elsewhere)
    shutil.copytree(path.parent, tmp_path / "runs" / "winter")
    with pytest.raises(IntegrityError, match=r"winter.*its anchor is gone"):
        earlier_charges(tmp_path / "runs", lifetime.population, anchors=anchors)
    shutil.rmtree(path.parent)  # moved: not where its anchor says
    with pytest.raises(IntegrityError, match=r"spring.* is gone"):
        earlier_charges(tmp_path / "runs", lifetime.population, anchors=anchors)


def test_pf_15_a_ledger_of_other_people_in_an_anchored_place_is_refused(
    tmp_path: Path, lifetime: Header, charge: Build, anchors: AnchorBook
) -> None:
    path = run_folder(tmp_path / "runs", "spring", lifetime, [charge()], anchors)
    path.unlink()
    with Ledger.create(path, lifetime.model_copy(update={"scope": "run", "population": "b" * 64})):
        pass
    with pytest.raises(IntegrityError, match="other people"):
        earlier_charges(tmp_path / "runs", lifetime.population, anchors=anchors)


def test_a_ledger_that_was_only_announced_charged_nothing(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook
) -> None:
    announced = tmp_path / "runs" / "spring" / "ledger.jsonl"
    anchors.advance(anchor_name(lifetime, announced), START)
    assert earlier_charges(tmp_path / "runs", lifetime.population, anchors=anchors) == []


def test_a_run_on_the_same_devices_in_progress_stops_another(
    tmp_path: Path, lifetime: Header, charge: Build, anchors: AnchorBook
) -> None:
    runs = tmp_path / "runs"
    path = run_folder(runs, "spring", lifetime, [charge()], anchors)
    with Ledger.open(path, anchors), pytest.raises(UsageError, match="in progress"):
        earlier_charges(runs, lifetime.population, anchors=anchors)
    with Ledger.open(path, anchors):
        assert earlier_charges(runs, "b" * 64, anchors=anchors) == []


def test_a_damaged_ledger_of_another_run_is_not_passed_over(
    tmp_path: Path, header: Header, anchors: AnchorBook
) -> None:
    path = run_folder(tmp_path / "runs", "spring", header, [])
    path.write_bytes(b"damaged\n")
    with pytest.raises(IntegrityError, match="line 1"):
        earlier_charges(tmp_path / "runs", header.population, anchors=anchors)


def test_a_whole_run_is_paid_for_once_and_its_rounds_are_free(
    tmp_path: Path, header: Header, charge: Build, correlated: BuildRun
) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, header) as ledger:
        budget = Budget(ledger, ceiling=8.0, delta=1e-5)
        budget.purchase("run", correlated())
        whole = budget.spent()
        assert whole == spent_epsilon([correlated()], 1e-5) > 0.0
        budget.open(1, None)
        budget.void(1)
        budget.open(2, None)
    with Ledger.open(path) as ledger:
        budget = Budget(ledger, ceiling=8.0, delta=1e-5)
        before = path.read_bytes()
        budget.purchase("run", correlated())  # a resumed run asks again
        budget.open(2, None)
        assert path.read_bytes() == before
        with pytest.raises(IntegrityError, match="run was charged otherwise"):
            budget.purchase("run", correlated(noise_multiplier=3.4))
        with pytest.raises(IntegrityError, match="round 2 was charged otherwise"):
            budget.open(2, charge())
        budget.release(2, MODEL)
        assert budget.spent() == whole
        assert ledger.record.voids == 1


def test_cr_34_a_purchase_that_would_pass_the_ceiling_is_stopped_once_and_not_charged(
    tmp_path: Path, header: Header, correlated: BuildRun
) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = spent_epsilon([correlated()], 1e-5)
    with Ledger.create(path, header) as ledger:
        budget = Budget(ledger, ceiling=whole, delta=1e-5)
        budget.purchase("run", correlated())  # the ceiling itself may be reached
        for _ in range(2):  # a resumed run asks again
            with pytest.raises(BudgetExhaustedError, match=r"hit_rate/1 .*past the ceiling"):
                budget.purchase("metrics/hit_rate/1", FIGURE)
        assert ledger.charges() == [correlated()]
        assert ledger.record.stops == ("metrics/hit_rate/1",)
        budget.open(1, None)
        budget.release(1, MODEL, unclipped=0.5)
        assert ledger.record.unclipped == [0.5]


def test_a_budget_laxer_than_the_ledger_promised_is_refused(tmp_path: Path, header: Header) -> None:
    with Ledger.create(tmp_path / "l", header) as ledger:
        for ceiling in (8.1, 0.0):
            with pytest.raises(ValueError, match="ceiling"):
                Budget(ledger, ceiling=ceiling, delta=1e-5)
        for delta in (1.1e-5, 0.0):
            with pytest.raises(ValueError, match="delta"):
                Budget(ledger, ceiling=8.0, delta=delta)
