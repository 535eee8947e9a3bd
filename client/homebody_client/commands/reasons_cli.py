"""Why an event was not kept, in the codes and sentences of the judge of consent."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from homebody_client.device import Device

NO_GROUP: Final = "no_feature_group"
LEFT_OUT: Final = "left_out"

_SENTENCES: Final = {
    NO_GROUP: "the config has no feature group for events of this kind",
    LEFT_OUT: "a switch is open for it, but the config leaves out what this event is about",
}


@dataclass(frozen=True, slots=True, order=True)
class Why:
    """A code and its sentence."""

    code: str
    sentence: str

    def __str__(self) -> str:
        """Return both, as messages show them."""
        return f"{self.code}: {self.sentence}"

    def to_json(self) -> dict[str, str]:
        """Return both by name."""
        return {"code": self.code, "sentence": self.sentence}


def why_not(device: "Device", kinds: Collection[str]) -> list[Why]:
    """Return why events of some kinds are not kept, each reason once.

    Args:
        device: The device, open.
        kinds: Kinds of the events that were neither kept nor put aside.
    """
    from homebody_privacy.consent import is_allowed

    terms = device.consent.terms
    if terms is None:  # no config, or no vault: the judge knows which
        shut = device.consent.why("recommend", "")
        return [] if shut is None or not kinds else [Why(shut.code, shut.sentence)]
    found: set[Why] = set()
    for kind in kinds:
        groups = [
            name for name, one in terms.groups.items() if not one.events or kind in one.events
        ]
        if not groups:
            found.add(_own(NO_GROUP))
        for group in groups:
            pairs = [name for name in terms.purposes if is_allowed(terms, name, group)]
            reasons = [device.consent.why(purpose, group) for purpose in pairs]
            shut_ones = [Why(one.code, one.sentence) for one in reasons if one is not None]
            found.update(shut_ones if len(shut_ones) == len(pairs) else [_own(LEFT_OUT)])
    return sorted(found)


def _own(code: str) -> Why:
    return Why(code, _SENTENCES[code])
