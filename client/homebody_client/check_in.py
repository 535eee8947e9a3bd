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
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.messages import Invitation, Question

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
_FIGURES: Final = "figures about this device, never alone"

Parameters = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32] | npt.NDArray[np.int64]


class LocalModel(Protocol):
    """Local computation of one model; ``homebody_client.local_model`` makes it."""

    def update(self, history: Sequence[str], parameters: Parameters, asked: Invitation) -> Integers:
        """Return what the device would add to a round: clipped, on the lattice. Secret."""
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

    def update(self, asked: Invitation, parameters: Parameters) -> Integers:
        """Train for a round and let the contribution out.

        A device that is asked too early or too often by its own record adds zeros: a decline would
        tell the server when it joined last.

        Args:
            asked: The invitation.
            parameters: Broadcast model, flat. Public.

        Returns:
            int32 of shape ``(size,)``, one more where the clip norm adapts: charged, logged and
            let out by the send gate.

        Raises:
            PolicyViolationError: If the device is not ready, or the server runs another config.
            ConsentMissingError: If training is shut, or was shut while it ran; nothing left.
            IntegrityError: If the device's own record was deleted, cut or put back.
        """
        from homebody_client.allowance import training_allowance  # noqa: PLC0415 config library

        if asked.clip_norm is not None and not self.config.dp.adaptive_clip:
            raise PolicyViolationError("the config in force has one clip norm")
        return self._let_out(
            TRAINING,
            _UPDATE,
            asked,
            parameters,
            allowance=training_allowance(self.config, asked.run, parameters.size),
            work=lambda history: self.model.update(history, parameters, asked),
            zeros=np.zeros(parameters.size + (asked.clip_norm is not None), np.int32),
        )

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
        from homebody_client.allowance import metric_allowance  # noqa: PLC0415 config library

        metric = self.config.metrics.get(asked.metric)
        if metric is None:
            raise PolicyViolationError("the config in force does not list this metric")
        names = figure_names(asked.metric)
        return self._let_out(
            metric.purpose,
            f"{_FIGURES}: {', '.join(names)}",
            asked,
            parameters,
            allowance=metric_allowance(self.config, asked.run, asked.metric, metric),
            work=lambda history: self.model.figures(history, parameters, asked),
            zeros=np.zeros(len(names), np.int64),
            features=metric.features,
            kind="metric",
        )

    def _let_out(
        self,
        purpose: str,
        what: str,
        asked: Invitation | Question,
        parameters: Parameters,
        *,
        allowance: Allowance,
        work: Callable[[Sequence[str]], Integers],
        zeros: Integers,
        features: Sequence[str] | None = None,
        kind: str = "update",
    ) -> Integers:
        """Read, ask the own record, compute, and hand over: the one order of every answer."""
        condition = self.condition()
        if condition is None or condition.missing():
            raise PolicyViolationError("the device is not ready to take part now")
        if asked.config_digest != self.config.digest():
            raise PolicyViolationError("the server runs another privacy config")
        self.flush()
        read = self.gates.read(purpose, features)
        digest = model_digest(parameters)
        history = product_history(read.rows)
        handed_over: list[Integers] = []
        with self.joins() as joins:
            refused = joins.admit_many([DEVICE], allowance, asked.round, digest=digest)
            own = zeros if refused else self.gates.train(read.ticket, lambda: work(history))

            def charge() -> None:
                if not refused:
                    joins.record(DEVICE, allowance, asked.round, digest)

            self.gates.send(
                read.ticket,
                own.tobytes(),
                what=what,
                kind=kind,
                round_number=asked.round,
                charge=charge,
                deliver=lambda _: handed_over.append(own),
            )
        return handed_over[0]


def product_history(rows: Iterable[StoredRow]) -> list[str]:
    """Return the products of rows that say what the person chose, oldest first. Secret."""
    return [one.product_id for one in interactions_of(rows) if one.event in CHOICES]
