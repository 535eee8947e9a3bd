"""A plan in words: one screen, every figure with its unit."""

from collections.abc import Mapping

from homebody_simulation.forecast import Plan, StatisticsForecast
from homebody_simulation.rounds_forecast import WEAK_SNR, NoiseForecast, RoundsForecast
from homebody_simulation.utility_forecast import UtilityForecast

_SEEING = "toward those who see who takes part"
_TASKS = {"again": "next item, repeats included", "new": "next new item"}


def plan_text(plan: Plan) -> str:
    """Return the lines ``homebody plan`` prints."""
    lines = _promise(plan)
    if plan.statistics is not None:
        lines += _passes(plan.statistics)
    if plan.rounds is not None:
        lines += _noise(plan, plan.rounds)
    lines += [*_usefulness(plan), *_cost(plan)]
    return "".join(f"{line}\n" for line in lines)


def _promise(plan: Plan) -> list[str]:
    dp, spec = plan.planned.config.dp, plan.planned.spec
    over = "over all runs on these people" if dp.budget_scope == "lifetime" else "over this run"
    about = (
        f"{plan.dataset}: {spec.devices:,} devices, {plan.planned.model.name} with "
        f"{plan.planned.model.layout.size:,} parameters"
    )
    if spec.frozen:
        about += f", of which rounds train {spec.trained_size:,}"
    unit = f"unit {dp.unit} (everything one device holds, {over}) · zero-out"
    paid = f"{_parts(plan.parts)} · total ε {plan.epsilon:g} at δ={dp.delta:g}"
    if spec.rounds:
        joins = (
            f"min separation {spec.min_separation}, cap {spec.participation.joins} rounds a device"
            if dp.mechanism == "blt"
            else f"secret coins, q {spec.cohort_size / spec.devices:.4f}, cap {spec.cohort_cap} "
            "devices"
        )
        unit = f"{unit} · mechanism {dp.mechanism}, T={spec.rounds}, {joins}"
        paid = (
            f"cohort {spec.cohort_size} expected · noise multiplier {spec.noise_multiplier:.4g} · "
            f"{paid}"
        )
    return [about, _recipe(plan), unit, paid, *_life(plan)]


def _recipe(plan: Plan) -> str:
    spec, advice = plan.planned.spec, plan.advice
    what = {
        "statistics": "one-shot statistics alone",
        "rounds": f"{spec.rounds} gradient rounds alone",
        "both": f"one-shot statistics, then {spec.rounds} gradient rounds from there",
    }
    asked = f"recipe {spec.recipe}: {what[spec.recipe]}"
    if advice.recipe == spec.recipe:
        return f"{asked} · it suits: {advice.why} (μN {advice.signal:,.0f})"
    return f"{asked} · {advice.recipe} suits better: {advice.why} (μN {advice.signal:,.0f})"


def _life(plan: Plan) -> list[str]:
    if plan.life is None:
        return []
    life = plan.life
    end = "" if life.fits else ": the budget would stop it (exit 11)"
    spent = f"life of a device: ε {life.spent:g} spent by other runs, {life.after:g} after this one"
    return [f"{spent}, of {life.ceiling:g}{end}"]


def _passes(statistics: StatisticsForecast) -> list[str]:
    return [
        f"statistic {one.name}: noise multiplier {one.noise_multiplier:.4g} on each of "
        f"{one.entries:,} entries, alone ε {one.epsilon:g}, nothing amplified; every device once: "
        f"{one.down_bytes / 1000:,.1f} kB down, {one.up_bytes / 1000:,.1f} kB up"
        for one in statistics.passes
    ]


def _noise(plan: Plan, rounds: RoundsForecast) -> list[str]:
    own, other = rounds.own, rounds.other
    if own.mechanism == "blt":
        head = f"amplification none claimed: ε {plan.epsilon:g} also {_SEEING}"
    else:
        head = (
            f"amplification claimed: ε {plan.epsilon:g} toward who cannot see who takes part; "
            f"without it {_parts(plan.parts_unamplified)} · total ε {plan.epsilon_unamplified:g}"
        )
    lines = [head, f"noise of the running sum, per coordinate in clip norms: {_errors(own)}"]
    if rounds.other_reason is not None:
        lines.append(f"the other mechanism cannot be had: {rounds.other_reason}")
    elif other is not None:
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
    lines = []
    if plan.rounds is not None:
        rounds, start = plan.rounds, "the model of the statistics" if plan.statistics else "a start"
        lines.append(
            f"update SNR {rounds.snr:.3g} a round, {rounds.run_snr:.3g} over the run · clip rate "
            f"{rounds.dry.clip_rate:.0%} · the lattice takes at most {rounds.lattice_loss:.1e} of "
            f"a clip norm   (from {rounds.dry.devices} devices at {start}, laboratory figures)"
        )
    if plan.statistics is not None:
        utility = plan.statistics.utility
        lines += [_band(utility), _statistics_verdict(utility)]
        if plan.rounds is not None:
            lines.append("of what the rounds add no band is known: a released figure judges them")
    elif plan.rounds is not None:
        lines.append(_rounds_verdict(plan, plan.rounds))
        lines.append("of rounds alone no utility band is known: docs/utility.md has measured runs")
    return lines


def _band(utility: UtilityForecast) -> str:
    local = "" if utility.local_only is None else f", local-only {utility.local_only:.4f}"
    return (
        f"expected ndcg@10 of the statistics {utility.low:.4f} to {utility.high:.4f} (mean "
        f"{utility.mean:.4f} of {utility.draws} draws of noise, sum SNR {utility.strength:.3g}); "
        f"popularity {utility.popularity:.4f}{local}; without that noise "
        f"{utility.without_noise:.4f}   ({_TASKS[utility.task]}, validation items of "
        f"{utility.devices:,} devices, sums of {utility.summed:,}: laboratory figures, read from "
        "raw data and not covered by ε)"
    )


def _statistics_verdict(utility: UtilityForecast) -> str:
    if not utility.useful:
        return (
            "NOT USEFUL: N is too small, the noise may leave less than the same list for all. It "
            "would take " + ", or ".join(utility.options())
        )
    if utility.local_only is not None and utility.high <= utility.local_only:
        return "weak: each device's own recent choices rank better than this; nothing need be sent"
    return "useful: better than the same list for all, whichever noise is drawn"


def _rounds_verdict(plan: Plan, rounds: RoundsForecast) -> str:
    if not rounds.useful:
        return "NOT USEFUL: the noise drowns the updates. It would take " + ", or ".join(
            plan.options()
        )
    if rounds.run_snr < WEAK_SNR:
        return "weak: expect little more than the same list for all"
    return "useful: the updates are expected to show in the noise"


def _cost(plan: Plan) -> list[str]:
    words = []
    if plan.statistics is not None:
        words.append(f"per device for the statistics {plan.statistics.cpu_s:.4f} s CPU")
    if plan.rounds is not None:
        dry = plan.rounds.dry
        words.append(
            f"per device and round {dry.down_bytes / 1000:,.1f} kB down, "
            f"{dry.up_bytes / 1000:,.1f} kB up, {dry.cpu_s:.4f} s CPU"
        )
    words.append(f"estimate {plan.seconds / 60.0:.1f} min on this machine")
    return [" · ".join(words)]
