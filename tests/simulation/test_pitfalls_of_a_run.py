"""Pitfalls that only a whole run can show: who counts, what chooses the model, what names items."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.ledger import read_ledger
from homebody_simulation.api import simulate
from homebody_simulation.datasets import load_dataset
from homebody_simulation.planning import plan_run
from homebody_simulation.request import Request

DEVICES = 40


@pytest.fixture(scope="module")
def config(write_config: Callable[..., Path]) -> Path:
    """Return a config for forty devices."""
    return write_config(rounds=3, cohort_size=20, cohort_cap=60, delta=1e-3)


def test_pf_16_half_the_population_at_the_same_cohort_costs_more(config: Path) -> None:
    # Who withdrew is not drawn and does not count: the rate is that of those who are left.
    spent = []
    for devices in (2 * DEVICES, DEVICES):
        request = Request(
            data="synthetic", options={"devices": devices, "items": 20}, config_file=config
        )
        data = load_dataset("synthetic", devices=devices, items=20)
        spec = plan_run(request, PrivacyConfig.load(config), data).spec
        assert spec.devices == data.interactions.devices == devices
        charge = spec.round_charge()
        assert charge is not None
        assert charge.sampling_rate == 20 / devices
        same_noise = charge.with_rounds(3).to_dict() | {"noise_multiplier": 2.0}
        del same_noise["kind"]
        spent.append(spent_epsilon([type(charge)(**same_noise)], 1e-3))
    assert spent[0] < spent[1]


@pytest.mark.parametrize("mechanism", ["blt", "gaussian"])
def test_pf_19_the_model_is_the_last_release_whatever_the_curve_says(
    config: Path, tmp_path: Path, mechanism: str
) -> None:
    run = simulate(
        "synthetic",
        devices=DEVICES,
        items=20,
        config=config,
        mechanism=mechanism,  # type: ignore[arg-type]
        runs=tmp_path,
        name="r",
    )
    record, _ = read_ledger(run.folder / "ledger.jsonl")
    lines = (run.folder / "ledger.jsonl").read_text("utf-8").splitlines()
    last = [e for e in (json.loads(x)["entry"] for x in lines) if e["kind"] == "release"][-1]
    assert last["round"] == record.opened == 3
    assert run.report["digests"]["model"] == last["model"]
    assert run.report["utility"]["test_opened"] == 1


def test_pf_21_a_public_catalog_does_not_depend_on_who_is_there_or_what_they_did() -> None:
    one, many = (load_dataset("synthetic", devices=n, items=50).interactions for n in (3, 200))
    assert one.catalog.digest() == many.catalog.digest()
    assert len(np.unique(one.items)) < len(one.catalog) == 50  # most items nobody of the three had


def test_pf_21_a_catalog_read_off_private_events_is_said_in_the_limits(
    config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "events.csv"
    rows = [f"u{u},i{(u + 7 * t) % 20},{t}\n" for u in range(DEVICES) for t in range(5)]
    file.write_text("user,item,timestamp\n" + "".join(rows), "utf-8")
    run = simulate(f"csv:{file}", config=config, runs=tmp_path, name="own", rounds=1)
    assert any("catalog was read off the events" in limit for limit in run.report["limits"])
