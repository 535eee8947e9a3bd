"""Everything a run needs before its first round: checked, fixed, and written to its folder."""

import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from homebody_models.interactions import Interactions
from homebody_models.recommender import Recommender
from homebody_models.split import Split, leave_one_out
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, InvalidFileError, UsageError
from homebody_privacy.stream import derive_key, fresh_key
from homebody_privacy.variants import to_toml
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import RunSpec
from homebody_server.spending import spent_before
from homebody_server.stages import DATA, PLAN, Stages
from homebody_simulation.compliance import copy_notices, copy_policy, renew_approvals, review
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.planning import Planned, check_request, plan_run
from homebody_simulation.request import Request, check_seed

_SEEDED = b"homebody simulation, no secret. "
"""Master of every seeded run: known to all, so that a seed says everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run ready to train.

    Attributes:
        request: What was asked.
        folder: Where the run's files are.
        config: Privacy config in force.
        dataset: The data, whole.
        split: The data, split; the test is sealed.
        model_spec: Which model.
        model: The model.
        spec: The run's constants.
        stages: Where the time of the run goes.
    """

    request: Request
    folder: RunFolder
    config: PrivacyConfig
    dataset: Dataset = field(repr=False)
    split: Split = field(repr=False)
    model_spec: ModelSpec
    model: Recommender = field(repr=False)
    spec: RunSpec
    stages: Stages = field(repr=False, default_factory=Stages)

    @property
    def histories(self) -> Interactions:
        """What devices train on: all but two events, or all but one where none is held back."""
        return self.split.refit if self.request.refit else self.split.train


def prepare(
    request: Request,
    accept: Callable[[Dataset, Planned], None] = lambda *_: None,
    *,
    clock: Callable[[], float] = time.time,
) -> Prepared:
    """Check the request against config and data, and open the run's folder.

    The privacy config is read first: without a valid one nothing is loaded and nothing trains.

    Args:
        request: What is asked.
        accept: Raises if the data or the plan is not what the caller means to run.
        clock: Unix seconds: approvals and waivers expire.

    Raises:
        InvalidFileError: If the privacy config or a data file is missing or invalid.
        UsageError: If the data set is unknown or the run's name is taken.
        PolicyViolationError: If the request passes what the config allows, or is for a fleet and
            not approved (``compliance``).
        InfeasibleError: If the population is too small for the config.
    """
    approved = PrivacyConfig.load(request.config_file)
    check_request(request, approved)
    folder = RunFolder(request.runs / request.run_name())
    if folder.path.exists():
        raise UsageError(
            f"there is a run called {folder.name!r} already",
            fix=f"continue it with --resume {folder.name}, or choose another --name",
        )
    stages = Stages()
    with stages.of(DATA):
        dataset = load_dataset(request.data, root=None, **request.options)
    with stages.of(PLAN):
        planned = plan_run(request, approved, dataset)
    accept(dataset, planned)
    found = review(request, planned.config, devices=planned.spec.devices, now=int(clock()))
    key = run_key(request.runtime, request.seed)
    seed = int.from_bytes(derive_key(key, "init"), "little")
    initial = planned.model.init(np.random.default_rng(seed))
    if planned.spec.statistics:
        initial = np.zeros_like(initial)  # a stand-in: statistics make the start
    spec = replace(planned.spec, run_id=secrets.token_hex(8))
    spent_before(folder, spec)  # a lifetime's ledgers are all there, or nothing is begun
    description = {
        **_description(request, dataset, planned.model_spec, spec),
        **found.to_run(),
    }
    features = dataset.interactions.catalog.features if spec.statistics else None
    papers = _Papers(
        description=description,
        config_text=_file_of(planned.config, approved, request),
        config=planned.config,
        source=request.config_file.parent,
        policy=found.policy,
    )
    _write_folder(folder, key, initial, papers, features)
    with stages.of(DATA):
        split = leave_one_out(dataset.interactions)
    return Prepared(
        request=request,
        folder=folder,
        config=planned.config,
        dataset=dataset,
        split=split,
        model_spec=planned.model_spec,
        model=planned.model,
        spec=spec,
        stages=stages,
    )


def run_key(runtime: str, seed: int | None) -> bytes:
    """Return the key everything random in a run follows from. Secret, unless it was seeded.

    Args:
        runtime: How the run is carried.
        seed: Keys a simulation; None draws from the operating system.

    Raises:
        PolicyViolationError: If a deployed run is seeded.
    """
    check_seed(runtime, seed)
    return fresh_key() if seed is None else derive_key(_SEEDED, "seed", seed)


