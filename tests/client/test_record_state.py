"""What a device spent at record level: kept over rounds and runs, never reset, never passed."""

import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant

from homebody_client import record_state
from homebody_client.record_state import RecordCeiling, RecordLedger, RecordState, RecordSteps
from homebody_privacy.errors import BudgetExhaustedError, DependencyError, IntegrityError
from homebody_privacy.noise import epsilon_excess, total_variation
from homebody_privacy.record import CrossCheckError

DELTA = 1e-5


def steps(noise: float = 1.5, rate: float = 0.25, count: int = 4, size: int = 100) -> RecordSteps:
    """Return the steps of one round."""
    return RecordSteps(noise_multiplier=noise, sampling_rate=rate, steps=count, parameters=size)


def charged(*rounds: RecordSteps) -> RecordState:
    """Return the state after some rounds."""
    state = RecordState()
    for each in rounds:
        state = state.after(each)
    return state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a device that joined two rounds."""
    path = tmp_path / "record.json"
    ledger = RecordLedger.create(path)
    ledger.charge(steps())
    ledger.charge(steps(noise=2.0))
    return path


def test_the_history_is_kept_over_a_restart(path: Path) -> None:
    ledger = RecordLedger.open(path)
    assert ledger.counter == 2
    before = ledger.charge(steps(noise=2.0))
    assert before.history == ((1.5, 0.25, 4), (2.0, 0.25, 4))
    again = RecordLedger.open(path)
    assert again.counter == 3
    assert again.head == ledger.head == before.after(steps(noise=2.0)).head
    assert RecordState.from_bytes(path.read_bytes()).history == ((1.5, 0.25, 4), (2.0, 0.25, 8))


def test_opacus_reads_the_history_and_counts_as_we_do(path: Path) -> None:
    state = RecordState.from_bytes(path.read_bytes())
    accountant = PRVAccountant()
    accountant.load_state_dict(json.loads(path.read_bytes())["body"]["accountant"])
    for _ in range(3):
        accountant.step(noise_multiplier=2.0, sample_rate=0.25)
    after = state.after(steps(noise=2.0, count=3))
    assert [tuple(entry) for entry in accountant.history] == list(after.history)
    assert 0.0 <= after.epsilon(DELTA) - accountant.get_epsilon(DELTA) < 1e-6


@pytest.mark.parametrize(("noise", "rate", "rounds"), [(0.8, 0.1, 1), (1.5, 0.5, 3), (4.0, 1.0, 3)])
def test_epsilon_is_never_below_the_reference_accountant(
    noise: float, rate: float, rounds: int
) -> None:
    found = charged(*[steps(noise, rate)] * rounds).epsilon(DELTA)
    reference = PLDAccountant()
    event = PoissonSampledDpEvent(rate, GaussianDpEvent(noise))
    reference.compose(SelfComposedDpEvent(event, 4 * rounds))
    exact = reference.get_epsilon(DELTA)
    assert exact - 1e-4 <= found <= exact + 0.03


@settings(max_examples=4)
@given(st.lists(st.sampled_from([(1.0, 0.25), (2.0, 0.25)]), min_size=1, max_size=4))
def test_epsilon_grows_with_every_round_and_does_not_depend_on_their_order(
    kinds: list[tuple[float, float]],
) -> None:
    rounds = [steps(noise, rate) for noise, rate in kinds]
    whole = charged(*rounds).epsilon(DELTA)
    assert whole >= charged(*rounds[:-1]).epsilon(DELTA)
    assert charged(*reversed(rounds)).epsilon(DELTA) == pytest.approx(whole, abs=1e-9)


def test_the_error_of_the_noise_sampler_is_charged_too() -> None:
    state = charged(steps(size=10**6), steps(size=10**6))
    draws, tau = 4 * 10**6, 1.5 * 2**20
    assert state.sampler_delta == pytest.approx(2 * total_variation(draws, tau))
    assert state.sampler_delta >= 2 * total_variation(draws, tau)
    assert state.sampler_epsilon >= 2 * epsilon_excess(draws, tau)
    assert math.isinf(state.epsilon(state.sampler_delta))
    small = charged(steps(size=1), steps(size=1))
    assert state.epsilon(1e-8) > small.epsilon(1e-8)


def test_noise_too_low_to_count_is_infinite() -> None:
    assert math.isinf(charged(steps(noise=0.01)).epsilon(DELTA))


def test_a_device_that_never_trained_spent_nothing() -> None:
    assert RecordState().epsilon(DELTA) < 1e-300


def fits(rounds: int, ceiling: float) -> bool:
    """Say whether that many rounds fit, by Opacus alone."""
    accountant = PRVAccountant()
    accountant.history = [(1.5, 0.25, 4 * rounds)]
    return bool(accountant.get_epsilon(DELTA) <= ceiling)


@pytest.mark.parametrize("of_the_device", [True, False])
def test_the_round_that_would_pass_the_ceiling_is_refused(
    tmp_path: Path, *, of_the_device: bool
) -> None:
    ceiling = RecordCeiling(epsilon=3.5, delta=DELTA)
    most = next(rounds for rounds in range(1, 20) if not fits(rounds + 1, 3.5))
    path = tmp_path / "record.json"
    ledger = RecordLedger.create(path, ceiling=ceiling if of_the_device else None)
    given_ = None if of_the_device else ceiling
    for _ in range(most):
        ledger.charge(steps(), ceiling=given_)
    before = path.read_bytes()
    for each in (ledger, RecordLedger.open(path, ceiling=ledger.ceiling)):
        with pytest.raises(BudgetExhaustedError) as caught:
            each.charge(steps(), ceiling=given_)
        assert caught.value.exit_code == 11
        assert not any(character.isdigit() for character in str(caught.value))
    assert most >= 2
    assert path.read_bytes() == before
    assert ledger.counter == most


def test_most_rounds_below_the_ceiling_need_no_figure_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def prv(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
        asked.append((history, delta))
        return 1e-3 * sum(steps for _, _, steps in history)

    monkeypatch.setattr("homebody_privacy.record.prv", prv)
    record_state._prv.cache_clear()  # noqa: SLF001 - else an earlier figure is used
    ceiling = RecordCeiling(epsilon=0.4, delta=DELTA)
    ledger = RecordLedger.create(tmp_path / "record.json", ceiling=ceiling)
    for _ in range(99):  # 100 rounds of 4 steps are 0.4, and what the sampler adds
        ledger.charge(steps())
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(steps())
    record_state._prv.cache_clear()  # noqa: SLF001 - the figures were made up
    assert len(asked) < 70
    assert all(delta <= DELTA for _, delta in asked)


@given(st.integers(1, 10**9))
def test_the_steps_a_bound_is_for_are_never_fewer(count: int) -> None:
    coarse = record_state._coarse(count)  # noqa: SLF001 - the rule itself
    assert count <= coarse <= count * (1 + 1 / 16)


def test_a_ceiling_of_the_config_cannot_raise_the_devices_own(tmp_path: Path) -> None:
    own = RecordCeiling(epsilon=0.5, delta=DELTA)
    ledger = RecordLedger.create(tmp_path / "record.json", ceiling=own)
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(steps(), ceiling=RecordCeiling(epsilon=1e6, delta=0.5))


def test_pf_42_a_missing_state_is_refused_and_not_started_anew(path: Path) -> None:
    ledger = RecordLedger.open(path)
    path.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        RecordLedger.open(path)
    with pytest.raises(IntegrityError, match="missing"):
        ledger.charge(steps())
    assert not path.exists()


def test_pf_42_a_state_is_never_written_over_by_a_new_one(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="anew"):
        RecordLedger.create(path)
    assert path.read_bytes() == before


def test_pf_42_an_older_copy_put_back_is_refused(path: Path) -> None:
    older = path.read_bytes()
    ledger = RecordLedger.open(path)
    ledger.charge(steps())
    path.write_bytes(older)
    with pytest.raises(IntegrityError, match="older"):
        ledger.charge(steps())
    with pytest.raises(IntegrityError, match="older"):
        RecordLedger.open(path, at_least=3)
    assert path.read_bytes() == older


def test_pf_42_another_history_of_the_same_length_is_refused(path: Path) -> None:
    ledger = RecordLedger.open(path)
    path.write_bytes(charged(steps(noise=9.0), steps(noise=9.0)).to_bytes())
    with pytest.raises(IntegrityError, match="exchanged"):
        ledger.charge(steps())


def test_pf_42_the_budget_goes_on_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for _ in range(3):  # each run opens the file anew
        ledger = RecordLedger.open(path) if path.exists() else RecordLedger.create(path)
        ledger.charge(steps())
    state = RecordState.from_bytes(path.read_bytes())
    assert state.history == ((1.5, 0.25, 12),)
    assert state.epsilon(DELTA) > charged(steps()).epsilon(DELTA)


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_byte_is_refused(data: st.DataObject) -> None:
    content = bytearray(charged(steps(), steps(noise=2.0), steps()).to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError):  # noqa: PT011 - whichever check sees it first
        RecordState.from_bytes(bytes(content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"body": 3}',
        b"[" * 100_000,
        charged(steps()).to_bytes()[:-1],
        charged(steps()).to_bytes() + b"\n",
        charged(steps()).to_bytes().replace(b'"counter":1', b'"counter":0'),
        charged(steps()).to_bytes().replace(b"[1.5,0.25,4]", b"[1.5,0.25,4.5]"),
        charged(steps()).to_bytes().replace(b"[1.5,0.25,4]", b"[1.5,NaN,4]"),
        charged(steps()).to_bytes().replace(b'"prv"', b'"gdp"'),
    ],
)
def test_a_file_that_is_no_state_is_refused(path: Path, content: bytes) -> None:
    ledger = RecordLedger.open(path)
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged") as caught:
        ledger.charge(steps())
    assert caught.value.exit_code == 14
    assert path.read_bytes() == content


def test_every_state_names_the_one_before() -> None:
    first = charged(steps())
    second = first.after(steps())
    assert second.previous == first.head
    assert first.previous == RecordState().head
    assert len({RecordState().head, first.head, second.head}) == 3
    assert charged(steps(noise=2.0)).after(steps()).head != second.head


@pytest.mark.parametrize(("owner", "fault"), [(os, "fsync"), (Path, "replace")])
def test_a_crash_while_writing_leaves_a_whole_state(
    path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, fault: str
) -> None:
    ledger, before = RecordLedger.open(path), path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("no power")

    monkeypatch.setattr(owner, fault, fail)
    with pytest.raises(OSError, match="no power"):
        ledger.charge(steps())
    monkeypatch.undo()
    assert path.read_bytes() == before
    ledger.charge(steps())  # the lock is free and the leftover file in nobody's way
    assert RecordLedger.open(path).counter == 3


def test_the_state_is_synced_before_the_call_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, done = RecordLedger.open(path), []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        done.append("replace")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    ledger.charge(steps())
    assert done == ["file", "replace", "folder"]


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    assert [stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()] == [0o600, 0o600]


_CHARGES = """
import sys
from pathlib import Path
from homebody_client.record_state import RecordLedger, RecordSteps
ledger = RecordLedger.open(Path(sys.argv[1]))
for _ in range(25):
    ledger.charge(RecordSteps(noise_multiplier=1.0, sampling_rate=0.5, steps=2, parameters=9))
