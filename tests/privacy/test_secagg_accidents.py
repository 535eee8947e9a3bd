"""Whatever happens to any message but a vector itself: the sum is exact, or there is none."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.errors import RoundVoidError, SecAggAbortError
from homebody_privacy.secagg.server import ServerState, Summed

from .secagg_fleet import Fleet, vouch

_COUNT = 6
_VECTOR = 2  # the leg of the vectors


@dataclass(frozen=True)
class Accident:
    """One message is altered: a bit flipped, cut, another node's in its place, or empty.

    Attributes:
        leg: Of which leg, from 0.
        node: To or from which node.
        up: Whether it is a reply.
        kind: What happens to it.
        at: Where, as a part of its length.
    """

    leg: int
    node: int
    up: bool
    kind: str
    at: float

    def alter(self, message: bytes, others: list[bytes]) -> bytes:
        """Return what arrives."""
        place = int(self.at * len(message))
        if not message:
            return message
        match self.kind:
            case "flip":
                flipped = bytes([message[place] ^ (1 << place % 8)])
                return message[:place] + flipped + message[place + 1 :]
            case "cut":
                return message[:place]
            case "swap":
                return others[place % len(others)]
            case _:
                return b""


class Run:
    """A sum in which nodes that leave and replies that are not taken are just missing."""

    def __init__(self, accidents: list[Accident]) -> None:
        """Prepare a fleet."""
        self.fleet, self.accidents = Fleet(_COUNT), accidents
        self.sent: list[int] = []

    def altered(
        self, leg: int, node: int, message: bytes, others: list[bytes], *, up: bool
    ) -> bytes:
        """Return what arrives of a message."""
        for one in self.accidents:
            if (one.leg, one.node, one.up) == (leg, node, up):
                message = one.alter(message, others)
        return message

    def leg(
        self,
        leg: int,
        down: dict[int, bytes],
        reply: Callable[[int, bytes], bytes],
        add: Callable[[bytes, bytes], bool],
    ) -> None:
        """Ask the nodes of ``down``; keep who sent a vector."""
        came = list(down.values())
        replies: dict[int, bytes] = {}
        for node, sound in down.items():
            message = self.altered(leg, node, sound, came, up=False)
            try:
                replies[node] = reply(node, message)
            except SecAggAbortError:
                continue
        everybodys = list(replies.values())
        for node, sound in replies.items():
            message = self.altered(leg, node, sound, everybodys, up=True)
            taken = add(self.fleet.ids[node], message)
            if leg == _VECTOR and taken:
                self.sent.append(node)

    def numbered(self, messages: dict[bytes, bytes]) -> dict[int, bytes]:
        """Return messages by number."""
        return {self.fleet.ids.index(node_id): one for node_id, one in messages.items()}

    def masked(self, node: int, forwarded: bytes) -> bytes:
        """Return a node's masked vector."""
        self.fleet.leg(node, "check_forwarded", forwarded)
        return self.fleet.leg(node, "mask", self.fleet.vectors[node])

    def total(self) -> Summed:
        """Go through all legs."""
        fleet, server = self.fleet, self.fleet.server
        everybody = dict.fromkeys(range(_COUNT), b"")
        self.leg(0, everybody, lambda node, _: fleet.begin(node), server.add_advert)
        down = self.numbered(server.close_adverts())
        self.leg(1, down, lambda node, m: fleet.leg(node, "share", m, vouch), server.add_shares)
        down = self.numbered(server.close_shares())
        self.leg(2, down, self.masked, server.add_masked)
        down = dict.fromkeys(self.sent, server.close_masked())
        self.leg(3, down, lambda node, m: fleet.leg(node, "confirm", m), server.add_signature)
        down = dict.fromkeys(down, server.close_signatures())
        self.leg(4, down, lambda node, m: fleet.leg(node, "unmask", m), server.add_unmasking)
        return server.result()


@st.composite
def accidents(draw: st.DrawFn) -> Accident:
    up = draw(st.booleans())
    leg = draw(st.sampled_from([0, 1, 3, 4] if up else [1, 2, 3, 4]))
    return Accident(
        leg=leg,
        node=draw(st.integers(0, _COUNT - 1)),
        up=up,
        kind=draw(st.sampled_from(["flip", "flip", "flip", "cut", "swap", "empty"])),
        at=draw(st.floats(0.0, 1.0, exclude_max=True)),
    )


@settings(max_examples=80)
@given(st.lists(accidents(), min_size=1, max_size=4))
def test_accidents_to_any_messages_leave_the_exact_sum_or_none(found: list[Accident]) -> None:
    run = Run(found)
    try:
        summed = run.total()
    except RoundVoidError:
        assert run.fleet.server.state is ServerState.VOID
        return
    kept = [run.fleet.ids.index(node_id) for node_id in summed.survivors]
    assert len(kept) >= run.fleet.server.sizes.quorum
    assert (summed.total == np.asarray(run.fleet.vectors[kept].sum(axis=0))).all()
