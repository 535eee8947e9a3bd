"""The round loop: charge, ask, wait, release, record; and go on after a crash.

Flower's own loop has no write-ahead charge, no resume and no stop at a budget, so this one drives
the strategy's hooks. The order inside a round is the guarantee: the charge is on disk before a
device is asked, the new model is on disk before the ledger says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, Message

from homebody_privacy.errors import RoundVoidError
from homebody_privacy.ledger_record import INTERRUPTED
from homebody_server.figures import BELOW_MIN_K
from homebody_server.gathering import Gatherer
from homebody_server.release import Releaser
from homebody_server.run_folder import TrainState
from homebody_server.run_spec import MetricPlan
from homebody_server.stages import CHECKPOINT, LEDGER, LOOKS, MESSAGES, STEP, Stages
from homebody_server.strategy import HomebodyStrategy, parameters_record

_GOAL: Final = "report-goal"

Observer = Callable[[int, npt.NDArray[np.float32]], None]


class Spending(Protocol):
    """Charges rounds and figures before they are released; refuses by raising."""

    def start(self) -> None:
        """Charge what is paid before the first round, or raise; a second time is free."""
        ...

    def open(self, number: int) -> None:
        """Write the round's charge ahead of it, or raise; opening a round again is free."""
        ...

    def is_open(self, number: int) -> bool:
        """Tell whether a round was opened and neither released nor void."""
        ...

    def close(self, state: TrainState) -> None:
        """Record how the round that led to a state ended: with its model, or void."""
        ...

    def figures_due(self, number: int) -> list[MetricPlan]:
        """Charge the figures to be released after a round, and return those without answer."""
        ...

    def answer(self, number: int, plan: MetricPlan, values: Mapping[str, float]) -> None:
        """Record a released figure."""
        ...

    def unanswered(self, number: int, plan: MetricPlan, reason: str) -> None:
        """Record that a figure was charged and not released, and why."""
        ...


def drive(
    gatherer: Gatherer,
    strategy: HomebodyStrategy,
    *,
    releaser: Releaser,
    numbers: range,
    spending: Spending,
    save: Callable[[TrainState], None],
    observe: Observer,
    interrupted: bool = False,
    stages: Stages | None = None,
    permit: Callable[[], object] | None = None,
) -> TrainState:
    """Run rounds and return the last state.

    A round that was charged and not released is run again with the same coins and the same noise:
    one release, one charge. Where devices are real it is void instead: who was asked once may not
    be asked again for the same round.

    Args:
        gatherer: How contributions come together.
        strategy: Whom to ask and what to make of the answers.
        releaser: The model, restored to the state before the first of these rounds.
        numbers: The rounds, from 1; may be empty.
        spending: Charges; raises to stop the run before a round.
        save: Keeps a state durably.
        observe: Called with each released model. Nothing in the run depends on it.
        interrupted: Count the first of them as void: it was opened, and cut short.
        stages: Where the time goes is added up here.
        permit: Raises, before a round is charged, if the run may not go on; None asks nobody.

    Raises:
        BudgetExhaustedError: Before the round or figure that would pass the ceiling.
    """
    stages = stages or Stages()
    with stages.of(LEDGER):
        spending.start()
    state = _state(numbers.start, releaser, strategy, void=None)
    figures = _Figures(gatherer, strategy, spending)
    with stages.of(MESSAGES):
        figures.release(state)
    for number in numbers:
        if permit is not None:
            permit()
        with stages.of(LEDGER):
            spending.open(number)
        void = INTERRUPTED if interrupted and number == numbers.start else None
        if void is not None:
            strategy.pass_over(number)
        else:
            with stages.of(MESSAGES):
                asked = strategy.configure_train(
                    number, parameters_record(state.parameters), ConfigRecord(), gatherer.grid
                )
            void = _run_round(gatherer, strategy, number, asked, stages)
        with stages.of(CHECKPOINT):
            state = _state(number + 1, releaser, strategy, void=void)
            save(state)
        with stages.of(LEDGER):
            spending.close(state)
        with stages.of(LOOKS):
            observe(number, state.parameters.copy())
        with stages.of(MESSAGES):
            figures.release(state)
    return state


def _run_round(
    gatherer: Gatherer,
    strategy: HomebodyStrategy,
    number: int,
    asked: list[Message],
    stages: Stages,
) -> str | None:
    """Gather and release a round; return why it was void, or None."""
    try:
        with stages.of(MESSAGES):
            contributions = gatherer.gather(asked, strategy.length)
    except RoundVoidError as error:
        strategy.pass_over(number)
        return str(error.reason)
    with stages.of(STEP):
        return _GOAL if strategy.release(number, contributions) is None else None


def _state(
    next_round: int, releaser: Releaser, strategy: HomebodyStrategy, *, void: str | None
) -> TrainState:
    clipping = strategy.clipping
    return TrainState(
        next_round,
        releaser.parameters(),
        releaser.state(),
        clip_norm=None if clipping is None else clipping.clip_norm,
        unclipped=None if clipping is None or void else clipping.share,
        void=void,
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    """Asks everybody for the figures due after a round, each charged before."""

    gatherer: Gatherer
    strategy: HomebodyStrategy
    spending: Spending

    def release(self, state: TrainState) -> None:
        number = state.next_round - 1
        for plan in self.spending.figures_due(number):
            self.strategy.ask(number, plan)
            asked = self.strategy.configure_evaluate(
                number, parameters_record(state.parameters), ConfigRecord(), self.gatherer.grid
            )
            try:
                contributions = self.gatherer.gather(asked, plan.length)
            except RoundVoidError as error:
                self.spending.unanswered(number, plan, str(error.reason))
                continue
            released = self.strategy.release_figure(number, contributions)
            if released is None:
                self.spending.unanswered(number, plan, BELOW_MIN_K)
            else:
                self.spending.answer(number, plan, released)
