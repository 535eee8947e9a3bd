"""privacy.toml: what is refused, and how the refusal reads."""

import hashlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import rfc8785
from pydantic import ValidationError

from homebody_privacy.config import PrivacyConfig, check_population
from homebody_privacy.config_digest import canonical
from homebody_privacy.errors import InfeasibleError, InvalidFileError, PolicyViolationError

Load = Callable[..., PrivacyConfig]


def test_a_config_in_order_loads_with_its_defaults(load: Load) -> None:
    config = load()
    assert config.dp.lattice_bits == 16
    assert config.dp.record is None
    assert config.purposes["recommend"].requires == ()
    assert config.features["ratings"].fields == ("item_id", "day", "stars")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("revision = 1", "revision = 0", "revision"),
        ("revision = 1", 'revision = "1"', "revision"),
        ("revision = 1", "revision = true", "revision"),
        ('"privacy/1"', '"privacy/2"', "schema"),
        ("clip_norm = 0.5", "clip_norm = nan", "dp.clip_norm"),
        ("clip_norm = 0.5", "clip_norm = inf", "dp.clip_norm"),
        ("clip_norm = 0.5", "clip_norm = 0.0", "dp.clip_norm"),
        ("clip_norm = 0.5\n", "", "dp.clip_norm"),
        ("clip_norm = 0.5", "clip_norm = 0.5\nsurprise = 1", "dp.surprise"),
        ("epsilon_max = 8.0", "epsilon_max = 0.0", "dp.epsilon_max"),
        ("delta = 1e-5", "delta = 0.0", "dp.delta"),
        ("delta = 1e-5", "delta = 1.0", "dp.delta"),
        ("clip_norm = 0.5", "clip_norm = 0.5\nlattice_bits = 15", "dp.lattice_bits"),
        ('"lifetime"', '"year"', "dp.budget_scope"),
        ("ttl_days = 365", "ttl_days = 0", "features.ratings.ttl_days"),
        ("ttl_days = 365", "ttl_days = 2026-01-01", "features.ratings.ttl_days"),
        ('fields = ["item_id", "day", "stars"]', "fields = []", "features.ratings.fields"),
        ('fields = ["item_id", "day", "stars"]', "fields = [1]", "features.ratings.fields.0"),
        ("[features.ratings]", '[features."Bad Name"]', "features.Bad Name"),
    ],
)
def test_cr_27_a_broken_rule_is_refused_by_its_dotted_field(
    load: Load, old: str, new: str, field: str
) -> None:
    with pytest.raises(InvalidFileError) as refusal:
        load(old, new)
    assert f"privacy.toml: {field}" in str(refusal.value) or f": {field}" in str(refusal.value)
    assert refusal.value.exit_code == 2
    assert refusal.value.fix


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ('"user"', '"record"', "dp.unit", "DP-003"),
        ('"zero_out"', '"replace_one"', "dp.adjacency", "DP-012"),
        ('noise_by = "server"', 'noise_by = "devices"', "dp.noise_by", "DP-009"),
        ('mechanism = "gaussian"', 'mechanism = "none"', "dp.mechanism", "DP-001"),
        ('allow = ["recommend", "training"]', 'allow = ["x"]', "features.ratings.allow", "FEA-001"),
        ('requires = ["recommend"]', 'requires = ["x"]', "purposes.training.requires", "CON-013"),
        ('requires = ["recommend"]', 'requires = ["training"]', "purposes.*.requires", "CON-014"),
        (
            "leaves_device = true",
            "leaves_device = false",
            "purposes.training.leaves_device",
            "CON-013",
        ),
    ],
)
def test_a_broken_premise_can_be_read_and_never_run(
    load: Load, tmp_path: Path, old: str, new: str, field: str, rule: str
) -> None:
    with pytest.raises(PolicyViolationError) as refusal:
        load(old, new)
    assert f": {field}: " in str(refusal.value)
    assert f"[{rule}]" in str(refusal.value)
    assert refusal.value.exit_code == 10
    PrivacyConfig.read(tmp_path / "privacy.toml")  # a check can look at it


@pytest.mark.parametrize("accountant", ["gdp", "clt", "rdp", "prv", "PLD", ""])
def test_pf_13_every_accountant_but_pld_is_refused(load: Load, accountant: str) -> None:
    with pytest.raises(InvalidFileError, match=r"dp\.accountant"):
        load('accountant = "pld"', f'accountant = "{accountant}"')


def test_training_must_be_a_purpose(load: Load) -> None:
    with pytest.raises(PolicyViolationError, match=r"purposes\.training: is missing"):
        load(
            '[purposes.training]\ntitle = "Help improve the shared model with protected updates"\n'
            'leaves_device = true\nrequires = ["recommend"]\nfides_use = "train_ai_system"\n'
            'dpv_purpose = "dpv:ServiceOptimisation"\n\n[features.ratings]\n'
            'fields = ["item_id", "day", "stars"]\nallow = ["recommend", "training"]',
            '[features.ratings]\nfields = ["item_id"]\nallow = ["recommend"]',
        )


