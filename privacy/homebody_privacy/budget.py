"""The stop rule: nothing is opened that would take the spent epsilon past its ceiling.

What is charged stays charged: a round that was opened and never released counts as spent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .accounting import spent_epsilon
from .anchor import START, AnchorBook
from .charges import Charge, CorrelatedRun, PoissonRounds
from .checkpoint import has_ledger_public, ledger_public
from .errors import BudgetExhaustedError, IntegrityError, UsageError
from .ledger import Ledger
from .ledger_entries import BudgetStop, Previous
from .ledger_reading import LEDGER_NAME, population_prefix, read_lines
from .ledger_record import LedgerRecord


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
            BudgetExhaustedError: If the charge would pass the ceiling; nothing is charged, and the
                ledger says that it was stopped.
            IntegrityError: If an open round is opened again with another charge.
            ValueError: If the round is out of turn.
        """
        record = self._ledger.record
        if round == record.opened and round > record.closed:
            self._check_same(f"round {round}", record.round_charge, charge)
            return
        if charge is not None:
            self._check_room(f"round {round}", f"round/{round}", charge)
        self._ledger.intend(round, charge)

    def purchase(self, name: str, charge: Charge) -> None:
        """Charge what is no round, on disk, before anything of it is released.

        What was bought before may be bought again at the same cost; it is not charged twice.

        Args:
            name: What is bought, once in a run.
            charge: What it costs.

        Raises:
            BudgetExhaustedError: If the charge would pass the ceiling; nothing is charged, and the
                ledger says that it was stopped.
            IntegrityError: If it was bought at another cost.
        """
        before = self._ledger.record.bought(name)
        if before is not None:
            self._check_same(name, before, charge)
            return
        self._check_room(name, name, charge)
        self._ledger.purchase(name, charge)

    def _check_same(self, what: str, before: Charge | None, now: Charge | None) -> None:
        if before != now:
            raise IntegrityError(
                f"{self._ledger.path}: {what} was charged otherwise before the run was interrupted",
                fix="resume with the settings the run was started with",
            )

    def _check_room(self, what: str, name: str, charge: Charge) -> None:
        would_be = self._epsilon([charge])
        if not would_be <= self._ceiling:
            if self._ledger.holds_notices and name not in self._ledger.record.stops:
                self._ledger.enter(BudgetStop(name=name))
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


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """Another run on the same people, as its ledger has it. Public.

    Attributes:
        record: What its ledger says.
        head: Merkle root of its ledger as hex; in an older ledger a hash.
    """

    record: LedgerRecord = field(repr=False)
    head: str

    def charges(self) -> list[Charge]:
        """Return what it charged, opened and released alike."""
        if not self.record.decided:
            return self.record.charges()
        # A round was void because of who came: no later figure may take credit for that secret.
        return [
            charge.without_credit() if isinstance(charge, PoissonRounds) else charge
            for charge in self.record.charges()
        ]


def earlier_charges(
    runs_folder: Path,
    population_digest: str,
    *,
    anchors: AnchorBook,
    exclude: Path | None = None,
) -> list[Charge]:
    """Collect what other runs charged to the same people; see ``earlier_runs``."""
    found = earlier_runs(runs_folder, population_digest, anchors=anchors, exclude=exclude)
    return [charge for run in found for charge in run.charges()]


def earlier_runs(
    runs_folder: Path,
    population_digest: str,
    *,
    anchors: AnchorBook,
    exclude: Path | None = None,
) -> list[EarlierRun]:
    """Collect the other runs on the same people, for a lifetime budget.

    Ledgers are found in two ways that must agree: by their place in ``runs_folder``, and by their
    anchors, which know the ledgers of every other folder too.

    Args:
        runs_folder: Folder of run folders; every ``*/ledger.jsonl`` in it is read.
        population_digest: SHA-256 that stands for the people.
        anchors: Where ledgers of a lifetime budget are anchored.
        exclude: Ledger, or run folder, of the run that asks; None for none.

    Returns:
        The runs, by the place of their ledgers.

    Raises:
        IntegrityError: If a ledger is damaged, of whatever population (what it charged is
            unknown), does not begin with its signed checkpoint, or one that was anchored is gone,
            cut or exchanged, or one of a lifetime budget has no anchor.
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
    found = [
        _run_of(path, population_digest, anchors, known=path in anchored)
        for path in sorted(anchored | here)
        if own not in (path, path.parent)
    ]
    return [run for run in found if run is not None]


def previous_of(runs: Sequence[EarlierRun]) -> Previous | None:
    """Return where the ledger stood that no later one names as the one before it.

    Of several, which runs in several folders may leave, the one that carried the most in; None
    where there is no run, or none with a Merkle root.
    """
    rooted = [run for run in runs if run.record.header.version == "ledger/4"]
    named = {run.record.header.previous.root for run in rooted if run.record.header.previous}
    ends = [run for run in rooted if run.head not in named] or rooted
    if not ends:
        return None
    last = max(ends, key=lambda run: (len(run.record.carried), run.record.header.run))
    return Previous(run=last.record.header.run, size=last.record.entries, root=last.head)


def carried_in(runs: Sequence[EarlierRun]) -> list[dict[str, Any]]:
    """Return what runs charged, as a header has it: equal charges added up."""
    counts: dict[Charge, int] = {}
    for run in runs:
        for charge in run.charges():
            one, times = _single(charge)
            counts[one] = counts.get(one, 0) + times
    return [_times(one, times).to_dict() for one, times in counts.items() if times]


def _single(charge: Charge) -> tuple[Charge, int]:
    if isinstance(charge, PoissonRounds):
        return replace(charge, rounds=1), charge.rounds
    if isinstance(charge, CorrelatedRun):
        return replace(charge, runs=1), charge.runs
    return replace(charge, releases=1), charge.releases


def _times(charge: Charge, times: int) -> Charge:
    if isinstance(charge, PoissonRounds):
        return replace(charge, rounds=times)
    if isinstance(charge, CorrelatedRun):
        return replace(charge, runs=times)
    return replace(charge, releases=times)


def _run_of(
    path: Path, population_digest: str, anchors: AnchorBook, *, known: bool
) -> EarlierRun | None:
    runs = path.parent.parent
    keys = [ledger_public(runs)] if has_ledger_public(runs) else []
    try:
        lines, closed = read_lines(path, anchors, keys)
    except FileNotFoundError as error:
        raise IntegrityError(
            f"{path} is gone: what it charged to the same people is unknown",
            fix="put the ledger back where it was; its budget cannot be spent again",
        ) from error
    if lines.record.header.population != population_digest:
        if known:
            raise IntegrityError(f"{path} speaks of other people than its anchor")
        return None
    if not closed:
        raise UsageError(
            f"{path}: another run on the same population is in progress",
            fix="wait until that run has ended: both spend one budget",
        )
    return EarlierRun(lines.record, lines.heads[-1].hex())
