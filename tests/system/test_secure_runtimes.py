"""A run whose replies are sealed and summed by secure aggregation is the plain run, bit for bit."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homebody import simulate
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError, UsageError
from homebody_server.flower_app import run_rounds
from homebody_server.run_folder import RunFolder
from homebody_simulation import runtimes
from homebody_simulation.request import Request
from homebody_simulation.setup import prepare, reopen
from homebody_simulation.simulate import SimulatedRun, resume

from .conftest import Cli

DEVICES = 16
ALL = {"cohort_size": DEVICES, "cohort_cap": 40, "delta": 1e-3, "rounds": 2}
FIGURE = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 5.0
releases_per_run = 1
"""
RECORD = """
[dp.record]
enabled = true
max_grad_norm = 1.0
noise_multiplier = 2.0
sampling_rate = 0.5
steps = 2
delta = 1e-4
"""
BLT = {
    "mechanism": "blt",
    "rounds": 3,
    "min_separation": 2,
    "max_rounds_per_device": 2,
    "cohort_size": 8,
    "cohort_cap": DEVICES,
    "delta": 1e-3,
}
KINDS: dict[str, dict[str, Any]] = {
    "gaussian": ALL,
    "gaussian, adaptive, with a figure": {**ALL, "more": "adaptive_clip = true\n" + FIGURE},
    "blt with a figure": {**BLT, "more": FIGURE},
    "record level": {**ALL, "rounds": 1, "more": RECORD},
}


@dataclass(frozen=True)
class Pair:
    """The same run, sealed and plain."""

    sealed: SimulatedRun
    plain: SimulatedRun


def run(config: Path, runs: Path, name: str, **own: Any) -> SimulatedRun:  # noqa: ANN401 - options
    """Run it with a seed."""
    usual: dict[str, Any] = {"devices": DEVICES, "items": 20, "seed": 2}
    return simulate("synthetic", config=config, runs=runs, name=name, **{**usual, **own})


@pytest.fixture(scope="module", params=sorted(KINDS))
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    write_config: Callable[..., Path],
) -> Pair:
    """Return a run of each kind in both ways."""
    config, runs = write_config(**KINDS[request.param]), tmp_path_factory.mktemp("runs")
    return Pair(run(config, runs, "sealed", secagg=True), run(config, runs, "plain", secagg=False))


def test_a_sealed_run_releases_what_the_plain_run_releases_bit_for_bit(pair: Pair) -> None:
    one, other = (RunFolder(run.folder).load_state() for run in (pair.sealed, pair.plain))
    assert np.array_equal(one.parameters, other.parameters)
    assert pair.sealed.report["digests"]["model"] == pair.plain.report["digests"]["model"]
    assert pair.sealed.report["released"] == pair.plain.report["released"]
    assert pair.sealed.epsilon == pair.plain.epsilon
    assert one.clip_norm == other.clip_norm


def test_a_sealed_run_says_so_and_leaves_no_key_behind(pair: Pair) -> None:
    spec, plain = (
        json.loads((run.folder / "run.json").read_text())["spec"]["secagg"]
        for run in (pair.sealed, pair.plain)
    )
    assert (spec, plain) == (True, False)
    told = (pair.sealed.folder / "egress.jsonl").read_text()
    assert "masked and sealed" in told
    assert "masked and sealed" not in (pair.plain.folder / "egress.jsonl").read_text()
    left = {file.name for file in pair.sealed.folder.rglob("*")}
    assert not left & {"aggregator", "aggregator.key", "replay.sqlite", "nodes", "identity.key"}
    sealed, other = ({f.name for f in run.folder.iterdir()} for run in (pair.sealed, pair.plain))
    assert sealed - other == {"session"}


