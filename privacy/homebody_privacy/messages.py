"""What passes between a server and its devices, as names and plain values.

Server and client never meet in code: both build and read their Flower records from these types.
Every message carries at most one flat array, because each array costs requests of its own on
every hop.

==============  =========  ====================================================================
message         direction  content
==============  =========  ====================================================================
``query.enrol`` up         numbers of the enrolled devices this node hosts (public to the server)
``train``       down       ``Invitation`` and the model's parameters, float32 ``(size,)``; for a
                           statistic what it is computed with in their place: one zero for
                           ``popularity``, for ``gram`` the item popularity and then the weights
                           of the content directions, row by row
``train``       up         sum of the invited devices' lattice integers, ``(size,)``, int32 where
                           it fits, else int64, one more for the votes where the clip norm adapts;
                           of a statistic as many as it has entries; or a decline: a code and
                           nothing else
``evaluate``    down       ``Question`` and the model's parameters
``evaluate``    up         sum of the asked devices' figures on the lattice, ``(figures,)``, int64;
                           or a decline
==============  =========  ====================================================================

A reply holds no loss, no number of examples and no text: a free number would be a second,
uncharged release. A node of a simulation that stands for many devices, some of them silent, says
how many answered: that many single devices would have been heard.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

ENROL: Final = "enrol"
"""Action of the query that asks a node which devices it hosts."""

DEVICES: Final = "devices"
"""Key of the list of device numbers, in an enrolment and in an invitation."""

QUESTION: Final = "question"
"""Name of the config record that carries a ``Question``."""

INVITATION: Final = "invitation"
"""Name of the config record that carries an ``Invitation``."""

MODEL: Final = "model"
"""Name of the array record that carries the parameters."""

PARAMETERS: Final = "parameters"
"""Key of the one array of ``MODEL``."""

UPDATE: Final = "update"
"""Name of the array record that carries a contribution."""

CONTRIBUTION: Final = "contribution"
"""Key of the one array of ``UPDATE``."""

DECLINED: Final = "declined"
"""Name of the config record of a decline; its only key is ``CODE``."""

ANSWERED: Final = "answered"
"""Name of the config record that says how many devices a reply of a simulated node is from; its
only key is ``DEVICES``."""

CODE: Final = "code"
"""Key of a decline's code."""

StatisticName = Literal["popularity", "gram"]
"""A one-shot sum about everybody: how often items are chosen, and which are chosen together."""

STATISTICS: Final[tuple[StatisticName, ...]] = get_args(StatisticName)
"""All of them, in the order in which they are asked: the second depends on the first."""

