"""Leave-one-out split by time: the last event is the test, the one before it the validation.

Choices are made on validation, with the training events alone; the choice is trained again on all
but the last event; the test is opened once, by the final report. The test is sealed: it opens for a
``Choice`` that says what was settled and how, and never a second time, so that nothing can be
chosen on it. Splitting each history at its own end trains on other devices' future: a split at one
date would be a second report.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from homebody_models.columns import ColumnWriter, release, spans
from homebody_models.interactions import Interactions

LEAST_EVENTS = 3
"""A device with fewer events has nothing to train on once two are held out."""

Kind = Literal["new", "again"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One next event to predict per device. Secret.

    Attributes:
        data: What may be known when predicting; a history is a device's row of it.
        devices: int64 of shape ``(n,)``, rows of ``data``, ascending.
        targets: int32 of shape ``(n,)``, the item that came next.
        kind: ``new`` (first choice of an item: the history is hidden in ranking) or ``again``
            (groceries are bought again: nothing is hidden). Never average the two.
    """

    data: Interactions = field(repr=False)
    devices: npt.NDArray[np.int64] = field(repr=False)
    targets: npt.NDArray[np.int32] = field(repr=False)
    kind: Kind

    def __post_init__(self) -> None:
        """Refuse targets without a device or outside the catalog."""
        if self.devices.shape != self.targets.shape or self.devices.ndim != 1:
            raise ValueError("devices and targets must be one-dimensional and of the same length")
        if len(self.devices) and not (
            0 <= self.devices.min() <= self.devices.max() < self.data.devices
        ):
            raise ValueError("devices must be rows of data")
        if len(self.targets) and not (
            0 <= self.targets.min() <= self.targets.max() < len(self.data.catalog)
        ):
            raise ValueError("targets must be indices of the catalog")

    def __len__(self) -> int:
        """Count the devices."""
        return len(self.devices)

    def history(self, i: int) -> npt.NDArray[np.int32]:
        """Return the item indices known of the i-th device of the task, oldest first."""
        return self.data.history(int(self.devices[i]))

    def first_time(self) -> "Task":
        """Return the devices whose target is new to them, as a task of kind ``new``."""
        fresh = ~_had_before(self)
        return Task(
            data=self.data, devices=self.devices[fresh], targets=self.targets[fresh], kind="new"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was settled before a test may be opened. Public.

    Attributes:
        what: What the report is about, in words: a model, or a table of baselines.
        by: How it was settled: on other data or by a rule (``fixed beforehand``), on validation
            items of this data (``validation``), or on figures that were charged to the budget
            (``charged validation``).
    """

    what: str
    by: Literal["fixed beforehand", "validation", "charged validation"]

    def __post_init__(self) -> None:
        """Refuse a choice of nothing."""
        if not self.what.strip():
            raise ValueError("what was chosen must be said")


class TestOpenedError(RuntimeError):
    """The test was opened before: whoever looks twice may have chosen on it."""

    __test__ = False  # not a class of tests


class SealedTest:
    """A test that opens once, for the final report, after every choice.

    Examples:
        >>> from homebody_models.interactions import Catalog
        >>> names = ("tea", "milk", "bread")
        >>> catalog = Catalog(ids=names, titles=names, categories=("",) * 3,
        ...                   features=np.zeros((3, 0), np.float32), feature_names=())
        >>> data = Interactions(ptr=np.array([0, 3]), items=np.array([0, 1, 2], np.int32),
        ...                     times=np.arange(3), values=np.ones(3, np.float32),
        ...                     repeats=True, catalog=catalog)
        >>> test = leave_one_out(data).test
        >>> test.open(Choice(what="popularity", by="fixed beforehand")).targets.tolist()
        [2]
        >>> test.open(Choice(what="another", by="validation"))
        Traceback (most recent call last):
        ...
        homebody_models.split.TestOpenedError: the test was opened for popularity: not twice
    """

    __slots__ = ("_choice", "_task")

    def __init__(self, task: Task) -> None:
        """Seal ``task``."""
        self._task: Task | None = task
        self._choice: Choice | None = None

    @property
    def opened(self) -> int:
        """How often it was opened: 0 or 1; a report says 1."""
        return int(self._choice is not None)

    @property
    def choice(self) -> Choice | None:
        """What it was opened for; None while it is sealed."""
        return self._choice

    def open(self, choice: Choice) -> Task:
        """Return the test task, which is not kept.

        Raises:
            TestOpenedError: If it was opened before.
        """
        if self._task is None:
            what = "something" if self._choice is None else self._choice.what
            raise TestOpenedError(f"the test was opened for {what}: not twice")
        task, self._task, self._choice = self._task, None, choice
        return task


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """One data set in three parts; rows of each are the devices of the whole.

    Attributes:
        train: All but the last two events of each device with at least three, else none. Times
            and values are not kept: nothing trains on them.
        refit: All but the last event of the same devices, likewise: to train the final choice on.
        validation: The last event but one; histories are those of ``train``.
        test: The last event; histories are those of ``refit``. Sealed.
    """

    train: Interactions
    refit: Interactions
    validation: Task
    test: SealedTest


def leave_one_out(data: Interactions) -> Split:
    """Hold out the last two events of every device.

    A device with fewer than three events keeps its row with an empty history: nothing is trained
    on it and it is not evaluated. Tasks are ``again`` if ``data.repeats``, else ``new``; of a
    ``new`` task, a device whose target it chose before is left out.

    Args:
        data: Histories, oldest event first. Secret.

    Returns:
        The split; ``train`` has as many devices as ``data``.
    """
    devices = np.flatnonzero(np.diff(data.ptr) >= LEAST_EVENTS)
    train, refit = _without_last(data, 2), _without_last(data, 1)
    ends = data.ptr[1:][devices]

    def task(known: Interactions, rows: npt.NDArray[np.int64]) -> Task:
        whole = Task(data=known, devices=devices, targets=data.items[rows], kind="again")
        release(data.items)
        return whole if data.repeats else whole.first_time()

    return Split(
        train=train,
        refit=refit,
        validation=task(train, ends - 2),
        test=SealedTest(task(refit, ends - 1)),
    )


def _without_last(data: Interactions, held_out: int) -> Interactions:
    """Return ``data`` without each device's last events, and without short histories."""
    lengths = np.diff(data.ptr)
    kept = np.where(lengths >= LEAST_EVENTS, lengths - held_out, 0)
    items = ColumnWriter(np.dtype(np.int32))
    for part in data.parts():
        ends = np.cumsum(part.lengths)
        to_come = np.repeat(ends, part.lengths) - np.arange(len(part.items))
        items.append(part.items[to_come > np.repeat((lengths - kept)[part.devices], part.lengths)])
    return Interactions(
        ptr=np.concatenate(([0], np.cumsum(kept))).astype(np.int64),
        items=items.finish(),
        repeats=data.repeats,
        catalog=data.catalog,
    )


def _had_before(task: Task) -> npt.NDArray[np.bool_]:
    """Tell which devices have their target in their history, shape ``(n,)``."""
    starts, ends = task.data.ptr[:-1][task.devices], task.data.ptr[1:][task.devices]
    before = np.concatenate(([0], np.cumsum(ends - starts)))  # events of devices before
    had = np.zeros(len(task), bool)
    for span in spans(before):
        lengths = (ends - starts)[span]
        own = np.repeat(np.arange(span.start, span.stop), lengths)
        rows = np.arange(len(own)) + (starts[own] - before[own] + before[span.start])
        had[own[task.data.items[rows] == task.targets[own]]] = True
        release(task.data.items)
    return had
