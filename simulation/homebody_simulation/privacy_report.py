"""The report's privacy figures and words: computed from the charges, never typed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from homebody_models.device_metrics import figure_scale
from homebody_privacy.accounting import (
    epsilon_by_part,
    epsilon_prv,
    spent_epsilon,
    unamplified_by_part,
)
from homebody_privacy.charges import Charge, PoissonRounds, round_up
from homebody_privacy.closed_form import epsilon_unamplified
from homebody_privacy.fft_accounting import epsilon_fft
from homebody_privacy.ledger import read_ledger
from homebody_privacy.ledger_record import LedgerRecord
from homebody_privacy.record import (
    CrossCheckError,
    RecordRounds,
    epsilon_record,
    participations_at_most,
)
from homebody_privacy.statement import statement
from homebody_server.run_spec import SAMPLER_EPSILON, MetricPlan, RunSpec, accounted_delta
from homebody_server.spending import anchors_of, spent_before
from homebody_simulation.profiles import has_own_profile
from homebody_simulation.publish import signer
from homebody_simulation.setup import Prepared
from homebody_simulation.uploads import statistic_lengths
from homebody_simulation.voids import voids_of

_LIMITS = """\
Operator's word: {drawn}noise is drawn and kept secret, un-noised sums are not \
kept. {place}
{amplified}
Future rounds can leave a device out. What was already summed cannot be taken out; it stays \
bounded by epsilon.
The number of devices, the rounds and the catalog are treated as public."""

_ONE_PLACE = "In this simulation all of it happened in one place."

_APART = """\
Nodes ran apart from the server: each sent its part of a secure sum, and the server app saw sums."""

_AMPLIFIED = """\
The amplified figure holds against people who cannot see who took part. Against those who \
can, the network for one, it is the figure without amplification."""

_SEPARATED = """\
The figure takes no credit for who comes: it holds also against those who see who took \
part, if no device joins more often or sooner than the config says. \
Devices count that themselves and refuse."""

_DECIDED = """\
A round released nothing because of who came. That depends on who was drawn, so no credit is \
taken for secret coins: the figure is the one without amplification, and the ceiling was kept by \
the other alone."""

_TUNED_HERE = """\
The training's settings for this data set were chosen on its own validation items, which was not \
charged: a fleet tunes on public or synthetic data."""

_OWN_CATALOG = """\
The catalog was read off the events of this file, and so was whether items repeat: an item that \
one device alone had is in the model's files. A fleet takes its catalog from public data."""


_REQUIRED = {
    "audit_passed": "an audit that does not refute the claim (homebody audit --run)",
    "ledger_verified": "a record that verifies (homebody verify)",
}
"""What a config may ask for before a model is released, in words."""


@dataclass(frozen=True, slots=True)
class PrivacyReport:
    """What a run's ledger comes to.

    Attributes:
        epsilon: By unit; None for a run without noise.
        privacy: The mechanism's figures; None for a run without noise.
        released: Figures about people that were released with noise, by purchase.
        voids: Each round and figure that released nothing, and why.
    """

    epsilon: dict[str, Any] | None
    privacy: dict[str, Any] | None
    released: dict[str, dict[str, dict[str, float]]]
    voids: list[dict[str, Any]]


def privacy_report(prepared: Prepared) -> PrivacyReport:
    """Return what the run charged, read from its ledger, and what that comes to."""
    spec, folder = prepared.spec, prepared.folder
    if spec.ceiling is None:
        return PrivacyReport(None, None, {}, [])
    ledger, _ = read_ledger(folder.ledger_file, anchors_of(spec))
    earlier = spent_before(folder, spec)
    charges = [*earlier, *ledger.charges()]
    return PrivacyReport(
        epsilon={
            "user": _user_level(prepared, charges, ledger),
            "record": _record_level(prepared, ledger.closed),
        },
        privacy=_mechanism(prepared, charges, ledger),
        released=_released(prepared, ledger),
        voids=voids_of(ledger),
    )


def _released(prepared: Prepared, ledger: LedgerRecord) -> dict[str, dict[str, dict[str, float]]]:
    """Return each released figure beside the deviation of its noise."""
    plans = {plan.name: plan for plan in prepared.spec.metrics}
    return {
        purchase: {
            name: {"value": value, "noise_sd": _noise_sd(plans[purchase.split("/")[1]], prepared)}
            for name, value in values.items()
        }
        for purchase, values in ledger.answers.items()
    }


