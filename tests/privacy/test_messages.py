"""What passes between server and devices reads back as it was written, or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.messages import (
    DEVICES,
    STATISTICS,
    Invitation,
    Question,
    StatisticName,
    enrolled,
)

USUAL = {"run": "r", "round": 1, "devices": [3], "config-digest": "d"}
ASKED = {**USUAL, "metric": "hit_rate"}


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


@pytest.mark.parametrize(("field", "value"), [("round", 0), ("round", -1)])
def test_an_invitation_to_no_round_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="must"):
        Invitation.from_record({**USUAL, field: value})


def test_an_invitation_may_ask_none_of_a_nodes_devices() -> None:
    assert Invitation.from_record({**USUAL, "devices": []}).devices == ()


def test_a_clip_norm_that_is_a_whole_number_in_json_is_the_same_norm() -> None:
    asked = Invitation.from_record({**USUAL, "clip-norm": 1})
    assert asked.clip_norm == 1.0
    assert type(asked.clip_norm) is float


@given(st.lists(st.integers(min_value=0), max_size=5))
def test_an_enrolment_is_its_numbers(devices: list[int]) -> None:
    assert enrolled({DEVICES: devices}) == devices


@pytest.mark.parametrize("devices", [None, 3, "one", [-1], [1.0], ["1"]])
def test_an_enrolment_of_anything_else_is_refused(devices: object) -> None:
    with pytest.raises(ValueError, match="enrolment"):
        enrolled({DEVICES: devices})


@given(st.floats(allow_nan=False))
def test_a_clip_norm_that_adapts_travels_with_the_invitation(clip_norm: float) -> None:
    asked = Invitation(run="r", round=2, devices=(1, 2), config_digest="d", clip_norm=clip_norm)
    assert Invitation.from_record(asked.to_record()) == asked
    assert set(asked.to_record()) == {*USUAL, "clip-norm"}


def test_a_clip_norm_that_is_fixed_is_not_sent() -> None:
    assert set(Invitation.from_record(USUAL).to_record()) == set(USUAL)


@pytest.mark.parametrize("clip_norm", [True, "1.0", b"2"])
def test_a_clip_norm_of_another_type_is_refused(clip_norm: object) -> None:
    with pytest.raises(ValueError, match="clip-norm"):
        Invitation.from_record({**USUAL, "clip-norm": clip_norm})


@given(
    st.text(),
    st.text(),
    st.integers(min_value=1),
    st.lists(st.integers(min_value=0), min_size=1, max_size=5, unique=True),
)
def test_a_question_reads_back_as_written(
    run: str, metric: str, number: int, devices: list[int]
) -> None:
    asked = Question(
        run=run, round=number, metric=metric, devices=tuple(devices), config_digest="ab"
    )
    assert Question.from_record(asked.to_record()) == asked
    assert set(asked.to_record()) == set(ASKED)


@pytest.mark.parametrize("field", sorted(ASKED))
def test_a_question_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="question needs"):
        Question.from_record({k: v for k, v in ASKED.items() if k != field})


@pytest.mark.parametrize(("field", "value"), [("metric", 1), ("round", 1.0), ("devices", (1,))])
def test_a_question_of_another_type_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="question needs"):
        Question.from_record({**ASKED, field: value})


@pytest.mark.parametrize("kind", [Invitation, Question])
def test_pf_38_a_message_that_names_a_device_twice_is_refused(
    kind: type[Invitation] | type[Question],
) -> None:
    with pytest.raises(ValueError, match="twice"):
        kind.from_record({**ASKED, "devices": [3, 4, 3]})
    with pytest.raises(ValueError, match="must"):
        kind.from_record({**ASKED, "round": -1})


def test_a_question_may_be_about_the_model_before_the_first_round() -> None:
    assert Question.from_record({**ASKED, "round": 0}).round == 0


@pytest.mark.parametrize("name", STATISTICS)
def test_a_statistic_travels_with_an_invitation_before_the_first_round(name: StatisticName) -> None:
    asked = Invitation(run="r", round=0, devices=(1,), config_digest="d", statistic=name)
    assert Invitation.from_record(asked.to_record()) == asked
    assert set(asked.to_record()) == {*USUAL, "statistic"}


@pytest.mark.parametrize(
    "broken",
    [
        {"round": 1, "statistic": "gram"},
        {"round": 0},
        {"round": -1, "statistic": "gram"},
        {"round": 0, "statistic": "gram", "clip-norm": 1.0},
        {"round": 0, "statistic": "mean"},
        {"round": 0, "statistic": ""},
        {"round": 0, "statistic": 1},
        {"round": 0, "statistic": b"gram"},
        {"round": 0, "statistic": "gram", "devices": [1, 1]},
    ],
)
def test_an_invitation_is_for_a_round_or_for_a_known_statistic_before_them(
    broken: dict[str, object],
) -> None:
    with pytest.raises(ValueError, match=r"must|twice"):
        Invitation.from_record({**USUAL, **broken})
