"""Lists of ``accounting.json`` against the libraries they name and what homebody makes of them."""

import inspect
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args
from warnings import catch_warnings, filterwarnings

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.privacy_accountant import NeighboringRelation, PrivacyAccountant
from dp_accounting.rdp import RdpAccountant
from opacus.accountants import GaussianAccountant, RDPAccountant
from pydantic import ValidationError

from homebody_privacy import (
    accounting,
    charges,
    closed_form,
    config,
    fft_accounting,
    protection,
    solving,
    tuning,
)
from homebody_privacy.accounting import epsilon_pld, spent_epsilon
from homebody_privacy.charges import Charge, GaussianReleases, PoissonRounds
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.fft_accounting import epsilon_fft
from homebody_privacy.premises import require_premises
from homebody_privacy.tuning import epsilon_best_of, epsilon_composed

Row = dict[str, Any]
Vectors = dict[str, list[Row]]
Build = Callable[..., PoissonRounds]

QUICK = (0, 4, 7, 14, 19, 30, 36, 44, 52, 59)
SOME = [pytest.param(i, marks=() if i in QUICK else (pytest.mark.slow,)) for i in range(60)]


def one_run(row: Row) -> dp_event.DpEvent:
    """One run of Poisson rounds, in dp-accounting's words."""
    gaussian = dp_event.GaussianDpEvent(row["noise_multiplier"])
    sampled = dp_event.PoissonSampledDpEvent(row["cohort"] / row["population"], gaussian)
    return dp_event.SelfComposedDpEvent(sampled, row["rounds"])


def by(accountant: PrivacyAccountant, event: dp_event.DpEvent, delta: float) -> float:
    return float(accountant.compose(event).get_epsilon(delta))


def test_every_list_of_the_file_is_known(vectors: Vectors) -> None:
    rows = {name: len(found) for name, found in vectors.items() if isinstance(found, list)}
    assert rows == {
        "poisson": 60,
        "closed_form_gaussian": 15,
        "truncated_poisson": 5,
        "blt": 4,
        "blt_brute_force": 1,
        "replace_one_trap": 3,
        "tuning": 2,
    }


@pytest.mark.parametrize("number", range(60))
def test_pf_13_the_third_opinion_agrees_with_the_stored_reference(
    vectors: Vectors, number: int
) -> None:
    row = vectors["poisson"][number]
    kind = (row["noise_multiplier"], row["cohort"] / row["population"], row["rounds"])
    epsilon, pld = epsilon_fft([kind], row["delta"]), row["epsilon_pld"]
    assert pld - 1e-3 <= epsilon <= 1.04 * pld + 0.03
    # and far closer than asked, for a wrong noise of a few percent must not pass
    assert epsilon <= 1.001 * pld + 1e-3
    assert epsilon <= row["epsilon_fft"] + 1e-3


@pytest.mark.parametrize("number", SOME)
def test_renyi_accountants_lie_above_the_reference(vectors: Vectors, number: int) -> None:
    row = vectors["poisson"][number]
    pld = row["epsilon_pld"]
    ours = by(RdpAccountant(), one_run(row), row["delta"])
    opacus = RDPAccountant()
    rate = row["cohort"] / row["population"]
    opacus.history = [(row["noise_multiplier"], rate, row["rounds"])]
    with catch_warnings():
        filterwarnings("ignore", "Optimal order is the")  # loose at the end of its orders
        theirs = float(opacus.get_epsilon(row["delta"]))
    assert ours == pytest.approx(row["epsilon_rdp_dp_accounting"], abs=0.002)
    assert theirs == pytest.approx(row["epsilon_rdp_opacus"], abs=0.002)
    assert min(ours, theirs) >= pld


def test_pf_13_the_limit_theorem_lies_below_the_reference_in_most_rows(vectors: Vectors) -> None:
    rows = vectors["poisson"]
    below = [row for row in rows if (row["epsilon_clt_unsafe"] or 1e9) < row["epsilon_pld"]]
    assert len(below) == 49
    with pytest.warns(UserWarning, match="underestimate"):
        unsafe = GaussianAccountant()
    row = below[0]
    unsafe.history = [
        (row["noise_multiplier"], row["cohort"] / row["population"], row["rounds"]),
    ]
    stored = pytest.approx(row["epsilon_clt_unsafe"], abs=0.002)
    assert float(unsafe.get_epsilon(row["delta"])) == stored


@pytest.mark.parametrize("accountant", ["gdp", "rdp", "prv"])
def test_pf_13_a_config_with_another_accountant_is_refused(
    config_text: str, accountant: str
) -> None:
    values = tomllib.loads(config_text)
    assert PrivacyConfig.model_validate(values).dp.accountant == "pld"
    values["dp"]["accountant"] = accountant
    with pytest.raises(ValidationError, match=r"dp\.accountant"):
        PrivacyConfig.model_validate(values)


