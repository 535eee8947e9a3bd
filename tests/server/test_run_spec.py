"""A run's constants: JSON and back, and nothing a run cannot do."""

import json
from typing import Any

import pytest

from homebody_server.run_spec import RunSpec

USUAL: dict[str, Any] = {
    "rounds": 5,
    "devices": 100,
    "cohort_size": 10,
    "cohort_cap": 30,
    "clip_norm": 0.5,
    "lattice_bits": 16,
    "noise_multiplier": 1.5,
    "ceiling": 4.0,
    "delta": 1e-4,
    "learning_rate": 0.02,
    "server_optimizer": "tensor-adam",
    "tensors": {"V": (3, 2), "b": (3,)},
    "config_digest": "a" * 64,
    "population": "b" * 64,
    "lifetime": False,
    "deadline_s": 60.0,
}


def test_a_spec_survives_json() -> None:
    spec = RunSpec(**USUAL)
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_charge_is_one_round_of_what_is_done() -> None:
    charge = RunSpec(**USUAL).charge()
    assert (charge.population, charge.cohort_size, charge.cohort_cap) == (100, 10, 30)
    assert (charge.noise_multiplier, charge.rounds) == (1.5, 1)


def test_composition_and_sampler_share_delta() -> None:
    spec = RunSpec(**USUAL)
    assert spec.accounted_delta + spec.sampler_delta == pytest.approx(spec.delta, rel=1e-12)
    assert 0.0 < spec.sampler_delta < spec.accounted_delta < spec.delta


def test_the_learning_rate_falls_in_equal_steps_to_the_last_round() -> None:
    spec = RunSpec(**(USUAL | {"final_learning_rate": 0.01}))
    rates = [spec.learning_rate_at(number) for number in range(1, 6)]
    assert rates == pytest.approx([0.02, 0.0175, 0.015, 0.0125, 0.01])


def test_without_a_final_learning_rate_it_stays() -> None:
    assert {RunSpec(**USUAL).learning_rate_at(number) for number in range(1, 6)} == {0.02}


@pytest.mark.parametrize(
    "change",
    [
        {"final_learning_rate": 0.0},
        {"rounds": 0},
        {"cohort_size": 0},
        {"cohort_size": 101},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"deadline_s": 0.0},
        {"ceiling": None},
        {"noise_multiplier": 0.0},
    ],
    ids=str,
)
def test_what_no_run_can_do_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|exactly when"):
        RunSpec(**(USUAL | change))


@pytest.mark.parametrize("drop", sorted(USUAL))
def test_a_missing_field_is_refused(drop: str) -> None:
    with pytest.raises(ValueError, match="missing or unknown"):
        RunSpec.from_dict({k: v for k, v in USUAL.items() if k != drop})


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="missing or unknown"):
        RunSpec.from_dict(USUAL | {"weights": "by examples"})
