"""The one sentence a claim may be made in: generated, never typed."""

import math

from .charges import round_up
from .config import PrivacyConfig


def statement(config: PrivacyConfig, *, epsilon: float, rounds: int, amplified: bool = True) -> str:
    """Generate the one sentence a claim of this config may be made in.

    Args:
        config: Config the rounds ran under.
        epsilon: Upper bound at user level over the budget's scope, amplified where the config
            takes that credit; rounded up here.
        rounds: Rounds charged.
        amplified: Whether ``epsilon`` takes the credit that the config takes for secret cohorts.
            It may not where a round was void because of who came.

    Returns:
        Unit, epsilon, delta, adjacency, who adds the noise, what is covered and what is not.

    Raises:
        ValueError: If ``epsilon`` is negative or NaN, or ``rounds`` is negative.
    """
    if not epsilon >= 0.0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon}")
    if rounds < 0:
        raise ValueError(f"rounds must be at least 0, got {rounds}")
    if math.isinf(epsilon):
        return f"No noise was added over {rounds} rounds: nothing is claimed about any user."
    # A figure that was rounded up before stays what it is: its nearest float may lie above it.
    rounded = epsilon if epsilon == round(epsilon, 3) else round_up(epsilon, 3)
    shown = f"{rounded:.3f}".rstrip("0").rstrip(".")
    dp = config.dp
    scope = "this run" if dp.budget_scope == "run" else "all runs on the same devices"
    seeing = "also toward those who see which devices take part"
    toward = (
        ("toward recipients who cannot see which devices take part" if amplified else seeing)
        if dp.amplification
        else f"{seeing}, if each joins at most "
        f"{dp.participation.joins} rounds, {dp.min_separation} apart, as devices see to"
    )
    return (
        f"User level, (ε = {shown}, δ = {dp.delta:g}), zero-out adjacency, "
        f"central noise added by the server, over {rounds} rounds; covers every model and figure "
        f"released by {scope}, {toward}; does not cover "
        "who takes part and when, facts about groups, or a second device of the same person."
    )
