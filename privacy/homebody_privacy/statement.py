"""The one sentence a claim may be made in: generated, never typed."""

import math

from .charges import round_up
from .config import PrivacyConfig
from .protection import Protection


def statement(
    config: PrivacyConfig,
    *,
    epsilon: float,
    rounds: int,
    amplified: bool = True,
    statistics: int = 0,
) -> str:
    """Generate the one sentence a claim of this config may be made in.

    Args:
        config: Config the rounds ran under.
        epsilon: Upper bound at user level over the budget's scope, amplified where the config
            takes that credit; rounded up here.
        rounds: Rounds charged.
        amplified: Whether ``epsilon`` takes the credit that the config takes for secret cohorts.
            It may not where a round was void because of who came.
        statistics: One-shot statistics charged.

    Returns:
        Unit, epsilon, delta, adjacency, who adds the noise, what is covered and what is not.

    Raises:
        ValueError: If ``epsilon`` is negative or NaN, or ``rounds`` or
            ``statistics`` is negative.
    """
    if not epsilon >= 0.0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon}")
    if rounds < 0 or statistics < 0:
        raise ValueError(f"rounds and statistics must be at least 0, got {rounds}, {statistics}")
    over = _releases(rounds, statistics)
    if math.isinf(epsilon):
        return f"No noise was added over {over}: nothing is claimed about any user."
    # A figure that was rounded up before stays what it is: its nearest float may lie above it.
    rounded = epsilon if epsilon == round(epsilon, 3) else round_up(epsilon, 3)
    shown = f"{rounded:.3f}".rstrip("0").rstrip(".")
    dp = config.dp
    scope = "this run" if dp.budget_scope == "run" else "all runs on the same devices"
    seeing = "also toward those who see which devices take part"
    if dp.amplification:
        unseen = "toward recipients who cannot see which devices take part"
        toward = unseen if amplified else seeing
    else:
        toward = f"{seeing}, if each joins {_joins(dp, rounds, statistics)}, as devices see to"
    return (
        f"User level, (ε = {shown}, δ = {dp.delta:g}), zero-out adjacency, "
        f"central noise added by the server, over {over}; covers every model and figure "
        f"released by {scope}, {toward}; does not cover "
        "who takes part and when, facts about groups, or a second device of the same person."
    )


def _releases(rounds: int, statistics: int) -> str:
    """Return what was released, in words; rounds are told of unless statistics are all there is."""
    passes = f"{statistics} one-shot statistics" if statistics else ""
    if passes and not rounds:
        return passes
    return f"{passes} and {rounds} rounds" if passes else f"{rounds} rounds"


def _joins(dp: Protection, rounds: int, statistics: int) -> str:
    """Return how often a device may take part, in words."""
    once = "each statistic once" if statistics else ""
    if once and not rounds:
        return once
    often = f"at most {dp.participation.joins} rounds, {dp.min_separation} apart"
    return f"{once} and {often}" if once else often
