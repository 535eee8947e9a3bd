"""The wire of a scenario: a grid on which messages meet with the faults of a plan."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

from homebody_privacy.legs import Step
from homebody_privacy.sealing import read_context
from homebody_simulation.flower_internals import (
    ErrorCode,
    Run,
    become_server,
    empty_run,
    make_message,
    set_message_id,
)
from tests.server.secure_world import bytes_of, envelope_of_down
from tests.server.world import PowerCutError

from .observed import Observed
from .plan import Fault, Kind
from .strikes import MEETS, Delivery, Known, hurts
from .townsfolk import Town, Townsman

Leg = tuple[int, Step]

REENROLLED = frozenset({Kind.STATE_LOST, Kind.STATE_LOST_OLD_RUN, Kind.STATE_PUT_BACK})
LASTING = REENROLLED | {Kind.STATE_DAMAGED, Kind.SKEWED, Kind.CONSENT}


@dataclass(slots=True)
class Aim:
    """What a fault was bound to: a leg, its nodes, and how often it may still strike."""

    leg: Leg
    nodes: tuple[int, ...]
    left: int
    legs: set[Leg] = field(default_factory=set)
    struck: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Weather:
    """All that outlives a restart of the server: the wire's memory and what has struck.

    Attributes:
        town: The nodes.
        seen: What the oracle sees.
        hurt: Nodes that a fault touched, by session.
        poisoned: Sessions in which a node or the server lied about what others depend on.
        invited: Nodes of each session.
        wire: Everything that passed.
        strays: Replies that come when nobody waits for them any more.
        known: What a relay kept of earlier messages.
        aims: What each fault was bound to.
        lasting: Nodes that stay hurt after a leg, and why.
        ids: Numbers of messages; a restart does not begin anew.
    """

    town: Town
    seen: Observed
    hurt: dict[int, set[int]] = field(default_factory=dict)
    poisoned: set[int] = field(default_factory=set)
    invited: dict[int, set[int]] = field(default_factory=dict)
    wire: set[bytes] = field(default_factory=set)
    strays: list[Message] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    aims: dict[Fault, Aim] = field(default_factory=dict)
    lasting: dict[int, Kind] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    def restarted(self) -> None:
        """Note that the nodes were enrolled anew: one that had lost its state is whole again."""
        self.lasting = {n: kind for n, kind in self.lasting.items() if kind not in REENROLLED}

    def healed(self) -> None:
        """Bring every node back to health."""
        for number, kind in self.lasting.items():
            if kind is Kind.STATE_DAMAGED:
                self.town.nodes[number].put_back(None)
        self.lasting.clear()
        for aim in self.aims.values():
            aim.left = 0
        self.town.heal()

    def due(self, leg: Leg, number: int, *, figure: bool, nodes: list[int]) -> list[Fault]:
        """Return the faults that strike in a leg, and bind those that it is the first for."""
        due = []
        for fault in self.seen.faults:
            aim = self.aims.get(fault)
            told = (fault.number, fault.step, fault.figure)
            if aim is None and not fault.point and told == (number, leg[1], figure) and nodes:
                self.aims[fault] = aim = _aim(fault, leg, nodes)
                self.seen.fired.add(fault)
            if aim is None:
                continue
            if fault.kind is Kind.PARTITION:
                aim.legs.add(leg)
                if len(aim.legs) <= fault.times:
                    due.append(fault)
            elif aim.leg == leg:
                due.append(fault)
        return due

    def strike(self, fault: Fault, node: int) -> bool:
        """Tell whether a fault strikes a node now."""
        aim = self.aims[fault]
        if node not in aim.nodes or not aim.left or (fault.once and node in aim.struck):
            return False
        aim.struck.add(node)
        if fault.kind in (Kind.LOST_DOWN, Kind.LOST_UP):
            aim.left -= 1
        return True


def _aim(fault: Fault, leg: Leg, nodes: list[int]) -> Aim:
    many = 1 if fault.kind in (Kind.LOST_DOWN, Kind.LOST_UP) else fault.times
    if fault.kind is Kind.PARTITION:
        many = 1 + fault.chance % max(1, len(nodes) // 2)
    picked = tuple(nodes[(fault.pick + i) % len(nodes)] for i in range(min(many, len(nodes))))
    left = fault.times if fault.kind in (Kind.LOST_DOWN, Kind.LOST_UP) else 1
    return Aim(leg, picked, left)


class ChaosGrid(Grid):
    """Reaches the nodes through the weather; one a start of the server.

    Args:
        weather: What outlives it.
    """

    def __init__(self, weather: Weather) -> None:
        """Take the server's place in this process."""
        self._weather = weather
        self._inbox: dict[str, list[Message]] = {}
        self._states: dict[int, RecordDict] = {}
        self.set_run(empty_run(1))

    def set_run(self, run: Run) -> None:
        """Speak for ``run`` from now on."""
        self._run = run
        become_server(run)

    @property
    def run(self) -> Run:
        """The run this grid speaks for."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message to one node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the numbers of all nodes."""
        return sorted(self._weather.town.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver messages, and what the weather makes of them."""
        deliveries = [self._delivery(message) for message in messages]
        ids = [one.message.metadata.message_id for one in deliveries]
        if not deliveries:
            return ids
        weather, first = self._weather, deliveries[0]
        leg = (first.head.session, first.head.step)
        figure = "/" in first.message.metadata.group_id
        nodes = sorted(one.number for one in deliveries)
        if leg[1] in (Step.ENROL, Step.ADVERTISE):
            weather.invited.setdefault(leg[0], set()).update(nodes)
        weather.hurt.setdefault(leg[0], set()).update(weather.lasting)
        faults = weather.due(leg, first.head.round, figure=figure, nodes=nodes)
        self._cut(faults, after=False)
        for fault in faults:
            if fault.kind is Kind.SHUFFLED:
                fault.rng.shuffle(deliveries)
        for one in deliveries:
            self._deliver(one, faults)
        for fault in faults:
            if fault.kind is Kind.SWAPPED_UP:
                self._swap(fault, deliveries)
        for one in deliveries:
            self._place(one)
        self._cut(faults, after=True)
        return ids

    def _delivery(self, message: Message) -> Delivery:
        set_message_id(message, f"m{next(self._weather.ids)}")
        own = RecordDict({name: record.copy() for name, record in message.content.items()})
        delivered = make_message(metadata=message.metadata, content=own)
        number = message.metadata.dst_node_id
        return Delivery(
            message=delivered,
            head=read_context(envelope_of_down(delivered)),
            number=number,
            node=self._weather.town.nodes[number],
            town=self._weather.town,
            seen=self._weather.seen,
            known=self._weather.known,
        )

    def _cut(self, faults: list[Fault], *, after: bool) -> None:
        for fault in faults:
            aim = self._weather.aims[fault]
            if fault.kind is Kind.CUT_AT_LEG and fault.after is after and aim.left:
                aim.left = 0
                self._weather.seen.dead = True
                raise PowerCutError

    def _deliver(self, one: Delivery, faults: list[Fault]) -> None:
        weather = self._weather
        striking = [f for f in faults if f.kind in MEETS and weather.strike(f, one.number)]
        for fault in striking:
            self._hurt(one, fault)
            MEETS[fault.kind](one, fault)
        weather.wire.update(bytes_of(one.message))
        kept = one.node.state()
        for down in one.downs if one.heard else []:
            weather.wire.update(bytes_of(down))
            one.up = self._handled(one.node, down)
        for after in one.afterwards:
            after(one, kept, lambda down: self._handled(one.node, down))
        weather.seen.lie = None
        one.node.ill = ""

    def _handled(self, node: Townsman, down: Message) -> Message | None:
        number = down.metadata.dst_node_id
        state = self._states.setdefault(number, RecordDict())
        reply = node.handle(down, Context(1, number, {}, state, {}))
        if reply is not None:
            self._weather.wire.update(bytes_of(reply))
            self._weather.known.note(down, reply)
        return reply

    def _hurt(self, one: Delivery, fault: Fault) -> None:
        weather = self._weather
        weather.hurt.setdefault(one.head.session, set()).add(one.number)
        if fault.kind in LASTING:
            weather.lasting[one.number] = fault.kind
        if hurts(fault):
            weather.poisoned.add(one.head.session)

    def _swap(self, fault: Fault, deliveries: list[Delivery]) -> None:
        others = [one for one in deliveries if one.up is not None and one.up.has_content()]
        if len(others) < 2 or not self._weather.strike(fault, self._weather.aims[fault].nodes[0]):
            return
        left, right = fault.rng.sample(others, 2)
        left_reply, right_reply = left.up, right.up
        assert left_reply is not None
        assert right_reply is not None
        left.up = Message(right_reply.content, reply_to=left.message)
        right.up = Message(left_reply.content, reply_to=right.message)
        for one in (left, right):
            self._hurt(one, fault)

    def _place(self, one: Delivery) -> None:
        weather = self._weather
        weather.strays += one.strays
        replies = list(one.firsts)
        if one.up is not None:
            replies += [one.up] * one.copies
        elif not one.silent:
            replies.append(Message(Error(ErrorCode.NODE_UNAVAILABLE), reply_to=one.message))
        for reply in replies:
            set_message_id(reply, f"m{next(self._weather.ids)}")
            weather.wire.update(bytes_of(reply) if reply.has_content() else ())
        self._inbox[one.message.metadata.message_id] = replies

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies there are; strays of earlier legs among them."""
        found = [reply for i in list(message_ids) for reply in self._inbox.pop(i, ())]
        strays, self._weather.strays = self._weather.strays, []
        return [*strays, *found]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Deliver messages and return the answers."""
        del timeout
        return self.pull_messages(self.push_messages(messages))
