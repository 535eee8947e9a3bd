"""A plan in words: one screen, every figure with its unit."""

from collections.abc import Mapping

from homebody_simulation.forecast import WEAK_SNR, NoiseForecast, Plan

_SEEING = "toward those who see who takes part"


def plan_text(plan: Plan) -> str:
    """Return the lines ``homebody plan`` prints."""
    lines = [*_promise(plan), *_noise(plan), *_usefulness(plan), *_cost(plan)]
    return "".join(f"{line}\n" for line in lines)


def _promise(plan: Plan) -> list[str]:
    dp, spec = plan.planned.config.dp, plan.planned.spec
    over = "over all runs on these people" if dp.budget_scope == "lifetime" else "over this run"
    joins = (
        f"min separation {spec.min_separation}, cap {spec.participation.joins} rounds a device"
        if dp.mechanism == "blt"
        else f"secret coins, q {spec.cohort_size / spec.devices:.4f}, cap {spec.cohort_cap} devices"
    )
    about = (
        f"{plan.dataset}: {spec.devices:,} devices, {plan.planned.model.name} with "
        f"{plan.planned.model.layout.size:,} parameters"
    )
    unit = (
        f"unit {dp.unit} (everything one device holds, {over}) · zero-out · mechanism "
        f"{dp.mechanism}, T={spec.rounds}, {joins}"
    )
    paid = (
        f"cohort {spec.cohort_size} expected · noise multiplier {spec.noise_multiplier:.4g} · "
        f"{_parts(plan.parts)} · total ε {plan.own.epsilon:g} at δ={dp.delta:g}"
    )
    return [about, unit, paid, *_life(plan)]


def _life(plan: Plan) -> list[str]:
    if plan.life is None:
        return []
    life = plan.life
    end = "" if life.fits else ": the budget would stop it (exit 11)"
    spent = f"life of a device: ε {life.spent:g} spent by other runs, {life.after:g} after this one"
    return [f"{spent}, of {life.ceiling:g}{end}"]


def _noise(plan: Plan) -> list[str]:
    own, other = plan.own, plan.other
    if own.mechanism == "blt":
        head = f"amplification none claimed: ε {own.epsilon:g} also {_SEEING}"
    else:
        head = (
            f"amplification claimed: ε {own.epsilon:g} toward who cannot see who takes part; "
            f"without it {_parts(plan.parts_unamplified)} · total ε {own.epsilon_unamplified:g}"
        )
    lines = [head, f"noise of the running sum, per coordinate in clip norms: {_errors(own)}"]
    if other is None:
        lines.append(f"the other mechanism cannot be had: {plan.other_reason}")
    else:
        lines.append(
            f"{other.mechanism} at the same total: noise multiplier {other.noise_multiplier:.4g}, "
            f"running sum {_errors(other)}, ε {other.epsilon_unamplified:g} {_SEEING}"
        )
    if plan.planned.spec.theta:
        spec = plan.planned.spec
        theta = ", ".join(f"{x:.5g}" for x in spec.theta)
        omega = ", ".join(f"{x:.5g}" for x in spec.omega)
        lines.append(
            f"strategy theta ({theta}), omega ({omega}), sensitivity {spec.sensitivity:.5g}"
        )
    return lines


def _parts(parts: Mapping[str, float]) -> str:
    return " · ".join(f"{part} ε {value:g}" for part, value in parts.items())


def _errors(noise: NoiseForecast) -> str:
    return f"mean {noise.error_mean:.4g}, last {noise.error_last:.4g}"


def _usefulness(plan: Plan) -> list[str]:
    strength = (
        f"update SNR {plan.snr:.3g} a round, {plan.run_snr:.3g} over the run · clip rate "
        f"{plan.dry.clip_rate:.0%} · the lattice takes at most {plan.lattice_loss:.1e} of a clip "
        f"norm   (from {plan.dry.devices} devices at the starting model, laboratory figures)"
    )
    verdict = "useful: the updates are expected to show in the noise"
    if not plan.useful:
        verdict = "NOT USEFUL: the noise drowns the updates. It would take " + ", or ".join(
            plan.options()
        )
    elif plan.run_snr < WEAK_SNR:
        verdict = "weak: expect little more than the same list for all"
    return [strength, verdict]


def _cost(plan: Plan) -> list[str]:
    dry = plan.dry
    cost = (
        f"per device and round {dry.down_bytes / 1000:,.1f} kB down, {dry.up_bytes / 1000:,.1f} kB "
        f"up, {dry.cpu_s:.4f} s CPU · estimate {plan.seconds / 60.0:.1f} min on this machine"
    )
    return [cost]
