"""The terms a device keeps of the config: everything consent needs, and the way there and back."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.consent_terms import ConsentTerms, GroupTerms, PurposeTerms
from homebody_privacy.errors import InvalidFileError

_MORE = """
[features.health]
fields = ["topic"]
events = ["search"]
exclude = ["category:FAMILY PLANNING"]
allow = ["recommend"]
sensitivity = "special"
risk_ref = "R-3"
ttl_days = 30
max_rows = 10
user_editable = false

[consent]
expiry_days = 30
grace_days = 0
refusal_days = 7
reach_back = true
withdraw_max_seconds = 2
receipts_years = 1
honour_gpc = false
signals = ["sec_gpc"]
min_age = 13
notices.en = { file = "en.md", sha256 = "%s" }
"""


@pytest.fixture
def config(write_config: Callable[..., Path]) -> PrivacyConfig:
    return PrivacyConfig.load(write_config(more=_MORE % ("a" * 64)))


def test_terms_hold_every_answer_of_the_config(config: PrivacyConfig) -> None:
    terms = config.consent_terms()
    assert (terms.config_sha256, terms.revision) == (config.digest(), config.revision)
    assert terms.purposes["training"] == PurposeTerms(
        title=config.purposes["training"].title, leaves_device=True, requires=("recommend",)
    )
    assert terms.groups["health"] == GroupTerms(
        fields=("topic",), allow=("recommend",), ttl_days=30, max_rows=10, events=("search",),
        exclude=("category:FAMILY PLANNING",), sensitivity="special", risk_ref="R-3",
        user_editable=False,
    )  # fmt: skip
    rules = config.consent
    for name in type(rules).model_fields:
        if name not in ("notices", "server_copy"):
            assert getattr(terms, name) == getattr(rules, name)
    assert terms.notices == {"en": "a" * 64}


def test_terms_come_back_from_json_as_they_were(config: PrivacyConfig) -> None:
    terms = config.consent_terms()
    assert ConsentTerms.from_json(json.loads(json.dumps(terms.to_json()))) == terms


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"purposes": []}, {"groups": {"g": {"fields": []}}}, {"unknown": 1}],
)
def test_damaged_terms_are_refused(config: PrivacyConfig, change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"terms are|name"):
        ConsentTerms.from_json({**config.consent_terms().to_json(), **change})


@pytest.mark.parametrize(
    ("groups", "requires"),
    [
        ({"g": GroupTerms(fields=("a",), allow=("nowhere",), ttl_days=1)}, ()),
        ({}, ("nowhere",)),
    ],
)
def test_terms_that_point_nowhere_are_refused(
    groups: dict[str, GroupTerms], requires: tuple[str, ...]
) -> None:
    purpose = PurposeTerms(title="t", leaves_device=False, requires=requires)
    with pytest.raises(ValueError, match="unknown purpose"):
        ConsentTerms(
            config_sha256="", revision=1, policy_version=1, purposes={"p": purpose}, groups=groups
        )


@pytest.mark.parametrize(
    "change", [{"ttl_days": 0}, {"max_rows": 0}, {"fields": ()}, {"sensitivity": "secret"}]
)
def test_a_group_no_config_can_mean_is_refused(change: dict[str, Any]) -> None:
    usual = GroupTerms(fields=("a",), allow=(), ttl_days=1)
    with pytest.raises(ValueError, match="must"):
        replace(usual, **change)


@pytest.mark.parametrize(
    "line",
    ["grace_days = -1", "min_age = -1", "expiry_days = 0", 'signals = ["moon"]', "unknown = 1"],
)
def test_a_consent_rule_out_of_range_is_refused(
    write_config: Callable[..., Path], line: str
) -> None:
    with pytest.raises(InvalidFileError, match=r"consent\."):
        PrivacyConfig.load(write_config(more=f"[consent]\n{line}\n"))
