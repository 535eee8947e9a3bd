"""The face of the package: three names, loaded at first use."""

import subprocess
import sys

import pytest

import homebody

HEAVY = ("torch", "flwr", "opacus", "polars", "ray", "dp_accounting", "scipy", "jinja2", "numba")


def loaded_after(statement: str) -> set[str]:
    """Return which heavy packages a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return set(ended.stdout.split())


def test_the_face_has_few_names_and_each_is_there() -> None:
    assert homebody.__all__ == ["Device", "PrivacyConfig", "baselines", "simulate", "sweep"]
    for name in homebody.__all__:
        assert getattr(homebody, name).__name__ == name


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="'anonymise'"):
        homebody.anonymise  # noqa: B018 - the access is the test


@pytest.mark.parametrize(
    "statement",
    [
        "import homebody",
        "from homebody import Device, PrivacyConfig",
        "from homebody.cli import build; build()",
    ],
)
def test_light_names_load_nothing_heavy(statement: str) -> None:
    assert (
        loaded_after(statement) <= {"polars"}
        if "build" in statement
        else not loaded_after(statement)
    )


def test_simulate_loads_what_it_needs() -> None:
    assert {"torch", "flwr", "opacus"} <= loaded_after("from homebody import simulate")


@pytest.mark.parametrize("collecting", [True, False])
def test_loading_a_name_leaves_the_collector_as_it_was(*, collecting: bool) -> None:
    code = (
        f"import gc; gc.{'enable' if collecting else 'disable'}(); import homebody; "
        "homebody.Device; print(gc.isenabled())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(collecting)
