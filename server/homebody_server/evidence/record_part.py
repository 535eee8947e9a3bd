"""Fields 2 to 7 of ``evidence.json`` for the record level: a second promise, never added."""

from importlib.metadata import version
from typing import Any

from homebody_privacy.charges import round_up
from homebody_privacy.lattice import RECORD_BITS
from homebody_privacy.protection import RecordLevel
from homebody_privacy.record import (
    CrossCheckError,
    RecordRounds,
    epsilon_record,
    participations_at_most,
)
from homebody_privacy.withdrawal_words import odds_in_100
from homebody_server.evidence.case import Case
from homebody_server.evidence.figures import SAMPLER_EPSILON, SAMPLER_SHARE
from homebody_server.evidence.level import KEY, absent, said, unit_block
from homebody_server.evidence.words import ENFORCED, Statement


def record_level(case: Case, own: RecordLevel) -> dict[str, Any]:
    """Return the block of the record level, or why there is none.

    Args:
        case: The run.
        own: What the config says of this layer.

    Raises:
        ModuleNotFoundError: If the run has this layer and Opacus is not installed.
    """
    config, ledger = case.record.config, case.record.ledger
    dp = config.dp
    if ledger is None or not ledger.closed:
        return absent("does not apply", "the run had no rounds")
    rounds, rate = ledger.closed, dp.cohort_size / ledger.header.devices
    if dp.mechanism == "blt":  # nothing is assumed but the cap
        rounds, rate = min(rounds, dp.participation.joins), 1.0
    one = RecordRounds(
        sampling_rate=effective_rate(own.sampling_rate),
        steps=own.steps,
        noise_multiplier=own.noise_multiplier,
    )
    delta = own.delta * (1.0 - SAMPLER_SHARE)
    try:
        spent = epsilon_record(one, delta, rounds=rounds, sampling_rate=rate)
    except CrossCheckError:
        return absent("not shown", "the accountant of the record level failed")
    joins = participations_at_most(rounds, rate, delta)
    epsilon = round_up(spent + SAMPLER_EPSILON, 3)
    no_curve = absent("not known", "computed at the claim's delta alone")
    return {
        "unit": {**unit_block("record", case), "rounds_at_most": joins},
        "adjacency": {"adjacency": "add_remove", "public": ["number of devices", "list of items"]},
        "privacy_loss": {
            "epsilon": epsilon,
            "epsilon_unamplified": epsilon,
            "delta": own.delta,
            "population_delta": round_up(ledger.header.devices * own.delta, 9),
            "cap": own.epsilon_max or epsilon,
            "curve": no_curve,
            "mu": no_curve,
            "power_at_one_percent": no_curve,
            "guess_in_100": odds_in_100(epsilon),
            "parts": {"training on the device": epsilon},
        },
        "mechanism": {
            "name": "dp-sgd",
            "clip_norm": own.max_grad_norm,
            "noise_multiplier": own.noise_multiplier,
            "relative_to": "the sum of gradients of a batch, over max_grad_norm",
            "correlation": absent("does not apply", "noise is independent from step to step"),
            "randomness": KEY,
            "arithmetic": f"whole numbers, 2^{RECORD_BITS} steps to max_grad_norm",
            "lattice_step": own.max_grad_norm / 2**RECORD_BITS,
            "seeds": "none",
        },
        "accounting": {
            "method": "PRV of Opacus, at record level",
            "version": f"opacus {version('opacus')}",
            "charges": absent("not known", "each device keeps its own count"),
            "second": absent("not known", "one accountant"),
            "second_method": "none",
            "sampler_share_of_delta": SAMPLER_SHARE,
        },
        "sampling": {
            "assumed": f"batches at rate {one.sampling_rate:g}",
            "implemented": "one coin for each record and step, on the device",
            "coins": "the device",
            "cap": dp.cohort_cap,
            "participation": absent("not known", "each device keeps its own count"),
            "said": said(
                Statement(
                    "Record level: a promise of its own about one event of one device, never "
                    "added to "
                    "the user level.",
                    ENFORCED,
                    ("config:dp.record.noise_multiplier", "rule:DP-005"),
                )
            ),
        },
    }


def effective_rate(sampling_rate: float) -> float:
    """Return the rate a device draws records at: the least 1/n that is not below the config's.

    As the device does; its own module loads torch and stands beside this package, not below it.
    """
    return 1.0 / max(1, int(1.0 / sampling_rate + 1e-9))
