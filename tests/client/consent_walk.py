"""A random walk over everything that can happen to consent, judged by the oracle after each step.

Real vault, real store, real files. A crash is an exception that nobody catches, raised before,
after or in the middle of a durable step; what it leaves is opened anew, as a new process would.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from homebody_privacy.errors import IntegrityError

from .consent_faults import Fault, faults
from .consent_judged import ViolationError
from .consent_operations import Operations

OPERATIONS: Final = {
    "say_yes": 4,
    "grant": 10,
    "withdraw": 5,
    "refuse": 2,
    "ask": 2,
    "restrict": 1,
    "lift": 3,
    "erase": 1,
    "age": 2,
    "signal": 3,
    "calm": 3,
    "config": 4,
    "hours": 4,
    "weeks": 3,
    "year": 1,
    "back": 2,
    "right": 3,
    "collect": 12,
    "train": 12,
    "finish": 12,
    "crash": 8,
    "restart": 3,
    "tamper": 1,
}


@dataclass(kw_only=True)
class Walk(Operations):
    """A device to which things happen by chance."""

    def run(self, steps: int) -> None:
        """Walk, and look after each step.

        Raises:
            ViolationError: With the steps that led to it.
        """
        operations = [getattr(self, name) for name in sorted(OPERATIONS)]
        weights = [OPERATIONS[name] for name in sorted(OPERATIONS)]
        try:
            for _ in range(steps):
                [operation] = self.rng.choices(operations, weights)
                operation()
                self.tick()
                self.look()
        except (AssertionError, IntegrityError, ValueError, KeyError) as error:
            raise ViolationError(f"{error!r} after {'; '.join(self.trace)}") from error
        finally:
            self.device.store.close()


def walk_once(folder: Path, seed: int, steps: int, fault: Fault) -> int:
    """Walk with one seed in a new folder, and return how many updates left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    walk = Walk(folder=folder, rng=Random(seed), fault=fault)  # noqa: S311 - chooses what to try
    walk.run(steps)
    return walk.sent


def walk_many(folder: Path, seeds: range, steps: int) -> int:
    """Walk with many seeds and return how many updates left in all.

    Raises:
        ViolationError: At the first step that is against the rules, with its seed.
    """
    sent = 0
    with faults() as fault:
        for seed in seeds:
            try:
                sent += walk_once(folder, seed, steps, fault)
            except ViolationError as error:
                raise ViolationError(f"seed {seed}: {error}") from error
    return sent
