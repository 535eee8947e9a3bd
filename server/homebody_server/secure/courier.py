"""One leg: a message to each node, and its one reply, until all came or the leg's time is over.

Messages are sent again as ``pace`` says; the envelope in them stays the same, so a node answers a
second copy with the bytes it answered the first with. The first good reply of a node is its only
one. What comes later is never read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from homebody_server.secure.pace import Pace

_SHORTEST_LIFE_S = 1.0

Accept = Callable[[int, Message], bool]
"""Takes the content a node replied with; False if it is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What one node is sent.

    Attributes:
        content: The records.
        message_type: Flower's type of it.
        group_id: Flower's group of it.
    """

    content: RecordDict = field(repr=False)
    message_type: str
    group_id: str


@dataclass(slots=True)
class _Way:
    """How far one node's letter is."""

    due: float
    tries: int = 0
    under_way: int = 0


class Exchange:
    """One leg under way.

    Args:
        grid: How nodes are reached.
        letters: What each is sent, by Flower node.
        accept: Takes a reply; called until it says True, once more for none of a node.
        deadline_s: Seconds the leg may take.
        pace: Time and patience.
    """

    __slots__ = ("_accept", "_end", "_grid", "_letters", "_nodes", "_pace", "_sent")

    def __init__(
        self,
        grid: Grid,
        letters: Mapping[int, Letter],
        accept: Accept,
        *,
        deadline_s: float,
        pace: Pace,
    ) -> None:
        """Send nothing yet."""
        self._grid = grid
        self._letters = letters
        self._accept = accept
        self._pace = pace
        start = pace.clock()
        self._end = start + deadline_s
        self._nodes = {node: _Way(start) for node in letters}
        self._sent: dict[str, int] = {}

    def run(self) -> None:
        """Return once every node answered or was given up, or the time is over."""
        looks = 0
        while self._nodes and self._pace.clock() < self._end:
            self._push()
            if self._pull():
                looks = 0
            self._give_up()
            if self._nodes:
                self._pace.sleep(self._wait_s(looks))
                looks += 1

    def _push(self) -> None:
        now = self._pace.clock()
        due = [node for node, way in self._nodes.items() if way.due <= now]
        if not due:
            return
        life = max(_SHORTEST_LIFE_S, self._end - now)
        ids = list(self._grid.push_messages([self._message(node, life) for node in due]))
        ids += [""] * (len(due) - len(ids))  # Flower returns none where the push was refused
        for node, sent in zip(due, ids, strict=True):
            way = self._nodes[node]
            way.tries += 1
            if sent:
                way.under_way += 1
                way.due = inf if self._tried(way) else now + (self._end - now) / 2.0
                self._sent[sent] = node
            else:
                self._failed(way)

    def _message(self, node: int, life_s: float) -> Message:
        letter = self._letters[node]
        return Message(
            letter.content,
            dst_node_id=node,
            message_type=letter.message_type,
            ttl=life_s,
            group_id=letter.group_id,
        )

    def _tried(self, way: _Way) -> bool:
        return way.tries >= self._pace.attempts

    def _failed(self, way: _Way) -> None:
        wait = inf if self._tried(way) else self._pace.backoff_s(way.tries)
        way.due = self._pace.clock() + wait

    def _pull(self) -> bool:
        replies = list(self._grid.pull_messages(list(self._sent))) if self._sent else []
        for reply in replies:
            node = self._sent.pop(reply.metadata.reply_to_message_id, None)
            way = None if node is None else self._nodes.get(node)
            if node is None or way is None:
                continue  # a second copy's reply, or none of ours
            way.under_way -= 1
            if reply.has_content() and self._accept(node, reply):
                self._close(node)
            elif not way.under_way:
                self._failed(way)
        return bool(replies)

    def _close(self, node: int) -> None:
        """Wait for nothing more of a node: what comes of another copy is not even fetched."""
        del self._nodes[node]
        self._sent = {sent: other for sent, other in self._sent.items() if other != node}

    def _give_up(self) -> None:
        for node, way in list(self._nodes.items()):
            if self._tried(way) and not way.under_way:
                self._close(node)

    def _wait_s(self, looks: int) -> float:
        now = self._pace.clock()
        soonest = min([self._end, *(way.due for way in self._nodes.values())])
        if not any(way.under_way for way in self._nodes.values()):
            return max(0.0, soonest - now)  # nothing can come
        return max(0.0, min(self._pace.poll_s(looks), soonest - now))
