"""Every charge is held to the config: mechanism, noise, rounds, cap, and how often."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.charges import Charge, CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.config import PrivacyConfig
from homebody_server.evidence.independent_lines import RawLedger, parse_ledger
from homebody_server.evidence.verify_charges import check_charges

QUALITY = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 20.0
releases_per_run = 1
"""
STATISTICS = """
[statistics]
recipe = "both"
popularity_multiplier = 4.0
gram_multiplier = 3.0
"""
BLT = "blt = { theta = [0.9], omega = [0.4] }\nnoise_multiplier = 5.0\n"

RUN = CorrelatedRun(
    noise_multiplier=5.0,
    sensitivity=2.0,
    rounds=6,
    min_separation=3,
    max_rounds=2,
    theta=(0.9,),
    omega=(0.4,),
)
ROUND = PoissonRounds(population=400, cohort_size=40, cohort_cap=80, noise_multiplier=3.0, rounds=1)
FIGURE = GaussianReleases(noise_multiplier=20.0, releases=1)
POPULARITY = GaussianReleases(noise_multiplier=4.0, releases=1, part="statistics")
GRAM = GaussianReleases(noise_multiplier=3.0, releases=1, part="statistics")

Write = Callable[..., Path]
Entry = dict[str, Any]


@pytest.fixture(scope="module")
def correlated(write_config: Write) -> PrivacyConfig:
    return PrivacyConfig.read(
        write_config(
            mechanism="blt",
            rounds=6,
            min_separation=3,
            max_rounds_per_device=2,
            cohort_size=40,
            cohort_cap=40,
            more=BLT + QUALITY + STATISTICS,
        )
    )


@pytest.fixture(scope="module")
def sampled(write_config: Write) -> PrivacyConfig:
    more = "noise_multiplier = 3.0\n"
    return PrivacyConfig.read(write_config(rounds=2, cohort_size=40, cohort_cap=80, more=more))


def ledger(*entries: Entry) -> RawLedger:
    header = {"kind": "header", "devices": 400}
    lines = [json.dumps({"entry": one}).encode() + b"\n" for one in (header, *entries)]
    return parse_ledger(b"".join(lines))


def bought(name: str, charge: Charge, **changes: object) -> Entry:
    return {"kind": "purchase", "name": name, "charge": {**charge.to_dict(), **changes}}


def opened(number: int, charge: Charge | None = None, **changes: object) -> Entry:
    cost = None if charge is None else {**charge.to_dict(), **changes}
    return {"kind": "intent", "round": number, "charge": cost}


WHOLE = (
    bought("run", RUN),
    bought("statistics/popularity", POPULARITY),
    bought("statistics/gram", GRAM),
    opened(1),
    opened(2),
    bought("metrics/quality/6", FIGURE),
)


def wrong(config: PrivacyConfig, *entries: Entry) -> list[str]:
    return [one.text for one in check_charges(config, ledger(*entries)) if one.mark == "WRONG"]


def test_what_the_config_says_raises_no_alarm(
    correlated: PrivacyConfig, sampled: PrivacyConfig
) -> None:
    assert wrong(correlated, *WHOLE) == []
    assert wrong(sampled, opened(1, ROUND), opened(2, ROUND)) == []


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (bought("run", RUN, noise_multiplier=4.9), "run has another noise_multiplier"),
        (bought("run", RUN, rounds=5), "run has another rounds"),
        (bought("run", RUN, min_separation=4), "run has another min_separation"),
        (bought("run", RUN, max_rounds=1), "run has another max_rounds"),
        (bought("run", RUN, theta=[0.8]), "run has another theta"),
        (bought("run", RUN, omega=[0.3]), "run has another omega"),
        (bought("run", RUN, runs=0), "run has another runs"),
        (bought("run", RUN, part="tuning"), "run has another part"),
        (bought("run", FIGURE), "run has another kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cr_41_a_correlated_run_is_that_of_the_config(
    correlated: PrivacyConfig, entry: Entry, why: str
) -> None:
    assert any(why in one for one in wrong(correlated, entry, *WHOLE[1:]))


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_multiplier": 3.5},
        {"population": 4000},
        {"cohort_size": 30},
        {"cohort_cap": 60},
        {"rounds": 2},
        {"count_multiplier": 4.0},
        {"part": "metrics"},
    ],
    ids=str,
)
def test_cr_41_a_sampled_round_is_that_of_the_config(
    sampled: PrivacyConfig, changes: dict[str, object]
) -> None:
    (name,) = changes
    said = f"the charge of round/1 has another {name} than the config"
    assert said in wrong(sampled, opened(1, ROUND, **changes), opened(2, ROUND))