def test_the_report_counts_every_leg_a_device_pays_for(pair: Pair) -> None:
    sealed, plain = (run.report["cost"] for run in (pair.sealed, pair.plain))
    parameters = RunFolder(pair.sealed.folder).load_state().parameters.size
    assert plain["up_bytes"] >= 4 * parameters
    # Five envelopes, each with a signature, a sealed key and a tag, around vector and shares.
    assert sealed["up_bytes"] > plain["up_bytes"] + 5 * 1_200
    assert sealed["down_bytes"] > plain["down_bytes"] + 5 * 1_200


def test_a_cohort_run_is_plain_and_a_ray_run_sealed_unless_asked_otherwise() -> None:
    def sealed(*, by_config: bool = True, **own: Any) -> bool:  # noqa: ANN401 - fields
        return Request(**own).is_sealed(by_config=by_config)

    assert not sealed(runtime="cohort")
    assert sealed(runtime="cohort", secagg=True)
    assert sealed(runtime="ray")
    assert not sealed(runtime="ray", by_config=False)
    assert not sealed(runtime="ray", secagg=False)
    assert sealed(runtime="ray", by_config=False, secagg=True)
    assert sealed(runtime="deploy", fleet=Path("fleet"), by_config=False)
    with pytest.raises(PolicyViolationError, match="secure aggregation"):
        Request(runtime="deploy", fleet=Path("fleet"), secagg=False)
    with pytest.raises(UsageError):
        Request(runtime="deploy", secagg=True)


def test_a_sealed_run_that_was_killed_goes_on_sealed_with_new_keys_to_the_same_model(
    tmp_path: Path, write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(**ALL)
    whole = run(config, tmp_path, "whole", secagg=True)

    class KilledError(Exception):
        pass

    def killed(number: int, _: object) -> None:
        if number == 1:
            raise KilledError

    prepared = prepare(
        Request(
            data="synthetic",
            options={"devices": DEVICES, "items": 20},
            config_file=config,
            runs=tmp_path,
            seed=2,
            secagg=True,
            name="killed",
        )
    )
    with pytest.raises(KilledError):
        runtimes.run_cohort(prepared, killed)
    before = (prepared.folder.aggregator_folder / "aggregator.key").read_bytes()
    seen: list[bytes] = []
    honest = run_rounds

    def looking(grid: Any, folder: RunFolder, *rest: Any, **own: Any) -> Any:  # noqa: ANN401
        seen.append((folder.aggregator_folder / "aggregator.key").read_bytes())
        return honest(grid, folder, *rest, **own)

    monkeypatch.setattr("homebody_server.flower_app.run_rounds", looking)
    again = resume(tmp_path, "killed")
    assert reopen(tmp_path, "whole").request.secagg is True
    assert len(seen) == 1
    assert seen[0] != before
    assert again.report["digests"]["model"] == whole.report["digests"]["model"]
    assert again.epsilon == whole.epsilon


def test_the_switch_of_the_command_line_seals_a_run_of_the_same_model(
    cli: Cli, tmp_path: Path, write_config: Callable[..., Path]
) -> None:
    config = write_config(**{**ALL, "rounds": 1})
    models = set()
    for switch in ("--secagg", "--no-secagg"):
        usual = ("--data", "synthetic", "--devices", DEVICES, "--seed", 5, "--config", config)
        name = switch.strip("-")
        ended = cli("simulate", *usual, switch, "--name", name, "--format", "json", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        models.add(json.loads(ended.stdout)["model_digest"])
        written = json.loads((tmp_path / "runs" / name / "run.json").read_text())
        assert written["request"]["secagg"] is written["spec"]["secagg"] is (name == "secagg")
    assert len(models) == 1


def test_a_file_that_says_no_secure_aggregation_leaves_ray_plain(
    write_config: Callable[..., Path],
) -> None:
    config = PrivacyConfig.load(write_config(more="[aggregation]\nsecagg = false\n"))
    assert not Request(runtime="ray").is_sealed(by_config=config.aggregation.secagg)
    assert PrivacyConfig.load(write_config()).aggregation.secagg
