"""Keep one process of a fleet running: start it, see it end, wait, start it again."""

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .backoff import SETTLED_S, Ended, pause_s
from .processes import Process, end, recall, remember
from .roles import Role


@dataclass(slots=True, kw_only=True)
class Keeper:
    """Keeps one process running.

    Attributes:
        role: The process.
        rng: Jitter of waiting.
        clock: Seconds, never back.
        process: It, while it lives.
        restarts: How often it was started again.
        last: How it ended the last time; "" if it never did.
    """

    role: Role
    rng: random.Random
    clock: Callable[[], float] = time.monotonic
    process: Process | None = None
    restarts: int = 0
    last: str = ""
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _begun: bool = False
    _born: float = 0.0
    _due: float = 0.0
    _quick: int = 0

    def adopt(self) -> bool:
        """Take over a process that an earlier supervisor left, if it is still this one."""
        found = recall(self.role.record)
        if found is None or found.words[-len(self.role.command) :] != self.role.command:
            return False
        self.process, self._begun, self._born = found, True, self.clock()
        return True

    @property
    def waits_s(self) -> float:
        """How long until it is started again; 0 if it runs."""
        return 0.0 if self.process else max(0.0, self._due - self.clock())

    def tend(self) -> bool:
        """See whether it ended, start it if it is time, and tell whether anything changed."""
        changed = self._see()
        if self.process is None and self.clock() >= self._due:
            self._start()
            return True
        return changed

    def end(self, *, patience_s: float) -> None:
        """End it, for good."""
        end(filter(None, [self.process]), patience_s=patience_s)
        if self._child is not None:
            self._child.wait()
        self.process, self._child = None, None

    def _see(self) -> bool:
        if self.process is None:
            return False
        code = None if self._child is None else self._child.poll()
        if code is None and self.process.alive:
            return False
        self._note_end(code)
        return True

    def _note_end(self, code: int | None) -> None:
        """Take down how it ended, and when it is due again."""
        settled = self.clock() - self._born >= SETTLED_S
        self._quick = 0 if settled else self._quick + 1
        self.last = _words(code)
        self.process, self._child = None, None
        ended = Ended(kind=self.role.kind, code=code, quick=self._quick)
        self._due = self.clock() + pause_s(ended, self.rng)

    def _start(self) -> None:
        with self.role.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 our own arguments
                self.role.command,
                env=dict(self.role.environ),
                cwd=self.role.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.process = Process.of(self._child.pid)
        self._born = self.clock()
        self.restarts += self._begun
        self._begun = True
        if self.process is None:  # it ended at once
            self._note_end(self._child.wait())
            return
        remember(self.role.record, self.process)


def _words(code: int | None) -> str:
    if code is None:
        return "ended, unseen"
    return f"signal {-code}" if code < 0 else f"exit {code}"
