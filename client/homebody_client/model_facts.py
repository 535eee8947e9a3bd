"""What may be told of the model in use: its name, its promise, what a withdrawal leaves in it."""

from collections.abc import Mapping

from homebody_models.bundle import ModelBundle
from homebody_privacy.consent_terms import ConsentTerms
from homebody_privacy.withdrawal_words import TrainedModel, after_withdrawal


def model_facts(
    bundle: ModelBundle | None, *, engine: str, now: float, terms: ConsentTerms | None = None
) -> dict[str, object]:
    """Return the facts of a model, as JSON; empty without one. Public.

    Args:
        bundle: The model in use.
        engine: What computes its scores.
        now: Unix seconds in force.
        terms: What the config in force says; None without one.
    """
    if bundle is None:
        return {}
    facts = bundle.manifest.facts
    return {
        "model_id": facts.model_id,
        "version": facts.version,
        "serial": facts.serial,
        "engine": engine,
        "stale": now > facts.expires,
        "statement": facts.privacy.get("statement", ""),
        "withdrawal": withdrawal(facts.privacy, terms),
        "main_parameters": [] if terms is None else list(terms.main_parameters),
    }


def withdrawal(privacy: Mapping[str, object], terms: ConsentTerms | None = None) -> str:
    """Return what a person is told of contributions already made, by a model's own figures.

    The larger of its two figures counts: a person who withdraws may be known to have taken part.

    Args:
        privacy: ``privacy`` of a manifest. What it does not say, or says wrongly, is no figure.
        terms: What the config says becomes of trained models; without one they stay as they are.
    """
    mode: TrainedModel = "dp_only_stop_future"
    every = 0
    if terms is not None and terms.trained_model == "retrain_window":
        mode, every = "retrain_window", terms.retrain_every_days
    stated = [_number(privacy.get(name)) for name in ("epsilon", "epsilon_unamplified")]
    delta = _number(privacy.get("delta"))
    if None in stated or delta is None or not 0.0 < delta < 1.0:
        return after_withdrawal(mode, epsilon=None, delta=0.5, retrain_every_days=every)
    epsilon = max(figure for figure in stated if figure is not None)
    return after_withdrawal(mode, epsilon=epsilon, delta=delta, retrain_every_days=every)


def _number(value: object) -> float | None:
    """Return a figure of a manifest, which are texts; None if it is none."""
    try:
        figure = float(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return figure if figure is not None and figure >= 0.0 else None  # false for NaN