heavy = {"torch", "opacus", "flwr", "scipy", "dp_accounting"} & set(sys.modules)
print(*sorted(heavy))
"""


def test_processes_that_charge_at_once_lose_no_charge_and_load_no_training_library(
    tmp_path: Path,
) -> None:
    path = tmp_path / "record.json"
    RecordLedger.create(path)
    command = [sys.executable, "-c", _CHARGES, str(path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == ["", "", ""]
    assert RecordLedger.open(path).counter == 75
    assert RecordState.from_bytes(path.read_bytes()).history == ((1.0, 0.5, 150),)


def test_opacus_failing_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise CrossCheckError("no epsilon")

    monkeypatch.setattr("homebody_privacy.record.prv", fail)
    record_state._prv.cache_clear()  # noqa: SLF001 - else an earlier figure is used
    ceiling = RecordCeiling(epsilon=9.0, delta=DELTA)
    ledger = RecordLedger.create(tmp_path / "record.json", ceiling=ceiling)
    with pytest.raises(DependencyError, match="no epsilon"):
        ledger.charge(steps())
    assert RecordLedger.open(ledger.path).counter == 0


GOOD: dict[type, dict[str, Any]] = {
    RecordSteps: {"noise_multiplier": 1.0, "sampling_rate": 0.5, "steps": 1, "parameters": 1},
    RecordCeiling: {"epsilon": 1.0, "delta": 0.1},
    RecordState: {},
}


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (RecordSteps, "noise_multiplier", 0.0),
        (RecordSteps, "noise_multiplier", math.inf),
        (RecordSteps, "sampling_rate", 0.0),
        (RecordSteps, "sampling_rate", 1.5),
        (RecordSteps, "sampling_rate", math.nan),
        (RecordSteps, "steps", 0),
        (RecordSteps, "parameters", 0),
        (RecordCeiling, "epsilon", 0.0),
        (RecordCeiling, "epsilon", math.nan),
        (RecordCeiling, "delta", 1.0),
        (RecordState, "counter", 1),
        (RecordState, "history", ((1.0, 0.5, 4),)),
        (RecordState, "sampler_delta", -1.0),
        (RecordState, "previous", "00"),
    ],
)
def test_what_cannot_be_is_refused(kind: type, field: str, value: object) -> None:
    kind(**GOOD[kind])
    with pytest.raises(ValueError, match=r"must|fit"):
        kind(**{**GOOD[kind], field: value})