@pytest.mark.parametrize(
    ("name", "charge"),
    [
        ("metrics/free/1", FIGURE),
        ("statistics/other", POPULARITY),
        ("tuning", RUN),
        ("tuning/gram", GRAM),
        ("more", FIGURE),
    ],
)
def test_a_charge_that_the_config_does_not_have_is_caught(
    correlated: PrivacyConfig, name: str, charge: Charge
) -> None:
    said = f"the ledger charges {name}, which the config does not have"
    assert said in wrong(correlated, *WHOLE, bought(name, charge))


def test_a_name_that_is_none_is_not_repeated(correlated: PrivacyConfig) -> None:
    said = wrong(correlated, *WHOLE, bought("A person's <name>", FIGURE))
    assert said == ["the ledger charges something nameless, which the config does not have"]


def test_nothing_is_for_free(correlated: PrivacyConfig, sampled: PrivacyConfig) -> None:
    unpaid = "rounds were opened and nothing was charged for them"
    assert unpaid in wrong(correlated, *WHOLE[1:])
    assert "a round was opened and not charged" in wrong(sampled, opened(1, ROUND), opened(2))
    answer = {"kind": "answer", "name": "metrics/quality/1", "values": {}}
    assert "entry 7 releases what was never charged" in wrong(correlated, *WHOLE, answer)


def test_nothing_is_more_often_than_approved(
    correlated: PrivacyConfig, sampled: PrivacyConfig
) -> None:
    third = "the ledger opened 3 rounds, the config has 2"
    assert third in wrong(sampled, *(opened(i, ROUND) for i in (1, 2, 3)))
    said = wrong(correlated, *WHOLE, bought("metrics/quality/3", FIGURE))
    assert said == ["quality was released more often than the config says"]
    assert "something was charged twice under one name" in wrong(correlated, *WHOLE, WHOLE[1])


def test_tuning_on_private_data_is_charged(correlated: PrivacyConfig) -> None:
    private = {"tuning_data": "private", "tuning_runs": 2}
    config = correlated.model_copy(update={"dp": correlated.dp.model_copy(update=private)})
    tuned = (
        bought("tuning", RUN, runs=2, part="tuning"),
        bought("tuning/popularity", POPULARITY, releases=2, part="tuning"),
        bought("tuning/gram", GRAM, releases=2, part="tuning"),
    )
    assert wrong(config, *tuned, *WHOLE) == []
    assert wrong(config, *WHOLE) == ["tuning on private data was not charged"]
    fewer = bought("tuning", RUN, runs=1, part="tuning")
    said = wrong(config, fewer, *tuned[1:], *WHOLE)
    assert said == ["the charge of tuning has another runs than the config"]


def test_tuning_of_sampled_rounds_is_charged(sampled: PrivacyConfig) -> None:
    private = {"tuning_data": "private", "tuning_runs": 3}
    config = sampled.model_copy(update={"dp": sampled.dp.model_copy(update=private)})
    tuned = bought("tuning", ROUND, rounds=6, part="tuning")
    assert wrong(config, tuned, opened(1, ROUND), opened(2, ROUND)) == []


def test_an_adaptive_clip_norm_is_charged(sampled: PrivacyConfig) -> None:
    dp = sampled.dp.model_copy(update={"adaptive_clip": True})
    config = sampled.model_copy(update={"dp": dp})
    said = "the charge of round/1 has another count_multiplier than the config"
    assert said in wrong(config, opened(1, ROUND))
    assert wrong(config, opened(1, ROUND, count_multiplier=4.0)) == []