def _noise_sd(plan: MetricPlan, prepared: Prepared) -> float:
    return plan.noise_multiplier * figure_scale(plan.name, prepared.spec.devices)


def _user_level(
    prepared: Prepared, charges: Sequence[Charge], ledger: LedgerRecord
) -> dict[str, Any]:
    spec, dp = prepared.spec, prepared.config.dp
    delta = spec.accounted_delta
    amplified = dp.amplification and not ledger.decided
    seen = dp.amplification and ledger.decided
    parts = (unamplified_by_part if seen else epsilon_by_part)(charges, delta)
    return {
        "spent": _shown((epsilon_unamplified if seen else spent_epsilon)(charges, delta), 3),
        "amplified": amplified,
        "parts": {part: _shown(value, 3) for part, value in parts.items()},
        "ceiling": spec.ceiling,
        "delta": spec.delta,
        "accountant": dp.accountant,
        "mechanism": dp.mechanism,
        "unit": dp.unit,
        "rounds": ledger.closed,
        "void_rounds": ledger.voids,
        "statistics": len(ledger.statistics),
    }


def _mechanism(
    prepared: Prepared, charges: Sequence[Charge], ledger: LedgerRecord
) -> dict[str, Any]:
    spec, dp = prepared.spec, prepared.config.dp
    delta = spec.accounted_delta
    failed = dp.amplification and ledger.decided  # a figure without its premise is not printed
    figures: dict[str, Any] = {
        "adjacency": dp.adjacency,
        "clip_norm": spec.clip_norm,
        "adaptive_clip": dp.adaptive_clip,
        "noise_multiplier": spec.noise_multiplier,
        "lattice_step": spec.lattice.step,
        "cohort_size": spec.cohort_size,
        "cohort_cap": spec.cohort_cap,
        "sampling": dp.sampling,
        "sampling_rate": spec.cohort_size / spec.devices if dp.amplification else None,
        "accountant_version": version("dp-accounting"),
        "epsilon_prv": None if failed else _cross_check(charges, delta),
        "epsilon_fft": None if failed else _shown(epsilon_fft(_kinds(charges), delta), 3),
        "epsilon_unamplified": _shown(epsilon_unamplified(charges, delta), 3),
        "parts_unamplified": {
            part: _shown(value, 3) for part, value in unamplified_by_part(charges, delta).items()
        },
        "epsilon_release": _shown(_one_release(spec, delta, amplified=not failed), 3),
        "budget_scope": dp.budget_scope,
        "earlier": len(charges) > len(ledger.charges()),
        "tuning": {"data": dp.tuning_data, "runs": dp.tuning_runs},
        "statistics": _statistics(prepared),
    }
    if dp.mechanism == "blt" and spec.rounds:
        figures["blt"] = {
            "sensitivity": spec.sensitivity,
            "min_separation": spec.min_separation,
            "joins": spec.participation.joins,
            "theta": list(spec.theta),
            "omega": list(spec.omega),
            "fine_bits": spec.mechanism_for(prepared.model.layout.trained_size).fine_bits,
        }
    return figures


def _statistics(prepared: Prepared) -> list[dict[str, Any]]:
    """Return the one-shot sums of a run: noise, lattice, and how many entries were released."""
    lengths = statistic_lengths(prepared)
    return [
        {
            "name": one.name,
            "noise_multiplier": one.noise_multiplier,
            "lattice_step": one.lattice.step,
            "entries": lengths.get(one.name),
            "epsilon": _shown(spent_epsilon([one.charge()], prepared.spec.accounted_delta), 3),
        }
        for one in prepared.spec.statistics
    ]


def _kinds(charges: Sequence[Charge]) -> list[tuple[float, float, int]]:
    """Return charges as the third opinion takes them: noise, rate, rounds; caps are left out."""
    sampled = [
        (c.effective_multiplier, c.sampling_rate, c.rounds)
        for c in charges
        if isinstance(c, PoissonRounds)
    ]
    squares = sum(c.squared_loss for c in charges if not isinstance(c, PoissonRounds))
    return [*sampled, (squares**-0.5, 1.0, 1)] if squares else sampled


