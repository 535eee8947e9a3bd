"""The round loop: charge, ask, wait, release, record; and go on after a crash.

Flower's own loop has no write-ahead charge, no resume and no stop at a budget, so this one drives
the strategy's hooks. The order inside a round is the guarantee: the charge is on disk before a
device is asked, the new model is on disk before the ledger says so.
"""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from homebody_privacy import messages
from homebody_privacy.errors import IntegrityError, TooFewDevicesError
from homebody_server.release import Releaser
from homebody_server.run_folder import TrainState
from homebody_server.run_spec import MetricPlan
from homebody_server.strategy import HomebodyStrategy, parameters_record

_POLL_S = 0.5

Observer = Callable[[int, npt.NDArray[np.float32]], None]


class Spending(Protocol):
    """Charges rounds and figures before they are released; refuses by raising."""

    def start(self) -> None:
        """Charge what is paid before the first round, or raise; a second time is free."""
        ...

    def open(self, number: int) -> None:
        """Write the round's charge ahead of it, or raise; opening a round again is free."""
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


def collect(
    grid: Grid, asked: list[Message], deadline_s: float, clock: Callable[[], float] = time.monotonic
) -> list[Message]:
    """Return the good replies, in node order, once all came or the deadline passed.

    Args:
        grid: How nodes are reached.
        asked: Messages to send, one a node.
        deadline_s: Seconds to wait; later replies are never read.
        clock: Monotonic seconds.
    """
    ids = list(grid.push_messages(asked))
    waiting, good = set(ids), []
    end = clock() + deadline_s
    while True:
        for reply in grid.pull_messages(list(waiting)):
            waiting.discard(reply.metadata.reply_to_message_id)
            if reply.has_content():
                good.append(reply)
        if not waiting or clock() >= end:
            return sorted(good, key=lambda reply: reply.metadata.src_node_id)
        time.sleep(_POLL_S)


def enrol(grid: Grid, devices: int, deadline_s: float) -> dict[int, int]:
    """Ask every node which devices it hosts, until all ``devices`` are there.

    Returns:
        Node by device number.

    Raises:
        TooFewDevicesError: If the population is not complete at the deadline.
        IntegrityError: If two nodes claim one device, or a number is outside the population: a
            device counted twice would break the bound on its contribution.
    """
    hosts: dict[int, int] = {}
    known: set[int] = set()
    end = time.monotonic() + deadline_s
    while len(hosts) < devices:
        new = [node for node in grid.get_node_ids() if node not in known]
        asks = [
            Message(
                RecordDict(),
                dst_node_id=node,
                message_type=f"{MessageType.QUERY}.{messages.ENROL}",
                ttl=deadline_s,
            )
            for node in new
        ]
        for reply in collect(grid, asks, deadline_s) if asks else []:
            node = reply.metadata.src_node_id
            known.add(node)
            for device in _enrolment(reply):
                if device in hosts or device >= devices:
                    raise IntegrityError(
                        "a device is enrolled twice or outside the population",
                        fix="give each device one host and a number below the population's size",
                    )
                hosts[device] = node
        if len(hosts) < devices:
            if time.monotonic() >= end:
                raise TooFewDevicesError("the population was not complete at the deadline")
            time.sleep(_POLL_S)
    return hosts


def _enrolment(reply: Message) -> list[int]:
    """Return what a node hosts: nothing, if its reply is no enrolment."""
    try:
        return messages.enrolled(reply.content.config_records[messages.ENROL])
    except (KeyError, ValueError):
        return []


def drive(
    grid: Grid,
    strategy: HomebodyStrategy,
    *,
    releaser: Releaser,
    first_round: int,
    rounds: int,
    deadline_s: float,
    spending: Spending,
    keep_noise: Callable[[int], None],
    save: Callable[[TrainState], None],
    observe: Observer,
) -> TrainState:
    """Run rounds ``first_round`` to ``rounds`` and return the last state.

    A round that was charged and not released is run again with the same coins and the same noise:
    one release, one charge.

    Args:
        grid: How nodes are reached.
        strategy: Whom to ask and what to make of the answers.
        releaser: The model, restored to the state before ``first_round``.
        first_round: Round to start with, from 1.
        rounds: Last round.
        deadline_s: Seconds to wait for replies.
        spending: Charges; raises to stop the run before a round.
        keep_noise: Keeps the mechanism's state after a round durably; called before its release.
        save: Keeps a state durably.
        observe: Called with each released model. Nothing in the run depends on it.

    Raises:
        BudgetExhaustedError: Before the round or figure that would pass the ceiling.
    """
    spending.start()
    state = _state(first_round, releaser, strategy, void=False)
    if first_round > 1:
        _release_figures(grid, strategy, state, deadline_s, spending)
    for number in range(first_round, rounds + 1):
        spending.open(number)
        asked = strategy.configure_train(
            number, parameters_record(state.parameters), ConfigRecord(), grid
        )
        replies = collect(grid, asked, deadline_s) if asked else []
        released, _ = strategy.aggregate_train(number, replies)
        keep_noise(number)
        state = _state(number + 1, releaser, strategy, void=released is None)
        save(state)
        spending.close(state)
        observe(number, state.parameters.copy())
        _release_figures(grid, strategy, state, deadline_s, spending)
    return state


def _state(
    next_round: int, releaser: Releaser, strategy: HomebodyStrategy, *, void: bool
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


def _release_figures(
    grid: Grid,
    strategy: HomebodyStrategy,
    state: TrainState,
    deadline_s: float,
    spending: Spending,
) -> None:
    """Ask everybody for the figures due after the last round, each charged before."""
    number = state.next_round - 1
    for plan in spending.figures_due(number):
        strategy.ask(number, plan)
        asked = strategy.configure_evaluate(
            number, parameters_record(state.parameters), ConfigRecord(), grid
        )
        replies = collect(grid, asked, deadline_s)
        released = strategy.aggregate_evaluate(number, replies)
        values = {name: float(value) for name, value in (released or {}).items()}  # type: ignore[arg-type]  # one number each
        spending.answer(number, plan, values)
