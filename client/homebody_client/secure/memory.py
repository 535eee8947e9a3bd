"""What a node remembers of its runs, and for how long: nothing of a session outlives its time."""

import json
from dataclasses import dataclass, field
from typing import Final

import rfc8785

from homebody_privacy.envelope import SealContext
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.legs import pack, unpack
from homebody_privacy.pinned import Pin

from .leg_store import Labels, LegStore
from .session import OpenSession, RunNotes

_OPEN: Final = ("", "open")  # no run is called so


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """Notes of runs, open sessions and replies, by name in a ``LegStore``.

    =====================================  ===================================================
    what                                   until
    =====================================  ===================================================
    notes of a run: announcement, serial   a later enrolment of the run
    the open session, with its keys        it is over, or a message comes after its time
    replies                                the next session or enrolment of the run
    what was seen of a run's ledger        always: an older or another one is refused
    highest revision of a config           always: a lower one is refused
    =====================================  ===================================================

    Attributes:
        store: Where all of it is. Secret.
    """

    store: LegStore = field(repr=False)

    def notes(self, run: str) -> RunNotes | None:
        """Return what is known of a run; None if the node never enrolled."""
        content = self.store.get(run, "notes")
        return None if content is None else RunNotes.from_bytes(content)

    def session(self, run: str) -> OpenSession | None:
        """Return the open session of a run. Secret."""
        content = self.store.get(run, "session")
        return None if content is None else OpenSession.from_bytes(content)

    def pin(self, run: str) -> Pin | None:
        """Return what the node saw last of the ledger of a run; None if it saw nothing."""
        content = self.store.get("", "pin", run)
        if content is None:
            return None
        origin, size, root = unpack(content, 3)
        return Pin(origin.decode(), int(size), root)

    def keep_pin(self, run: str, pin: Pin) -> None:
        """Keep what the node saw of the ledger of a run, in the place of what it saw before."""
        content = pack(pin.origin.encode(), str(pin.size).encode(), pin.root)
        self.store.put({("", "pin", run): content})

    def revision(self) -> int:
        """Return the highest revision of a config the node has seen; 0 for none."""
        content = self.store.get("", "revision")
        return 0 if content is None else int(content)

    def keep_revision(self, revision: int) -> None:
        """Keep that a revision was seen; a lower one changes nothing."""
        if revision > self.revision():
            self.store.put({("", "revision"): str(revision).encode()})

    def answered(self, head: SealContext) -> bytes | None:
        """Return the reply to a message that was answered before.

        Raises:
            PolicyViolationError: If another message was answered in its place; whatever session
                was open is over.
        """
        stored = self.store.get(*_answer(head))
        if stored is None:
            return None
        msg_id, reply = unpack(stored, 2)
        if msg_id == head.msg_id:
            return reply
        session = self.session(head.run)
        if session is not None and session.session == head.session:
            self.store.put({(head.run, "session"): None})
        raise PolicyViolationError("another message was answered in the place of this one")

    def keep(
        self,
        head: SealContext,
        reply: bytes,
        session: OpenSession | None,
        notes: RunNotes | None,
        now: float,
    ) -> None:
        """Keep a reply and what follows from it, in one step.

        Args:
            head: Of the message that is answered.
            reply: The whole reply.
            session: The session as it is now; None if it is over.
            notes: New notes of the run: earlier replies and the session before go; None where
                nothing new is known of the run.
            now: Unix seconds: other runs' sessions that should have ended go, too.
        """
        values: dict[Labels, bytes | None] = {
            _answer(head): pack(head.msg_id, reply),
            (head.run, "session"): None if session is None else session.to_bytes(),
        }
        if notes is not None:
            values[head.run, "notes"] = notes.to_bytes()
        ends = self._ends()
        left = {run: end for run, end in ends.items() if run != head.run and now <= end}
        values |= {(run, "session"): None for run in ends.keys() - left.keys() - {head.run}}
        if session is not None:
            left[head.run] = head.not_after
        if left != ends:
            values[_OPEN] = rfc8785.dumps(left)
        self.store.put(values, forget=None if notes is None else head.run)

    def _ends(self) -> dict[str, int]:
        """Return when the open session of each run should be over, Unix seconds."""
        content = self.store.get(*_OPEN)
        return {} if content is None else dict(json.loads(content))


def _answer(head: SealContext) -> Labels:
    return (head.run, "answer", head.session, head.step)
