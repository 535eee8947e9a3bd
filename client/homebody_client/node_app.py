"""The ClientApp of a node, whatever it hosts: which messages there are, and the one way out.

Every exit of a node is ``reply_with``. An exception must not leave a device (Flower would send its
text to the server), so what goes wrong is answered with a code. A node that has keys answers sealed
messages and refuses all others; one without, in a simulation, answers plain ones.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from homebody_client.secure.node import DEFECT, SecureNode
from homebody_privacy import messages
from homebody_privacy.errors import HomebodyError, IntegrityError, PolicyViolationError
from homebody_privacy.legs import ACTIONS, BROADCAST, CIPHERTEXT, ENVELOPE, SEALED, Step

NodeOpener = Callable[[Context], AbstractContextManager[SecureNode | None]]
"""Opens the node of a context for one message; None where the run is not sealed."""

Plain = Callable[[Message, Context], RecordDict]
"""Answers a message in the clear."""


def reply_with(content: RecordDict, asked: Message) -> Message:
    """Send ``content``: one contribution, plain or sealed, an enrolment or a code; nothing else."""
    arrays = {key for record in content.array_records.values() for key in record}
    values = {key for record in content.config_records.values() for key in record}
    if (
        not arrays <= {messages.CONTRIBUTION, ENVELOPE}
        or not values <= {messages.DEVICES, messages.CODE}
        or content.metric_records
    ):
        raise PolicyViolationError("a reply may hold one contribution, an enrolment or a code")
    return Message(content, reply_to=asked)


def decline(asked: Message, code: str) -> Message:
    """Answer with a code and nothing else."""
    return reply_with(RecordDict({messages.DECLINED: ConfigRecord({messages.CODE: code})}), asked)


def node_app(
    plain: Mapping[Step, Plain], node: NodeOpener | None = None, *, shielded: bool = True
) -> ClientApp:
    """Return the ClientApp of a node.

    Args:
        plain: What answers an enrolment, a round and a question in the clear.
        node: Opens the node of a context; where it opens one, plain messages are refused.
        shielded: Answer a defect with a code, as every deployment must; a laboratory that wants to
            see its defects says False.
    """
    answers = _Answers(plain, node or _no_node, shielded)
    client = ClientApp()
    client.query(messages.ENROL)(partial(answers.reply, answers.plain, Step.ENROL))
    client.train()(partial(answers.reply, answers.either, Step.UPDATE))
    client.evaluate()(partial(answers.reply, answers.either, Step.FIGURES))
    for step, action in ACTIONS.items():
        client.query(action)(partial(answers.reply, answers.sealed, step))
    return client


_Way = Callable[[Message, Context, Step, SecureNode | None], RecordDict]


def _no_node(_: Context) -> AbstractContextManager[None]:
    """Open no node."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class _Answers:
    """Answers the messages of a node; ``reply`` never raises, if it is shielded."""

    open: Mapping[Step, Plain]
    node: NodeOpener
    shielded: bool

    def reply(self, way: _Way, step: Step, msg: Message, context: Context) -> Message:
        try:
            with self.node(context) as node:
                return reply_with(way(msg, context, step, node), msg)
        except HomebodyError as error:
            return decline(msg, error.code)
        except Exception:  # its text may hold user data, and Flower would send it
            if not self.shielded:
                raise
            return decline(msg, DEFECT)

    def plain(
        self, msg: Message, context: Context, step: Step, node: SecureNode | None
    ) -> RecordDict:
        if node is not None:
            raise PolicyViolationError("this node answers sealed messages alone")
        return self.open[step](msg, context)

    def sealed(self, msg: Message, _: Context, step: Step, node: SecureNode | None) -> RecordDict:
        if node is None:
            raise PolicyViolationError("this node has no keys of its own")
        return answer_sealed(msg, step, node)

    def either(
        self, msg: Message, context: Context, step: Step, node: SecureNode | None
    ) -> RecordDict:
        return (self.plain if node is None else self.sealed)(msg, context, step, node)


def answer_sealed(msg: Message, step: Step, node: SecureNode) -> RecordDict:
    """Return the content of a node's reply to a sealed message.

    Raises:
        PolicyViolationError: If the message is not sealed: it would be answered in the clear.
        HomebodyError: As ``SecureNode.answer``.
    """
    arrays = msg.content.array_records
    if SEALED not in arrays or not set(arrays) <= {SEALED, BROADCAST}:
        raise PolicyViolationError("this node answers sealed messages alone")
    envelope = _bytes_of(arrays[SEALED], ENVELOPE)
    ciphertext = _bytes_of(arrays[BROADCAST], CIPHERTEXT) if BROADCAST in arrays else b""
    reply = np.frombuffer(node.answer(step, envelope, ciphertext), np.uint8)
    return RecordDict({SEALED: ArrayRecord({ENVELOPE: Array(reply)})})


def _bytes_of(record: ArrayRecord, key: str) -> bytes:
    """Return the bytes of the one array of a record."""
    if list(record) != [key]:
        raise IntegrityError("a sealed message holds something else")
    try:
        array = record[key].numpy()
    except (EOFError, OSError, TypeError, ValueError) as error:
        raise IntegrityError("a sealed message cannot be read") from error
    if array.dtype != np.uint8 or array.ndim != 1:
        raise IntegrityError("a sealed message holds something else")
    return array.tobytes()
