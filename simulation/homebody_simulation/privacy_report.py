"""The report's privacy figures and words: computed from the charges, never typed."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from homebody_privacy.accounting import epsilon_prv, spent_epsilon
from homebody_privacy.budget import earlier_charges
from homebody_privacy.charges import PoissonRounds, round_up
from homebody_privacy.closed_form import epsilon_unamplified
from homebody_privacy.config import statement
from homebody_privacy.record import (
    CrossCheckError,
    RecordRounds,
    epsilon_record,
    participations_at_most,
)
from homebody_server.run_spec import SAMPLER_EPSILON, accounted_delta
from homebody_simulation.profiles import has_own_profile
from homebody_simulation.setup import Prepared

_LIMITS = """\
Operator's word: coins are drawn in secret, noise is drawn and kept secret, un-noised sums are not \
kept. In this simulation all of it happened in one place.
The amplified figure holds against people who cannot see who took part. Against the operator and \
the network it is the figure without amplification.
Future rounds can leave a device out. What was already summed cannot be taken out; it stays \
bounded by epsilon.
The number of devices, the rounds and the catalog are treated as public.""".splitlines()

_TUNED_HERE = """\
The training's settings for this data set were chosen on its own validation items, which was not \
charged: a fleet tunes on public or synthetic data."""

_OWN_CATALOG = """\
The catalog was read off the events of this file, and so was whether items repeat: an item that \
one device alone had is in the model's files. A fleet takes its catalog from public data."""


def privacy_report(
    prepared: Prepared, rounds: int
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the epsilon block and the mechanism's figures; None for a run without noise."""
    spec, dp = prepared.spec, prepared.config.dp
    if spec.ceiling is None:
        return None, None
    earlier = (
        earlier_charges(prepared.request.runs, spec.population, exclude=prepared.folder.path)
        if spec.lifetime
        else []
    )
    own = spec.charge().with_rounds(rounds)
    charges = [*earlier, own]
    spent = spent_epsilon(charges, spec.accounted_delta) + SAMPLER_EPSILON
    record = dp.record if dp.record is not None and dp.record.enabled else None
    epsilon = {
        "user": {
            "spent": round_up(spent, 3),
            "ceiling": spec.ceiling,
            "delta": spec.delta,
            "accountant": dp.accountant,
            "mechanism": dp.mechanism,
            "unit": dp.unit,
            "rounds": sum(charge.rounds for charge in charges),
        },
        "record": None if record is None else _record_level(prepared, rounds),
    }
    privacy = {
        "adjacency": dp.adjacency,
        "clip_norm": spec.clip_norm,
        "noise_multiplier": spec.noise_multiplier,
        "lattice_step": spec.lattice.step,
        "cohort_size": spec.cohort_size,
        "cohort_cap": spec.cohort_cap,
        "sampling_rate": spec.charge().sampling_rate,
        "accountant_version": version("dp-accounting"),
        # Opacus composes what it is given in one sampling scheme; across runs it is not asked.
        "epsilon_prv": None if earlier else _cross_check(own, spec.delta),
        "epsilon_unamplified": round_up(
            epsilon_unamplified(charges, spec.accounted_delta) + SAMPLER_EPSILON, 1
        ),
        "budget_scope": dp.budget_scope,
        "earlier": bool(earlier),
    }
    return epsilon, privacy


def _cross_check(charge: PoissonRounds, delta: float) -> float | None:
    """Return Opacus' figure, or None where it fails: then there is none to print."""
    try:
        return round_up(epsilon_prv([charge], delta), 3)
    except CrossCheckError:
        return None


def _record_level(prepared: Prepared, rounds: int) -> dict[str, Any]:
    # Opacus and torch are loaded by now; this module only needs the rate the device draws at.
    from homebody_client.record_level import effective_rate  # noqa: PLC0415

    record, spec = prepared.config.dp.record, prepared.spec
    if record is None:
        raise ValueError("the record level is off")
    per_round = RecordRounds(
        sampling_rate=effective_rate(record.sampling_rate),
        steps=record.steps,
        noise_multiplier=record.noise_multiplier,
    )
    rate = spec.charge().sampling_rate
    delta = accounted_delta(record.delta)
    spent = epsilon_record(per_round, delta, rounds=rounds, sampling_rate=rate)
    return {
        "spent": round_up(spent + SAMPLER_EPSILON, 3),
        "delta": record.delta,
        "accountant": "prv",
        "mechanism": "dp-sgd",
        "unit": "record",
        "rounds": participations_at_most(rounds, rate, delta),
    }


def claim(prepared: Prepared, epsilon: Mapping[str, Any] | None) -> str:
    """Return the one sentence the run may be described with: what was charged, not planned."""
    if epsilon is None:
        return (
            "No differential privacy: a laboratory reference without noise. Its model must not "
            "be given to anyone."
        )
    user = epsilon["user"]
    text = statement(prepared.config, epsilon=user["spent"], rounds=user["rounds"])
    if prepared.request.seed is not None:
        text += (
            " The run was seeded: whoever knows the seed can subtract the noise, so the figure "
            "holds for the plan, not for this model."
        )
    return text


def limits(prepared: Prepared) -> list[str]:
    """Return what the figure does not cover, the operator's word first."""
    if prepared.spec.ceiling is None:
        return ["There is no guarantee of any kind."]
    dp = prepared.config.dp
    tuned = f"tuned on {dp.tuning_data} data in {dp.tuning_runs} runs"
    items = [*_LIMITS, f"The config says its settings were {tuned}, which is not charged."]
    if prepared.dataset.name.startswith("interactions"):
        items.append(_OWN_CATALOG)
    if has_own_profile(prepared.dataset.name):
        items.append(_TUNED_HERE)
    if prepared.request.seed is not None:
        items.insert(0, "This run was seeded, so its noise can be drawn again: do not publish it.")
    return items
