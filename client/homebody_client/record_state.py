"""What a device has spent at record level: Opacus' accountant history, kept over rounds and runs.

One small file for one device. It is written before the steps it charges are made, in one exchange
that survives a power cut, so that a crash can only leave more charged than was done. It is never
started anew: a file that is missing, damaged or older than it was is a refusal.

The digest shows damage and, with the digest before it and a counter that only rises, the order of
states. It is no signature: who may write the file can write another. Keep ``counter`` and ``head``
elsewhere to notice an older copy put back.
"""

import hashlib
import json
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

import rfc8785

from homebody_privacy.durable import locked, write_durably
from homebody_privacy.errors import BudgetExhaustedError, DependencyError, IntegrityError
from homebody_privacy.lattice import RECORD_BITS
from homebody_privacy.noise import epsilon_excess, total_variation

Entry = tuple[float, float, int]
"""Noise multiplier, sampling rate and steps, as Opacus' accountants keep them."""

_SCHEMA: Final = "record-state/1"
_NO_STATE: Final = "0" * 64  # stands before the first state
_SPARE: Final = 2.0**-10  # of delta, for the sampler, where a bound will do


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSteps:
    """DP-SGD steps of one device in one round; all fields public.

    Attributes:
        noise_multiplier: Noise on the sum of gradients / max grad norm; finite, above 0.
        sampling_rate: Probability that a record is in a step's batch, in (0, 1].
        steps: Optimizer steps, at least 1.
        parameters: Parameters of the model, each of which is noised; at least 1.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int
    parameters: int

    def __post_init__(self) -> None:
        """Refuse what cannot be accounted."""
        _check_entry((self.noise_multiplier, self.sampling_rate, self.steps))
        if self.parameters < 1:
            raise ValueError(f"parameters must be at least 1, got {self.parameters}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCeiling:
    """What a device lets its records spend in its whole life; the device's own word.

    Attributes:
        epsilon: Never passed; above 0.
        delta: Failure chance it is stated at, above 0 and below 1.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        """Refuse a ceiling that means nothing."""
        if not 0.0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be finite and above 0, got {self.epsilon!r}")
        if not 0.0 < self.delta < 1.0:
            raise ValueError(f"delta must be above 0 and below 1, got {self.delta!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordState:
    """What was charged so far; knows nothing of files.

    Attributes:
        counter: How many charges there were; only rises.
        history: Opacus' history: equal neighbours are one entry.
        sampler_delta: What the noise sampler's error adds to delta.
        sampler_epsilon: What it adds to epsilon.
        previous: Digest of the state before, as hex.

    Examples:
        >>> steps = RecordSteps(noise_multiplier=1.0, sampling_rate=0.5, steps=4, parameters=9)
        >>> RecordState().after(steps).after(steps).state_dict()
        {'history': [(1.0, 0.5, 8)], 'mechanism': 'prv'}
    """

    counter: int = 0
    history: tuple[Entry, ...] = ()
    sampler_delta: float = 0.0
    sampler_epsilon: float = 0.0
    previous: str = _NO_STATE

    def __post_init__(self) -> None:
        """Refuse what no sequence of charges leads to."""
        for entry in self.history:
            _check_entry(entry)
        if not len(self.history) <= self.counter <= sum(steps for _, _, steps in self.history):
            raise ValueError("the counter does not fit the history")
        if not (0.0 <= self.sampler_delta < math.inf and 0.0 <= self.sampler_epsilon < math.inf):
            raise ValueError("the sampler's error must be finite and at least 0")
        if len(bytes.fromhex(self.previous)) != hashlib.sha256().digest_size:
            raise ValueError("previous must be a SHA-256 digest")

    def after(self, steps: RecordSteps) -> Self:
        """Return the state with ``steps`` charged too."""
        *before, last = self.history or (None,)
        entry = (steps.noise_multiplier, steps.sampling_rate, steps.steps)
        if last is not None and last[:2] == entry[:2]:
            entry = (*entry[:2], last[2] + steps.steps)
        elif last is not None:
            before.append(last)
        draws, tau = steps.steps * steps.parameters, steps.noise_multiplier * 2**RECORD_BITS
        return type(self)(
            counter=self.counter + 1,
            history=(*(kept for kept in before if kept is not None), entry),
            sampler_delta=_up(self.sampler_delta + total_variation(draws, tau)),
            sampler_epsilon=_up(self.sampler_epsilon + epsilon_excess(draws, tau)),
            previous=self.head,
        )

    def epsilon(self, delta: float) -> float:
        """Return an upper bound of epsilon at record level, the sampler's error included.

        Args:
            delta: Failure chance of the whole history, above 0 and below 1.

        Returns:
            Epsilon of Opacus' PRV accountant; infinity where ``delta`` does not even cover the
            sampler.

        Raises:
            DependencyError: If Opacus fails.
        """
        left = delta - self.sampler_delta
        if not left > 0.0:
            return math.inf
        return _up(_prv(self._entries(), math.nextafter(left, 0.0)) + self.sampler_epsilon)

    def is_within(self, ceiling: RecordCeiling) -> bool:
        """Tell whether epsilon is at most the ceiling's.

        A figure takes a second. One for a few more steps and a little less delta, an upper bound
        that serves several rounds, is asked first.

        Raises:
            DependencyError: If Opacus fails.
        """
        spare = ceiling.delta * _SPARE
        if self.sampler_delta <= spare:
            more = tuple((noise, rate, _coarse(steps)) for noise, rate, steps in self._entries())
            bound = _up(_prv(more, ceiling.delta - spare) + self.sampler_epsilon)
            if bound <= ceiling.epsilon:
                return True
        return self.epsilon(ceiling.delta) <= ceiling.epsilon

    def _entries(self) -> tuple[Entry, ...]:
        """Return the history with equal kinds as one: order does not matter to a composition."""
        steps: dict[tuple[float, float], int] = {}
        for noise_multiplier, rate, count in self.history:
            steps[noise_multiplier, rate] = steps.get((noise_multiplier, rate), 0) + count
        return tuple(sorted((*kind, count) for kind, count in steps.items()))

    def state_dict(self) -> dict[str, Any]:
        """Return what ``PRVAccountant.load_state_dict`` takes."""
        return {"history": list(self.history), "mechanism": "prv"}

    @property
    def head(self) -> str:
        """SHA-256 that stands for this state and all before it, as hex."""
        return hashlib.sha256(rfc8785.dumps(self._body())).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the file's content, RFC 8785 with the digest."""
        return rfc8785.dumps({"body": self._body(), "digest": self.head})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: If it is anything else, down to a single byte.
        """
        try:
            body = json.loads(content)["body"]
            state = cls(
                counter=body["counter"],
                history=tuple((float(n), float(q), t) for n, q, t in body["accountant"]["history"]),
                sampler_delta=float(body["sampler"]["delta"]),
                sampler_epsilon=float(body["sampler"]["epsilon"]),
                previous=body["previous"],
            )
            same = state.to_bytes() == content
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError("it breaks its schema") from error
        if not same:
            raise ValueError("its digest does not follow from its content")
        return state

    def _body(self) -> dict[str, Any]:
        history = [list(entry) for entry in self.history]
        return {
            "accountant": {"history": history, "mechanism": "prv"},
            "counter": self.counter,
            "previous": self.previous,
            "sampler": {"delta": self.sampler_delta, "epsilon": self.sampler_epsilon},
            "schema": _SCHEMA,
        }


class RecordLedger:
    """The file of one device's ``RecordState``; made by ``create`` and ``open`` only.

    Several processes may hold one: every charge reads the file anew under a lock.
    """

    __slots__ = ("_seen", "ceiling", "path")

    def __init__(self, path: Path, ceiling: RecordCeiling | None, seen: RecordState) -> None:
        """Keep what was read."""
        self.path = path
        self.ceiling = ceiling
        self._seen = seen

    @classmethod
    def create(cls, path: Path, *, ceiling: RecordCeiling | None = None) -> Self:
        """Start the file of a device that never trained before.

        Raises:
            FileExistsError: If there is one: what was spent is never written over.
        """
        with _locked(path):
            if path.exists():
                raise FileExistsError(
                    f"{path}: a device's record-level state is never started anew"
                )
            _write(path, RecordState())
        return cls(path, ceiling, RecordState())

    @classmethod
    def open(cls, path: Path, *, ceiling: RecordCeiling | None = None, at_least: int = 0) -> Self:
        """Continue the file of a device.

        Args:
            path: The file.
            ceiling: What the device lets its records spend; None sets no bound.
            at_least: Counter that was seen before, kept elsewhere.

        Raises:
            IntegrityError: If it is missing, damaged, or its counter is below ``at_least``.
        """
        with _locked(path):
            state = _read(path)
        if state.counter < at_least:
            raise _older(path)
        return cls(path, ceiling, state)

    @property
    def counter(self) -> int:
        """Charges so far, as last read or written here; only rises."""
        return self._seen.counter

    @property
    def head(self) -> str:
        """Digest of that state, as hex."""
        return self._seen.head

    def charge(self, steps: RecordSteps, *, ceiling: RecordCeiling | None = None) -> RecordState:
        """Charge the steps of a round, on disk, before any is made.

        Args:
            steps: What the round will do.
            ceiling: A ceiling of the config, held to beside the device's own.

        Returns:
            The state before, for the round's accountant to go on from.

        Raises:
            BudgetExhaustedError: If a ceiling would be passed; nothing is charged.
            IntegrityError: If the file is missing, damaged or older than it was.
            DependencyError: If Opacus cannot tell; nothing is charged.
        """
        with _locked(self.path):
            before = _read(self.path)
            seen = self._seen
            if before.counter < seen.counter:
                raise _older(self.path)
            if before.counter == seen.counter and before.head != seen.head:
                raise IntegrityError(f"{self.path}: the record-level state was exchanged")
            after = before.after(steps)
            for limit in (self.ceiling, ceiling):
                if limit is not None and not after.is_within(limit):
                    raise BudgetExhaustedError(
                        "the next round would pass the device's record-level ceiling",
                        fix="stop training on this device; nothing was trained",
                    )
            _write(self.path, after)
            self._seen = after
        return before


@lru_cache(maxsize=256)
def _prv(entries: tuple[Entry, ...], delta: float) -> float:
    # Devices that joined as many rounds have the same history: one computation does for all.
    from homebody_privacy.record import CrossCheckError, prv  # noqa: PLC0415 - loads scipy

    try:
        return prv(entries, delta)
    except CrossCheckError as error:
        raise DependencyError(str(error)) from error


def _coarse(steps: int) -> int:
    """Return the least number of five binary digits and zeros that is not below ``steps``."""
    zeros = max(0, steps.bit_length() - 5)
    return -(-steps >> zeros) << zeros


def _check_entry(entry: Entry) -> None:
    noise_multiplier, sampling_rate, steps = entry
    if not 0.0 < noise_multiplier < math.inf:
        raise ValueError(f"noise_multiplier must be finite and above 0, got {noise_multiplier!r}")
    if not 0.0 < sampling_rate <= 1.0:
        raise ValueError(f"sampling_rate must be in (0, 1], got {sampling_rate!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps!r}")


def _up(x: float) -> float:
    """Return the next larger number, so that a rounded sum is never below the exact one."""
    return math.nextafter(x, math.inf)


def _older(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path}: the record-level state is older than one seen before",
        fix="bring back the latest copy; what was spent since is not in this one",
    )


def _read(path: Path) -> RecordState:
    try:
        return RecordState.from_bytes(path.read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(
            f"{path}: the record-level state is missing", fix="bring back the latest copy"
        ) from error
    except ValueError as error:
        raise IntegrityError(f"{path}: the record-level state is damaged: {error}") from error


def _write(path: Path, state: RecordState) -> None:
    write_durably(path, state.to_bytes(), mode=0o600)


def _locked(path: Path) -> AbstractContextManager[None]:
    return locked(path.with_name(f"{path.name}.lock"))
