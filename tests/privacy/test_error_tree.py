"""Every refusal says how the program ends and what helps."""

from pathlib import Path

import pytest

from homebody_privacy import environment, errors
from homebody_privacy.errors import HomebodyError, UsageError


def refusals() -> list[type[HomebodyError]]:
    found = [e for e in vars(errors).values() if isinstance(e, type)]
    return [e for e in found if issubclass(e, HomebodyError)]


def test_codes_and_fixes_are_distinct_and_not_empty() -> None:
    assert len({e.code for e in refusals()}) == len(refusals())
    assert all(e.fix for e in refusals() if e is not HomebodyError)
    assert {e.exit_code for e in refusals()} == {1, 2, 10, 11, 12, 13, 14, 15}


def test_a_more_precise_fix_replaces_the_general_one() -> None:
    assert UsageError("a", fix="b").fix == "b"
    assert UsageError("a").fix == UsageError.fix


def test_an_error_that_does_not_say_what_helps_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="must set exit_code, code, fix"):
        type("Silent", (HomebodyError,), {})


def test_telemetry_of_dependencies_is_switched_off() -> None:
    environ = {"FLWR_TELEMETRY_ENABLED": "1", "HOME": "/home"}
    environment.silence(environ)
    assert environ == {"HOME": "/home", **environment.QUIET}


def test_what_outlives_runs_lies_where_the_environment_says() -> None:
    own = {"HOMEBODY_STATE": "/srv/state", "XDG_STATE_HOME": "/xdg"}
    assert environment.state_folder(own) == Path("/srv/state")
    assert environment.state_folder({"XDG_STATE_HOME": "/xdg"}) == Path("/xdg/homebody")
    home = Path.home() / ".local" / "state" / "homebody"
    assert environment.state_folder({}) == home
    assert environment.state_folder({"HOMEBODY_STATE": "", "XDG_STATE_HOME": ""}) == home
