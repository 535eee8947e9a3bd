"""The privacy engine in figures: accounting against the reference, noise, and its speed.

    python benchmarks/privacy.py [--out benchmarks/results/privacy.json] [--table]

1. epsilon of the engine beside dp-accounting called directly, and Opacus' PRV accountant;
2. noise of the running sum at the same (epsilon, delta): correlated, independent, and Poisson
   cohorts with amplification;
3. noise of one release of 250,000 coordinates on one core;
4. the search for a strategy at 2,000 rounds.

Some minutes on one core. docs/privacy-engine.md shows the tables.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
from scipy.optimize import brentq

from homebody_privacy.accounting import epsilon_prv, spent_epsilon
from homebody_privacy.blt import (
    Participation,
    charged_sensitivity,
    fine_bits,
    prefix_error,
    sensitivity,
)
from homebody_privacy.blt_optimiser import optimise
from homebody_privacy.charges import Charge, CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.closed_form import gaussian_mu
from homebody_privacy.correlated_noise import CorrelatedNoise
from homebody_privacy.environment import silence
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.solving import solve_noise_multiplier
from homebody_privacy.stream import NoiseStream, fresh_key

_COORDINATES = 250_000
_BITS = 16
_RUNS = (
    # population, cohort, rounds, noise multiplier, delta
    (6040, 100, 100, 0.5, 1e-5),
    (6040, 100, 500, 1.0, 1e-5),
    (6040, 100, 2000, 1.5, 1e-5),
    (1_000_000, 1000, 500, 0.7, 1e-7),
    (1_000_000, 1000, 2000, 1.0, 1e-7),
)
_SETTINGS = (
    # population, cohort, rounds, separation, epsilon, delta
    (6040, 100, 100, 25, 8.0, 1e-5),
    (6040, 100, 500, 50, 8.0, 1e-5),
    (1_000_000, 1000, 500, 100, 2.0, 1e-7),
    (1_000_000, 1000, 2000, 400, 2.0, 1e-7),
)


def correlated(rounds: int, separation: int, multiplier: float, dim: int) -> CorrelatedRun:
    """Return the charge of a run with the best strategy."""
    part = Participation(rounds=rounds, min_separation=separation, max_rounds=rounds)
    strategy = optimise(part)
    bits = fine_bits(strategy, part, dim=dim, lattice_bits=_BITS)
    moved = charged_sensitivity(strategy, part, dim=dim, lattice_bits=_BITS, fine_bits=bits)
    return CorrelatedRun(
        noise_multiplier=multiplier,
        sensitivity=moved,
        rounds=rounds,
        min_separation=separation,
        max_rounds=rounds,
        theta=strategy.theta,
        omega=strategy.omega,
    )


def poisson(population: int, cohort: int, rounds: int, multiplier: float) -> PoissonRounds:
    """Return the charge of rounds on secret coins; the cap is the mean and ten deviations."""
    return PoissonRounds(
        population=population,
        cohort_size=cohort,
        cohort_cap=min(population, math.ceil(cohort + 10.0 * math.sqrt(cohort))),
        noise_multiplier=multiplier,
        rounds=rounds,
    )


def direct(charges: Sequence[Charge], delta: float) -> float:
    """Compose with dp-accounting, none of our code between.

    Where nothing is sampled its exact delta of the Gaussian mechanism is inverted: its loss
    distributions lie some 1e-6 above that.
    """
    if not any(isinstance(charge, PoissonRounds) for charge in charges):
        mu = math.sqrt(sum(charge.squared_loss for charge in charges))
        exact = GaussianPrivacyLoss(1.0 / mu)
        root = brentq(lambda e: exact.get_delta_for_epsilon(e) - delta, 0.0, 100.0, xtol=1e-13)
        return float(root)
    accountant = PLDAccountant()
    for charge in charges:
        if isinstance(charge, PoissonRounds):
            event: Any = dp_event.TruncatedSubsampledGaussianDpEvent(
                dataset_size=charge.population,
                sampling_probability=charge.cohort_size / charge.population,
                truncated_batch_size=charge.cohort_cap,
                noise_multiplier=charge.noise_multiplier,
            )
            accountant.compose(event, charge.rounds)
        elif isinstance(charge, GaussianReleases):
            accountant.compose(dp_event.GaussianDpEvent(charge.noise_multiplier), charge.releases)
    return float(accountant.get_epsilon(delta))


def accounting() -> list[dict[str, Any]]:
    """Return epsilon three times for each setting."""
    metrics = GaussianReleases(noise_multiplier=20.0, releases=4)
    plans: list[tuple[str, list[Charge], float]] = [
        (f"Poisson {c}/{n}, T {t}, noise {s:g}", [poisson(n, c, t, s)], d)
        for n, c, t, s, d in _RUNS
    ]
    plans.append(("the second, and 4 metrics", [poisson(6040, 100, 500, 1.0), metrics], 1e-5))
    run = correlated(500, 100, 9.75, _COORDINATES)
    plans += [
        ("blt T 500, b 100, noise 9.75", [run], 1e-7),
        ("and 4 metrics", [run, metrics], 1e-7),
    ]
    rows = []
    for name, charges, delta in plans:
        own, reference = spent_epsilon(charges, delta), direct(charges, delta)
        rows.append(
            {
                "setting": name,
                "delta": delta,
                "engine": own,
                "dp_accounting": reference,
                "above": own / reference - 1.0,
                "prv": epsilon_prv(charges, delta),
            }
        )
    return rows


def running_sums() -> list[dict[str, Any]]:
    """Return the error of running sums of each mechanism at the same (epsilon, delta)."""
    rows = []
    for population, cohort, rounds, separation, epsilon, delta in _SETTINGS:
        part = Participation(rounds=rounds, min_separation=separation, max_rounds=rounds)
        mu = gaussian_mu(epsilon, delta)
        strategy = optimise(part)
        bits = fine_bits(strategy, part, dim=_COORDINATES, lattice_bits=_BITS)
        moved = charged_sensitivity(
            strategy, part, dim=_COORDINATES, lattice_bits=_BITS, fine_bits=bits
        )
        mean, last = prefix_error(strategy, rounds)
        cap = min(population, math.ceil(cohort + 10.0 * math.sqrt(cohort)))
        amplified = solve_noise_multiplier(
            epsilon, delta, population=population, cohort_size=cohort, cohort_cap=cap, rounds=rounds
        )
        plain = math.sqrt(part.joins) / mu
        rows.append(
            {
                "population": population,
                "cohort": cohort,
                "rounds": rounds,
                "separation": separation,
                "joins": part.joins,
                "epsilon": epsilon,
                "delta": delta,
                "sensitivity": sensitivity(strategy, part),
                "charged_sensitivity": moved,
                "blt": [mean * moved / mu, last * moved / mu],
                "independent": _independent(plain, rounds),
                "poisson": _independent(amplified, rounds),
                "poisson_multiplier": amplified,
            }
        )
    return rows


def _independent(multiplier: float, rounds: int) -> list[float]:
    return [multiplier * math.sqrt((rounds + 1) / 2.0), multiplier * math.sqrt(rounds)]


def best(work: Callable[[], object], repeats: int = 7) -> float:
    """Return the least seconds of some repeats."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def speed() -> dict[str, Any]:
    """Return seconds of one release's noise, and of the search for a strategy."""
    stream = NoiseStream(fresh_key())
    floats = np.random.default_rng()
    part = Participation(rounds=2000, min_separation=400, max_rounds=5)
    strategy = optimise(part)
    noise = CorrelatedNoise(strategy, _COORDINATES)
    drawn = rounded_gaussian(_COORDINATES, 65_536.0, stream)
    lattice = best(lambda: rounded_gaussian(_COORDINATES, 65_536.0, stream))
    return {
        "coordinates": _COORDINATES,
        "lattice_noise_s": lattice,
        "correlating_s": best(lambda: noise.step(drawn)),
        "numpy_float_s": best(lambda: floats.normal(0.0, 65_536.0, _COORDINATES)),
        "million_draws_per_s": _COORDINATES / lattice / 1e6,
        "optimise_2000_rounds_s": best(lambda: optimise(part), repeats=3),
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as the tables of docs/privacy-engine.md."""
    lines = ["| setting | δ | engine | dp-accounting | above | PRV |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r['setting']} | {r['delta']:g} | {r['engine']:.4f} | {r['dp_accounting']:.4f} | "
        f"{r['above']:.0e} | {r['prv']:.4f} |"
        for r in results["accounting"]
    ]
    lines += [
        "",
        "| N, cohort, T, b (joins) | ε, δ | independent | blt | Poisson, amplified (noise) |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['population']:,}, {r['cohort']}, {r['rounds']}, {r['separation']} ({r['joins']}) | "
        f"{r['epsilon']:g}, {r['delta']:g} | {_pair(r['independent'])} | {_pair(r['blt'])} | "
        f"{_pair(r['poisson'])} ({r['poisson_multiplier']:.3f}) |"
        for r in results["running_sums"]
    ]
    return "\n".join(lines)


def speed_words(results: dict[str, Any]) -> str:
    """Return the sentence of docs/privacy-engine.md about speed."""
    speed = results["speed"]
    return (
        f"Noise for {speed['coordinates']:,} coordinates takes "
        f"{1000 * speed['lattice_noise_s']:.0f} ms on one core, correlating it "
        f"{1000 * speed['correlating_s']:.1f} ms more; the strategy for 2,000 rounds is found in "
        f"{speed['optimise_2000_rounds_s']:.2f} s."
    )


def _pair(errors: list[float]) -> str:
    return f"{errors[0]:.2f} / {errors[1]:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and keep the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/privacy.json")
    parser.add_argument("--table", action="store_true", help="print what was kept, run nothing")
    asked = parser.parse_args(arguments)
    if asked.table:
        kept = json.loads(asked.out.read_text("utf-8"))
        print(f"{table(kept)}\n\n{speed_words(kept)}")
        return
    silence()
    results = {"accounting": accounting(), "running_sums": running_sums(), "speed": speed()}
    print(table(results))
    print(speed_words(results))
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
