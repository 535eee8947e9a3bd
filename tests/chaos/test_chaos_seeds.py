"""Runs in sealed sessions, through accidents drawn from a seed; ``-k seed017`` repeats one.

Whatever happens: the released model is that of a replay in clear with exactly the devices that each
sum was made of, each round is charged once, what released nothing says why, and nothing of a person
stands on the wire or on a disk.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.world import Builder

from .observed import observed
from .oracle import Tally
from .plan import draw
from .scenario import Scenario

pytestmark = pytest.mark.chaos

SEEDS = range(205)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed{seed:03}")
def test_no_accident_makes_a_wrong_sum_spends_twice_or_shows_anything(
    seed: int, build: Builder, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    plan = draw(seed)
    print(plan)  # noqa: T201 - shown where it fails
    scenario = Scenario.of(plan, build, folder)
    found = judged(scenario)
    assert scenario.weather.seen.fired, "no accident struck"
    record_property("chaos faults", "; ".join(found.kinds))
    record_property("chaos void", "; ".join(found.voids))
    record_property("chaos sums", "; ".join(["made"] * found.sums))
    record_property("chaos runs", f"{plan.setting}".replace(";", ""))
    record_property("chaos starts of the server", "; ".join(["all"] * found.starts))


def judged(scenario: Scenario) -> Tally:
    """Run a scenario with everything watched, and judge it."""
    with observed(scenario.weather.seen):
        scenario.run()
    return scenario.judge()
