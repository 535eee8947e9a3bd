"""Carry out an audit: prepare a run as production does, run it as an audit build, report."""

import math
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.blt import BltParameters
from homebody_privacy.charges import round_up
from homebody_privacy.errors import InfeasibleError
from homebody_privacy.stream import derive_key, fresh_key
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec
from homebody_simulation.audit.build import AuditBuild
from homebody_simulation.audit.claim import Claim, independent
from homebody_simulation.audit.conformance import conformance
from homebody_simulation.audit.membership import Membership, attack
from homebody_simulation.audit.one_run import one_run
from homebody_simulation.audit.projections import Projections
from homebody_simulation.audit.report import AuditReport, Setting
from homebody_simulation.audit.request import AuditRequest, Tier
from homebody_simulation.audit.shadows import train_with_shadows
from homebody_simulation.request import Request
from homebody_simulation.setup import Prepared, prepare

_SEEDED: Final = b"homebody audit, seeded: no secret"
"""Master of every seeded audit: known to all, so that a seed says everything."""

Found = TypeVar("Found")


def run_audit(request: AuditRequest) -> AuditReport:
    """Audit a privacy config on synthetic devices.

    Args:
        request: What is asked.

    Returns:
        What was found; ``is_refuted`` says whether a bound contradicts the claim.

    Raises:
        HomebodyError: If config or request is refused, or the audited run stopped.
    """
    key = fresh_key() if request.seed is None else derive_key(_SEEDED, "seed", request.seed)
    with TemporaryDirectory(prefix="homebody-audit-") as folder:
        prepared = prepare_run(request, Path(folder) / "canaries", model="popularity")
        build = AuditBuild.of(prepared, request.canaries, derive_key(key, "coins"))
        claim = claim_of(build.prepared.spec)
        seen = None if set(request.tiers) == {"membership"} else build.run()
        attacked = _attacked(request, Path(folder), derive_key(key, "membership"))
        return AuditReport(
            claim=claim,
            setting=Setting(
                canaries=request.canaries,
                population=prepared.spec.devices,
                cohort_size=prepared.spec.cohort_size,
                config_digest=prepared.config.digest(),
                seeded=request.seed is not None,
            ),
            conformance=_if_asked("conformance", conformance, request, seen, claim),
            one_run=_if_asked("one-run", one_run, request, seen, claim),
            membership=attacked,
        )


def _if_asked(
    tier: Tier,
    look: Callable[[Projections, Claim], Found],
    request: AuditRequest,
    seen: Projections | None,
    claim: Claim,
) -> Found | None:
    return look(seen, claim) if seen is not None and tier in request.tiers else None


def _attacked(request: AuditRequest, folder: Path, key: bytes) -> Membership | None:
    if "membership" not in request.tiers:
        return None
    prepared = prepare_run(request, folder / "membership", model=request.model)
    claim = claim_of(prepared.spec)
    losses = train_with_shadows(prepared, request.shadows, folder / "shadows", key)
    return attack(losses, epsilon=claim.epsilon, delta=claim.delta)


def prepare_run(request: AuditRequest, runs: Path, *, model: str) -> Prepared:
    """Prepare the run that is audited as ``homebody simulate`` prepares its own.

    Args:
        request: What is asked.
        runs: Folder of the run's folder; nothing else may be in it.
        model: Name of the model.

    Raises:
        HomebodyError: If config or request is refused.
    """
    return prepare(
        Request(
            data="synthetic",
            options={"devices": request.population},
            config_file=request.config_file,
            epsilon=request.epsilon,
            rounds=request.rounds,
            cohort=request.cohort,
            model=model,
            mechanism=request.mechanism,
            recipe="rounds",  # what is audited; a one-shot sum has no second release to tell from
            seed=request.seed,
            name="audit",
            runs=runs,
        )
    )


def claim_of(spec: RunSpec) -> Claim:
    """Return what a run claims, from its constants.

    Raises:
        InfeasibleError: If it has no noise: there is nothing to audit.
    """
    if spec.ceiling is None:
        raise InfeasibleError("a run without differential privacy claims nothing")
    spent = spent_epsilon([spec.training_charge()], spec.accounted_delta) + SAMPLER_EPSILON
    rate = spec.cohort_size / spec.devices
    if spec.mechanism == "blt":
        parameters = BltParameters(theta=spec.theta, omega=spec.omega)
        coefficients = parameters.coefficients(spec.rounds)
        mu: float | None = spec.sensitivity / spec.noise_multiplier
    else:
        coefficients = independent(spec.rounds)
        mu = math.sqrt(spec.rounds) / spec.noise_multiplier if rate == 1.0 else None
    return Claim(
        mechanism=spec.mechanism,
        epsilon=round_up(spent, 3),
        delta=spec.delta,
        noise_multiplier=spec.noise_multiplier,
        coefficients=coefficients,
        sampling_rate=None if mu is not None else rate,
        mu=mu,
        min_separation=spec.min_separation,
        max_rounds=spec.participation.max_rounds,
    )
