"""How well somebody can guess who took part: the figures of a plan as bets."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from homebody_privacy.charges import round_up
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.withdrawal_words import odds_in_100

if TYPE_CHECKING:
    from homebody_privacy.planned import PlannedLoss

_SURE = 100  # right a hundred times in a hundred


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The numbers of a promise, as they are printed: epsilon and odds are rounded up. Public.

    Attributes:
        epsilon: Of one run, with the credit for secret coins where the config takes it.
        epsilon_unamplified: The same without that credit.
        delta: The chance both leave aside.
        guess: How often in 100 a guess that began even is right at most, after one run.
        guess_unamplified: The same for whoever sees who takes part.
        cap: Epsilon that is never passed, over the budget's scope.
        cap_guess: The best guess at the cap.
        runs_to_cap: Whole runs that fit under the cap; 0 if not even one does; None where each run
            has a budget of its own.
        years_to_cap: How long they last where the config says how often a run begins; else None.
    """

    epsilon: float
    epsilon_unamplified: float
    delta: float
    guess: int
    guess_unamplified: int
    cap: float
    cap_guess: int
    runs_to_cap: int | None
    years_to_cap: float | None


def figures_of(loss: "PlannedLoss") -> Figures:
    """Return a planned loss as it is printed."""
    return Figures(
        epsilon=round_up(loss.epsilon, 3),
        epsilon_unamplified=round_up(loss.epsilon_unamplified, 3),
        delta=loss.delta,
        guess=loss.best_guess,
        guess_unamplified=odds_in_100(loss.epsilon_unamplified),
        cap=loss.cap,
        cap_guess=loss.cap_guess,
        runs_to_cap=loss.runs_to_cap,
        years_to_cap=loss.years_to_cap,
    )


def bets(config: PrivacyConfig, figures: Figures) -> tuple[str, ...]:
    """Return what somebody who sees everything can know at most, a sentence each."""
    if config.dp.amplification:
        return (_one(config, figures), _seen(config, figures), _over_runs(figures))
    return (_one(config, figures), _over_runs(figures))


def _one(config: PrivacyConfig, figures: Figures) -> str:
    never = (
        "" if config.dp.budget_scope == "run" else f", never more than {figures.cap_guess} (cap)"
    )
    unseen = ", but not who takes part," if config.dp.amplification else ","
    return (
        f"Someone who sees every published model and number{unseen} and starts with a 50/50 guess "
        f"whether you took part, can be right at most {figures.guess} times in 100 after one "
        f"run{never}, but for a chance of {figures.delta:g}{_worth(figures.guess)}."
    )


def _seen(config: PrivacyConfig, figures: Figures) -> str:
    own = config.dp.device_epsilon_max
    bound = (
        "over several runs this file does not bound it"
        if own is None
        else f"over all runs never more than {odds_in_100(own)}, by your device's own count"
    )
    return (
        f"Whoever also sees who takes part can be right at most {figures.guess_unamplified} times "
        f"in 100 after one run (no credit for secret coins); {bound}"
        f"{_worth(figures.guess_unamplified)}."
    )


def _over_runs(figures: Figures) -> str:
    if figures.runs_to_cap is None:
        return (
            "Each run has a budget of its own: what several runs tell about you adds up, and "
            "nothing in this file bounds the sum."
        )
    if figures.runs_to_cap < 1:
        return "One run would already pass the cap: it does not start."
    runs = "1 run" if figures.runs_to_cap == 1 else f"{figures.runs_to_cap} runs"
    return f"The cap is reached after {runs}{_years(figures)}; then nothing more is asked of you."


def _years(figures: Figures) -> str:
    return "" if figures.years_to_cap is None else f" ({figures.years_to_cap:.1f} years)"


def _worth(guess: int) -> str:
    return ": that is no limit" if guess >= _SURE else ""
