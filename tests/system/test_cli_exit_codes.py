"""Bad inputs end with their code and the fix, never with a traceback or a word on stdout."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homebody import simulate
from homebody_privacy.environment import STATE
from homebody_simulation.simulate import SimulatedRun

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def lab(
    tmp_path_factory: pytest.TempPathFactory,
    write_config: Callable[..., Path],
    tiny_config: Path,
    tiny_run: SimulatedRun,
) -> Iterator[Path]:
    """Return a folder that holds everything a bad command of the table names.

    It has a state folder of its own: other tests spend lifetimes of forty devices, too.
    """
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE, str(tmp_path_factory.mktemp("lab-state")))
        yield _filled(folder, write_config, tiny_config, tiny_run)


def _filled(
    folder: Path, write_config: Callable[..., Path], tiny_config: Path, tiny_run: SimulatedRun
) -> Path:
    shutil.copy(tiny_config, folder / "privacy.toml")
    (folder / "nan.csv").write_text("user,item,timestamp,value\na,x,1,2\na,y,2,NaN\n")
    (folder / "broken.toml").write_text("schema = \n")
    plan = {"rounds": 1, "cohort_size": 40, "cohort_cap": 80, "delta": 1e-3}
    shutil.copy(
        write_config(**plan, budget_scope="lifetime", epsilon_max=1.0), folder / "lifetime.toml"
    )
    simulate(
        "synthetic",
        devices=40,
        config=folder / "lifetime.toml",
        runs=folder / "spent",
        epsilon=1.0,
        name="all-of-it",
    )
    shutil.copytree(tiny_run.folder.parent, folder / "edited")
    file = next((folder / "edited" / "tiny" / "model.hbm").glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return folder


SYNTHETIC = "simulate --data synthetic --devices 40"
TABLE = [
    ("simulate --data movielens-2m", 2, "usage", "did you mean"),
    ("simulate --data csv:absent.csv", 2, "invalid-file", "absent.csv"),
    ("simulate --data csv:nan.csv", 2, "invalid-file", "nan.csv"),
    (f"{SYNTHETIC} --epsilon 0", 2, "usage", "give a positive number"),
    (f"{SYNTHETIC} --epsilon nan", 2, "usage", "--epsilon 4"),
    (f"{SYNTHETIC} --epsilon 9", 10, "policy-violation", "dp.epsilon_max"),
    ("simulate --data synthetic --devices 2000", 10, "policy-violation", "set dp.delta below"),
    (f"{SYNTHETIC} --cohort 41", 12, "infeasible", "to at most 40"),
    (f"{SYNTHETIC} --config absent.toml", 2, "invalid-file", "name an existing privacy.toml"),
    (f"{SYNTHETIC} --config broken.toml", 2, "invalid-file", "broken.toml"),
    (f"{SYNTHETIC} --format xml", 2, "usage", "text or json"),
    ("simulate --resume nothing", 2, "invalid-file", "name an existing run"),
    (
        f"{SYNTHETIC} --config lifetime.toml --runs spent --epsilon 1 --name more",
        11,
        "budget-exhausted",
        "this was not opened",
    ),
    ("recommend --bundle edited/tiny/model.hbm", 14, "integrity-failure", "do not use the file"),
    ("recommend --bundle edited/absent/model.hbm", 2, "invalid-file", "name the folder"),
]


@pytest.mark.parametrize(
    ("command", "code", "name", "says"), TABLE, ids=[command for command, *_ in TABLE]
)
def test_a_bad_input_ends_with_its_code_and_the_fix(
    lab: Path, cli: Cli, command: str, code: int, name: str, says: str
) -> None:
    ended = cli(*command.split(), cwd=lab)
    assert ended.returncode == code, ended.stderr
    assert f"{name} (exit {code})" in ended.stderr
    assert "fix" in ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_an_unknown_option_is_a_usage_error(lab: Path, cli: Cli) -> None:
    ended = cli("simulate", "--epsilonn", "4", cwd=lab)
    assert ended.returncode == 2
    assert "No such option" in ended.stderr
    assert ended.stdout == ""


def test_refused_runs_left_no_run_behind(lab: Path) -> None:
    assert not (lab / "runs").exists()
    more = lab / "spent" / "more"
    assert not (more / "model.hbm").exists()


def test_a_run_that_succeeds_prints_one_object_and_nothing_else(lab: Path, cli: Cli) -> None:
    options = f"{SYNTHETIC} --rounds 1 --name good --runs good --format json"
    ended = cli(*options.split(), cwd=lab)
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert answer["run"] == "good"
    assert ended.stdout.count("\n") == 1
    assert "round=1" in ended.stderr
    assert "Traceback" not in ended.stderr
    bundle = lab / answer["bundle"]
    ranked = cli("recommend", "--bundle", bundle, "--format", "json", "--top", "5", cwd=lab)
    assert ranked.returncode == 0, ranked.stderr
    assert len(json.loads(ranked.stdout)["recommended_products"]) == 5


def test_the_version_is_one_line(cli: Cli, tmp_path: Path) -> None:
    ended = cli("--version", cwd=tmp_path)
    assert ended.returncode == 0
    assert ended.stdout.startswith("homebody 0.")
