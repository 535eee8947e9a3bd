"""Fields 2 to 7 of ``evidence.json`` for the user level."""

from importlib.metadata import version
from typing import Any, Final

from homebody_privacy.charges import round_up
from homebody_server.evidence.case import Case
from homebody_server.evidence.figures import SAMPLER_SHARE, Figures, charges_of, correlated_of
from homebody_server.evidence.words import CHECKED, ENFORCED, WORD, Statement

_TWO: Final = "two devices of one person count as two"
KEY: Final = "a key of the operating system, stretched by ChaCha20"
"""Where randomness comes from."""

_MOST_CHARGES: Final = 2_000  # listed one by one; a longer ledger is in record/


def user_level(case: Case, figures: Figures) -> dict[str, Any]:
    """Return the block of the user level."""
    return {
        "unit": unit_block("user", case),
        "adjacency": _adjacency(case),
        "privacy_loss": _loss(case, figures),
        "mechanism": _mechanism(case),
        "accounting": _accounting(case, figures),
        "sampling": _sampling(case, figures),
    }


def said(*statements: Statement) -> list[dict[str, Any]]:
    """Return statements as JSON values."""
    return [{"text": s.text, "label": s.label, "refs": list(s.refs)} for s in statements]


def absent(which: str, why: str) -> dict[str, str]:
    """Return what stands in the place of something that is not there."""
    return {"absent": which, "why": why}


def unit_block(unit: str, case: Case) -> dict[str, Any]:
    """Return field 2 of a layer."""
    dp = case.record.config.dp
    joins = 0 if case.record.config.recipe == "statistics" else dp.participation.joins
    text = (
        f"A device refuses to join more than {joins} rounds of a run, and two that are closer than "
        f"{dp.min_separation} rounds."
        if joins
        else "A device adds to each statistic once, and refuses a second time."
    )
    return {
        "unit": unit,
        "two_devices": _TWO,
        "rounds_at_most": joins,
        "weight_at_most": 1.0,
        "said": said(Statement(text, ENFORCED, ("config:dp.max_rounds_per_device", "rule:DP-011"))),
    }


def _adjacency(case: Case) -> dict[str, Any]:
    return {
        "adjacency": case.record.config.dp.adjacency,
        "public": ["number of devices", "size of a cohort", "number of rounds", "list of items"],
    }


def _loss(case: Case, figures: Figures) -> dict[str, Any]:
    ledger = case.record.ledger
    devices = 0 if ledger is None else ledger.header.devices
    return {
        "epsilon": figures.epsilon,
        "epsilon_unamplified": figures.unamplified,
        "delta": figures.delta,
        "population_delta": round_up(devices * figures.delta, 9),
        "cap": figures.cap,
        "curve": [{"delta": delta, "epsilon": epsilon} for delta, epsilon in figures.curve],
        "mu": absent("does not apply", "with secret coins the curve is no Gaussian's")
        if figures.mu is None
        else figures.mu,
        "power_at_one_percent": figures.power,
        "guess_in_100": figures.guess,
        "parts": dict(figures.parts),
    }


def _mechanism(case: Case) -> dict[str, Any]:
    dp, run = case.record.config.dp, correlated_of(case.record)
    noise = run.noise_multiplier if run is not None else dp.noise_multiplier
    return {
        "name": dp.mechanism,
        "clip_norm": dp.clip_norm,
        "noise_multiplier": noise or absent("does not apply", "the run had no rounds"),
        "relative_to": "the sum of contributions, over the clip norm; before correlation with blt",
        "correlation": absent("does not apply", "noise is independent from round to round")
        if run is None
        else {
            "sensitivity": run.sensitivity,
            "theta": list(run.theta),
            "omega": list(run.omega),
            "rounds": run.rounds,
            "min_separation": run.min_separation,
            "max_rounds": run.max_rounds,
        },
        "randomness": KEY,
        "arithmetic": f"whole numbers, 2^{dp.lattice_bits} steps to the clip norm",
        "lattice_step": dp.clip_norm / 2**dp.lattice_bits,
        "seeds": "seeded: the noise can be drawn again"
        if case.record.seeded
        else "none: the key was drawn for this run and destroyed at its end",
    }


def _accounting(case: Case, figures: Figures) -> dict[str, Any]:
    named = charges_of(case.record)
    listed = [{"entry": i, "name": name, "charge": c.to_dict()} for i, name, c in named]
    too_many = absent("not shown", "too many to list here; they are in record/ledger.jsonl")
    return {
        "method": "exact Gaussian, in closed form"
        if figures.method == "closed form"
        else "distributions of the privacy loss (PLD)",
        "version": f"dp-accounting {version('dp-accounting')}",
        "charges": listed if len(listed) <= _MOST_CHARGES else too_many,
        "second": absent("not known", "verify computed none")
        if figures.second is None
        else figures.second,
        "second_method": figures.second_method,
        "sampler_share_of_delta": SAMPLER_SHARE,
    }


def _sampling(case: Case, figures: Figures) -> dict[str, Any]:
    dp, run = case.record.config.dp, case.record
    text = (
        "Cohorts are drawn by coins that the server tosses and keeps secret; the figure without "
        "that "
        "credit stands beside."
        if figures.amplified
        else "No credit is taken for who takes part."
    )
    label = WORD if figures.amplified else CHECKED
    return {
        "assumed": "secret Poisson coins" if figures.amplified else "nothing",
        "implemented": "one coin for each device and round"
        if dp.sampling == "poisson"
        else "devices are invited, and refuse what comes too often or too soon",
        "coins": "the server" if dp.sampling == "poisson" else "nobody",
        "cap": dp.cohort_cap,
        "participation": absent("not known", "who took part, and how many, is in no file"),
        "said": said(
            Statement(
                text, label, ("config:dp.sampling", "rule:DP-007", *run.refs("purchase", "intent"))
            )
        ),
    }
