"""A model is told of in its own figures, rounded up; without them no figure is printed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody_client.model_facts import withdrawal
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.consent_terms import ConsentTerms
from homebody_privacy.withdrawal_words import banned_words

_NONE = "No figure can be given"


def test_the_larger_figure_counts_and_is_rounded_up() -> None:
    said = withdrawal({"epsilon": "0.5", "epsilon_unamplified": "0.962", "delta": "1e-07"})
    assert "73 times in 100" in said
    assert "1 in 10 million" in said
    assert not banned_words(said)


@pytest.mark.parametrize(
    "privacy",
    [
        {},
        {"epsilon": "1.0", "delta": "1e-5"},
        {"epsilon": "1.0", "epsilon_unamplified": "many", "delta": "1e-5"},
        {"epsilon": "1.0", "epsilon_unamplified": "nan", "delta": "1e-5"},
        {"epsilon": "1.0", "epsilon_unamplified": "-2", "delta": "1e-5"},
        {"epsilon": 1, "epsilon_unamplified": 1, "delta": "1e-5"},
        {"epsilon": "1.0", "epsilon_unamplified": "1.0", "delta": "2"},
        {"epsilon": "1.0", "epsilon_unamplified": "inf", "delta": "1e-5"},
    ],
)
def test_no_figure_is_printed_of_a_manifest_that_does_not_state_it(
    privacy: dict[str, object],
) -> None:
    assert _NONE in withdrawal(privacy)


def test_cr_26_the_words_are_those_of_the_mode_in_the_config(
    write_config: Callable[..., Path],
) -> None:
    figures = {"epsilon": "0.5", "epsilon_unamplified": "0.962", "delta": "1e-07"}
    rights = '[rights]\ntrained_model = "retrain_window"\nretrain_every_days = 180\n'
    again, never = (
        PrivacyConfig.load(write_config(more=more)).consent_terms() for more in (rights, "")
    )
    assert "Every 180 days" in withdrawal(figures, again)
    assert "Every" not in withdrawal(figures, never)
    kept = ConsentTerms.from_json(json.loads(json.dumps(again.to_json())))
    assert withdrawal(figures, kept) == withdrawal(figures, again)
