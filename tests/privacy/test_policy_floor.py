"""The floor of a device: what it says, where it comes from, and what is below it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.errors import BelowFloorError, InvalidFileError
from homebody_privacy.policy_floor import PolicyFloor

from .review_world import example


def test_the_example_of_the_design_stands_above_the_usual_floor() -> None:
    assert PolicyFloor().broken_by(example()) == ()
    PolicyFloor().require(example())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_epsilon": 2.0}, "dp.epsilon_max"),
        ({"max_delta": 1e-9}, "dp.delta"),
        ({"min_report_goal": 400}, "at least 400"),
        ({"min_separation": 200}, "dp.min_separation"),
        ({"max_joins": 1}, "dp.max_rounds_per_device"),
    ],
)
def test_each_field_of_a_floor_is_one_a_config_can_break(
    change: dict[str, Any], field: str
) -> None:
    with pytest.raises(BelowFloorError, match=field):
        replace(PolicyFloor(), **change).require(example())


def test_a_floor_reads_back_as_it_was_saved_and_no_file_is_the_usual_one(tmp_path: Path) -> None:
    file = tmp_path / "floor.toml"
    assert PolicyFloor.load(file) == PolicyFloor()
    own = PolicyFloor(max_epsilon=1.5, min_approvals=3, require_secagg=False)
    own.save(file)
    assert PolicyFloor.load(file) == own
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        'schema = "floor/2"',
        'schema = "floor/1"\nmax_epsilom = 1.0',
        'schema = "floor/1"\nmax_epsilon = nan',
        'schema = "floor/1"\nmax_epsilon = "1"',
        'schema = "floor/1"\nmin_report_goal = 0',
        'schema = "floor/1"\nmin_approvals = 0',
        'schema = "floor/1"\nrequire_secagg = 1',
        'schema = "floor/1',
    ],
)
def test_a_floor_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "floor.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(InvalidFileError):
        PolicyFloor.load(file)
