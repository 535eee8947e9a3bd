"""What each fault does to one delivery."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

import numpy as np
from flwr.app import Message, RecordDict

from homebody_privacy import legs
from homebody_privacy.envelope import SealContext
from homebody_privacy.errors import SealRefusedError
from homebody_privacy.identity import RecipientKey
from homebody_privacy.legs import Step
from homebody_privacy.sealing import read_context, seal
from homebody_privacy.secagg.wire import Masked
from homebody_privacy.signing import SigningKey, key_id
from homebody_server.secure.post import bytes_record, letter_of
from homebody_simulation.flower_internals import make_message
from tests.server.secure_world import envelope_of_down

from .observed import Lie, Observed
from .plan import Fault, Kind
from .townsfolk import Town, Townsman

Handle = Callable[[Message], Message | None]

_DAY_S: Final = 86_400.0
_POISON: Final = frozenset({Step.SHARE, Step.UPDATE, Step.FIGURES, Step.UNMASK})


@dataclass(slots=True)
class Known:
    """What somebody on the way kept: each message and reply, by node, session and leg."""

    kept: dict[tuple[int, int, Step], tuple[Message, Message]] = field(default_factory=dict)

    def note(self, down: Message, reply: Message) -> None:
        """Keep the first of each."""
        try:
            head = read_context(envelope_of_down(down))
        except SealRefusedError:
            return
        key = (down.metadata.dst_node_id, head.session, head.step)
        self.kept.setdefault(key, (down, reply))

    def before(self, one: "Delivery", rng: Random) -> tuple[Message, Message] | None:
        """Return a message of an earlier leg or session to a node, and its reply."""
        now = (one.head.session, one.head.step)
        older = [
            pair for (n, s, leg), pair in self.kept.items() if n == one.number and (s, leg) != now
        ]
        return rng.choice(older) if older else None

    def announcement(self, node: int) -> Message | None:
        """Return the last announcement a node had."""
        found = [
            pair[0] for (n, _, step), pair in self.kept.items() if (n, step) == (node, Step.ENROL)
        ]
        return found[-1] if found else None


@dataclass(slots=True)
class Delivery:
    """One message on its way to one node, and the reply on its way back."""

    message: Message
    head: SealContext
    number: int
    node: Townsman
    town: Town
    seen: Observed
    known: Known
    heard: bool = True
    silent: bool = False
    copies: int = 1
    up: Message | None = None
    downs: list[Message] = field(default_factory=list)
    firsts: list[Message] = field(default_factory=list)
    strays: list[Message] = field(default_factory=list)
    afterwards: list[Callable[["Delivery", bytes | None, Handle], None]] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        """Deliver the message itself, once."""
        self.downs = [self.message]


def hurts(fault: Fault) -> bool:
    """Tell whether a fault may hurt nodes that it does not touch: a lie that others depend on."""
    return fault.kind is Kind.LYING_BODY and fault.step in _POISON


def is_sealed(reply: Message) -> bool:
    """Tell whether a reply carries an envelope."""
    return reply.has_content() and legs.SEALED in reply.content.array_records


# On the way.


def _lost_down(one: Delivery, _: Fault) -> None:
    one.heard = False


def _lost_up(one: Delivery, _: Fault) -> None:
    one.afterwards.append(lambda d, _kept, _handle: _lose(d))


def _lose(one: Delivery) -> None:
    one.up = None


def _silent(one: Delivery, fault: Fault) -> None:
    one.heard, one.silent = fault.after, True
    one.afterwards.append(lambda d, _kept, _handle: _lose(d))


def _twice_down(one: Delivery, _: Fault) -> None:
    def again(d: Delivery, _kept: bytes | None, handle: Handle) -> None:
        first, second = handle(d.message), handle(d.message)
        assert first is not None
        assert second is not None
        assert is_sealed(first) == is_sealed(second)
        if is_sealed(first):
            assert envelope_of_down(first) == envelope_of_down(second), "two answers to a message"

    one.afterwards.append(again)


def _twice_up(one: Delivery, _: Fault) -> None:
    def keep(d: Delivery, _kept: bytes | None, _handle: Handle) -> None:
        d.strays += [d.up] * 2 if d.up is not None else []

    one.copies = 3
    one.afterwards.append(keep)


def _late_up(one: Delivery, _: Fault) -> None:
    def late(d: Delivery, _kept: bytes | None, _handle: Handle) -> None:
        d.strays += [] if d.up is None else [d.up]
        d.up, d.silent = None, True

    one.afterwards.append(late)


def _old_up(one: Delivery, fault: Fault) -> None:
    def old(d: Delivery, _kept: bytes | None, _handle: Handle) -> None:
        found = d.known.before(d, fault.rng)
        if found is not None:
            stale = Message(found[1].content, reply_to=d.message)
            d.firsts.append(stale)
            d.up = None if fault.after else d.up

    one.afterwards.append(old)


def _flipped_down(one: Delivery, fault: Fault) -> None:
    content = _flipped(envelope_of_down(one.message), fault.rng)
    one.downs = [_changed(one.message, content)]


def _flipped_up(one: Delivery, fault: Fault) -> None:
    _rewrite(one, lambda content: _flipped(content, fault.rng))


def _flipped_broadcast(one: Delivery, fault: Fault) -> None:
    arrays = one.message.content.array_records
    content = arrays[legs.BROADCAST][legs.CIPHERTEXT].numpy().tobytes()
    broken = RecordDict(dict(one.message.content.items()))
    broken[legs.BROADCAST] = bytes_record(legs.CIPHERTEXT, _flipped(content, fault.rng))
    one.downs = [make_message(metadata=one.message.metadata, content=broken)]


def _cut_short_down(one: Delivery, fault: Fault) -> None:
    content = envelope_of_down(one.message)
    one.downs = [_changed(one.message, content[: fault.rng.randrange(len(content))])]


def _cut_short_up(one: Delivery, fault: Fault) -> None:
    _rewrite(one, lambda content: content[: fault.rng.randrange(len(content))])


def _lengthened_up(one: Delivery, fault: Fault) -> None:
    _rewrite(one, lambda content: content + fault.rng.randbytes(fault.rng.randint(1, 64)))


def _old_down(one: Delivery, fault: Fault) -> None:
    found = one.known.before(one, fault.rng)
    if found is not None:
        stale = make_message(metadata=one.message.metadata, content=found[0].content)
        one.downs = [stale] if fault.after else [stale, one.message]


def _flipped(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _changed(message: Message, envelope: bytes) -> Message:
    content = RecordDict(dict(message.content.items()))
    content[legs.SEALED] = bytes_record(legs.ENVELOPE, envelope)
    return make_message(metadata=message.metadata, content=content)


def _rewrite(one: Delivery, change: Callable[[bytes], bytes]) -> None:
    def rewritten(d: Delivery, _kept: bytes | None, _handle: Handle) -> None:
        if d.up is not None and is_sealed(d.up):
            d.up = Message(letter_of(change(envelope_of_down(d.up))), reply_to=d.message)

    one.afterwards.append(rewritten)


# A node that lies.


def _lying_body(one: Delivery, fault: Fault) -> None:
    def lie(context: SealContext, body: bytes) -> Lie:
        changed = _flipped(body, fault.rng)
        if context.step in (Step.UPDATE, Step.FIGURES):
            _note_change(one.seen, context.session, body, changed)
        return Lie(context=context, body=changed)

    one.seen.lie = lie


def _note_change(seen: Observed, session: int, body: bytes, changed: bytes) -> None:
    """Remember by how much a lying node moved the sum; what no longer reads moves nothing."""
    try:
        told = Masked.from_bytes(changed).words
    except ValueError:
        return
    truth = Masked.from_bytes(body).words
    if told.shape == truth.shape and told.dtype == truth.dtype:
        moved = (told - truth).astype(np.int64)
        seen.changed[session] = seen.changed.get(session, np.zeros_like(moved)) + moved


def _wrong_signer(one: Delivery, _: Fault) -> None:
    other = SigningKey.generate()
    one.seen.lie = lambda context, body: Lie(context=context, body=body, signer=other)


def _wrong_recipient(one: Delivery, fault: Fault) -> None:
    other = RecipientKey.generate().public

    def lie(context: SealContext, body: bytes) -> Lie:
        named = replace(context, recipient_key_id=key_id(other))
        return Lie(context=named, body=body, recipient=other)

    one.seen.lie = lie
    del fault


def _others_name(one: Delivery, _: Fault) -> None:
    (other, *_rest) = [n for n in one.town.nodes.values() if n is not one.node]

    def lie(context: SealContext, body: bytes) -> Lie:
        return Lie(context=replace(context, node_id=other.identity.node_id), body=body)

    one.seen.lie = lie


# A server that lies.


def _crafted(one: Delivery, step: Step, body: bytes) -> Message:
    """Return a message that the server's own key signed, and the server app never sent."""
    context = replace(one.head, step=step, msg_id=os.urandom(16))
    recipient = one.node.identity.recipient.public
    envelope = seal(context, body, recipient=recipient, signer=one.town.home.signing)
    if step is one.head.step:
        return _changed(one.message, envelope)
    action = f"query.{legs.ACTIONS[step]}"
    content = letter_of(envelope)
    told = Message(content, dst_node_id=one.number, message_type=action, ttl=60.0)
    told.metadata.__dict__["_message_id"] = one.message.metadata.message_id
    return told