def test_cr_08_a_long_circle_of_purposes_is_named(load: Load) -> None:
    with pytest.raises(PolicyViolationError, match="circle"):
        load(
            "leaves_device = false\n",
            'leaves_device = false\nrequires = ["training"]\n',
        )


def test_a_syntax_error_is_refused_by_its_line(load: Load) -> None:
    with pytest.raises(InvalidFileError, match=r"privacy\.toml: not TOML: .*line 2"):
        load("revision = 1", "revision = = 1")


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(InvalidFileError, match="byte 8 is not UTF-8"):
        PrivacyConfig.load(tmp_path / "p.toml")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"absent\.toml: cannot be read"):
        PrivacyConfig.load(tmp_path / "absent.toml")


def test_every_fault_is_listed_at_once(load: Load) -> None:
    with pytest.raises(InvalidFileError) as refusal:
        load("revision = 1\n", "surprise = 1\n")
    assert "revision" in str(refusal.value)
    assert "surprise" in str(refusal.value)


def test_the_record_table_is_optional_and_checked(load: Load) -> None:
    table = (
        "[dp.record]\nenabled = false\nmax_grad_norm = 1.0\nnoise_multiplier = 1.0\n"
        "sampling_rate = 0.1\n"
        "steps = 10\ndelta = 1e-4\n"
    )
    record = load(new=table).dp.record
    assert record is not None
    assert not record.enabled
    with pytest.raises(InvalidFileError, match=r"dp\.record\.sampling_rate"):
        load(new=table.replace("0.1", "1.5"))


def test_the_digest_is_that_of_the_filled_in_json(load: Load) -> None:
    config = load()
    filled = canonical(config)
    assert filled["schema"] == "privacy/1"
    assert filled["purposes"]["recommend"]["default"] == "off"  # a default of the first version
    assert "lattice_bits" not in filled["dp"]  # one that came later
    assert canonical(load("clip_norm = 0.5", "clip_norm = 0.5\nlattice_bits = 17"))["dp"] == (
        filled["dp"] | {"lattice_bits": 17}
    )
    # RFC 8785 by hand: numbers as ECMAScript writes them
    text = json.dumps(filled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = text.replace(":8.0", ":8").replace(":1e-05", ":0.00001")
    assert config.digest() == hashlib.sha256(text.encode()).hexdigest()


def test_cr_28_the_digest_of_the_documented_example_is_what_it_was() -> None:
    # The number is of an independent reading of the example: TOML, nine defaults, canonical JSON.
    example = Path(__file__).parents[2] / "docs" / "examples" / "compliance" / "example.toml"
    config = PrivacyConfig.load(example)
    known = "b9c4e58aa213bac7abf7634094326eac953dfaf253f55c62ea7f984a49f6d336"
    assert config.digest() == known
    values = tomllib.loads(example.read_text("utf-8"))
    for purpose in values["purposes"].values():
        usual = {"legal_basis": "consent", "reason": "", "default": "off", "requires": []}
        purpose.update(usual | purpose)
    for group in values["features"].values():
        group.update({"exclude": [], "risk_ref": "", "user_editable": True} | group)
    assert hashlib.sha256(rfc8785.dumps(values)).hexdigest() == known


def test_the_digest_ignores_layout_and_written_defaults_and_sees_every_value(load: Load) -> None:
    digest = load().digest()
    assert load("clip_norm = 0.5", "clip_norm = 0.50 # same\nlattice_bits = 16").digest() == digest
    assert load("clip_norm = 0.5", "clip_norm = 0.6").digest() != digest
    assert load("revision = 1", "revision = 2").digest() != digest


def test_a_config_cannot_be_changed(load: Load) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().dp.rounds = 1


def test_a_cohort_larger_than_the_population_is_infeasible(load: Load) -> None:
    with pytest.raises(InfeasibleError, match=r"dp\.cohort_size is 100.* 99 devices") as refusal:
        check_population(load(), 99)
    assert refusal.value.exit_code == 12
    assert "99" in refusal.value.fix


@pytest.mark.parametrize("population", [100_000, 200_000])
def test_pf_31_a_delta_not_below_one_over_the_population_is_refused(
    load: Load, population: int
) -> None:
    with pytest.raises(PolicyViolationError, match=r"dp\.delta") as refusal:
        check_population(load(), population)
    assert refusal.value.exit_code == 10


def test_a_population_that_fits_is_accepted(load: Load) -> None:
    check_population(load(), 100)
    check_population(load(), 99_999)


METRIC = """
[purposes.metrics]
title = "Help measure how good suggestions are"
leaves_device = true
fides_use = "analytics.reporting"
dpv_purpose = "dpv:ServiceOptimisation"

[metrics.hit_rate]
purpose = "metrics"
features = ["ratings"]
noise_multiplier = 20.0
releases_per_run = 4
"""


def with_metric(config_text: str, old: str = "", new: str = "") -> str:
    """Return the config with one metric in order, after replacing ``old`` by ``new``."""
    allow = 'allow = ["recommend", "training"]'
    text = config_text.replace(allow, 'allow = ["recommend", "training", "metrics"]') + METRIC
    assert text.count(old) == 1 or not old
    return text.replace(old, new) if old else text


def test_a_metric_that_people_allowed_loads(tmp_path: Path, config_text: str) -> None:
    (tmp_path / "p.toml").write_text(with_metric(config_text))
    metric = PrivacyConfig.load(tmp_path / "p.toml").metrics["hit_rate"]
    assert (metric.noise_multiplier, metric.releases_per_run) == (20.0, 4)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('purpose = "metrics"', 'purpose = "kpi"', r"metrics\.hit_rate\.purpose must be a purpose"),
        ('purpose = "metrics"', 'purpose = "recommend"', r"purpose.* that leaves the device"),
        ('features = ["ratings"]', 'features = ["films"]', "names films, which does not allow"),
        (
            ', "training", "metrics"]',
            ', "training"]',
            "names ratings, which does not allow metrics",
        ),
        ("releases_per_run = 4", "releases_per_run = 101", r"releases_per_run.* at most dp.rounds"),
        ("releases_per_run = 4", "releases_per_run = 0", "releases_per_run"),
        ("noise_multiplier = 20.0", "noise_multiplier = 0.0", r"metrics\.hit_rate\.noise_multipl"),
        ("noise_multiplier = 20.0\n", "", r"metrics\.hit_rate\.noise_multiplier"),
    ],
)
def test_pf_18_a_metric_nobody_allowed_or_without_noise_is_refused(
    tmp_path: Path, config_text: str, old: str, new: str, why: str
) -> None:
    (tmp_path / "p.toml").write_text(with_metric(config_text, old, new))
    with pytest.raises(InvalidFileError, match=why):
        PrivacyConfig.load(tmp_path / "p.toml")


