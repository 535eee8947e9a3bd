"""What a person is told of switching off: what happens at once, and what cannot be undone."""

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.withdrawal_words import after_withdrawal


def at_once(config: PrivacyConfig) -> str:
    """Return what a device does when a switch is turned off, and how fast."""
    limit = config.consent.withdraw_max_seconds
    return (
        f"shut the gates, drop what waits to be sent, erase the data kept for it, drop the local "
        f"model, join no more rounds; done within {limit} s, erasure on the disk included"
    )


def after(config: PrivacyConfig, epsilon: float | None) -> str | None:
    """Return the words about models trained before a withdrawal.

    Args:
        config: Any config that follows its schema.
        epsilon: Loss of one run; None where no figure may be given.

    Returns:
        The words for notice and report; None under ``unlearn``: taking one device's part out of a
        model needs updates stored one by one, which nothing here keeps.
    """
    mode = config.rights.trained_model
    if mode == "unlearn":
        return None
    return after_withdrawal(
        mode,
        epsilon=epsilon,
        delta=config.dp.delta,
        retrain_every_days=config.rights.retrain_every_days,
    )