@pytest.mark.parametrize("number", range(5))
def test_a_cap_is_charged_as_stored_by_the_quick_accountant_too(
    vectors: Vectors, number: int
) -> None:
    row = vectors["truncated_poisson"][number]
    charged = PoissonRounds(
        population=row["population"],
        cohort_size=row["expected_cohort"],
        cohort_cap=row["cap"],
        noise_multiplier=row["noise_multiplier"],
        rounds=row["rounds"],
    )
    epsilon = spent_epsilon([charged], row["delta"])
    assert row["epsilon_pld"] - 0.002 <= epsilon <= row["epsilon_pld"] + 0.003


def test_pf_12_the_renyi_accountant_takes_replace_one_for_add_or_remove(vectors: Vectors) -> None:
    for row in vectors["replace_one_trap"]:
        event = dp_event.GaussianDpEvent(row["noise_multiplier"])
        relation, delta = NeighboringRelation.REPLACE_ONE, row["delta"]
        wrong = by(RdpAccountant(neighboring_relation=relation), event, delta)
        right = by(PLDAccountant(relation), event, delta)
        exact = gaussian_epsilon(row["exact_mu"], delta)
        assert wrong == pytest.approx(row["epsilon_rdp_replace_one_wrong"], abs=0.002)
        assert right == pytest.approx(row["epsilon_pld_replace_one"], abs=0.002)
        assert exact == pytest.approx(right, abs=0.002)
        assert row["exact_mu"] == 2.0 / row["noise_multiplier"]
        assert wrong < 0.6 * exact
        # what our engine says is zero-out at the noise given, and replace-one at half of it
        engine = spent_epsilon([GaussianReleases(noise_multiplier=row["noise_multiplier"])], delta)
        halved = GaussianReleases(noise_multiplier=row["noise_multiplier"] / 2)
        assert engine == gaussian_epsilon(row["exact_mu"] / 2, delta) < 0.6 * exact
        assert spent_epsilon([halved], delta) == pytest.approx(exact, abs=1e-9)


def test_pf_12_nobody_can_ask_the_engine_for_replace_one(config_text: str) -> None:
    values = tomllib.loads(config_text)
    for other in ("replace_one", "add_remove"):
        values["dp"]["adjacency"] = other
        with pytest.raises(PolicyViolationError, match=r"dp\.adjacency"):
            require_premises(PrivacyConfig.model_validate(values))
    named = {field.name for kind in get_args(Charge) for field in fields(kind)}
    modules = (
        accounting,
        charges,
        closed_form,
        config,
        fft_accounting,
        protection,
        solving,
        tuning,
    )
    for module in modules:
        for _, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__.startswith("homebody_privacy"):
                named |= set(inspect.signature(function).parameters)
    assert {"noise_multiplier", "delta", "epsilon"} <= named  # the walk did find something
    assert not {name for name in named if "adjacen" in name or "neighb" in name}
    sources = Path(accounting.__file__).parent.glob("*.py")
    texts = {file.name: file.read_text("utf-8") for file in sources}
    assert "NeighboringRelation.ADD_OR_REMOVE_ONE" in texts["accounting.py"]
    relations = [relation.name for relation in NeighboringRelation if "REPLACE" in relation.name]
    assert relations
    assert not [file for file, text in texts.items() if any(word in text for word in relations)]


@pytest.mark.parametrize("number", [0, 1])
def test_pf_20_tuning_costs_what_is_stored(vectors: Vectors, number: int) -> None:
    row = vectors["tuning"][number]
    delta = row["delta"]
    run = [
        PoissonRounds(
            population=row["population"],
            cohort_size=row["cohort"],
            cohort_cap=row["population"],
            noise_multiplier=row["noise_multiplier"],
            rounds=row["rounds"],
        )
    ]
    for mean in (10, 50):
        stored = row[f"epsilon_rdp_best_of_geometric_mean_{mean}"]
        assert epsilon_best_of(run, delta, mean=mean) == pytest.approx(stored, abs=0.01)
    ten_runs = dp_event.SelfComposedDpEvent(one_run(row), 10)
    single = by(RdpAccountant(), one_run(row), delta)
    assert single == pytest.approx(row["epsilon_rdp_single"], abs=0.01)
    composed = by(RdpAccountant(), ten_runs, delta)
    assert composed == pytest.approx(row["epsilon_rdp_ten_composed"], abs=0.01)
    # Renyi accounting is loose: by the reference one run, and ten, cost less
    assert epsilon_pld(run, delta) < row["epsilon_rdp_single"]
    ten = epsilon_composed(run, delta, runs=10)
    assert row["epsilon_rdp_best_of_geometric_mean_10"] < ten < row["epsilon_rdp_ten_composed"]