def test_a_metric_may_be_released_once_a_round(tmp_path: Path, config_text: str) -> None:
    text = with_metric(config_text, "releases_per_run = 4", "releases_per_run = 100")
    (tmp_path / "p.toml").write_text(text)
    assert PrivacyConfig.load(tmp_path / "p.toml").metrics["hit_rate"].releases_per_run == 100


def test_pf_10_a_goal_for_secret_cohorts_is_refused(load: Load, load_blt: Load) -> None:
    goal = "[aggregation]\nreport_goal = {}\n"
    with pytest.raises(PolicyViolationError, match="no decision may"):
        load(new=goal.format(1))
    assert load_blt(new=goal.format(100)).aggregation.report_goal == 100
    with pytest.raises(InfeasibleError, match="every round would be void"):
        check_population(load_blt(new=goal.format(101)), 6040)
    with pytest.raises(InvalidFileError, match=r"aggregation\.report_goal"):
        load_blt(new=goal.format(0))
    assert load().aggregation.report_goal is None


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("min_nodes = 2", "greater than or equal to 3"),
        ("max_dropout = 1.0", "less than 1"),
        ("max_corrupt = nan", "finite"),
        ("secagg = 1", "boolean"),
    ],
)
def test_pf_33_a_secure_sum_of_too_few_or_without_bounds_is_refused(
    load: Load, line: str, refusal: str
) -> None:
    with pytest.raises(InvalidFileError, match=refusal):
        load(new=f"[aggregation]\n{line}\n")


def test_replies_are_summed_as_the_file_says(load: Load) -> None:
    usual = load().aggregation
    assert (usual.secagg, usual.max_dropout, usual.max_corrupt) == (True, 0.3, 0.1)
    assert usual.min_nodes == 3
    other = load(new="[aggregation]\nsecagg = false\nmin_nodes = 8\n")
    assert (other.aggregation.secagg, other.aggregation.min_nodes) == (False, 8)
    assert other.digest() != load().digest()


def test_a_separation_the_population_cannot_keep_is_infeasible(load_blt: Load) -> None:
    config = load_blt()  # cohorts of 100, 25 rounds apart
    check_population(config, 2500)
    with pytest.raises(InfeasibleError, match="need 2500 devices, the population has 2499") as no:
        check_population(config, 2499)
    assert "dp.min_separation to at most 24" in no.value.fix
    assert no.value.exit_code == 12


def test_rounds_that_nobody_is_left_for_are_infeasible(load_blt: Load) -> None:
    config = load_blt("max_rounds_per_device = 4", "max_rounds_per_device = 3")
    check_population(config, 3334)
    with pytest.raises(InfeasibleError, match="at most 3 rounds each") as refusal:
        check_population(config, 3333)
    assert "dp.max_rounds_per_device to at least 4" in refusal.value.fix
