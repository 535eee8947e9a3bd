"""The devices one server answers for: one in an app, several side by side in a demonstration."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .device_like import DeviceLike
from .messages import bad, missing
from .parameters import Target

SELECTORS = ("user_id", "profile")
"""Query parameters that say which device is meant."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A device and the name people read above it.

    Attributes:
        label: The name. Public.
        device: The device.
    """

    label: str
    device: DeviceLike = field(repr=False)


def chosen(profiles: Sequence[Profile], target: Target) -> tuple[int, DeviceLike]:
    """Return which device a request means, and its number.

    ``user_id`` names the person, ``profile`` the number; with one device neither is needed.

    Raises:
        RefusedError: 404 if no device here is that person's, or has that number.
    """
    user_id = target.text("user_id")
    if "profile" in target.query:
        number = target.number("profile", 0, len(profiles) - 1, 0)
        found = [number] if user_id is None or profiles[number].device.owns(user_id) else []
    elif user_id is not None:
        found = [at for at, one in enumerate(profiles) if one.device.owns(user_id)]
    elif len(profiles) == 1:
        found = [0]
    else:
        raise bad("There are several devices here.", "say which with user_id or profile")
    if not found:
        raise missing("user_id names no profile of this device.", "ask for the profile's own user")
    return found[0], profiles[found[0]].device
