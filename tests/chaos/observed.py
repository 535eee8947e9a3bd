"""What the oracle sees of the product while it runs, by seams that no product code has.

Methods are wrapped for the time of a scenario: who was in each sum, why a gathering was void, what
bodies were sealed. The same wraps stop the server's machine: from the call on at which it stops,
nothing more reaches the disk, as after a power cut.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Message, MessageType

from homebody_client.secure import node as client_node
from homebody_privacy.envelope import SealContext
from homebody_privacy.errors import RoundVoidError
from homebody_privacy.ledger import Ledger
from homebody_privacy.legs import Step
from homebody_privacy.replay import ReplayCache
from homebody_privacy.sealing import seal
from homebody_privacy.secagg.server import SecAggServer, Summed
from homebody_privacy.signing import SigningKey
from homebody_server import noise_state, run_folder
from homebody_server.replies import asking_record
from homebody_server.run_folder import RunFolder
from homebody_server.secure import post
from homebody_server.secure.gatherer import Secure
from homebody_server.secure.serials import Serials
from homebody_server.spending import Charged
from tests.server.world import PowerCutError

from .plan import Fault, Kind

What = tuple[str, int]
"""Metric, empty for an update, and round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one gathering ended.

    Attributes:
        session: Its serial.
        survivors: Who is in the sum; empty where it was void.
        total: The sum; None where it was void.
        void: Why; empty where there is a sum.
    """

    session: int
    survivors: frozenset[bytes] = frozenset()
    total: npt.NDArray[np.int64] | None = None
    void: str = ""


@dataclass(slots=True)
class Observed:
    """All of a scenario."""

    faults: tuple[Fault, ...]
    outcomes: list[tuple[What, Outcome]] = field(default_factory=list)
    bodies: dict[tuple[int, Step, bytes], bytes] = field(default_factory=dict)
    changed: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    fired: set[Fault] = field(default_factory=set)
    dead: bool = False
    session: int = 0
    lie: Callable[[SealContext, bytes], "Lie"] | None = None

    def last(self) -> dict[What, Outcome]:
        """Return how the last gathering of each kind and round ended."""
        return dict(self.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """What a lying node seals in the place of the truth."""

    context: SealContext
    body: bytes
    recipient: bytes = b""
    signer: SigningKey | None = None


@contextmanager
def observed(seen: Observed) -> Iterator[None]:
    """Wrap the product while the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        _watch_sums(patch, seen)
        _watch_seals(patch, seen)
        stops: list[tuple[type | object, str, str]] = [
            (Serials, "take", "take-serial"),
            (ReplayCache, "accept", "accept-reply"),
            (ReplayCache, "close_session", "close-session"),
            (Charged, "open", "open-round"),
            (SecAggServer, "result", "sum"),
            (RunFolder, "save_state", "save-state"),
            (noise_state.NoiseVault, "keep", "keep-noise"),
            (run_folder, "write_durably", "replace-file"),
            (Ledger, "_append", "append-entry"),
        ]
        for owner, name, point in stops:
            _stop(patch, seen, owner, name, point)
        yield


def _watch_sums(patch: pytest.MonkeyPatch, seen: Observed) -> None:
    result, gather = SecAggServer.result, Secure.gather
    summed: list[Summed] = []

    def watched_result(self: SecAggServer, workers: int = 1) -> Summed:
        del workers
        summed.append(result(self, 1))
        return summed[-1]

    def watched_gather(self: Secure, asked: list[Message], length: int) -> Any:  # noqa: ANN401
        summed.clear()
        try:
            found = gather(self, asked, length)
        except RoundVoidError as error:
            if not seen.dead:
                outcome = Outcome(session=seen.session, void=str(error.reason))
                seen.outcomes.append((_what(asked[0]), outcome))
            raise
        if summed:
            one = summed[-1]
            outcome = Outcome(session=seen.session, survivors=one.survivors, total=one.total.copy())
            seen.outcomes.append((_what(asked[0]), outcome))
        return found

    patch.setattr(SecAggServer, "result", watched_result)
    patch.setattr(Secure, "gather", watched_gather)


def _what(asked: Message) -> What:
    record = asking_record(asked)
    update = asked.metadata.message_type == MessageType.TRAIN
    return "" if update else str(record["metric"]), int(record["round"])  # type: ignore[call-overload]


def _watch_seals(patch: pytest.MonkeyPatch, seen: Observed) -> None:
    def servers(
        context: SealContext, body: bytes, *, recipient: bytes, signer: SigningKey
    ) -> bytes:
        seen.session = context.session
        seen.bodies[context.session, context.step, context.node_id] = body
        return seal(context, body, recipient=recipient, signer=signer)

    def nodes(context: SealContext, body: bytes, *, recipient: bytes, signer: SigningKey) -> bytes:
        if seen.lie is None:
            return seal(context, body, recipient=recipient, signer=signer)
        told = seen.lie(context, body)
        return seal(
            told.context,
            told.body,
            recipient=told.recipient or recipient,
            signer=told.signer or signer,
        )

    patch.setattr(post, "seal", servers)
    patch.setattr(client_node, "seal", nodes)


def _stop(
    patch: pytest.MonkeyPatch, seen: Observed, owner: type | object, name: str, point: str
) -> None:
    """Let the machine stop before or after a call, and do nothing once it stopped."""
    real = getattr(owner, name)

    def call(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it takes
        if seen.dead:
            raise PowerCutError
        seen.calls[point] = number = seen.calls.get(point, 0) + 1
        due = [f for f in seen.faults if f.point == point and f.call == number]
        for fault in due:
            if not fault.after:
                _die(seen, fault)
        value = real(*args, **named)
        for fault in due:
            if fault.kind is Kind.TORN:
                _tear(args[0], fault)
            if fault.after:
                _die(seen, fault)
        return value

    patch.setattr(owner, name, call)


def _die(seen: Observed, fault: Fault) -> None:
    seen.fired.add(fault)
    seen.dead = True
    if fault.kind is Kind.SERVER_FULL:
        raise OSError(28, "No space left on device")
    raise PowerCutError


def _tear(ledger: Ledger, fault: Fault) -> None:
    """Leave a part of the last line of a ledger's file alone, as if it was cut while written."""
    content = ledger.path.read_bytes()
    start = content[:-1].rfind(b"\n") + 1
    with ledger.path.open("r+b") as file:
        file.truncate(fault.rng.randrange(start, len(content)))
