"""The promise of a config, in words: the one generator that the terminal and the pack share.

Every figure comes from the planned loss, which is computed from the config; nothing is typed. Where
a premise of the figures is broken, or the noise is not fixed, there is none.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.explaining.bets import Figures, bets, figures_of
from homebody_privacy.explaining.trust import enforced, not_against, trusted, uncovered
from homebody_privacy.explaining.withdrawal import after, at_once
from homebody_privacy.premises import BrokenPremise, broken_premises
from homebody_privacy.statement import statement

if TYPE_CHECKING:
    from homebody_privacy.planned import PlannedLoss

_PASSES = 2  # one-shot sums of a recipe that has them: popularity, then pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What may be said of a config to the people it is about. Public.

    Attributes:
        scope: Unit, adjacency and what the budget covers.
        figures: The numbers the sentences rest on; None where none may be given.
        withheld: Why there are none, a sentence each; empty with figures.
        bets: How well somebody can guess, at most; empty without figures.
        claim: The one sentence a claim may be made in; None without figures.
        against: Toward whom it holds.
        not_against: Toward whom it does not; empty for nobody that is known.
        trust: In whom one must trust for it: the operator's word.
        enforced: What the person's own device sees to.
        uncovered: What it does not cover.
        at_once: What happens when a switch is turned off.
        after: The words about models trained before; None where none may be used.
    """

    scope: str
    figures: Figures | None
    withheld: tuple[str, ...]
    bets: tuple[str, ...]
    claim: str | None
    against: tuple[str, ...]
    not_against: tuple[str, ...]
    trust: tuple[str, ...]
    enforced: tuple[str, ...]
    uncovered: tuple[str, ...]
    at_once: str
    after: str | None


def promise(config: PrivacyConfig, loss: "PlannedLoss | None") -> Promise:
    """Return the promise of a config.

    Args:
        config: A config that follows its schema, whether or not it may run.
        loss: What a run of it will cost; None if its noise is not fixed, or where a premise is
            broken. A loss that is given although ``no_figure`` names a reason is not used.
    """
    reasons = no_figure(config)
    withheld = tuple(f"{one.rule} failed: {one.path} {one.why}" for one in reasons)
    figures = None if withheld or loss is None else figures_of(loss)
    if figures is None and not withheld:
        withheld = (_NOT_FIXED,)
    return Promise(
        scope=scope(config),
        figures=figures,
        withheld=withheld,
        bets=() if figures is None else bets(config, figures),
        claim=None if figures is None else claim(config, figures),
        against=() if reasons else _against(config),
        not_against=not_against(config),
        trust=trusted(config),
        enforced=enforced(config),
        uncovered=uncovered(config),
        at_once=at_once(config),
        after=after(config, None if figures is None or loss is None else loss.epsilon),
    )


_NOT_FIXED = (
    "the noise is not fixed in this file: a run takes the least that keeps it to the epsilon it "
    "asks for. homebody plan --config FILE --write NEW writes a file that fixes it"
)


def no_figure(config: PrivacyConfig) -> tuple[BrokenPremise, ...]:
    """Return why no figure of a config means anything; nothing for one whose figures stand.

    The premises; a failure chance that is not below 1 / population: with it one device may lose
    everything, and the figure beside it would say nothing; and coins that cannot be tossed.
    """
    dp, population = config.dp, config.activity.population
    found = list(broken_premises(config))
    if dp.delta * population >= 1.0:
        why = f"is {dp.delta:g}, not below 1 / population = {1 / population:.3g}"
        found.append(BrokenPremise("DP-004", "dp.delta", why))
    if dp.mechanism == "gaussian" and dp.cohort_size > population:
        why = f"is {dp.cohort_size}, more than the {population} devices there are"
        found.append(BrokenPremise("AGG-004", "dp.cohort_size", why))
    return tuple(found)


def scope(config: PrivacyConfig) -> str:
    """Return whom a promise is to, and what one change of the data is."""
    dp = config.dp
    unit = "one user (all data of one device" if dp.unit == "user" else "one record (one row"
    covers = "each run by itself" if dp.budget_scope == "run" else "lifetime"
    return f"{unit}, {dp.adjacency}, {covers})"


def claim(config: PrivacyConfig, figures: Figures) -> str:
    """Return the sentence of a whole run's claim."""
    return statement(
        config,
        epsilon=figures.epsilon,
        rounds=0 if config.recipe == "statistics" else config.dp.rounds,
        statistics=0 if config.recipe == "rounds" else _PASSES,
    )


def _against(config: PrivacyConfig) -> tuple[str, ...]:
    everybody = ("other people", "whoever gets the model, or every model of every round")
    if config.dp.mechanism == "blt":
        return (*everybody, "whoever sees who takes part")
    return everybody