def _old_body(one: Delivery, fault: Fault) -> None:
    step, node_id = one.head.step, one.node.identity.node_id
    older = [
        body
        for (session, leg, node), body in one.seen.bodies.items()
        if (leg, node) == (step, node_id) and session < one.head.session
    ]
    if older:
        one.downs = [_crafted(one, step, fault.rng.choice(older))]


def _second_ask(one: Delivery, fault: Fault) -> None:
    body = one.seen.bodies[one.head.session, one.head.step, one.node.identity.node_id]
    others = [b for (_, leg, _), b in one.seen.bodies.items() if leg is one.head.step]
    told = body if fault.after else fault.rng.choice(others)

    def again(d: Delivery, _kept: bytes | None, handle: Handle) -> None:
        answered = d.up is not None and is_sealed(d.up)
        second = handle(_crafted(d, d.head.step, told))
        assert second is not None
        assert not (answered and is_sealed(second)), "a node answered a leg twice"

    one.afterwards.append(again)


def _ahead(one: Delivery, fault: Fault) -> None:
    bodies = [b for (_, leg, _), b in one.seen.bodies.items() if leg is Step.UNMASK]
    body = fault.rng.choice(bodies) if bodies else fault.rng.randbytes(200)
    one.downs = [_crafted(one, Step.UNMASK, body), one.message]


