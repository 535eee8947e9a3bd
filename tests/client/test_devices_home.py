"""The devices' own records, of a run or of a life."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody_client.devices_home import DevicesHome
from homebody_client.participation import Allowance
from homebody_client.record_state import RecordSteps
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.environment import STATE
from homebody_privacy.errors import BudgetExhaustedError, IntegrityError

MODEL = "d" * 64
RECORD = """
[dp.record]
enabled = true
max_grad_norm = 1.0
noise_multiplier = 4.0
sampling_rate = 0.5
steps = 2
delta = 1e-4
"""
STEPS = RecordSteps(noise_multiplier=4.0, sampling_rate=0.5, steps=2, parameters=10)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the anchors of each test apart."""
    monkeypatch.setenv(STATE, str(tmp_path / "state"))


@pytest.fixture
def config(write_config: Callable[..., Path]) -> PrivacyConfig:
    """Return a config with the record level on."""
    return PrivacyConfig.load(write_config(more=RECORD))


def allowed(run: str) -> Allowance:
    """Return two rounds of a run, each of mu 1, of a life of epsilon 8."""
    return Allowance(
        run=run,
        rounds=2,
        min_separation=1,
        max_rounds=2,
        loss_per_run=0.0,
        loss_per_join=1.0,
        delta=1e-5,
        epsilon_max=8.0,
    )


def test_a_life_goes_on_from_run_to_run_and_ends_at_its_own_ceiling(tmp_path: Path) -> None:
    def join(run: int) -> bool:
        with DevicesHome.open(tmp_path / "home", lifetime=True).participation() as store:
            refused = store.admit_many([0], allowed(f"run {run}"), 1)
            if not refused:
                store.record(0, allowed(f"run {run}"), 1, MODEL)
            return not refused

    joined = [join(run) for run in range(6)]
    assert joined == [True, True, False, False, False, False]  # mu sqrt(3) is more than epsilon 8
    with (
        DevicesHome.open(tmp_path / "home", lifetime=True).participation() as store,
        pytest.raises(BudgetExhaustedError),
    ):
        store.admit(0, allowed("one more"), 1)


def test_a_lifes_record_put_back_or_deleted_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    with DevicesHome.open(folder, lifetime=True).participation() as store:
        store.record(0, allowed("a"), 1, MODEL)
    shutil.copytree(folder, tmp_path / "backup")
    with DevicesHome.open(folder, lifetime=True).participation() as store:
        store.record(0, allowed("a"), 2, MODEL)
    shutil.rmtree(folder)
    with pytest.raises(IntegrityError):
        DevicesHome.open(folder, lifetime=True).participation()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    with pytest.raises(IntegrityError):
        DevicesHome.open(folder, lifetime=True).participation()


def test_what_records_spent_is_found_again_in_every_run_of_a_life(
    tmp_path: Path, config: PrivacyConfig
) -> None:
    for run in range(2):
        home = DevicesHome.open(tmp_path / "home", lifetime=True)
        files = home.records(config, bytes([run]) * 32)
        assert files is not None
        ledger = files.open(3)
        assert ledger.counter == run
        ledger.charge(STEPS)
        files.anchor(3, ledger)
    path = next((tmp_path / "home").glob("*.json"))
    assert path.stem != "3"
    path.unlink()
    again = DevicesHome.open(tmp_path / "home", lifetime=True).records(config, bytes(32))
    assert again is not None
    with pytest.raises(IntegrityError):
        again.open(3)


def test_a_run_by_itself_is_not_anchored_and_names_files_by_its_own_key(
    tmp_path: Path, config: PrivacyConfig
) -> None:
    home = DevicesHome.open(tmp_path / "home", lifetime=False)
    with home.participation() as store:
        assert not store.anchored
    names = set()
    for run in range(2):
        files = home.records(config, bytes([run]) * 32)
        assert files is not None
        assert files.anchors is None
        names.add(files.open(0).path.name)
    assert len(names) == 2
    assert not (tmp_path / "state").exists()


def test_without_a_record_level_there_are_no_files(
    tmp_path: Path, write_config: Callable[..., Path]
) -> None:
    plain = PrivacyConfig.load(write_config())
    assert DevicesHome.open(tmp_path / "home", lifetime=True).records(plain, bytes(32)) is None
