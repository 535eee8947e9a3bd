"""What passes between server and devices reads back as it was written, or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.messages import DEVICES, Invitation, enrolled

USUAL = {"run": "r", "round": 1, "devices": [3], "config-digest": "d"}


@given(
    st.text(),
    st.integers(min_value=1),
    st.lists(st.integers(min_value=0), min_size=1, max_size=5, unique=True),
)
def test_an_invitation_reads_back_as_written(run: str, number: int, devices: list[int]) -> None:
    asked = Invitation(run=run, round=number, devices=tuple(devices), config_digest="ab")
    assert Invitation.from_record(asked.to_record()) == asked


@pytest.mark.parametrize("field", sorted(USUAL))
def test_an_invitation_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="invitation needs"):
        Invitation.from_record({k: v for k, v in USUAL.items() if k != field})


@pytest.mark.parametrize(
    ("field", "value"),
    [("run", 1), ("round", "1"), ("devices", "3"), ("devices", [1.5]), ("config-digest", b"d")],
)
def test_an_invitation_of_another_type_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="invitation needs"):
        Invitation.from_record({**USUAL, field: value})


@pytest.mark.parametrize(("field", "value"), [("round", 0), ("round", -1), ("devices", [])])
def test_an_invitation_to_no_round_or_nobody_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="must"):
        Invitation.from_record({**USUAL, field: value})


@given(st.lists(st.integers(min_value=0), max_size=5))
def test_an_enrolment_is_its_numbers(devices: list[int]) -> None:
    assert enrolled({DEVICES: devices}) == devices


@pytest.mark.parametrize("devices", [None, 3, "one", [-1], [1.0], ["1"]])
def test_an_enrolment_of_anything_else_is_refused(devices: object) -> None:
    with pytest.raises(ValueError, match="enrolment"):
        enrolled({DEVICES: devices})
