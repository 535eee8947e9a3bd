"""Whether a device may take part now, and the one way its contribution leaves.

The device decides: its state (idle, charging, unmetered), its consent, its config, its own count of
what it joined. A server only asks. What an invitation asks is answered by ``Participant.answer``,
in one order: read through the gate, ask the device's own record, train, and hand over inside the
send gate, which counts the join on disk before the first byte is given away.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from homebody_client.consent.gates import Gates
from homebody_client.memory import interactions_of
from homebody_client.participation import Allowance
from homebody_client.participation_store import ParticipationStore
from homebody_client.store.rows import StoredRow
from homebody_models.device_metrics import figure_names
from homebody_models.recommender import model_digest
from homebody_privacy.egress_map import charge_of_round
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.messages import Invitation, Question, StatisticName

if TYPE_CHECKING:
    from homebody_privacy.config import PrivacyConfig

TRAINING: Final = "training"
"""The purpose every update is sent under."""

CHOICES: Final = frozenset({"product_view", "add_to_cart", "purchase", "like"})
"""Events that say a person chose a product; a model is trained on these, in their order."""

DEVICE: Final = 0
"""Number of a real device in its own record: it is alone there."""

_UPDATE: Final = "one clipped update, rounded to the lattice; every parameter, same length"
_ENROLMENT: Final = "its number in the fleet, so that it may be asked; nothing about the person"
_STATISTICS: Final[dict[StatisticName, str]] = {
    "popularity": "popularity counts of this device, never alone",
    "gram": "which products this device chose close together, never alone",
}
_FIGURES: Final = "figures about this device, never alone"
_MASKED: Final = "masked and sealed: only the sum over many devices can be read"

Parameters = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Protect = Callable[[Integers], bytes]
"""Masks and seals an answer before the send gate sees it."""


class LocalModel(Protocol):
    """Local computation of one model; ``homebody_client.local_model`` makes it."""

    @property
    def contribution_size(self) -> int:
        """Parameters that a round changes, by the device's own model."""
        ...

    def update(self, history: Sequence[str], parameters: Parameters, asked: Invitation) -> Integers:
        """Return what the device would add to a round or a statistic, on the lattice. Secret."""
        ...

    def figures(self, history: Sequence[str], parameters: Parameters, asked: Question) -> Integers:
        """Return what the device would add to a metric, on the lattice. Secret."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckIn:
    """What came of a check-in; for the app, not for a server.

    Attributes:
        may_join: Whether the device would answer an invitation now.
        reasons: Codes of what stands in the way; empty if nothing does.
    """

    may_join: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The state of the machine, as the app sees it.

    Attributes:
        idle: Nobody is using it.
        charging: It is on mains, or has no battery.
        unmetered: Its network costs nothing.
    """

    idle: bool
    charging: bool
    unmetered: bool

    def missing(self) -> tuple[str, ...]:
        """Return the codes of what is not as it must be.

        Examples:
            >>> Condition(idle=True, charging=False, unmetered=False).missing()
            ('not-charging', 'metered-network')
        """
        wanted = {
            "not-idle": self.idle,
            "not-charging": self.charging,
            "metered-network": self.unmetered,
        }
        return tuple(code for code, met in wanted.items() if not met)


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """One device as a fleet sees it: it answers what it is asked, or declines with a code.

    Attributes:
        config: Config in force on the device; the server's word is not taken for it.
        gates: The device's gates.
        joins: Opens the device's own record of what it joined, for each answer anew: an answer may
            be given on any thread.
        condition: State of the machine now; None until the app checked in.
        model: Local computation of the fleet's model.
        flush: Puts on disk what waits to be: the gate reads what is there.
    """

    config: "PrivacyConfig"
    gates: Gates = field(repr=False)
    joins: Callable[[], ParticipationStore] = field(repr=False)
    condition: Callable[[], Condition | None] = field(repr=False)
    model: LocalModel = field(repr=False)
    flush: Callable[[], None] = field(repr=False)

    def enrol(self, number: int) -> int:
        """Let the device's number in its fleet out, so that it may be asked; nothing of the person.

        Returns:
            The number, logged and let out by the send gate. It is no figure: nothing is charged.

        Raises:
            ConsentMissingError: If training is shut; nothing left.
        """
        handed_over: list[int] = []
        self.gates.send(
            self.gates.read(TRAINING).ticket,
            str(number).encode(),
            what=_ENROLMENT,
            kind="query",
            deliver=lambda _: handed_over.append(number),
        )
        return handed_over[0]

    def check_ready(self) -> None:
        """Refuse while the machine is in use, on battery or on a metered network.

        Raises:
            PolicyViolationError: If it is, or if the app did not check in.
        """
        condition = self.condition()
        if condition is None or condition.missing():
            raise PolicyViolationError("the device is not ready to take part now")

    def let_out(self, payload: bytes, what: str, purpose: str, number: int) -> None:
        """Let a sealed message of a secure sum out: keys and signatures, nothing of the person.

        Args:
            payload: The whole message.
            what: What it is, in words for the egress log.
            purpose: Purpose of the sum.
            number: Round it is for; 0 for none.

        Raises:
            ConsentMissingError: If the purpose is shut; nothing left.
        """
        self.gates.send(
            self.gates.ticket(purpose),
            payload,
            what=what,
            kind="query",
            round_number=number or None,
            deliver=lambda _: None,
        )

    def update(self, asked: Invitation, parameters: Parameters) -> Integers:
        """Train for a round and let the contribution out.

        A device that is asked too early or too often by its own record adds zeros: a decline would
        tell the server when it joined last.

        Args:
            asked: The invitation, to a round or for a statistic.
            parameters: Broadcast model, flat; for a statistic what it is computed with. Public.

        Returns:
            int32 of shape ``(size,)``, one more where the clip norm adapts; of a statistic as many
            as it has entries: charged, logged and let out by the send gate.

        Raises:
            PolicyViolationError: If the device is not ready, or the server runs another config, or
                the config does not list the statistic.
            ConsentMissingError: If training is shut, or was shut while it ran; nothing left.
            IntegrityError: If the device's own record was deleted, cut or put back, or what a
                statistic is computed with is malformed.
        """
        return self._let_out(self._training(asked, parameters), None)[0]

    def sealed_update(self, asked: Invitation, parameters: Parameters, protect: Protect) -> bytes:
        """Train for a round, and let the contribution out masked and sealed.

        Args:
            asked: The invitation; to nobody where other devices of the fleet are asked alone: the
                device then adds zeros, and counts nothing.
            parameters: Broadcast model, flat. Public.
            protect: Masks and seals the integers; the send gate sees what it returns.

        Returns:
            The sealed update: charged, logged and let out by the send gate.

        Raises:
            HomebodyError: As ``update``; also what ``protect`` raises.
        """
        return self._let_out(self._training(asked, parameters), protect)[1]

    def figures(self, asked: Question, parameters: Parameters) -> Integers:
        """Compute a metric about this device and let it out, charged.

        Args:
            asked: The question.
            parameters: Broadcast model, flat. Public.

        Returns:
            int64, one integer a figure: charged, logged and let out by the send gate.

        Raises:
            PolicyViolationError: As ``update``, or if the config does not list the metric.
            ConsentMissingError: If the metric's purpose is shut; nothing left.
            IntegrityError: As ``update``.
        """
        return self._let_out(self._measuring(asked, parameters), None)[0]

    def sealed_figures(self, asked: Question, parameters: Parameters, protect: Protect) -> bytes:
        """Compute a metric about this device, and let it out masked and sealed; charged.

        Arguments, result and errors are those of ``sealed_update``.
        """
        return self._let_out(self._measuring(asked, parameters), protect)[1]

    def _training(self, asked: Invitation, parameters: Parameters) -> "_Task":
        from homebody_client.allowance import training_allowance  # noqa: PLC0415 config library

        if asked.statistic is not None:
            return self._counting(asked, asked.statistic, parameters)
        if asked.clip_norm is not None and not self.config.dp.adaptive_clip:
            raise PolicyViolationError("the config in force has one clip norm")
        size = self.model.contribution_size
        return _Task(
            purpose=TRAINING,
            what=_UPDATE,
            kind="update",
            paid_by=charge_of_round(asked.round, whole_run=self.config.dp.mechanism == "blt"),
            asked=asked,
            model=model_digest(parameters),
            allowance=training_allowance(self.config, asked.run, size),
            work=lambda history: self.model.update(history, parameters, asked),
            zeros=np.zeros(size + (asked.clip_norm is not None), np.int32),
        )

    def _counting(self, asked: Invitation, name: StatisticName, broadcast: Parameters) -> "_Task":
        from homebody_client.allowance import statistics_allowance  # noqa: PLC0415 config library

        return _Task(
            purpose=TRAINING,
            what=_STATISTICS[name],
            kind="update",
            paid_by=f"statistics/{name}",
            asked=asked,
            model=model_digest(broadcast),
            allowance=statistics_allowance(self.config, asked.run, name, again=False),
            work=lambda history: self.model.update(history, broadcast, asked),
            zeros=self.model.update((), broadcast, asked),  # as if nothing had been chosen
        )

    def _measuring(self, asked: Question, parameters: Parameters) -> "_Task":
        from homebody_client.allowance import metric_allowance  # noqa: PLC0415 config library

        metric = self.config.metrics.get(asked.metric)
        if metric is None:
            raise PolicyViolationError("the config in force does not list this metric")
        names = figure_names(asked.metric)
        return _Task(
            purpose=metric.purpose,
            what=f"{_FIGURES}: {', '.join(names)}",
            kind="metric",
            paid_by=f"metrics/{asked.metric}/{asked.round}",
            asked=asked,
            model=model_digest(parameters),
            allowance=metric_allowance(self.config, asked.run, asked.metric, metric),
            work=lambda history: self.model.figures(history, parameters, asked),
            zeros=np.zeros(len(names), np.int64),
            features=metric.features,
        )

    def _let_out(self, task: "_Task", protect: Protect | None) -> tuple[Integers, bytes]:
        """Read, ask the own record, compute, and hand over: the one order of every answer."""
        asked = task.asked
        self.check_ready()
        if asked.config_digest != self.config.digest():
            raise PolicyViolationError("the server runs another privacy config")
        self.flush()
        read = self.gates.read(task.purpose, task.features)
        history = product_history(read.rows)
        handed_over: list[tuple[Integers, bytes]] = []
        with self.joins() as joins:
            refused = not asked.devices or bool(
                joins.admit_many([DEVICE], task.allowance, asked.round, digest=task.model)
            )
            own = task.zeros
            if not refused:
                own = self.gates.train(read.ticket, lambda: task.work(history))
            payload = own.tobytes() if protect is None else protect(own)

            def charge() -> None:
                if not refused:
                    joins.record(DEVICE, task.allowance, asked.round, task.model)

            self.gates.send(
                read.ticket,
                payload,
                what=task.what if protect is None else f"{task.what}; {_MASKED}",
                kind=task.kind,
                round_number=asked.round or None,
                paid_by=task.paid_by,
                charge=charge,
                deliver=lambda given: handed_over.append((own, given)),
            )
        return handed_over[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What one answer is made of."""

    purpose: str
    what: str
    kind: str
    paid_by: str
    asked: Invitation | Question
    model: str
    allowance: Allowance
    work: Callable[[Sequence[str]], Integers] = field(repr=False)
    zeros: Integers = field(repr=False)
    features: Sequence[str] | None = None


def product_history(rows: Iterable[StoredRow]) -> list[str]:
    """Return the products of rows that say what the person chose, oldest first. Secret."""
    return [one.product_id for one in interactions_of(rows) if one.event in CHOICES]
