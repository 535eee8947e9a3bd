"""The device and its fleet: whether it may take part, as what, and what it joined."""

from homebody_client.check_in import (
    DEVICE,
    TRAINING,
    CheckIn,
    Condition,
    LocalModel,
    Participant,
)
from homebody_client.core import Core
from homebody_client.profile import Profile
from homebody_privacy.errors import IntegrityError, PolicyViolationError


def check_in(core: Core, *, idle: bool, charging: bool, unmetered: bool) -> CheckIn:
    """Take note of the machine's state, and return whether the device would answer now."""
    condition = Condition(idle=idle, charging=charging, unmetered=unmetered)
    core.condition = condition
    core.tick()
    shut = () if core.parts.book.open_features(TRAINING) else (core.why_shut(TRAINING),)
    reasons = (*condition.missing(), *shut)
    return CheckIn(may_join=not reasons, reasons=reasons)


def participant(core: Core, model: LocalModel) -> Participant:
    """Return the device as a fleet sees it; raises as ``Device.participant``."""
    from homebody_client.devices_home import DevicesHome  # noqa: PLC0415 config library
    from homebody_privacy.config import PrivacyConfig  # noqa: PLC0415 config library

    gates, terms = core.parts.gates, core.parts.book.terms
    if gates is None:
        raise IntegrityError("the device's keys cannot be opened: it takes no part")
    config = PrivacyConfig.load(core.setup.config_file)
    if terms is None or config.digest() != terms.config_sha256:
        raise PolicyViolationError(
            "the privacy config is not the one this device was opened with",
            fix="open the device again",
        )
    home = DevicesHome.open(core.setup.profile.state, lifetime=True)

    def flush() -> None:
        if core.rows is not None:
            core.rows.flush()

    return Participant(
        config=config,
        gates=gates,
        joins=home.participation,
        condition=lambda: core.condition,
        model=model,
        flush=flush,
    )


def joined(profile: Profile) -> list[dict[str, object]]:
    """Return the runs a device joined, as JSON: rounds joined, and the last of them.

    Raises:
        IntegrityError: If the record was deleted, cut or put back.
    """
    from homebody_client.devices_home import DevicesHome  # noqa: PLC0415 config library

    with DevicesHome.open(profile.state, lifetime=True).participation() as joins:
        runs = joins.life(DEVICE).runs
    return [
        {"run": name, "rounds": run.joins, "last_round": run.last} for name, run in runs.items()
    ]
