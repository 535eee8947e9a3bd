"""The budget's side of a run: its ledger, what it charges when, and what other runs spent."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from homebody_models.recommender import model_digest
from homebody_privacy.anchor import AnchorBook
from homebody_privacy.budget import Budget, EarlierRun, carried_in, earlier_runs, previous_of
from homebody_privacy.charges import Charge
from homebody_privacy.checkpoint import ledger_key
from homebody_privacy.environment import state_folder
from homebody_privacy.errors import IntegrityError
from homebody_privacy.ledger import Ledger
from homebody_privacy.ledger_entries import Header
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import MetricPlan, RunSpec
from homebody_server.statistic_plan import StatisticPass

Array = npt.NDArray[np.float32]


def anchors_of(spec: RunSpec) -> AnchorBook | None:
    """Return where the run's ledger is anchored: only a lifetime budget outlives its run."""
    return AnchorBook.open(state_folder() / "anchors") if spec.lifetime else None


def open_ledger(folder: RunFolder, spec: RunSpec) -> Ledger:
    """Open the run's ledger, or start it; it refuses another process.

    Its checkpoints are signed with the key of the folder of all runs.

    Raises:
        IntegrityError: If it is damaged, behind its anchor or not what its checkpoint stands for,
            or rounds were released without it.
    """
    anchors, signer = anchors_of(spec), ledger_key(folder.path.parent)
    if folder.ledger_file.exists():
        return Ledger.open(folder.ledger_file, anchors, signer)
    if spec.ceiling is None:
        raise IntegrityError("a run without differential privacy keeps no ledger")
    if folder.load_state().next_round > 1 or folder.statistics_file.exists():
        raise IntegrityError(
            f"{folder.ledger_file} is gone, but the run has released something",
            fix="put the ledger back; what it charged stays charged",
        )
    earlier = runs_before(folder, spec)
    header = Header(
        run=folder.name,
        population=spec.population,
        devices=spec.devices,
        delta=spec.delta,
        ceiling=spec.ceiling,
        config=spec.config_digest,
        scope="lifetime" if spec.lifetime else "run",
        schema="ledger/4",
        previous=previous_of(earlier),
        carried=carried_in(earlier) if spec.lifetime else None,
    )
    return Ledger.create(folder.ledger_file, header, anchors, signer)


def runs_before(folder: RunFolder, spec: RunSpec) -> list[EarlierRun]:
    """Return the other runs on the same people, where the budget is a lifetime's."""
    anchors = anchors_of(spec)
    if anchors is None:
        return []
    return earlier_runs(folder.path.parent, spec.population, anchors=anchors, exclude=folder.path)


def spent_before(folder: RunFolder, spec: RunSpec) -> list[Charge]:
    """Return what other runs on the same people spent, where the budget is a lifetime's."""
    return [charge for run in runs_before(folder, spec) for charge in run.charges()]


def open_budget(folder: RunFolder, spec: RunSpec, ledger: Ledger) -> Budget:
    """Return the budget of the run, with what other runs spent of it."""
    if spec.ceiling is None:
        raise IntegrityError("a run without differential privacy has no budget")
    return Budget(
        ledger,
        earlier=spent_before(folder, spec),
        ceiling=spec.ceiling,
        delta=spec.accounted_delta,
    )


