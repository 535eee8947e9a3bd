"""Simulated devices that are offline, drop out after training, or answer too late.

Who is there is a keyed function of device, round and question: it is the same for any grouping of
devices, for any engine, and for a run that was killed and goes on. No privacy rests on it: the
words are those of splitmix64 (Steele et al. 2014, https://doi.org/10.1145/2660193.2660195), for a
million devices in milliseconds.

==============  ===========  ====================  =============================================
a device that   has joined   has trained           the server sees
==============  ===========  ====================  =============================================
is offline      no           no                    nothing
drops out       yes          yes (not simulated)   nothing
is slow         yes          yes (not simulated)   nothing before the deadline
==============  ===========  ====================  =============================================

To have joined is to have spent: an answer that is lost is not asked for again.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_client.attendance import Devices, Flags
from homebody_privacy.stream import derive_key

Words = npt.NDArray[np.uint64]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS: Final = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST: Final = np.uint64(31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How reliable the devices of a fleet are. Public.

    Attributes:
        availability: Chance that a device is online when it is asked, above 0, at most 1.
        drop_out: Chance that one that is online trains and then vanishes, from 0, below 1.
        slow: Chance that an answer that is sent comes after the deadline, from 0, below 1.
        rounds_per_day: Rounds of a day, at least 2: each device has a time of day of its own, at
            which it is most often online, and half a day later it is least often; ``availability``
            is then the mean over a day. 0: no such rhythm.

    Examples:
        >>> Conditions(availability=0.5, drop_out=0.1, slow=0.0).answering
        0.45
    """

    availability: float = 1.0
    drop_out: float = 0.0
    slow: float = 0.0
    rounds_per_day: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no chance, and devices that never answer."""
        if not 0.0 < self.availability <= 1.0:
            raise ValueError(f"availability must be in (0, 1], got {self.availability!r}")
        for name, chance in (("drop_out", self.drop_out), ("slow", self.slow)):
            if not 0.0 <= chance < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {chance!r}")
        if self.rounds_per_day != 0 and self.rounds_per_day < 2:  # noqa: PLR2004 - night and day
            raise ValueError(f"rounds_per_day must be 0 or at least 2, got {self.rounds_per_day!r}")

    @property
    def answering(self) -> float:
        """Chance that an asked device's answer counts, over a day."""
        return self.availability * (1.0 - self.drop_out) * (1.0 - self.slow)

    @property
    def reliable(self) -> bool:
        """Whether every device always answers."""
        return self.answering == 1.0


@dataclass(frozen=True, slots=True)
class Attendees:
    """The ``Attendance`` of a run under some conditions.

    Attributes:
        conditions: How reliable the devices are.
        key: Key of the run's attendance, 32 bytes.
    """

    conditions: Conditions
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, conditions: Conditions, run_key: bytes) -> "Attendees | None":
        """Return who is there in a run; None where every device always answers.

        Args:
            conditions: How reliable the devices are.
            run_key: Key of the run. Secret.
        """
        if conditions.reliable:
            return None
        return cls(conditions, derive_key(run_key, "device-attendance"))

    def online(self, devices: Devices, number: int, about: str = "") -> Flags:
        """Tell which devices hear the question, shape ``(n,)``."""
        words = self._words(devices, "online", number, about)
        return _below(words, self._chances(devices, number))

    def delivering(self, devices: Devices, number: int, about: str = "") -> Flags:
        """Tell of which devices, if they are online, the answer comes in time, shape ``(n,)``."""
        stays = _below(
            self._words(devices, "drop-out", number, about), 1.0 - self.conditions.drop_out
        )
        return stays & _below(
            self._words(devices, "slow", number, about), 1.0 - self.conditions.slow
        )

    def answering(self, devices: Devices, number: int, about: str = "") -> Flags:
        """Tell the answers of which devices count, shape ``(n,)``."""
        return self.online(devices, number, about) & self.delivering(devices, number, about)

    def _chances(self, devices: Devices, number: int) -> float | npt.NDArray[np.float64]:
        """Return how likely each device is online: more at its time of day, as much on average."""
        mean, day = self.conditions.availability, self.conditions.rounds_per_day
        if not day:
            return mean
        phases = self._words(devices, "time of day").astype(np.float64) * 2.0**-64
        swing = min(1.0, 1.0 / mean - 1.0)
        return mean * (1.0 + swing * np.cos(2.0 * math.pi * (number / day - phases)))

    def _words(self, devices: Devices, *labels: str | int) -> Words:
        """Return a uniform word for each device and use."""
        start = int.from_bytes(derive_key(self.key, "attendance", *labels)[:8], "little")
        words = devices.astype(np.uint64) * _STEP + np.uint64(start)  # modulo 2**64
        for shift, factor in _ROUNDS:
            words ^= words >> shift
            words *= factor
        return words ^ (words >> _LAST)


def _below(words: Words, chance: float | npt.NDArray[np.float64]) -> Flags:
    """Tell which words come up at a chance; all at 1."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53 < chance
