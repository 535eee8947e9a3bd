"""A Flower Grid inside one process: messages go to a function instead of a network.

The ServerApp cannot tell the difference. Who answers is a ``Cohort``: the ClientApp called once a
message, or an engine that trains the whole cohort at once.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import count

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from homebody_simulation.flower_internals import (
    ErrorCode,
    Run,
    become_server,
    empty_run,
    make_message,
    set_message_id,
)

Setting = str | int | float | bool
Cohort = Callable[[list[tuple[Message, Context]]], list[Message | None]]
"""Answers the messages of a push, in order; None is a node that did not answer."""


class CohortGrid(Grid):
    """Reaches simulated nodes in this process.

    Args:
        cohort: Answers the messages.
        node_configs: Config of each node by node id.
        run_config: Config of the run, the same for all nodes.
        run_id: Flower's number of the run.
    """

    def __init__(
        self,
        cohort: Cohort,
        node_configs: Mapping[int, dict[str, Setting]],
        run_config: Mapping[str, Setting],
        run_id: int = 1,
    ) -> None:
        """Take the server's place in this process."""
        self._cohort = cohort
        self._node_configs = dict(node_configs)
        self._run_config = dict(run_config)
        self._states: dict[int, RecordDict] = {}
        self._inbox: dict[str, Message] = {}
        self._ids = count(1)
        self.set_run(empty_run(run_id))

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
        """Return the ids of all nodes, ascending."""
        return sorted(self._node_configs)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver ``messages`` and keep the answers; return the messages' ids."""
        work = []
        for message in messages:
            set_message_id(message, f"m{next(self._ids)}")
            # A copy of the records: one RecordDict may be in every message of a round.
            own = RecordDict({name: record.copy() for name, record in message.content.items()})
            delivered = make_message(metadata=message.metadata, content=own)
            work.append((delivered, self._context(message.metadata.dst_node_id)))
        replies = self._cohort(work) if work else []
        for (message, context), reply in zip(work, replies, strict=True):
            self._states[context.node_id] = context.state
            answer = reply or Message(Error(ErrorCode.NODE_UNAVAILABLE), reply_to=message)
            set_message_id(answer, f"m{next(self._ids)}")
            self._inbox[message.metadata.message_id] = answer
        return [message.metadata.message_id for message, _ in work]

    def _context(self, node: int) -> Context:
        state = self._states.setdefault(node, RecordDict())
        return Context(self._run.run_id, node, self._node_configs[node], state, self._run_config)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the answers there are, each once."""
        return [self._inbox.pop(i) for i in list(message_ids) if i in self._inbox]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Deliver ``messages`` and return the answers."""
        del timeout  # answers are there at once
        return self.pull_messages(self.push_messages(messages))


def app_cohort(client: ClientApp, *, on_call: Callable[[Message], None] | None = None) -> Cohort:
    """Return the cohort that calls the ClientApp once a message; all others must equal it.

    An exception of the app is raised here: in a laboratory a broken device is a defect to see, not
    a drop-out to tolerate.

    Args:
        client: The ClientApp.
        on_call: Called with each reply.
    """

    def cohort(work: list[tuple[Message, Context]]) -> list[Message | None]:
        replies: list[Message | None] = []
        for message, context in work:
            reply = client(message, context)
            if on_call is not None:
                on_call(reply)
            replies.append(reply)
        return replies

    return cohort