class Charged:
    """What a run with a budget charges, and when.

    Args:
        budget: The run's.
        ledger: The budget's.
        spec: The run's constants.
    """

    def __init__(self, budget: Budget, ledger: Ledger, spec: RunSpec) -> None:
        """Charge nothing yet."""
        self._budget = budget
        self._ledger = ledger
        self._spec = spec

    def start(self) -> None:
        """Charge what is paid before the first round, or raise; a second time is free."""
        for name, charge in self._spec.before_first_round():
            self._budget.purchase(name, charge)

    def open(self, number: int) -> None:
        """Write the round's charge ahead of it, or raise; opening a round again is free."""
        self._budget.open(number, self._spec.round_charge())

    def is_open(self, number: int) -> bool:
        """Tell whether a round was opened and neither released nor void."""
        return self._ledger.record.closed < number <= self._ledger.record.opened

    def close(self, state: TrainState) -> None:
        """Record how the round that led to a state ended: with its model, or void."""
        number = state.next_round - 1
        if state.void:
            self._budget.void(number, state.void)
        else:
            self._budget.release(number, state.digest(), state.unclipped)
        if number % self._spec.checkpoint_every == 0:
            self._ledger.checkpoint()

    def sign(self) -> None:
        """Sign where the ledger stands: the rounds are over, for now."""
        self._ledger.checkpoint()

    def catch_up(self, state: TrainState) -> None:
        """Bring the ledger to the saved state: a crash may have come between the two.

        Raises:
            IntegrityError: If they disagree by more than that.
        """
        record = self._ledger.record
        if record.opened == state.next_round - 1 == record.closed + 1:
            self.close(state)
        if record.closed != state.next_round - 1:
            raise IntegrityError("the ledger and the saved model disagree on the last release")

    def buy(self, plan: StatisticPass) -> None:
        """Charge a statistic ahead of asking for it, or raise; a second time is free."""
        self._budget.purchase(plan.purchase, plan.charge())

    def is_bought(self, plan: StatisticPass) -> bool:
        """Tell whether a statistic was charged and neither released nor given up."""
        record, name = self._ledger.record, plan.purchase
        closed = record.statistics.keys() | record.unanswered.keys()
        return record.bought(name) is not None and name not in closed

    def why_not(self, plan: StatisticPass) -> str | None:
        """Return why a statistic was given up, as a code; None if it was not."""
        return self._ledger.record.unanswered.get(plan.purchase)

    def summed(self, plan: StatisticPass, released: Array) -> None:
        """Record the released sum of a statistic."""
        self._ledger.statistic(plan.purchase, model_digest(released))

    def give_up(self, plan: StatisticPass, reason: str) -> None:
        """Record that a statistic was charged and will not be released, and why."""
        self._ledger.unanswered(plan.purchase, reason)

    def catch_up_statistics(self, released: Mapping[str, Array]) -> None:
        """Bring the ledger to the sums on disk: a crash may have come between the two.

        Args:
            released: Released sums by name.

        Raises:
            IntegrityError: If they disagree by more than that.
        """
        for plan in self._spec.statistics:
            found = released.get(plan.name)
            if found is not None and self.is_bought(plan):
                self.summed(plan, found)
            known = self._ledger.record.statistics.get(plan.purchase)
            if known != (None if found is None else model_digest(found)):
                raise IntegrityError("the ledger and the saved statistics disagree")

    def figures_due(self, number: int) -> list[MetricPlan]:
        """Charge the figures to be released after a round, and return those still open."""
        due = []
        closed = {**self._ledger.record.answers, **self._ledger.record.unanswered}
        for plan in self._spec.metrics:
            name = plan.purchase(number)
            if number in self._spec.figure_rounds(plan) and name not in closed:
                self._budget.purchase(name, plan.charge())
                due.append(plan)
        return due

    def answer(self, number: int, plan: MetricPlan, values: Mapping[str, float]) -> None:
        """Record a released figure."""
        self._ledger.answer(plan.purchase(number), values)

    def unanswered(self, number: int, plan: MetricPlan, reason: str) -> None:
        """Record that a figure was charged and not released, and why."""
        self._ledger.unanswered(plan.purchase(number), reason)


class Uncharged:
    """A laboratory reference without differential privacy: there is nothing to charge."""

    def start(self) -> None:
        """Charge nothing."""

    def open(self, number: int) -> None:
        """Charge nothing."""
        del number

    def is_open(self, number: int) -> bool:
        """Tell nothing of interrupted rounds: none are recorded."""
        del number
        return False

    def close(self, state: TrainState) -> None:
        """Record nothing."""
        del state

    def sign(self) -> None:
        """Sign nothing: there is no ledger."""

    def buy(self, plan: StatisticPass) -> None:
        """Charge nothing."""

    def is_bought(self, plan: StatisticPass) -> bool:
        """Tell nothing of interrupted statistics: none are recorded."""
        del plan
        return False

    def why_not(self, plan: StatisticPass) -> None:
        """Tell nothing of statistics that were given up: none are recorded."""

    def summed(self, plan: StatisticPass, released: Array) -> None:
        """Record nothing."""

    def give_up(self, plan: StatisticPass, reason: str) -> None:
        """Record nothing."""

    def catch_up_statistics(self, released: Mapping[str, Array]) -> None:
        """Do nothing: there is no ledger to bring forward."""

    def figures_due(self, number: int) -> list[MetricPlan]:
        """Release no figure: without noise it would be a plain one about people."""
        del number
        return []

    def answer(self, number: int, plan: MetricPlan, values: Mapping[str, float]) -> None:
        """Refuse: no figure is released."""
        del number, plan, values
        raise IntegrityError("a run without differential privacy releases no figures")

    def unanswered(self, number: int, plan: MetricPlan, reason: str) -> None:
        """Refuse: no figure is asked for."""
        del number, plan, reason
        raise IntegrityError("a run without differential privacy releases no figures")