# A node's machine.


def _ill(word: str) -> Callable[[Delivery, Fault], None]:
    def strike(one: Delivery, _: Fault) -> None:
        one.node.ill = word

    return strike


def _state_lost(one: Delivery, _: Fault) -> None:
    one.node.put_back(None)


def _state_lost_old_run(one: Delivery, fault: Fault) -> None:
    """Lose the state, and let a relay tell the node about the run again."""
    one.node.put_back(None)
    announced = one.known.announcement(one.number)
    old = one.known.before(one, fault.rng)
    one.downs = [*([announced] if announced else []), *([old[0]] if old else []), one.message]


def _state_damaged(one: Delivery, fault: Fault) -> None:
    state = one.node.state()
    if state:
        one.node.put_back(_flipped(state, fault.rng))


def _state_put_back(one: Delivery, fault: Fault) -> None:
    def restored(d: Delivery, kept: bytes | None, handle: Handle) -> None:
        d.node.put_back(kept)
        again = handle(d.message)
        d.up = d.up if fault.after else again

    one.afterwards.append(restored)


def _skewed(one: Delivery, fault: Fault) -> None:
    one.node.skew_s = _DAY_S * fault.rng.choice((-60, -1, 1, 60, 500))


def _consent(one: Delivery, fault: Fault) -> None:
    one.node.tag = "" if fault.after else "c" * 32


MEETS: Final[Mapping[Kind, Callable[[Delivery, Fault], None]]] = {
    Kind.LOST_DOWN: _lost_down,
    Kind.LOST_UP: _lost_up,
    Kind.SILENT: _silent,
    Kind.TWICE_DOWN: _twice_down,
    Kind.TWICE_UP: _twice_up,
    Kind.LATE_UP: _late_up,
    Kind.OLD_UP: _old_up,
    Kind.PARTITION: _lost_down,
    Kind.FLIPPED_DOWN: _flipped_down,
    Kind.FLIPPED_UP: _flipped_up,
    Kind.FLIPPED_BROADCAST: _flipped_broadcast,
    Kind.CUT_SHORT_DOWN: _cut_short_down,
    Kind.CUT_SHORT_UP: _cut_short_up,
    Kind.LENGTHENED_UP: _lengthened_up,
    Kind.OLD_DOWN: _old_down,
    Kind.LYING_BODY: _lying_body,
    Kind.WRONG_SIGNER: _wrong_signer,
    Kind.WRONG_RECIPIENT: _wrong_recipient,
    Kind.OTHERS_NAME: _others_name,
    Kind.OLD_BODY: _old_body,
    Kind.SECOND_ASK: _second_ask,
    Kind.AHEAD: _ahead,
    Kind.DEAD_BEFORE: _ill("dies-before"),
    Kind.DEAD_AFTER: _ill("dies-after"),
    Kind.DEAD_AT_WORK: _ill("dies-at-work"),
    Kind.DISK_FULL: _ill("disk-full"),
    Kind.STATE_LOST: _state_lost,
    Kind.STATE_LOST_OLD_RUN: _state_lost_old_run,
    Kind.STATE_DAMAGED: _state_damaged,
    Kind.STATE_PUT_BACK: _state_put_back,
    Kind.SKEWED: _skewed,
    Kind.CONSENT: _consent,
}
"""Faults of one delivery; shuffling, swapping and what stops the server are the grid's."""