def _file_of(config: PrivacyConfig, approved: PrivacyConfig, request: Request) -> str:
    """Return the run's own privacy.toml: the approved file, or what was made of it, in full."""
    if config == approved:
        return request.config_file.read_text("utf-8")
    return (
        "# Written by homebody for this run: the file it was started with, completed by what was\n"
        f"# asked for. Digest of that file: {approved.digest()}\n\n{to_toml(config)}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Papers:
    """What a run keeps of what was asked and decided before it. Public.

    Attributes:
        description: What ``run.json`` holds.
        config_text: The config in force, as a file.
        config: The same, read.
        source: Folder of the file it was made of, where its notices are.
        policy: The firm's policy; None for the baseline alone.
    """

    description: Mapping[str, Any]
    config_text: str
    config: PrivacyConfig
    source: Path
    policy: Path | None


def _write_folder(
    folder: RunFolder,
    key: bytes,
    initial: npt.NDArray[np.float32],
    papers: _Papers,
    features: npt.NDArray[np.float32] | None,
) -> None:
    """Write the folder of a run so that it appears whole or not at all.

    Args:
        folder: Where.
        key: The run's key. Secret.
        initial: First parameters.
        papers: What was asked and decided.
        features: Public content of the catalog, for statistics; None where there are none.

    Raises:
        InvalidFileError: If it cannot be written.
    """
    unfinished = RunFolder(folder.path.with_name(f".{folder.name}.new"))
    shutil.rmtree(unfinished.path, ignore_errors=True)
    try:
        unfinished.path.mkdir(parents=True)
        unfinished.config_file.write_text(papers.config_text, "utf-8")
        unfinished.save_state(TrainState(1, initial, {}))
        unfinished.write_key(key)
        if features is not None:
            np.save(unfinished.features_file, features, allow_pickle=False)
        copy_policy(papers.policy, unfinished.path)
        copy_notices(papers.config, papers.source, unfinished.path)
        unfinished.write_json("run.json", papers.description)
        unfinished.path.rename(folder.path)
    except OSError as error:
        raise InvalidFileError(
            f"{folder.path} cannot be written: {error.strerror}",
            fix="name another folder with --runs, or make room in this one",
        ) from error


def reopen(runs: Path, name: str, fleet: Path | None = None) -> Prepared:
    """Open an interrupted run to continue it; everything asked for stands in its folder.

    Args:
        runs: Folder of all runs.
        name: Name of the run.
        fleet: Folder of the fleet that carries it; None for a simulation.

    Raises:
        UsageError: If a fleet's run is to be continued without one, or the other way round.
        InvalidFileError: If there is no such run.
        IntegrityError: If run.json is damaged, or the data or the config are not what the run was
            started with.
    """
    folder = RunFolder(runs / name)
    asked = folder.read_json("run.json")
    own = {"config_file": folder.config_file, "runs": runs, "name": name, "fleet": fleet}
    if fleet is not None:
        renew_approvals(folder, fleet)
    try:
        request = Request(**{**asked["request"], **own})
        spec = RunSpec.from_dict(asked["spec"])
        model_spec = ModelSpec(asked["model"]["name"], asked["model"]["options"])
        digest = asked["data"]["digest"]
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder.path / 'run.json'} is not what a run writes") from error
    config = PrivacyConfig.load(folder.config_file)
    if config.digest() != spec.config_digest:
        raise IntegrityError(f"{folder.config_file} is not the config the run was started with")
    dataset = load_dataset(request.data, root=None, **request.options)
    if dataset.interactions.digest() != digest:
        raise IntegrityError(f"data set {request.data!r} is not what the run was started with")
    return Prepared(
        request=request,
        folder=folder,
        config=config,
        dataset=dataset,
        split=leave_one_out(dataset.interactions),
        model_spec=model_spec,
        model=model_spec.build(dataset.interactions.catalog),
        spec=spec,
    )


def _description(
    request: Request, dataset: Dataset, model_spec: ModelSpec, spec: RunSpec
) -> Mapping[str, Any]:
    asked = asdict(replace(request, options={}))
    for where in ("config_file", "runs", "name", "fleet", "policy", "reviewers"):
        del asked[where]
    return {
        "schema": "run/1",
        "request": {**asked, "options": json.loads(json.dumps(dict(request.options)))},
        "data": {"name": dataset.name, "digest": dataset.interactions.digest()},
        "model": {"name": model_spec.name, "options": dict(model_spec.options)},
        "spec": spec.to_dict(),
    }
