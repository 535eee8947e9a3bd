"""A device that trains at record level charges itself first, and stops at its ceiling."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from opacus import PrivacyEngine
from opacus.accountants import PRVAccountant

from homebody_client import record_level
from homebody_client.host import Host
from homebody_client.record_level import local_update
from homebody_client.record_state import RecordCeiling, RecordLedger, RecordState
from homebody_privacy.errors import (
    BudgetExhaustedError,
    DependencyError,
    IntegrityError,
    PolicyViolationError,
)

from .record_host import MakeHost, build_host, start, update


@pytest.fixture(scope="session")
def make_host(write_config: Callable[..., Path]) -> MakeHost:
    """Builder of a node with the record level on."""
    return partial(build_host, write_config)


def ledger_of(path: Path, **options: RecordCeiling) -> RecordLedger:
    """Return the ledger of a device that never trained."""
    return RecordLedger.create(path / "record.json", **options)


def train(host: Host, device: int, number: int, ledger: RecordLedger) -> npt.NDArray[np.float64]:
    """Return the update of a device that counts."""
    history = host.history(device)
    return local_update(host, history, start(host), number=number, device=device, ledger=ledger)


def test_the_accountant_goes_on_where_the_last_round_ended(
    make_host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = []
    real = PrivacyEngine.make_private

    def watching(self: PrivacyEngine, **options: Any) -> Any:  # noqa: ANN401 - opacus' own
        engines.append(self)
        return real(self, **options)

    monkeypatch.setattr(PrivacyEngine, "make_private", watching)
    ledger = ledger_of(tmp_path)
    for number, noise in enumerate((1.0, 1.0, 2.0), start=1):
        train(make_host(noise=noise, rate=0.5, steps=3), 4, number, ledger)
        ledger = RecordLedger.open(ledger.path)
    assert [engine.accountant.history for engine in engines] == [
        [(1.0, 0.5, 3)],
        [(1.0, 0.5, 6)],
        [(1.0, 0.5, 6), (2.0, 0.5, 3)],
    ]
    state = RecordState.from_bytes(ledger.path.read_bytes())
    assert list(state.history) == engines[-1].accountant.history
    assert ledger.counter == 3
    assert state.epsilon(1e-4) >= engines[-1].accountant.get_epsilon(1e-4)


def test_a_ledger_changes_nothing_of_the_update(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host()
    assert train(host, 4, 1, ledger_of(tmp_path)).tobytes() == update(host, 4).tobytes()


def test_the_charge_is_on_disk_before_anything_is_trained(
    make_host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise OSError("no power")

    monkeypatch.setattr(record_level, "TwoTowerModule", crash)
    ledger = ledger_of(tmp_path)
    with pytest.raises(OSError, match="no power"):
        train(make_host(), 4, 1, ledger)
    assert RecordLedger.open(ledger.path).counter == 1


@pytest.mark.parametrize("device", [0, 1, 2])
def test_a_device_without_records_is_charged_nothing(
    make_host: MakeHost, tmp_path: Path, device: int
) -> None:
    ledger = ledger_of(tmp_path)
    assert not train(make_host(), device, 1, ledger).any()
    assert RecordLedger.open(ledger.path).counter == 0


def test_an_empty_draw_is_charged(make_host: MakeHost, tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    assert train(make_host(rate=1e-3, steps=2), 3, 1, ledger).any()
    assert RecordState.from_bytes(ledger.path.read_bytes()).history == ((1.0, 1e-3, 2),)


def test_the_ceiling_of_the_device_ends_its_training(make_host: MakeHost, tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, ceiling=RecordCeiling(epsilon=0.5, delta=1e-5))
    with pytest.raises(BudgetExhaustedError):
        train(make_host(), 4, 1, ledger)
    assert RecordLedger.open(ledger.path).counter == 0


def test_the_ceiling_of_the_config_needs_a_device_that_counts(
    make_host: MakeHost, tmp_path: Path
) -> None:
    host = make_host(extra="epsilon_max = 0.5")
    with pytest.raises(BudgetExhaustedError):
        train(host, 4, 1, ledger_of(tmp_path))
    with pytest.raises(PolicyViolationError, match="epsilon_max"):
        update(host, 4)
    wide = make_host(extra="epsilon_max = 50.0")
    assert train(wide, 4, 1, RecordLedger.open(tmp_path / "record.json")).any()


def test_pf_42_a_device_whose_state_is_damaged_trains_no_more(
    make_host: MakeHost, tmp_path: Path
) -> None:
    ledger = ledger_of(tmp_path)
    ledger.path.write_bytes(ledger.path.read_bytes()[:-2])
    with pytest.raises(IntegrityError):
        train(make_host(), 4, 1, ledger)


def test_steps_that_were_not_charged_are_noticed(
    make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(self: PRVAccountant, *, noise_multiplier: float, sample_rate: float) -> None:
        self.history.append((noise_multiplier, sample_rate, 2))

    monkeypatch.setattr(PRVAccountant, "step", twice)
    with pytest.raises(DependencyError, match="charged"):
        update(make_host(), 4)
