"""Housekeeping happens by itself, survives a refusal, and ends with what it keeps."""

import gc
import threading
import weakref

import pytest

from homebody_client.housekeeping import Housekeeper
from homebody_privacy.errors import IntegrityError

_SOON_S = 0.005
_PATIENCE_S = 5.0


class House:
    """Counts its ticks; every second one is refused."""

    def __init__(self, enough: int = 4) -> None:
        """Start with none."""
        self.ticks = 0
        self.enough = enough
        self.reached = threading.Event()

    def tick(self) -> None:
        """Count."""
        self.ticks += 1
        if self.ticks >= self.enough:
            self.reached.set()
        if self.ticks % 2:
            raise IntegrityError("the store is damaged")


def test_it_goes_on_after_a_refusal_until_it_is_stopped() -> None:
    house = House()
    keeper = Housekeeper(house.tick, every_s=_SOON_S)
    assert house.reached.wait(_PATIENCE_S)
    keeper.stop()
    threading.Event().wait(10 * _SOON_S)  # one that was under way
    ticks = house.ticks
    threading.Event().wait(20 * _SOON_S)
    assert house.ticks == ticks


def test_it_may_be_stopped_by_who_holds_a_lock_that_it_waits_for() -> None:
    lock, waits = threading.Lock(), threading.Event()

    class Locked(House):
        def tick(self) -> None:
            waits.set()
            with lock:
                self.reached.set()

    house = Locked()
    keeper = Housekeeper(house.tick, every_s=_SOON_S)
    with lock:
        assert waits.wait(_PATIENCE_S)
        keeper.stop()
    assert house.reached.wait(_PATIENCE_S)


def test_a_house_nobody_holds_is_not_kept_alive() -> None:
    house = House(enough=1)
    keeper = Housekeeper(house.tick, every_s=_SOON_S)
    assert house.reached.wait(_PATIENCE_S)
    gone = weakref.ref(house)
    del house
    for _ in range(100):
        gc.collect()
        if gone() is None:
            break
        threading.Event().wait(_SOON_S)
    assert gone() is None
    keeper.stop()


def test_it_may_be_stopped_from_within() -> None:
    begun = threading.Event()

    class Ends(House):
        def tick(self) -> None:
            begun.wait(_PATIENCE_S)  # the first round may come before there is a name to stop
            keeper.stop()
            self.reached.set()

    house = Ends()
    keeper = Housekeeper(house.tick, every_s=_SOON_S)
    begun.set()
    assert house.reached.wait(_PATIENCE_S)


def test_no_time_between_two_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="every_s"):
        Housekeeper(House().tick, every_s=0.0)
