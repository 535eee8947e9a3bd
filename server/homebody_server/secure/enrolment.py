"""Enrol a fleet's nodes in a run: a signed announcement to each, a sealed answer from each.

An answer counts if its certificate is the authority's word on a node that is registered with the
fleet, and its envelope is signed with the key in it. Each device has one node.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from homebody_privacy.certificate import Certificate
from homebody_privacy.envelope import EVERY_NODE, Refusal
from homebody_privacy.errors import SealRefusedError, TooFewDevicesError
from homebody_privacy.legs import ACTIONS, Announcement, Enrolment, Step
from homebody_privacy.sealing import read_context, sign_plain
from homebody_server.hosts import Hosts, Register
from homebody_server.secure.courier import Exchange, Letter
from homebody_server.secure.home import AggregatorHome
from homebody_server.secure.pace import Pace
from homebody_server.secure.post import (
    Member,
    PostBox,
    envelope_of,
    is_plain_decline,
    letter_of,
)

_SLICE_S = 30.0  # then nodes that came online meanwhile are asked, too
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Roll:
    """Who is enrolled. Public to the server.

    Attributes:
        members: The nodes, by Flower's number.
        hosts: Flower's number of the node of each device.
    """

    members: Mapping[int, Member] = field(repr=False)
    hosts: Hosts = field(repr=False)


class Enroller:
    """Asks nodes until the whole population is there.

    Args:
        grid: How nodes are reached.
        box: Opens answers; its topic names the announcement.
        home: The fleet.
        announcement: What every node is told of the run.
        pace: Time and patience.
    """

    def __init__(
        self,
        grid: Grid,
        box: PostBox,
        home: AggregatorHome,
        announcement: Announcement,
        *,
        pace: Pace,
    ) -> None:
        """Sign the announcement; ask nobody yet."""
        self._grid = grid
        self._box = box
        self._home = home
        self._pace = pace
        context = box.topic.down(Step.ENROL, EVERY_NODE, "")
        self._msg_id = context.msg_id
        self._letter = Letter(
            content=letter_of(sign_plain(context, announcement.to_bytes(), home.signing)),
            message_type=f"{MessageType.QUERY}.{ACTIONS[Step.ENROL]}",
            group_id=str(Step.ENROL),
        )
        self._members: dict[int, Member] = {}
        self._register = Register(announcement.devices)

    def run(self, deadline_s: float) -> Roll:
        """Return who is enrolled, once every device is.

        Raises:
            TooFewDevicesError: If the population is not complete at the deadline, or every node
                of the fleet has answered and it is not.
            IntegrityError: If two nodes claim one device, or a number is outside the population.
        """
        end = self._pace.clock() + deadline_s
        while not self._register.complete:
            left = end - self._pace.clock()
            if left <= 0.0:
                raise self._incomplete("at the deadline")
            if {one.node_id for one in self._members.values()} >= self._home.registered.keys():
                raise self._incomplete("though every node of the fleet has answered")
            self._ask(node for node in self._grid.get_node_ids() if node not in self._members)
            if not self._register.complete:
                self._pace.sleep(min(_LOOK_S, left))
        return Roll(members=self._members, hosts=self._register.hosts())

    def _incomplete(self, when: str) -> TooFewDevicesError:
        codes = ", ".join(sorted(self._box.declined))
        why = f"; nodes declined: {codes}" if codes else ""
        return TooFewDevicesError(f"the population was not complete {when}{why}")

    def _ask(self, nodes: Iterable[int]) -> None:
        letters = dict.fromkeys(nodes, self._letter)
        if letters:
            exchange = Exchange(
                self._grid, letters, self._accept, deadline_s=_SLICE_S, pace=self._pace
            )
            exchange.run()

    def _accept(self, flower_node: int, reply: Message) -> bool:
        if is_plain_decline(reply):
            return True
        try:
            member, devices = self._opened(flower_node, reply)
        except SealRefusedError:
            return False
        self._register.add(devices, flower_node)
        self._members[flower_node] = member
        return True

    def _opened(self, flower_node: int, reply: Message) -> tuple[Member, list[int]]:
        """Return the node of an answer and its devices.

        Raises:
            SealRefusedError: If it is no answer of a registered node.
        """
        node_id = read_context(envelope_of(reply)).node_id
        known = self._home.registered.get(node_id)
        if known is None:
            raise SealRefusedError(Refusal.NOT_REGISTERED)
        asked = Member(flower_node=flower_node, certificate=known)
        now = self._pace.now()
        body = self._box.opened(reply, Step.ENROL, asked, self._msg_id, now)
        if body is None:
            return asked, []
        try:
            enrolment = Enrolment.from_bytes(body)
            certificate = Certificate.from_bytes(bytes.fromhex(enrolment.certificate))
        except ValueError as error:
            raise SealRefusedError(Refusal.MALFORMED) from error
        certificate.check(self._home.authority, self._home.fleet, now)
        if certificate.node_id != node_id:
            raise SealRefusedError(Refusal.WRONG_NODE)
        member = Member(flower_node=flower_node, certificate=certificate, pinned=enrolment.pinned)
        return member, enrolment.devices