def _one_release(spec: RunSpec, delta: float, *, amplified: bool) -> float:
    """Return what one round's model alone is worth; of ``blt`` the whole run is one release.

    Without rounds it is the costliest statistic.
    """
    one = spec.round_charge() or spec.training_charge()
    if not spec.rounds:
        one = min(spec.statistics, key=lambda each: each.noise_multiplier).charge()
    return (spent_epsilon if amplified else epsilon_unamplified)([one], delta)


def _shown(epsilon: float, digits: int) -> float:
    """Return an epsilon as it is printed: with the sampler's own error, rounded up."""
    return round_up(epsilon + SAMPLER_EPSILON, digits)


def _cross_check(charges: Sequence[Charge], delta: float) -> float | None:
    """Return Opacus' figure, or None where it fails: then there is none to print."""
    try:
        return _shown(epsilon_prv(charges, delta), 3)
    except CrossCheckError:
        return None


def _record_level(prepared: Prepared, rounds: int) -> dict[str, Any] | None:
    # Opacus and torch are loaded by now; this module only needs the rate the device draws at.
    from homebody_client.record_level import effective_rate  # noqa: PLC0415

    record, spec = prepared.config.dp.record, prepared.spec
    if record is None or not record.enabled or not spec.rounds:
        return None
    per_round = RecordRounds(
        sampling_rate=effective_rate(record.sampling_rate),
        steps=record.steps,
        noise_multiplier=record.noise_multiplier,
    )
    delta = accounted_delta(record.delta)
    rate = spec.cohort_size / spec.devices
    if spec.mechanism == "blt":  # nothing is assumed but the cap: a device joins as often as it may
        rounds, rate = min(rounds, spec.participation.joins), 1.0
    spent = epsilon_record(per_round, delta, rounds=rounds, sampling_rate=rate)
    return {
        "spent": _shown(spent, 3),
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
    dp = prepared.config.dp
    text = statement(
        prepared.config,
        epsilon=user["spent"],
        rounds=user["rounds"],
        amplified=user["amplified"] or not dp.amplification,
        statistics=user["statistics"],
    )
    if prepared.request.seed is not None:
        text += (
            " The run was seeded: whoever knows the seed can subtract the noise, so the figure "
            "holds for the plan, not for this model."
        )
    return text


def limits(prepared: Prepared, found: PrivacyReport) -> list[str]:
    """Return what the figure does not cover, the operator's word first."""
    if prepared.spec.ceiling is None:
        return ["There is no guarantee of any kind."]
    dp = prepared.config.dp
    drawn = "coins are drawn in secret, " if dp.amplification else ""
    taken = found.epsilon is not None and found.epsilon["user"]["amplified"]
    seen = _DECIDED if dp.amplification else _SEPARATED
    amplified = _AMPLIFIED if taken else seen
    place = _ONE_PLACE if prepared.request.fleet is None else _APART
    items = _LIMITS.format(drawn=drawn, place=place, amplified=amplified).splitlines()
    tuned = f"tuned on {dp.tuning_data} data in {dp.tuning_runs} runs"
    charged = "each of which is charged" if dp.tuning_data == "private" else "which is not charged"
    items.append(f"The config says its settings were {tuned}, {charged}.")
    items += [f"{v['what']} released nothing: {v['words']}." for v in found.voids]
    items += _before_release(prepared)
    if prepared.dataset.name.startswith("interactions"):
        items.append(_OWN_CATALOG)
    if has_own_profile(prepared.dataset.name):
        items.append(_TUNED_HERE)
    if prepared.request.seed is not None:
        items.insert(0, "This run was seeded, so its noise can be drawn again: do not publish it.")
    return items


def _before_release(prepared: Prepared) -> list[str]:
    """Return what must hold before the model is given out, and who sees to it."""
    wanted = sorted(_REQUIRED[name] for name in prepared.config.release.requires)
    if not wanted:
        return []
    held = "no device takes it before homebody release has seen both"
    if signer(prepared) != "held":
        held = "a simulation signs its model all the same: holding it back is its owner's to do"
    said = (
        f"Before its model is released the config asks for {' and '.join(wanted)}. The run ends "
        f"before that can be: {held}."
    )
    return [said]
