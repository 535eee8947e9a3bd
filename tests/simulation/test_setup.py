"""What may not run does not begin: each refusal has its code, and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import (
    HomebodyError,
    InfeasibleError,
    IntegrityError,
    InvalidFileError,
    PolicyViolationError,
    UsageError,
)
from homebody_simulation.request import Request
from homebody_simulation.run_options import parse_epsilon
from homebody_simulation.setup import Prepared, prepare, reopen

DEVICES = 40


def request(config: Path, runs: Path, **changes: Any) -> Request:  # noqa: ANN401 - its fields
    """Return a request for a small run."""
    usual: dict[str, Any] = {
        "data": "synthetic",
        "options": {"devices": DEVICES, "items": 20},
        "config_file": config,
        "runs": runs,
    }
    return Request(**(usual | changes))


REFUSED: list[tuple[dict[str, Any], type[HomebodyError], str]] = [
    ({"epsilon": 0.0}, UsageError, "--epsilon"),
    ({"epsilon": -1.0}, UsageError, "--epsilon"),
    ({"epsilon": float("nan")}, UsageError, "--epsilon"),
    ({"epsilon": float("inf")}, UsageError, "--epsilon"),
    ({"epsilon": 8.1}, PolicyViolationError, "epsilon_max"),
    ({"rounds": 0}, UsageError, "--rounds"),
    ({"rounds": 3}, PolicyViolationError, r"dp\.rounds"),
    ({"cohort": 0}, UsageError, "--cohort"),
    ({"cohort": DEVICES + 1}, InfeasibleError, "population"),
    ({"cohort": DEVICES + 1, "epsilon": None}, InfeasibleError, "population"),
    ({"options": {"devices": 2000, "items": 20}}, PolicyViolationError, "delta"),
    ({"options": {"devices": 20, "items": 20}}, InfeasibleError, "population"),
    ({"options": {"devices": -1}}, UsageError, "devices"),
    ({"options": {"colour": 1}}, UsageError, "colour"),
    ({"data": "movielens"}, UsageError, "no data set"),
    ({"model": "three-tower"}, UsageError, "--model"),
    ({"runtime": "cloud"}, UsageError, "--runtime"),
    ({"runtime": "deploy"}, UsageError, "--runtime"),
    ({"runtime": "deploy", "seed": 3}, PolicyViolationError, "--seed"),
    ({"mechanism": "tree"}, UsageError, "--mechanism"),
    ({"mechanism": "blt", "cohort": DEVICES + 1}, InfeasibleError, "devices"),
    ({"name": "../up"}, UsageError, "--name"),
    ({"name": ""}, UsageError, "--name"),
    ({"name": ".hidden"}, UsageError, "--name"),
]


@pytest.mark.parametrize(
    ("change", "error", "match"), REFUSED, ids=[str(change) for change, _, _ in REFUSED]
)
def test_a_refused_run_leaves_nothing(
    small_config: Path,
    tmp_path: Path,
    change: dict[str, Any],
    error: type[HomebodyError],
    match: str,
) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(error, match=match):
        prepare(request(small_config, runs, **change))
    assert list(tmp_path.iterdir()) == []


def test_a_cohort_that_often_passes_the_cap_is_refused(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    config = write_config(rounds=2, cohort_size=9, cohort_cap=24, delta=1e-3)
    with pytest.raises(PolicyViolationError, match="cohort_cap"):
        prepare(request(config, tmp_path / "runs", cohort=20))
    assert list(tmp_path.iterdir()) == []


def test_a_delta_the_sampler_cannot_keep_is_refused(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    config = write_config(rounds=2, cohort_size=DEVICES, cohort_cap=80, delta=1e-12)
    with pytest.raises(InfeasibleError, match="delta"):
        prepare(request(config, tmp_path / "runs"))
    assert list(tmp_path.iterdir()) == []


def test_a_record_level_delta_the_sampler_cannot_keep_is_refused(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    record = """
[dp.record]
enabled = true
max_grad_norm = 1.0
noise_multiplier = 1.0
sampling_rate = 0.25
steps = 4
delta = 1e-12
"""
    config = write_config(rounds=2, cohort_size=DEVICES, cohort_cap=80, delta=1e-3, more=record)
    with pytest.raises(InfeasibleError, match=r"dp\.record\.delta"):
        prepare(request(config, tmp_path / "runs"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", [None, "", "schema = 3", "not toml [", "\xff"], ids=["absent", *"abcd"]
)
def test_without_a_valid_config_nothing_is_read_or_made(tmp_path: Path, text: str | None) -> None:
    config = tmp_path / "privacy.toml"
    if text is not None:
        config.write_text(text, "latin-1")
    with pytest.raises(InvalidFileError, match=r"privacy\.toml"):
        prepare(request(config, tmp_path / "runs", data="no such data"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["a b", "x/y", "-x", "a" * 65, "é"])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        Request(name=name)


def test_a_taken_name_is_refused_and_the_run_left_as_it_was(
    small_config: Path, tmp_path: Path
) -> None:
    first = prepare(request(small_config, tmp_path, name="autumn", epsilon=None))
    before = {file.name: file.read_bytes() for file in first.folder.path.iterdir()}
    with pytest.raises(UsageError, match="already") as refusal:
        prepare(request(small_config, tmp_path, name="autumn", epsilon=None))
    assert "--resume autumn" in refusal.value.fix
    assert {file.name: file.read_bytes() for file in first.folder.path.iterdir()} == before


def test_names_that_are_made_are_free(small_config: Path, tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        asked = request(small_config, tmp_path, epsilon=None)
        names.append(prepare(asked).folder.name)
    assert names == ["synthetic-epsinf", "synthetic-epsinf-2"]


@pytest.fixture
def prepared(small_config: Path, tmp_path: Path) -> Prepared:
    """Return a run that is ready to train."""
    return prepare(request(small_config, tmp_path / "runs", name="autumn", seed=5))


def test_the_plan_spends_what_was_asked_and_no_more(prepared: Prepared) -> None:
    spec = prepared.spec
    planned = spent_epsilon([spec.training_charge()], spec.accounted_delta)
    assert 3.9 < planned <= 4.0
    assert (spec.rounds, spec.cohort_size, spec.ceiling) == (2, DEVICES, 4.0)
    assert spec.config_digest == prepared.config.digest()


def test_the_folder_holds_what_a_run_needs_and_no_more(prepared: Prepared) -> None:
    names = {file.name for file in prepared.folder.path.iterdir()}
    assert names == {"privacy.toml", "run.json", "run.key", "state.npz"}
    asked = prepared.folder.read_json("run.json")
    compliance = {"approvals", "policy", "check"}
    assert set(asked) == {"schema", "request", "data", "model", "spec", *compliance}
    assert str(prepared.request.runs) not in json.dumps(asked)


def test_the_folders_config_is_the_file_completed_by_the_noise(
    prepared: Prepared, small_config: Path
) -> None:
    text = prepared.folder.config_file.read_text("utf-8")
    kept, approved = (
        PrivacyConfig.load(prepared.folder.config_file),
        PrivacyConfig.load(small_config),
    )
    assert kept == prepared.config
    assert kept.dp.noise_multiplier == prepared.spec.noise_multiplier
    assert kept.dp.model_copy(update={"noise_multiplier": None}) == approved.dp
    assert approved.digest() in text  # where it came from


def test_a_reference_keeps_the_file_as_it_is(small_config: Path, tmp_path: Path) -> None:
    folder = prepare(request(small_config, tmp_path, name="lab", epsilon=None)).folder
    assert folder.config_file.read_bytes() == small_config.read_bytes()


def test_every_run_has_an_identity_of_its_own_for_its_devices(
    small_config: Path, tmp_path: Path
) -> None:
    asked = [request(small_config, tmp_path / name, name="same", seed=1) for name in ("a", "b")]
    ids = {prepare(one).spec.run_id for one in asked}
    assert len(ids) == 2
    assert all(len(run_id) == 16 for run_id in ids)


def test_seeds_make_equal_starts_and_no_seed_a_new_one(small_config: Path, tmp_path: Path) -> None:
    def start(name: str, seed: int | None) -> tuple[str, bytes]:
        asked = request(small_config, tmp_path, name=name, seed=seed, epsilon=None)
        folder = prepare(asked).folder
        return folder.load_state().digest(), folder.read_key()

    assert start("a", 1) == start("b", 1)
    assert start("a2", 1) != start("c", 2)
    (digest, key), (digest_2, key_2) = start("d", None), start("e", None)
    assert key != key_2
    assert digest != digest_2


def test_a_run_opens_again_as_it_was(prepared: Prepared) -> None:
    again = reopen(prepared.request.runs, "autumn")
    assert again.spec == prepared.spec
    assert again.model_spec == prepared.model_spec
    assert again.request.seed == 5
    assert again.config == prepared.config


def test_a_run_that_is_not_there_cannot_go_on(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"run\.json"):
        reopen(tmp_path, "autumn")


def test_a_folder_of_runs_that_cannot_be_written_is_refused(
    small_config: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.write_text("a file, not a folder")
    with pytest.raises(InvalidFileError, match="cannot be written"):
        prepare(request(small_config, runs, name="x"))
    assert runs.read_text() == "a file, not a folder"


@pytest.mark.parametrize("part", ["request", "spec", "model", "data"])
def test_a_run_whose_description_is_damaged_does_not_go_on(prepared: Prepared, part: str) -> None:
    asked = prepared.folder.read_json("run.json")
    prepared.folder.write_json("run.json", {**asked, part: {"no": "such field"}})
    with pytest.raises(IntegrityError, match=r"run\.json"):
        reopen(prepared.request.runs, prepared.folder.name)


def test_a_run_whose_config_was_changed_does_not_go_on(prepared: Prepared) -> None:
    file = prepared.folder.config_file
    file.write_text(file.read_text("utf-8").replace("epsilon_max = 8.0", "epsilon_max = 9.0"))
    with pytest.raises(IntegrityError, match="config"):
        reopen(prepared.request.runs, "autumn")


def test_a_run_whose_data_changed_does_not_go_on(prepared: Prepared) -> None:
    asked = prepared.folder.read_json("run.json")
    asked["request"]["options"]["devices"] = DEVICES + 1
    prepared.folder.write_json("run.json", asked)
    with pytest.raises(IntegrityError, match="data set"):
        reopen(prepared.request.runs, "autumn")


@pytest.mark.parametrize(("text", "value"), [("4", 4.0), ("0.5", 0.5), ("inf", None), ("-1", -1.0)])
def test_an_epsilon_is_a_number_or_inf(text: str, value: float | None) -> None:
    assert parse_epsilon(text) == value


@pytest.mark.parametrize("text", ["", "four", "nan", "NaN"])
def test_an_epsilon_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--epsilon"):
        parse_epsilon(text)
