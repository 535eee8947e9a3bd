"""The stop rule: no round is opened that would take the spent epsilon past its ceiling.

What is charged stays charged: a round that was opened and never released counts as spent.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .accounting import spent_epsilon
from .charges import PoissonRounds
from .errors import BudgetExhaustedError, IntegrityError, UsageError
from .ledger import Ledger, read_ledger

LEDGER_NAME: Final = "ledger.jsonl"
"""Name of the ledger in a run's folder."""


class Budget:
    """What a run may still spend, kept in its ledger.

    Args:
        ledger: Open ledger of the run.
        earlier: Charges of other runs on the same people; empty where the budget is per run.
        ceiling: Epsilon that is never passed, at most the ledger's.
        delta: Failure chance at which epsilon is computed, at most the ledger's; what the noise
            sampler's error takes is already subtracted.

    Raises:
        ValueError: If ``ceiling`` or ``delta`` is laxer than the ledger's header.
    """

    __slots__ = ("_ceiling", "_delta", "_earlier", "_ledger")

    def __init__(
        self, ledger: Ledger, *, earlier: Sequence[PoissonRounds] = (), ceiling: float, delta: float
    ) -> None:
        """Keep the bounds, once they are no laxer than what the ledger promised."""
        if not 0.0 < ceiling <= ledger.header.ceiling:
            raise ValueError(f"ceiling must be above 0 and at most {ledger.header.ceiling}")
        if not 0.0 < delta <= ledger.header.delta:
            raise ValueError(f"delta must be above 0 and at most {ledger.header.delta}")
        self._ledger = ledger
        self._earlier = tuple(earlier)
        self._ceiling = ceiling
        self._delta = delta

    def open(self, round: int, charge: PoissonRounds) -> None:  # noqa: A002 - glossary
        """Charge a round, on disk, before it starts.

        A round that was charged and not released, because the run was interrupted, may be opened
        again with the same charge; it is not charged twice.

        Args:
            round: The next round, from 1, or the open one.
            charge: What the round costs.

        Raises:
            BudgetExhaustedError: If the charge would pass the ceiling; nothing is written.
            IntegrityError: If an open round is opened again with another charge.
            ValueError: If the round is out of turn.
        """
        if round == self._ledger.opened and round > self._ledger.released:
            if self._ledger.charges()[-1] != charge:
                raise IntegrityError(
                    f"{self._ledger.path}: round {round} was charged otherwise before the run was "
                    "interrupted",
                    fix="resume with the settings the run was started with",
                )
            return
        would_be = self._epsilon([charge])
        if not would_be <= self._ceiling:
            raise BudgetExhaustedError(
                f"round {round} would bring the spent epsilon to {would_be:.4f}, past the "
                f"ceiling {self._ceiling:g}",
                fix="stop: this round was not opened; what was released before it stands",
            )
        self._ledger.intend(round, charge)

    def release(self, round: int, digest: str) -> None:  # noqa: A002 - glossary
        """Confirm that the open round was released.

        Args:
            round: The open round.
            digest: SHA-256 of the released model, as hex.

        Raises:
            ValueError: If the round is not open or ``digest`` is none.
        """
        self._ledger.release(round, digest)

    def spent(self) -> float:
        """Return an upper bound of what all runs spent so far, opened rounds included."""
        return self._epsilon([])

    def after(self, rounds: int, charge: PoissonRounds | None = None) -> float:
        """Return an upper bound of what will be spent after further rounds.

        Args:
            rounds: How many more, at least 0.
            charge: What each costs; None for the same as the last round opened.

        Raises:
            ValueError: If ``rounds`` is negative, or no round was opened and ``charge`` is None.
        """
        if charge is None:
            charges = self._ledger.charges()
            if not charges:
                raise ValueError("no round was opened yet: say what a round costs")
            charge = charges[-1]
        return self._epsilon([charge.with_rounds(charge.rounds * rounds)])

    def _epsilon(self, more: Sequence[PoissonRounds]) -> float:
        charges = [*self._earlier, *self._ledger.charges(), *more]
        return spent_epsilon(charges, self._delta)


def earlier_charges(
    runs_folder: Path, population_digest: str, exclude: Path | None = None
) -> list[PoissonRounds]:
    """Collect what other runs charged to the same people, for a lifetime budget.

    Args:
        runs_folder: Folder of run folders; every ``*/ledger.jsonl`` in it is read.
        population_digest: SHA-256 that stands for the people.
        exclude: Ledger, or run folder, of the run that asks; None for none.

    Returns:
        All charges, opened and released alike.

    Raises:
        IntegrityError: If a ledger is damaged, of whatever population: what it charged is unknown.
        UsageError: If another run on the same people is in progress.
    """
    own = exclude.resolve() if exclude else None
    charges: list[PoissonRounds] = []
    for path in sorted(runs_folder.glob(f"*/{LEDGER_NAME}")):
        if own in (path.resolve(), path.parent.resolve()):
            continue
        record, closed = read_ledger(path)
        if record.header.population != population_digest:
            continue
        if not closed:
            raise UsageError(
                f"{path}: another run on the same population is in progress",
                fix="wait until that run has ended: both spend one budget",
            )
        charges += record.charges()
    return charges
