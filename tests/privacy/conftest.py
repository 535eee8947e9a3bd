"""Charges, a config and the accounting vectors, for the tests of ``homebody_privacy``."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.charges import CorrelatedRun, PoissonRounds
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.environment import DATA
from homebody_privacy.ledger_record import Header

Vectors = dict[str, list[dict[str, Any]]]
Load = Callable[..., PrivacyConfig]

CONFIG = """\
schema = "privacy/1"
revision = 1

[activity]
name = "Film suggestions"
controller = "Example Films GmbH"
contact = "dpo@example.org"

[purposes.recommend]
title = "Suggest films, on this device only"
leaves_device = false
[purposes.training]
title = "Help improve the shared model with protected updates"
leaves_device = true
requires = ["recommend"]

[features.ratings]
fields = ["item_id", "day", "stars"]
allow = ["recommend", "training"]
ttl_days = 365

[dp]
unit = "user"
adjacency = "zero_out"
mechanism = "gaussian"
accountant = "pld"
sampling = "poisson"
amplification = true
clip_norm = 0.5
rounds = 100
min_separation = 1
max_rounds_per_device = 100
cohort_size = 100
cohort_cap = 150
epsilon_max = 8.0
delta = 1e-5
budget_scope = "lifetime"
tuning_data = "public"
tuning_runs = 0
"""

_FOR_BLT = {  # what a config of secret coins must say otherwise
    'mechanism = "gaussian"': 'mechanism = "blt"',
    'sampling = "poisson"': 'sampling = "none"',
    "amplification = true": "amplification = false",
    "min_separation = 1\n": "min_separation = 25\n",
    "max_rounds_per_device = 100": "max_rounds_per_device = 4",
}


@pytest.fixture(scope="session")
def vectors() -> Vectors:
    """Rows of ``accounting.json`` by list, where the data folder is known."""
    folder = os.environ.get(DATA)
    path = Path(folder, "..", "vectors", "accounting.json") if folder else None
    if path is None or not path.is_file():
        pytest.skip("data set accounting.json not found: set HOMEBODY_DATA")
    loaded: Vectors = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="session")
def charge() -> Callable[..., PoissonRounds]:
    """Builder of a charge that is cheap to account; any field may be given."""

    def build(**fields: float) -> PoissonRounds:
        usual = {
            "population": 6040,
            "cohort_size": 100,
            "cohort_cap": 6040,
            "noise_multiplier": 2.0,
            "rounds": 1,
        }
        return PoissonRounds(**(usual | fields))  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="session")
def correlated() -> Callable[..., CorrelatedRun]:
    """Builder of the charge of a correlated run; any field may be given."""

    def build(**fields: Any) -> CorrelatedRun:  # noqa: ANN401 - one of the fields' types
        usual: dict[str, Any] = {
            "noise_multiplier": 3.5,
            "sensitivity": 3.15,
            "rounds": 100,
            "min_separation": 25,
            "max_rounds": 4,
            "theta": (0.9075,),
            "omega": (0.46736,),
        }
        return CorrelatedRun(**(usual | fields))

    return build


@pytest.fixture
def header() -> Header:
    """Promise of a run, as a ledger opens with it."""
    return Header(
        run="autumn",
        population="a" * 64,
        devices=6040,
        delta=1e-5,
        ceiling=8.0,
        config="c" * 64,
        schema="ledger/3",
    )


@pytest.fixture
def config_text() -> str:
    """A privacy.toml that is in order."""
    return CONFIG


@pytest.fixture
def blt_text() -> str:
    """A privacy.toml that is in order, for correlated noise."""
    text = CONFIG
    for old, new in _FOR_BLT.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.fixture
def load(tmp_path: Path, config_text: str) -> Load:
    """Load the config in order, after replacing ``old`` by ``new``; or with ``new`` at its end."""
    return _loader(tmp_path / "privacy.toml", config_text)


@pytest.fixture
def load_blt(tmp_path: Path, blt_text: str) -> Load:
    """The same for the config with correlated noise."""
    return _loader(tmp_path / "blt.toml", blt_text)


def _loader(path: Path, text: str) -> Load:
    def replaced(old: str = "", new: str = "") -> PrivacyConfig:
        assert old in text
        path.write_text(text.replace(old, new, 1) if old else text + new, "utf-8")
        return PrivacyConfig.load(path)

    return replaced
