"""The rule for one-shot statistics: public facts in, one set of settings out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.statistics.settings import StatisticsSettings, settings_for


def _retail(mu: float, features: int = 0) -> StatisticsSettings:
    return settings_for(mu=mu, devices=4_037, items=3_464, features=features, repeats=False)


@given(
    mu=st.floats(1e-3, 1e3) | st.just(math.inf),
    devices=st.integers(1, 10**8),
    items=st.integers(1, 10**6),
    features=st.integers(0, 500),
    repeats=st.booleans(),
)
def test_every_population_gets_settings_it_can_run(
    *, mu: float, devices: int, items: int, features: int, repeats: bool
) -> None:
    made = settings_for(mu=mu, devices=devices, items=items, features=features, repeats=repeats)
    assert min(items, 100) <= made.head <= min(items, 2_000)
    assert (made.repeat > 0.0) == repeats


@pytest.mark.parametrize(("mu", "head"), [(1.692, 1_488), (0.952, 1_116), (0.276, 601)])
def test_the_head_of_online_retail_is_near_the_best_of_its_validation(mu: float, head: int) -> None:
    assert _retail(mu).head == head


def test_the_head_grows_with_the_root_of_budget_and_population() -> None:
    small = settings_for(mu=0.5, devices=2_000, items=10**5, features=0, repeats=False)
    large = settings_for(mu=1.0, devices=4_000, items=10**5, features=0, repeats=False)
    assert large.head == pytest.approx(2 * small.head, rel=0.01)


def test_without_noise_the_head_is_as_large_as_a_device_may_send() -> None:
    assert _retail(math.inf).head == 2_000


def test_content_allows_a_stronger_prior() -> None:
    bare = _retail(1.0)
    with_content = _retail(1.0, features=33)
    assert with_content.prior > bare.prior


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window", 0.0),
        ("window", 1.1),
        ("head", -1),
        ("history_decay", 0.0),
        ("prior", 0.0),
        ("prior", math.inf),
        ("popularity_weight", -0.1),
        ("popularity_weight", math.nan),
        ("rank", 0),
        ("rank", 129),
    ],
)
def test_settings_no_device_could_use_are_refused_by_name(field: str, value: float) -> None:
    fields = {"window": 1.0, "head": 10, "history_decay": 0.6, field: value}
    with pytest.raises(ValueError, match=field):
        StatisticsSettings(**fields)  # type: ignore[arg-type]
