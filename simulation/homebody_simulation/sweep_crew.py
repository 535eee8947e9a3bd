"""Work spread over processes, one piece at a time each; a process that dies loses its piece once.

A worker is a program that reads a piece as a line of JSON and answers with lines of JSON, the last
of which has ``ended``. Programs rather than forks: a fork of a process with torch's threads may
hang, and a spawn runs the caller's script again.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from homebody_privacy.errors import HomebodyError

Piece = Mapping[str, Any]
"""What a worker is asked to do: JSON values, ``name`` among them."""

_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
"""One thread a process: as many processes as cores, and sums in the same order on any machine."""

_TRIES: Final = 2
_PATIENCE_S: Final = 20.0
_CHUNK: Final = 1 << 16


@dataclass(eq=False, slots=True)
class _Worker:
    """One process and what it is at."""

    process: subprocess.Popen[bytes]
    piece: Piece | None = None
    partial: bytes = b""

    def ask(self, piece: Piece) -> None:
        """Hand over a piece; a process that is gone shows when it is read."""
        self.piece = piece
        pipe = self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            if pipe is not None:
                pipe.write(json.dumps(piece).encode() + b"\n")
                pipe.flush()

    def lines(self, chunk: bytes) -> list[dict[str, Any]]:
        """Return the whole lines there are with ``chunk``."""
        *whole, self.partial = (self.partial + chunk).split(b"\n")
        return [json.loads(line) for line in whole if line]


@dataclass(slots=True)
class Crew:
    """Some workers and a log of what they print; a context manager that leaves no process.

    Attributes:
        command: Starts a worker.
        jobs: Most workers at a time, at least 1.
        log: File that gets what workers write beside their answers.
    """

    command: Sequence[str]
    jobs: int
    log: Path
    _workers: list[_Worker] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every worker: at once after an error, else when it has seen that nothing comes."""
        for worker in self._workers:
            if worker.process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    worker.process.stdin.close()
            if kind is not None:  # as Ctrl-C does: what it is at can be resumed
                with contextlib.suppress(ProcessLookupError):
                    worker.process.send_signal(signal.SIGINT)
        for worker in self._workers:
            try:
                worker.process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._close(worker)
        self._workers.clear()
        self._selector.close()

    def work(
        self, pieces: Iterable[Piece], tell: Callable[[Piece, Mapping[str, Any]], None]
    ) -> None:
        """Have every piece done; the order in which they end is nobody's to rely on.

        A piece whose process dies is given to another one, once. When a piece is refused, no
        further one is handed out, and what is being done is brought to its end.

        Args:
            pieces: What to do.
            tell: Called with each answer, in this thread.

        Raises:
            HomebodyError: The first refusal, or if a piece loses its process twice.
        """
        waiting = deque(pieces)
        lost: Counter[str] = Counter()
        failed: HomebodyError | None = None
        while waiting or any(worker.piece for worker in self._workers):
            self._hand_out(waiting)
            for key, _ in self._selector.select():
                worker: _Worker = key.data
                for piece, answer in self._answers(worker):
                    tell(piece, answer)
                    if answer.get("refused"):
                        failed = failed or _refusal(piece, answer["refused"])
                    elif answer.get("lost"):
                        lost[piece["name"]] += 1
                        if lost[piece["name"]] == _TRIES:
                            failed = failed or _gone(piece, self.log)
                        else:
                            waiting.appendleft(piece)
            if failed is not None:
                waiting.clear()
        if failed is not None:
            raise failed

    def _answers(self, worker: _Worker) -> list[tuple[Piece, Mapping[str, Any]]]:
        """Return what a worker said of its piece, or that it was lost with it."""
        chunk = os.read(_pipe(worker.process), _CHUNK)
        piece = worker.piece
        if not chunk:
            self._dismiss(worker)
            return [] if piece is None else [(piece, {"lost": True})]
        answers = worker.lines(chunk)
        if any(answer.get("ended") for answer in answers):
            worker.piece = None
        return [] if piece is None else [(piece, answer) for answer in answers]

    def _hand_out(self, waiting: deque[Piece]) -> None:
        for worker in self._workers:
            if waiting and worker.piece is None:
                worker.ask(waiting.popleft())
        while waiting and len(self._workers) < self.jobs:
            self._hire().ask(waiting.popleft())

    def _hire(self) -> _Worker:
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 our own program
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **_ONE_THREAD},
            )
        worker = _Worker(process)
        self._workers.append(worker)
        self._selector.register(_pipe(process), selectors.EVENT_READ, worker)
        return worker

    def _dismiss(self, worker: _Worker) -> None:
        self._selector.unregister(_pipe(worker.process))
        self._workers.remove(worker)
        if worker.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                worker.process.stdin.close()
        worker.process.wait()
        self._close(worker)

    def _close(self, worker: _Worker) -> None:
        if worker.process.stdout is not None:
            worker.process.stdout.close()


def _pipe(process: subprocess.Popen[bytes]) -> int:
    """Return the descriptor a process answers on.

    Raises:
        ValueError: If it was started without one.
    """
    if process.stdout is None:
        raise ValueError("the process has no pipe to answer on")
    return process.stdout.fileno()


def _refusal(piece: Piece, refused: Mapping[str, Any]) -> HomebodyError:
    """Return a worker's refusal as it was raised there, with the piece's name."""
    kinds = {kind.code: kind for kind in _kinds(HomebodyError)}
    kind = kinds.get(refused["code"], HomebodyError)
    return kind(f"{piece['name']}: {refused['message']}", fix=refused["fix"])


def _kinds(base: type[HomebodyError]) -> list[type[HomebodyError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in _kinds(child))]


def _gone(piece: Piece, log: Path) -> HomebodyError:
    return HomebodyError(
        f"{piece['name']}: its process ended {_TRIES} times before it was done",
        fix=f"see {log}; what is finished is kept, go on with --resume",
    )
