"""The stop rule: nothing is opened that would take the spent epsilon past its ceiling.

What is charged stays charged: a round that was opened and never released counts as spent.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .accounting import spent_epsilon
from .anchor import START, AnchorBook
from .charges import Charge, PoissonRounds
from .errors import BudgetExhaustedError, IntegrityError, UsageError
from .ledger import Ledger, population_prefix, read_ledger

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
        self, ledger: Ledger, *, earlier: Sequence[Charge] = (), ceiling: float, delta: float
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

    def open(self, round: int, charge: Charge | None) -> None:  # noqa: A002 - glossary
        """Charge a round, on disk, before it starts.

        A round that was charged and not released, because the run was interrupted, may be opened
        again with the same charge; it is not charged twice.

        Args:
            round: The next round, from 1, or the open one.
            charge: What the round costs; None if a purchase paid for the whole run.

        Raises:
            BudgetExhaustedError: If the charge would pass the ceiling; nothing is written.
            IntegrityError: If an open round is opened again with another charge.
            ValueError: If the round is out of turn.
        """
        record = self._ledger.record
        if round == record.opened and round > record.closed:
            self._check_same(f"round {round}", record.round_charge, charge)
            return
        if charge is not None:
            self._check_room(f"round {round}", charge)
        self._ledger.intend(round, charge)

    def purchase(self, name: str, charge: Charge) -> None:
        """Charge what is no round, on disk, before anything of it is released.

        What was bought before may be bought again at the same cost; it is not charged twice.

        Args:
            name: What is bought, once in a run.
            charge: What it costs.

        Raises:
            BudgetExhaustedError: If the charge would pass the ceiling; nothing is written.
            IntegrityError: If it was bought at another cost.
        """
        before = self._ledger.record.bought(name)
        if before is not None:
            self._check_same(name, before, charge)
            return
        self._check_room(name, charge)
        self._ledger.purchase(name, charge)

    def _check_same(self, what: str, before: Charge | None, now: Charge | None) -> None:
        if before != now:
            raise IntegrityError(
                f"{self._ledger.path}: {what} was charged otherwise before the run was interrupted",
                fix="resume with the settings the run was started with",
            )

    def _check_room(self, what: str, charge: Charge) -> None:
        would_be = self._epsilon([charge])
        if not would_be <= self._ceiling:
            raise BudgetExhaustedError(
                f"{what} would bring the spent epsilon to {would_be:.4f}, past the ceiling "
                f"{self._ceiling:g}",
                fix="stop: this was not opened; what was released before it stands",
            )

    def release(self, round: int, digest: str, unclipped: float | None = None) -> None:  # noqa: A002
        """Confirm that the open round was released.

        Args:
            round: The open round.
            digest: SHA-256 of the released model, as hex.
            unclipped: The released, noised share of updates below the clip norm, if it adapts.

        Raises:
            ValueError: If the round is not open or ``digest`` is none.
        """
        self._ledger.release(round, digest, unclipped)

    def void(self, round: int, reason: str | None = None) -> None:  # noqa: A002 - glossary
        """Close the open round without a release; its charge stands.

        Args:
            round: The open round.
            reason: Why, as a code; never a count.

        Raises:
            ValueError: If the round is not open or ``reason`` is no code.
        """
        self._ledger.void(round, reason)

    def spent(self) -> float:
        """Return an upper bound of what all runs spent so far, opened rounds included."""
        return self._epsilon([])

    def after(self, charges: Sequence[Charge]) -> float:
        """Return an upper bound of what will be spent once ``charges`` are charged too."""
        return self._epsilon(charges)

    def _epsilon(self, more: Sequence[Charge]) -> float:
        charges = [*self._earlier, *self._ledger.charges(), *more]
        return spent_epsilon(charges, self._delta)


def earlier_charges(
    runs_folder: Path,
    population_digest: str,
    *,
    anchors: AnchorBook,
    exclude: Path | None = None,
) -> list[Charge]:
    """Collect what other runs charged to the same people, for a lifetime budget.

    Ledgers are found in two ways that must agree: by their place in ``runs_folder``, and by their
    anchors, which know the ledgers of every other folder too.

    Args:
        runs_folder: Folder of run folders; every ``*/ledger.jsonl`` in it is read.
        population_digest: SHA-256 that stands for the people.
        anchors: Where ledgers of a lifetime budget are anchored.
        exclude: Ledger, or run folder, of the run that asks; None for none.

    Returns:
        All charges, opened and released alike.

    Raises:
        IntegrityError: If a ledger is damaged, of whatever population (what it charged is
            unknown), or one that was anchored is gone, cut or exchanged, or one of a lifetime
            budget has no anchor.
        UsageError: If another run on the same people is in progress.
    """
    own = exclude.resolve() if exclude else None
    prefix = population_prefix(population_digest)
    anchored = {
        Path(name.removeprefix(prefix))
        for name in anchors.names(prefix)
        if anchors.mark(name) != START or Path(name.removeprefix(prefix)).exists()
    }  # one that was only announced, and then never made, charged nothing
    here = {path.resolve() for path in runs_folder.glob(f"*/{LEDGER_NAME}")}
    charges: list[Charge] = []
    for path in sorted(anchored | here):
        if own not in (path, path.parent):
            charges += _charges_of(path, population_digest, anchors, known=path in anchored)
    return charges


def _charges_of(
    path: Path, population_digest: str, anchors: AnchorBook, *, known: bool
) -> list[Charge]:
    try:
        record, closed = read_ledger(path, anchors)
    except FileNotFoundError as error:
        raise IntegrityError(
            f"{path} is gone: what it charged to the same people is unknown",
            fix="put the ledger back where it was; its budget cannot be spent again",
        ) from error
    header = record.header
    if header.population != population_digest:
        if known:
            raise IntegrityError(f"{path} speaks of other people than its anchor")
        return []
    if not closed:
        raise UsageError(
            f"{path}: another run on the same population is in progress",
            fix="wait until that run has ended: both spend one budget",
        )
    if not record.decided:
        return record.charges()
    # A round was void because of who came: no later figure may take credit for that secret.
    return [c.without_credit() if isinstance(c, PoissonRounds) else c for c in record.charges()]
