"""Everything a run needs before its first round: checked, fixed, and written to its folder."""

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from homebody_models.recommender import Recommender
from homebody_models.split import Split, leave_one_out
from homebody_models.zoo import ModelSpec
from homebody_privacy.accounting import solve_noise_multiplier
from homebody_privacy.config import PrivacyConfig, check_population
from homebody_privacy.errors import (
    InfeasibleError,
    IntegrityError,
    InvalidFileError,
    PolicyViolationError,
    UsageError,
)
from homebody_privacy.lattice import RECORD_BITS, Lattice
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.stream import derive_key, fresh_key
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec, accounted_delta
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.profiles import profile_of
from homebody_simulation.request import Request

_DEADLINE_S = 600.0
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
    """

    request: Request
    folder: RunFolder
    config: PrivacyConfig
    dataset: Dataset = field(repr=False)
    split: Split = field(repr=False)
    model_spec: ModelSpec
    model: Recommender = field(repr=False)
    spec: RunSpec


def prepare(request: Request) -> Prepared:
    """Check the request against config and data, and open the run's folder.

    The privacy config is read first: without a valid one nothing is loaded and nothing trains.

    Raises:
        InvalidFileError: If the privacy config or a data file is missing or invalid.
        UsageError: If the data set is unknown or the run's name is taken.
        PolicyViolationError: If the request passes what the config allows.
        InfeasibleError: If the population is too small for the config.
    """
    config = PrivacyConfig.load(request.config_file)
    _check_request(request, config)
    folder = RunFolder(request.runs / request.run_name())
    if folder.path.exists():
        raise UsageError(
            f"there is a run called {folder.name!r} already",
            fix=f"continue it with --resume {folder.name}, or choose another --name",
        )
    dataset = load_dataset(request.data, root=None, **request.options)
    spec, model_spec = _plan(request, config, dataset)
    model = model_spec.build(dataset.interactions.catalog)
    key = fresh_key() if request.seed is None else derive_key(_SEEDED, "seed", request.seed)
    spec = replace(spec, tensors=dict(model.layout.shapes))
    if spec.ceiling is not None:
        _check_sampler(spec, config, model.layout.size)
    seed = int.from_bytes(derive_key(key, "init"), "little")
    initial = model.init(np.random.default_rng(seed))
    _write_folder(folder, request, key, initial, _description(request, dataset, model_spec, spec))
    return Prepared(
        request=request,
        folder=folder,
        config=config,
        dataset=dataset,
        split=leave_one_out(dataset.interactions),
        model_spec=model_spec,
        model=model,
        spec=spec,
    )


def _write_folder(
    folder: RunFolder,
    request: Request,
    key: bytes,
    initial: npt.NDArray[np.float32],
    description: Mapping[str, Any],
) -> None:
    """Write the folder of a run so that it appears whole or not at all.

    Raises:
        InvalidFileError: If it cannot be written.
    """
    unfinished = RunFolder(folder.path.with_name(f".{folder.name}.new"))
    shutil.rmtree(unfinished.path, ignore_errors=True)
    try:
        unfinished.path.mkdir(parents=True)
        shutil.copyfile(request.config_file, unfinished.config_file)
        unfinished.save_state(TrainState(1, initial, {}))
        unfinished.write_key(key)
        unfinished.write_json("run.json", description)
        unfinished.path.rename(folder.path)
    except OSError as error:
        raise InvalidFileError(
            f"{folder.path} cannot be written: {error.strerror}",
            fix="name another folder with --runs, or make room in this one",
        ) from error


def reopen(runs: Path, name: str) -> Prepared:
    """Open an interrupted run to continue it; everything asked for stands in its folder.

    Raises:
        InvalidFileError: If there is no such run.
        IntegrityError: If run.json is damaged, or the data or the config are not what the run was
            started with.
    """
    folder = RunFolder(runs / name)
    asked = folder.read_json("run.json")
    own = {"config_file": folder.config_file, "runs": runs, "name": name}
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


def _people(dataset: Dataset) -> str:
    """Return the digest that stands for the people of a data set, whatever events they add.

    It is made of the data set's name: a digest of the events would start a new budget with each
    new event, and would be an un-noised release of them.
    """
    return hashlib.sha256(f"homebody/people/v1|{dataset.name}".encode()).hexdigest()


def _check_request(request: Request, config: PrivacyConfig) -> None:
    if request.epsilon is None:
        return
    if request.epsilon > config.dp.epsilon_max:
        raise PolicyViolationError(
            f"--epsilon {request.epsilon:g} is above dp.epsilon_max = {config.dp.epsilon_max:g}",
            fix="ask for less, or have a higher dp.epsilon_max approved in privacy.toml",
        )
    if request.rounds is not None and request.rounds > config.dp.rounds:
        raise PolicyViolationError(
            f"--rounds {request.rounds} is above dp.rounds = {config.dp.rounds}",
            fix="ask for fewer rounds, or change dp.rounds in privacy.toml",
        )


def _plan(request: Request, config: PrivacyConfig, dataset: Dataset) -> tuple[RunSpec, ModelSpec]:
    devices = dataset.interactions.devices
    profile = profile_of(dataset.name, repeats=dataset.interactions.repeats)
    model_spec = profile.model(request.model)
    common: dict[str, Any] = {
        "devices": devices,
        "tensors": {},
        "config_digest": config.digest(),
        "population": _people(dataset),
        "deadline_s": _DEADLINE_S,
        "delta": config.dp.delta,
    }
    if request.epsilon is None:
        reference = profile.reference
        cohort = request.cohort or max(1, round(reference.cohort_share * devices))
        if cohort > devices:
            raise InfeasibleError(f"--cohort {cohort} is above the population of {devices}")
        cap = min(devices, math.ceil(cohort + 10.0 * math.sqrt(cohort)))
        return RunSpec(
            rounds=request.rounds or reference.rounds,
            cohort_size=cohort,
            cohort_cap=cap,
            clip_norm=reference.clip_norm,
            lattice_bits=_finest_bits(cap),
            noise_multiplier=0.0,
            ceiling=None,
            lifetime=False,
            learning_rate=reference.learning_rate,
            server_optimizer="adam",
            final_learning_rate=reference.learning_rate / 20.0,
            **common,
        ), model_spec
    dp = config.dp
    cohort = request.cohort or dp.cohort_size
    _check_cohort(config, cohort, devices)
    rounds = request.rounds or dp.rounds
    multiplier = solve_noise_multiplier(
        request.epsilon - SAMPLER_EPSILON,
        accounted_delta(dp.delta),
        population=devices,
        cohort_size=cohort,
        cohort_cap=dp.cohort_cap,
        rounds=rounds,
    )
    lifetime = dp.budget_scope == "lifetime"
    spec = RunSpec(
        rounds=rounds,
        cohort_size=cohort,
        cohort_cap=dp.cohort_cap,
        clip_norm=dp.clip_norm,
        lattice_bits=dp.lattice_bits,
        noise_multiplier=multiplier,
        ceiling=dp.epsilon_max if lifetime else request.epsilon,
        lifetime=lifetime,
        learning_rate=profile.learning_rate,
        server_optimizer="tensor-adam",
        **common,
    )
    return spec, model_spec


def _finest_bits(cohort_cap: int) -> int:
    """Return the finest lattice on which the sum of a cohort still fits 32 bits."""
    fitting = [bits for bits in range(16, 21) if cohort_cap << bits < 1 << 31]
    if not fitting:
        raise InfeasibleError(f"a cohort of up to {cohort_cap} is too large for one sum")
    return fitting[-1]


def _check_cohort(config: PrivacyConfig, cohort: int, devices: int) -> None:
    """Check population, delta and cap for the cohort of this run."""
    asked = config.dp.model_copy(update={"cohort_size": cohort})
    check_population(config.model_copy(update={"dp": asked}), devices)
    if cohort + 5.0 * math.sqrt(cohort) > config.dp.cohort_cap:
        raise PolicyViolationError(
            f"a cohort of {cohort} often passes dp.cohort_cap = {config.dp.cohort_cap}",
            fix="ask for a smaller --cohort, or raise dp.cohort_cap in privacy.toml",
        )


def _check_sampler(spec: RunSpec, config: PrivacyConfig, size: int) -> None:
    """Refuse a run so long that the noise sampler's error outgrows the room kept for it."""
    user = GaussianMechanism(lattice=spec.lattice, noise_multiplier=spec.noise_multiplier)
    draws = [("dp.delta", spec.delta, user, spec.rounds)]
    record = config.dp.record
    if record is not None and record.enabled:
        lattice = Lattice(clip_norm=record.max_grad_norm, bits=RECORD_BITS)
        level = GaussianMechanism(lattice=lattice, noise_multiplier=record.noise_multiplier)
        draws.append(("dp.record.delta", record.delta, level, spec.rounds * record.steps))
    for field_name, delta, mechanism, releases in draws:
        if (
            mechanism.sampler_delta(size, releases) > delta - accounted_delta(delta)
            or mechanism.sampler_epsilon(size, releases) > SAMPLER_EPSILON
        ):
            raise InfeasibleError(
                f"{field_name} = {delta:g} is too small for {releases} draws of noise for "
                f"{size:,} parameters",
                fix=f"raise {field_name}, or ask for fewer rounds or a smaller model",
            )


def _description(
    request: Request, dataset: Dataset, model_spec: ModelSpec, spec: RunSpec
) -> Mapping[str, Any]:
    asked = asdict(replace(request, options={}))
    del asked["config_file"], asked["runs"], asked["name"]
    return {
        "schema": "run/1",
        "request": {**asked, "options": json.loads(json.dumps(dict(request.options)))},
        "data": {"name": dataset.name, "digest": dataset.interactions.digest()},
        "model": {"name": model_spec.name, "options": dict(model_spec.options)},
        "spec": spec.to_dict(),
    }
