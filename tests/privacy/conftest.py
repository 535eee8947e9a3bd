"""Charges, a config and the accounting vectors, for the tests of ``homebody_privacy``."""

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

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
address = "1 Market St, Berlin"
contact = "dpo@example.org"
authority = "BlnBDI"
jurisdictions = ["EU"]
data_subjects = ["customer"]
population = 6040
recipients = []
transfers = "none"
dpia_ref = "DPIA-EXAMPLE"
policy_version = 1

[purposes.recommend]
title = "Suggest films, on this device only"
leaves_device = false
fides_use = "personalize.content.profiled"
dpv_purpose = "dpv:ProvideProductRecommendations"
[purposes.training]
title = "Help improve the shared model with protected updates"
leaves_device = true
requires = ["recommend"]
fides_use = "train_ai_system"
dpv_purpose = "dpv:ServiceOptimisation"

[features.ratings]
fields = ["item_id", "day", "stars"]
allow = ["recommend", "training"]
fides_category = "user.behavior"
dpv_category = "pd:Preference"
sensitivity = "ordinary"
ttl_days = 365
max_rows = 1000

[consent]
expiry_days = 365
grace_days = 14
refusal_days = 180
reach_back = false
withdraw_max_seconds = 1
receipts_years = 3
server_copy = "none"
honour_gpc = true
signals = ["sec_gpc", "os_setting"]
min_age = 16

[aggregation]
secagg = true
max_dropout = 0.3
max_corrupt = 0.1
update_ttl_hours = 24

[transport]
tls_min = "1.3"
seal = "mlkem768_x25519_aes256gcm"
ip_log = "none"

[release]
min_k = 50
requires = ["ledger_verified", "audit_passed"]
audit_max_advantage = 0.05
retire_after_days = 180

[retention]
server_updates_hours = 0
ledger_years = 3

[rights]
trained_model = "dp_only_stop_future"
retrain_every_days = 0

[transparency]
main_parameters = ["what you bought"]
non_profiling_option = true
significant_decision = false
ai_act_class = "minimal"

[ledger]
checkpoint_every_rounds = 1
witness = "second_key"

[approval]
required = 2
approvers = ["dpo@example.org", "security@example.org"]
expires_days = 180

[dp]
unit = "user"
adjacency = "zero_out"
mechanism = "gaussian"
accountant = "pld"
sampling = "poisson"
amplification = true
clip_norm = 0.5
adaptive_clip = false
noise_by = "server"
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
pretraining = "none"
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
        schema="ledger/4",
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
        path.write_text(text.replace(old, new, 1) if old else _with(text, new), "utf-8")
        return PrivacyConfig.load(path)

    return replaced


def _with(text: str, new: str) -> str:
    """Return a file with what belongs to ``[dp]``, or tables, put into what is there."""
    values = tomllib.loads(text)
    for name, table in tomllib.loads(f"[dp]\n{new}").items():
        values[name] = {**values.get(name, {}), **table}
    return tomli_w.dumps(values)
