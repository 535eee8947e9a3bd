"""The promise and what is released under it: direction of each field's change."""

from math import inf
from typing import Final

from .meaning import Meaning
from .verdicts import Direction, changed, items, more_is, ranked

_WEAKER, _STRONGER = Direction.WEAKER, Direction.STRONGER
_more_weaker, _more_stronger = more_is(_WEAKER), more_is(_STRONGER)

DP: Final = {
    "unit": Meaning("who is protected as one", ranked({"user": 1, "record": 0}), "weaker_dp"),
    "adjacency": Meaning("how two worlds differ", changed),
    "mechanism": Meaning(
        "how noise is added", ranked({"none": 0, "blt": 1, "gaussian": 1}), "weaker_dp"
    ),
    "accountant": Meaning("what computes the loss", changed),
    "sampling": Meaning("how cohorts are drawn", changed),
    "amplification": Meaning("credit for secret coins", _more_weaker, "weaker_dp"),
    "clip_norm": Meaning("most one update adds", changed),
    "adaptive_clip": Meaning("that bound follows the updates", changed),
    "noise_by": Meaning("who adds the noise", changed),
    "lattice_bits": Meaning("digits of the grid updates are rounded to", changed),
    "rounds": Meaning("rounds of a run", _more_weaker, "weaker_dp"),
    "min_separation": Meaning("rounds between two joins of a device", _more_stronger, "weaker_dp"),
    "max_rounds_per_device": Meaning("rounds a device joins a run", _more_weaker, "weaker_dp"),
    "device_epsilon_max": Meaning(
        "epsilon a device spends by its own count", more_is(_WEAKER), "weaker_dp"
    ),
    "cohort_size": Meaning("devices expected in a round", changed),
    "cohort_cap": Meaning("most devices of a round", changed),
    "epsilon_max": Meaning("cap on epsilon", _more_weaker, "weaker_dp"),
    "delta": Meaning("chance that the bound fails", _more_weaker, "weaker_dp"),
    "budget_scope": Meaning(
        "what shares one budget", ranked({"run": 0, "lifetime": 1}), "weaker_dp"
    ),
    "tuning_data": Meaning(
        "what settings were tuned on",
        ranked({"private": 0, "public": 1, "synthetic": 1}),
        "weaker_dp",
    ),
    "tuning_runs": Meaning("tuning runs that are in no ledger", changed),
    "pretraining": Meaning("what the model starts from", changed),
    "noise_multiplier": Meaning("noise added to each round", _more_stronger, "weaker_dp"),
    "blt.theta": Meaning("how noise cancels over rounds (theta)", changed),
    "blt.omega": Meaning("how noise cancels over rounds (omega)", changed),
    "record.enabled": Meaning("record level besides", _more_stronger, "weaker_dp"),
    "record.max_grad_norm": Meaning("record level: bound of one gradient", changed),
    "record.noise_multiplier": Meaning("record level: noise", _more_stronger, "weaker_dp"),
    "record.sampling_rate": Meaning("record level: share of a batch", _more_weaker, "weaker_dp"),
    "record.steps": Meaning("record level: steps a round", _more_weaker, "weaker_dp"),
    "record.delta": Meaning("record level: chance of failure", _more_weaker, "weaker_dp"),
    "record.epsilon_max": Meaning(
        "record level: cap on epsilon", more_is(_WEAKER, nothing=inf), "weaker_dp"
    ),
}

STATISTICS: Final = {
    "recipe": Meaning("how a run trains", changed),
    "window": Meaning("how pairs of events are weighed", changed),
    "head": Meaning("items whose pairs are counted", changed),
    "popularity_share": Meaning("share of the loss for popularity", changed),
    "rounds_share": Meaning("share of the loss for the rounds", changed),
    "popularity_multiplier": Meaning("noise on popularity", _more_stronger, "weaker_dp"),
    "gram_multiplier": Meaning("noise on pairs", _more_stronger, "weaker_dp"),
}

METRIC: Final = {
    "purpose": Meaning("the switch {name} is sent under", changed, "changed_purpose", always=True),
    "features": Meaning(
        "{name} also reads {item}",
        items(_WEAKER),
        "new_feature_use",
        "{name} no longer reads {item}",
    ),
    "noise_multiplier": Meaning("noise added to {name}", _more_stronger, "weaker_dp"),
    "releases_per_run": Meaning("times a run {name} is released", _more_weaker, "weaker_dp"),
}
