"""Which model is given to devices: by charged figures alone, and the start unless the end won."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_server.run_spec import MetricPlan, RunSpec
from homebody_simulation.shipping import Figure, charged_figures, decide

FIGURES = st.one_of(st.none(), st.builds(Figure, st.floats(0, 1), st.floats(0, 0.1)))
FIELDS: dict[str, Any] = {
    "rounds": 4,
    "devices": 100,
    "cohort_size": 50,
    "cohort_cap": 80,
    "clip_norm": 1.0,
    "lattice_bits": 18,
    "noise_multiplier": 1.0,
    "ceiling": 8.0,
    "delta": 1e-3,
    "learning_rate": 0.1,
    "server_optimizer": "tensor-adam",
    "tensors": MappingProxyType({"b": (3,)}),
    "config_digest": "0" * 64,
    "population": "1" * 64,
    "lifetime": False,
    "deadline_s": 1.0,
}


@given(FIGURES, FIGURES)
def test_the_end_ships_only_where_both_were_released_and_it_is_above(
    start: Figure | None, end: Figure | None
) -> None:
    shipped, why = decide(start, end)
    won = start is not None and end is not None and end.value > start.value
    assert shipped == ("end" if won else "start")
    assert why


@pytest.mark.parametrize("end", [0.05, 0.04])
def test_a_tie_or_a_loss_is_said_to_have_bought_nothing(end: float) -> None:
    shipped, why = decide(Figure(0.05, 0.0), Figure(end, 0.0))
    assert shipped == "start"
    assert "bought nothing" in why
    assert "chance" not in why  # a figure without noise is what it is


@pytest.mark.parametrize(("gap", "chance"), [(0.02, True), (0.03, False), (-0.02, True)])
def test_a_gap_below_its_noise_is_said_to_be_one(gap: float, chance: object) -> None:
    # Noise of the difference: sd .01 * sqrt 2, so .0277 at 95 %.
    _, why = decide(Figure(0.1, 0.01), Figure(0.1 + gap, 0.01))
    assert ("may be chance" in why) == chance


def test_a_missing_figure_is_said_to_show_nothing() -> None:
    for start, end in ((None, Figure(0.9, 0.0)), (Figure(0.1, 0.0), None)):
        shipped, why = decide(start, end)
        assert shipped == "start"
        assert "not released of both" in why


def test_figures_are_found_by_the_round_they_were_asked_after() -> None:
    quality = MetricPlan(name="quality", noise_multiplier=5.0, releases=2)
    active = MetricPlan(name="active", noise_multiplier=5.0, releases=1)
    spec = RunSpec(**FIELDS, metrics=(active, quality))
    answers = {
        "metrics/quality/2": {"hit@10": 0.3, "ndcg@10": 0.2},
        "metrics/active/4": {"active": 0.9},
    }
    found = charged_figures(spec, answers)
    assert set(found) == {2}
    assert found[2].value == 0.2
    # A device's two figures are halved in square to keep its norm, so each has noise root 2 wider.
    assert found[2].noise_sd == pytest.approx(5.0 * 2**0.5 / 100)
    assert charged_figures(replace(spec, metrics=(active,)), answers) == {}
