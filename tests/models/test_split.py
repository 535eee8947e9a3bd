"""Leave-one-out: nothing of the future reaches the past, and the test stays sealed."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.interactions import Interactions
from homebody_models.split import Choice, Task, TestOpenedError, leave_one_out

Make = Callable[..., Interactions]
FIXED = Choice(what="popularity", by="fixed beforehand")


def test_last_event_is_test_and_last_but_one_validation(interactions: Make) -> None:
    split = leave_one_out(interactions([[1, 2, 3, 4], [5, 6, 7]]))
    test = split.test.open(FIXED)
    assert split.validation.targets.tolist() == [3, 6]
    assert test.targets.tolist() == [4, 7]
    assert [split.validation.history(i).tolist() for i in range(2)] == [[1, 2], [5]]
    assert [test.history(i).tolist() for i in range(2)] == [[1, 2, 3], [5, 6]]


def test_train_holds_all_but_two_events_and_refit_all_but_one(interactions: Make) -> None:
    split = leave_one_out(interactions([[1, 2, 3, 4], [5, 6, 7]]))
    assert split.train.items.tolist() == [1, 2, 5]
    assert split.refit.items.tolist() == [1, 2, 3, 5, 6]


def test_nothing_trains_on_times_and_values(interactions: Make) -> None:
    split = leave_one_out(interactions([[1, 2, 3, 4], [5, 6, 7]]))
    for known in (split.train, split.refit):
        assert (len(known.times), len(known.values)) == (0, 0)


def test_device_with_fewer_than_three_events_is_neither_trained_on_nor_evaluated(
    interactions: Make,
) -> None:
    split = leave_one_out(interactions([[1, 2], [3, 4, 5], [], [6]]))
    assert split.train.devices == 4
    assert [split.train.history(u).tolist() for u in range(4)] == [[], [3], [], []]
    assert [split.refit.history(u).tolist() for u in range(4)] == [[], [3, 4], [], []]
    assert split.validation.devices.tolist() == [1]
    assert split.test.open(FIXED).devices.tolist() == [1]


def test_the_test_opens_once_and_says_what_for(interactions: Make) -> None:
    sealed = leave_one_out(interactions([[1, 2, 3]])).test
    assert (sealed.opened, sealed.choice) == (0, None)
    assert sealed.open(FIXED).targets.tolist() == [3]
    assert (sealed.opened, sealed.choice) == (1, FIXED)
    with pytest.raises(TestOpenedError, match="opened for popularity"):
        sealed.open(Choice(what="another", by="validation"))
    assert sealed.choice == FIXED


def test_a_choice_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="must be said"):
        Choice(what=" ", by="validation")


def test_validation_knows_nothing_of_the_test_event(interactions: Make) -> None:
    split = leave_one_out(interactions([[1, 2, 3], [4, 5, 6]]))
    assert not {3, 6} & set(split.validation.data.items.tolist())


def test_task_is_again_where_items_repeat_and_new_where_not(interactions: Make) -> None:
    assert leave_one_out(interactions([[1, 2, 3]])).validation.kind == "again"
    assert leave_one_out(interactions([[1, 2, 3]], repeats=False)).validation.kind == "new"


def test_new_task_leaves_out_devices_whose_target_is_old(interactions: Make) -> None:
    data = interactions([[1, 2, 1], [3, 4, 5]], repeats=False)
    assert leave_one_out(data).test.open(FIXED).devices.tolist() == [1]


def test_first_time_keeps_only_new_targets_and_hides_history(interactions: Make) -> None:
    task = leave_one_out(interactions([[1, 2, 1], [3, 4, 5]])).test.open(FIXED).first_time()
    assert task.kind == "new"
    assert task.targets.tolist() == [5]


@pytest.mark.parametrize(
    ("devices", "targets"), [([0], [0, 1]), ([9], [0]), ([0], [99]), ([-1], [0])]
)
def test_task_refuses_rows_that_do_not_exist(
    interactions: Make, devices: list[int], targets: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"devices|targets"):
        Task(
            data=interactions([[0, 1]]),
            devices=np.array(devices, np.int64),
            targets=np.array(targets, np.int32),
            kind="new",
        )


def had_before(task: Task) -> list[bool]:
    """Ask each device, one after another."""
    return [bool(task.targets[i] in task.history(i)) for i in range(len(task))]


@given(
    histories=st.lists(st.lists(st.integers(0, 4), max_size=7), min_size=1, max_size=9),
    draw=st.data(),
)
def test_first_time_leaves_out_exactly_those_who_had_the_target(
    interactions: Make, histories: list[list[int]], draw: st.DataObject
) -> None:
    data = interactions(histories, n_items=5)
    some = st.lists(st.integers(0, len(histories) - 1), unique=True)
    devices = np.array(sorted(draw.draw(some)), np.int64)
    targets = np.array([draw.draw(st.integers(0, 4)) for _ in devices], np.int32)
    task = Task(data=data, devices=devices, targets=targets, kind="again")
    new = [not had for had in had_before(task)]
    fresh = task.first_time()
    assert fresh.devices.tolist() == devices[new].tolist()
    assert fresh.targets.tolist() == targets[new].tolist()
    assert fresh.kind == "new"


def test_a_split_of_many_devices_is_that_of_each_device(interactions: Make) -> None:
    """More events than are worked on at a time, some devices empty, one longer than all others."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 40, 20_000)
    lengths[7_000] = 300_000
    data = replace(
        interactions([[0]], n_items=50, repeats=False),
        ptr=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=rng.integers(0, 50, lengths.sum(), dtype=np.int32),
        times=np.zeros(0, np.int64),
        values=np.zeros(0, np.float32),
    )
    split = leave_one_out(data)
    test = split.test.open(FIXED)
    for known, task, held_out in ((split.train, split.validation, 2), (test.data, test, 1)):
        none = np.zeros(0, np.int32)
        own = [data.history(u)[:-held_out] if n > 2 else none for u, n in enumerate(lengths)]
        assert known.ptr.tolist() == [0, *np.cumsum([len(history) for history in own])]
        assert (known.items == np.concatenate(own)).all()
        last = data.items[data.ptr[1:] - held_out]
        new = [u for u, n in enumerate(lengths) if n > 2 and last[u] not in own[u]]
        assert task.devices.tolist() == new
        assert (task.targets == last[new]).all()


@settings(max_examples=50)
@given(histories=st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=8))
def test_train_validation_and_test_put_together_give_every_long_history_back(
    interactions: Make, histories: list[list[int]]
) -> None:
    data = interactions(histories, n_items=10)
    split = leave_one_out(data)
    test = split.test.open(FIXED)
    long = [history for history in histories if len(history) >= 3]
    rebuilt = [
        [*split.validation.history(i).tolist(), int(validation), int(last)]
        for i, (validation, last) in enumerate(
            zip(split.validation.targets, test.targets, strict=True)
        )
    ]
    assert rebuilt == long
