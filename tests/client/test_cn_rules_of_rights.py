"""Rights at the gates: what an erasure and a freeze leave on the disk (CN-28, CN-29)."""

from pathlib import Path

import pytest

from homebody_client.store import Store
from homebody_client.store.sealing import Box
from homebody_privacy.errors import ConsentMissingError

from .consent_device import DAY, GROUPS, ConsentDevice, terms


@pytest.fixture
def device(tmp_path: Path) -> ConsentDevice:
    """A device of a grown-up who switched everything on."""
    opened = ConsentDevice.open(tmp_path)
    opened.say_yes()
    return opened


def test_cn_28_cr_23_after_an_erasure_no_key_opens_an_old_block(device: ConsentDevice) -> None:
    device.buy()
    read = device.gates.read("training")
    device.shelf.enqueue(read.ticket, b"payload")
    device.shelf.put("model", read.ticket, b"weights")
    old, count = (device.folder / "store.sqlite").read_bytes(), len(device.book.receipts())
    device.book.erase()
    device = device.reopen()
    (device.folder / "old.sqlite").write_bytes(old)
    store = Store.open(device.folder / "old.sqlite", dedupe_key=bytes(32))
    keys = [key for name in device.vault.names() if (key := device.vault.key(name)) is not None]
    tables = ("SELECT body FROM rows", "SELECT body FROM wraps", "SELECT body FROM outgoing",
              "SELECT body FROM derived")  # fmt: skip
    blocks = [row[0] for query in tables for row in store._database.read(query)]  # noqa: SLF001 - the bytes
    assert len(blocks) >= 6
    places = [("row", "purchases", 1), ("outgoing", 1)]
    places += [("wrap", f, n) for f, names in store.wraps().items() for n in names]
    for key in keys:
        assert all(Box(key).open(block, *place) is None for block in blocks for place in places)
    store.close()
    assert device.store.wraps() == {}
    assert len(device.book.receipts()) == count + 3, "receipts stay, and tell of the erasure"
    assert {row.code for row in device.book.matrix()} == {"withdrawn"}


def test_cn_28_cr_23_an_erasure_of_frozen_data_leaves_no_key(device: ConsentDevice) -> None:
    device.buy()
    device.book.restrict()
    device.book.set_signal("sec_gpc", on=True)
    device.book.erase()
    assert not any("#" in name for name in device.vault.names())
    assert device.rows("purchases") == 0


def test_cn_29_cr_23_frozen_data_stays_byte_by_byte_and_overdue_rows_go_first_on_lifting(
    device: ConsentDevice,
) -> None:
    device.buy()
    device.like()
    read = device.gates.read("recommend")
    device.shelf.put("model", read.ticket, b"weights")
    before = (device.folder / "store.sqlite").read_bytes()
    device.book.restrict()
    assert {row.code for row in device.book.matrix()} == {"restricted"}
    assert device.buy() == 0
    with pytest.raises(ConsentMissingError, match="restricted"):
        device.gates.read("recommend")
    with pytest.raises(ConsentMissingError, match="restricted"):
        device.book.grant("recommend", features=["tastes"])
    device.clock.time += 200 * DAY  # past the life of a taste
    device.book.tick()
    device.clock.time += 300 * DAY  # past every yes and its grace
    device = device.reopen()
    assert (device.folder / "store.sqlite").read_bytes() == before
    device.book.lift()
    assert (device.rows("purchases"), device.rows("tastes")) == (0, 0)
    assert device.code("recommend") == "expired"
    events = [r.event for r in device.book.receipts()]
    assert {"ProcessingRestricted", "ProcessingRestrictionLifted"} <= set(events)


def test_cn_29_cr_23_overdue_rows_of_a_yes_that_ran_out_meanwhile_go_on_lifting(
    tmp_path: Path,
) -> None:
    device = ConsentDevice.open(tmp_path)
    device.book.grant("recommend", features=["tastes"])
    device.like()
    device.book.restrict()
    device.clock.time += 366 * DAY  # past the life of a taste and of the yes, not past its grace
    device.book.tick()
    device.book.lift()
    assert device.code("recommend", "tastes") == "expired"
    assert device.rows("tastes") == 0


def test_cn_29_cr_23_what_the_provider_ended_meanwhile_opens_with_no_key_after_lifting(
    device: ConsentDevice,
) -> None:
    device.buy()
    device.like()
    device.book.withdraw("training")
    device.book.restrict()
    old = (device.folder / "store.sqlite").read_bytes()
    device.book.adopt(terms(groups={"tastes": GROUPS["tastes"]}))
    assert (device.folder / "store.sqlite").read_bytes() == old
    device.book.lift()
    assert (device.rows("purchases"), device.rows("tastes")) == (0, 1)
    assert len(device.gates.read("recommend").rows) == 1
    (device.folder / "old.sqlite").write_bytes(old)
    store = Store.open(device.folder / "old.sqlite", dedupe_key=bytes(32))
    names = store.wraps()["purchases"]
    keys = [key for name in device.vault.names() if (key := device.vault.key(name)) is not None]
    assert not any(store.segment_key("purchases", dict.fromkeys(names, key)) for key in keys)
    store.close()


def test_cn_29_cr_23_what_is_not_overdue_is_there_after_lifting(device: ConsentDevice) -> None:
    device.buy()
    device.like()
    device.book.restrict()
    device.clock.time += 200 * DAY
    device.book.lift()
    assert (device.rows("purchases"), device.rows("tastes")) == (1, 0)
    assert len(device.gates.read("recommend").rows) == 1
