"""Charges, a config and the accounting vectors, for the tests of ``homebody_privacy``."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.charges import PoissonRounds
from homebody_privacy.environment import DATA
from homebody_privacy.ledger import Header

Vectors = dict[str, list[dict[str, Any]]]

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
cohort_size = 100
cohort_cap = 150
epsilon_max = 8.0
delta = 1e-5
budget_scope = "lifetime"
tuning_data = "public"
tuning_runs = 0
"""


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
        schema="ledger/1",
    )


@pytest.fixture
def config_text() -> str:
    """A privacy.toml that is in order."""
    return CONFIG