Scalar = int | float | str | bytes | bool
ConfigValue = Scalar | list[int] | list[float] | list[str] | list[bytes] | list[bool]
"""What a Flower config record can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Asks the named devices of one node to contribute to a round. Public but for ``devices``.

    A node of a secure sum may be asked for none of its devices: it adds zeros, and the server's
    messages do not tell which nodes host somebody who was drawn.

    Attributes:
        run: Name of the run.
        round: Round, from 1; 0 for a statistic, which comes before them.
        devices: Numbers of the invited devices the node hosts. Secret: participation.
        config_digest: SHA-256 of the privacy config in force, hex; a device declines another.
        clip_norm: L2 bound of this round, where it adapts; None for the config's. Made of
            releases alone.
        statistic: Which one-shot sum is asked for; None for a round.
    """

    run: str
    round: int
    devices: tuple[int, ...]
    config_digest: str
    clip_norm: float | None = None
    statistic: StatisticName | None = None

    def __post_init__(self) -> None:
        """Refuse a round before the first, a statistic in one, and one device twice."""
        if self.statistic is None:
            _check_asked(self.round, self.devices)
            return
        _check_asked(self.round, self.devices, least=0)
        if self.statistic not in STATISTICS:
            raise ValueError(f"statistic must be one of {', '.join(STATISTICS)}")
        if self.round or self.clip_norm is not None:
            raise ValueError("a statistic must come before the first round, with no clip norm")

    def to_record(self) -> dict[str, ConfigValue]:
        """Return the values of the config record."""
        record: dict[str, ConfigValue] = {
            "run": self.run,
            "round": self.round,
            DEVICES: list(self.devices),
            "config-digest": self.config_digest,
        }
        if self.clip_norm is not None:
            record["clip-norm"] = self.clip_norm
        if self.statistic is not None:
            record["statistic"] = self.statistic
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> "Invitation":
        """Read what ``to_record`` wrote.

        Raises:
            ValueError: If a field is missing or of another type.
        """
        run, number, digest, devices = _asked(record, "an invitation")
        clip_norm = record.get("clip-norm")
        if clip_norm is not None and type(clip_norm) not in (float, int):  # JSON writes 1.0 as 1
            raise ValueError("clip-norm of an invitation must be a number")
        statistic = record.get("statistic")
        if statistic is not None and not isinstance(statistic, str):
            raise ValueError("statistic of an invitation must be a name")
        return cls(
            run=run,
            round=number,
            devices=devices,
            config_digest=digest,
            clip_norm=None if clip_norm is None else float(clip_norm),  # type: ignore[arg-type]
            statistic=statistic,  # type: ignore[arg-type]  # the class checks the name
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Asks the named devices of one node for a figure about themselves. Public but for ``devices``.

    Attributes:
        run: Name of the run.
        round: Round after which it is asked; 0 for the model before the first one.
        metric: Which figure; a device declines one that its config does not list.
        devices: Numbers of the asked devices the node hosts.
        config_digest: SHA-256 of the privacy config in force, hex; a device declines another.
    """

    run: str
    round: int
    metric: str
    devices: tuple[int, ...]
    config_digest: str

    def __post_init__(self) -> None:
        """Refuse what is after no round, and one device twice."""
        _check_asked(self.round, self.devices, least=0)

    def to_record(self) -> dict[str, ConfigValue]:
        """Return the values of the config record."""
        return {
            "run": self.run,
            "round": self.round,
            "metric": self.metric,
            DEVICES: list(self.devices),
            "config-digest": self.config_digest,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> "Question":
        """Read what ``to_record`` wrote.

        Raises:
            ValueError: If a field is missing or of another type.
        """
        run, number, digest, devices = _asked(record, "a question")
        metric = record.get("metric")
        if not isinstance(metric, str):
            raise ValueError("a question needs a metric")  # noqa: TRY004 - a bad message is one error
        return cls(run=run, round=number, metric=metric, devices=devices, config_digest=digest)


def _asked(record: Mapping[str, object], what: str) -> tuple[str, int, str, tuple[int, ...]]:
    """Return run, round, config digest and devices of a message that asks."""
    run, number = record.get("run"), record.get("round")
    digest, devices = record.get("config-digest"), record.get(DEVICES)
    match (run, number, digest, devices):
        case (str(), int(), str(), list()) if all(type(d) is int for d in (number, *devices)):
            return run, number, digest, tuple(devices)
        case _:
            raise ValueError(f"{what} needs run, round, devices and config-digest")


def _check_asked(number: int, devices: tuple[int, ...], least: int = 1) -> None:
    if number < least:
        raise ValueError(f"round must be at least {least}, got {number}")
    if len(set(devices)) != len(devices):
        raise ValueError("a message may not name a device twice: it would count twice")


def enrolled(record: Mapping[str, object]) -> list[int]:
    """Return the device numbers of an enrolment.

    Raises:
        ValueError: If the record holds anything but numbers from 0.
    """
    devices = record.get(DEVICES)
    if not isinstance(devices, list) or not all(isinstance(d, int) and d >= 0 for d in devices):
        raise ValueError("an enrolment needs a list of device numbers")
    return devices
