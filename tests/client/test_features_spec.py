"""A spec says what is computed, and holds nothing of a person."""

import json
from typing import Any

import pytest

from homebody_client.features import DEFAULT_SPECS, KINDS, FeatureSpec, compute

from .feature_rows import row, spec


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Views"}, "lower case"),
        ({"name": ""}, "lower case"),
        ({"name": "views\n"}, "lower case"),
        ({"group": "my group"}, "lower case"),
        ({"purposes": ("Ads!",)}, "lower case"),
        ({"kind": "magic"}, "kind must be one of recency"),
        ({"events": ()}, "events must name"),
        ({"events": ("stare",)}, "events must name"),
        ({"purposes": ()}, "at least one purpose"),
        ({"window_days": 0}, "window_days must be from 1 to 3650"),
        ({"window_days": 3_651}, "window_days must be from 1 to 3650"),
        ({"ttl_days": 0}, "ttl_days must be from 1"),
        ({"ttl_days": 11}, "ttl_days must be from 1"),
        ({"half_life_days": 2.0}, "of category_affinity alone"),
        ({"kind": "category_affinity", "half_life_days": 0.4}, "at least a twentieth"),
        ({"kind": "category_affinity", "half_life_days": -1.0}, "at least a twentieth"),
        ({"kind": "category_affinity", "half_life_days": float("nan")}, "at least a twentieth"),
    ],
)
def test_s28_a_spec_that_cannot_be_computed_cannot_be_made(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        spec(changes.pop("kind", "frequency"), **changes)


def test_s28_a_spec_is_frozen() -> None:
    with pytest.raises(AttributeError):
        DEFAULT_SPECS[0].window_days = 3  # type: ignore[misc]  # that is the point


def test_s30_specs_are_listed_without_values() -> None:
    rows = [row(0, "purchase", category="4711-tea", price=4_711.0, role="4711-role")]
    for wanted in DEFAULT_SPECS:
        compute(wanted, rows, rows[0].at)
    listed = json.dumps([wanted.describe() for wanted in DEFAULT_SPECS]) + repr(DEFAULT_SPECS)
    assert "4711" not in listed
    assert json.loads(json.dumps(DEFAULT_SPECS[0].describe())) == {
        "name": "days_since_purchase",
        "group": "purchases",
        "events": ["purchase"],
        "kind": "recency",
        "window_days": 365,
        "purposes": ["recommend"],
        "ttl_days": 30,
        "half_life_days": 0.0,
    }


def test_the_features_of_a_shop_are_of_every_kind_and_have_names_of_their_own() -> None:
    assert {wanted.kind for wanted in DEFAULT_SPECS} == set(KINDS)
    assert len({wanted.name for wanted in DEFAULT_SPECS}) == len(DEFAULT_SPECS)
    assert all(isinstance(wanted, FeatureSpec) for wanted in DEFAULT_SPECS)
