"""The book where disks fill, stores are gone, threads meet and receipts are cut."""

import threading
from pathlib import Path
from threading import RLock
from typing import Any

import pytest

from homebody_client.consent.book import ConsentBook
from homebody_client.consent.egress import EgressEntry, EgressLog
from homebody_client.consent.gates import Gates
from homebody_client.consent.shelf import Shelf
from homebody_client.consent.state import BookState, Pending
from homebody_client.consent.tickets import Ticket
from homebody_client.vault import Vault
from homebody_privacy.errors import ConsentMissingError, IntegrityError, UsageError

from .consent_device import DAY, ConsentDevice, terms


@pytest.fixture
def device(tmp_path: Path) -> ConsentDevice:
    """A device of a grown-up who switched everything on."""
    opened = ConsentDevice.open(tmp_path)
    opened.say_yes()
    return opened


def test_receipts_are_cut_to_the_hash_of_the_last_one_on_request(device: ConsentDevice) -> None:
    device.book.cut_receipts()
    assert device.book.receipts() == ()
    assert not (device.folder / "receipts.jsonl").exists()
    device = device.reopen()
    assert device.code("recommend") == ""
    assert device.book.withdraw("metrics").n == 4
    assert [receipt.n for receipt in device.reopen().book.receipts()] == [4]


def test_a_cut_that_a_crash_interrupted_is_finished(device: ConsentDevice) -> None:
    content = (device.folder / "receipts.jsonl").read_bytes()
    device.book.cut_receipts()
    (device.folder / "receipts.jsonl").write_bytes(content)
    device = device.reopen()
    assert device.code("recommend") == ""
    assert not (device.folder / "receipts.jsonl").exists()


def test_receipts_go_some_years_after_the_last_event(device: ConsentDevice) -> None:
    device.book.erase()
    device.clock.time += 3 * 365 * DAY - 1
    device.book.tick()
    assert len(device.book.receipts()) == 6
    device.clock.time += 1
    device.book.tick()
    assert device.book.receipts() == ()
    assert device.reopen().code("recommend") == "withdrawn"


def test_a_disk_that_is_full_shuts_everything_until_it_can_be_read_again(
    device: ConsentDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.buy()

    def full(*_: Any, **__: Any) -> None:  # noqa: ANN401 - as the real one
        raise UsageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "change", full)
        with pytest.raises(UsageError, match="full"):
            device.book.withdraw("training")
        assert {row.code for row in device.book.matrix()} == {"chain_broken"}
        assert device.buy() == 0
    device.book.withdraw("metrics")
    assert device.code("metrics") == "withdrawn"
    assert device.code("recommend") == ""
    assert device.code("training") == "", "a withdrawal that failed was told to have failed"


def test_a_withdrawal_needs_no_readable_store(device: ConsentDevice) -> None:
    device.buy()
    device.store.close()
    (device.folder / "store.sqlite").write_bytes(b"damaged")
    book = ConsentBook.open(
        terms=device.book.terms,
        vault=device.vault,
        store=None,
        receipts=device.folder / "receipts.jsonl",
        lock=RLock(),
        now=device.clock,
    )
    gates = Gates(book, EgressLog(device.folder / "egress.jsonl"))
    assert gates.keys() == {}
    with pytest.raises(IntegrityError):
        Shelf(gates).get("model", "recommend")
    book.withdraw("recommend")
    book.erase()
    assert not any("#" in name for name in device.vault.names())


def test_a_store_put_back_alone_brings_no_row_back(device: ConsentDevice) -> None:
    device.buy()
    old = (device.folder / "store.sqlite").read_bytes()
    device.book.grant("recommend", features=["tastes"])
    device.book.withdraw("training")
    device.book.withdraw("metrics")
    device.store.close()
    (device.folder / "store.sqlite").write_bytes(old)
    device = device.reopen()
    assert device.rows("purchases") == 0
    assert set(device.store.wraps()) == {"tastes"}


def test_a_withdrawal_waits_for_bytes_that_are_being_handed_over(device: ConsentDevice) -> None:
    order: list[str] = []
    handing, done = threading.Event(), threading.Event()

    def withdraw() -> None:
        handing.wait()
        device.book.withdraw("training")
        order.append("withdrawn")
        done.set()

    def deliver(_: bytes) -> None:
        handing.set()
        assert not done.wait(0.05), "it was withdrawn in the middle of a hand-over"
        order.append("sent")

    other = threading.Thread(target=withdraw)
    other.start()
    ticket = device.gates.read("training").ticket
    device.gates.send(ticket, b"update", what="update", deliver=deliver)
    other.join()
    assert order == ["sent", "withdrawn"]
    with pytest.raises(ConsentMissingError):
        device.gates.send(ticket, b"update", what="update", deliver=deliver)


def test_the_time_seen_is_kept_when_the_book_is_closed(device: ConsentDevice) -> None:
    device.clock.time += 300
    device.book.tick()
    device.book.close()
    device.clock.time -= 200
    assert device.reopen().code("recommend") == "clock_went_back"


def test_what_waits_to_leave_goes_with_its_purpose(device: ConsentDevice) -> None:
    training, metrics = device.gates.read("training").ticket, device.gates.read("metrics").ticket
    device.shelf.enqueue(training, b"update")
    kept = device.shelf.enqueue(metrics, b"count")
    device.book.withdraw("training")
    assert device.shelf.queue() == [(kept, metrics, b"count")]
    device.shelf.dequeue([kept])
    assert device.shelf.queue() == []
    with pytest.raises(ConsentMissingError):
        device.shelf.enqueue(training, b"update")


def test_a_foreign_entry_of_the_queue_is_dropped(device: ConsentDevice) -> None:
    device.shelf.enqueue(device.gates.read("metrics").ticket, b"count")
    key = device.vault.key("outgoing") or b""
    device.store.enqueue(b"no ticket", b"payload", key)
    device.book.set_age_band(None)
    assert device.store.queue(key) == []


def test_a_damaged_payload_in_the_queue_is_refused(device: ConsentDevice) -> None:
    ticket = device.gates.read("metrics").ticket
    device.shelf.enqueue(ticket, b"count")
    device.store.enqueue(ticket.to_bytes(), b"not sealed", device.vault.key("outgoing") or b"")
    with pytest.raises(IntegrityError, match="queue"):
        device.shelf.queue()


def test_what_was_derived_of_several_purposes_goes_with_any(device: ConsentDevice) -> None:
    pairs = frozenset({("recommend", "tastes"), ("training", "tastes")})
    device.store.put_derived("both", pairs, b"x", device.book.purpose_key("recommend"))
    device.book.withdraw("metrics")
    assert "both" in dict(device.store.derived_index())
    device.book.withdraw("training")
    assert device.store.derived_index() == []
    assert device.shelf.get("both", "recommend") is None


def test_the_key_of_a_shut_purpose_is_not_given(device: ConsentDevice) -> None:
    device.book.withdraw("training")
    with pytest.raises(ConsentMissingError, match="withdrawn"):
        device.book.purpose_key("training")


def test_a_key_that_is_gone_is_a_no(device: ConsentDevice) -> None:
    device.buy()
    name = next(name for name in device.vault.names() if name.startswith("purpose:recommend"))
    device.vault.change(drop_keys=[name])
    assert device.code("recommend") == "withdrawn"
    device = device.reopen()
    causes = {receipt.purpose: receipt.cause for receipt in device.book.receipts()[3:]}
    assert causes["recommend"] == "key_missing"
    assert device.code("training") == "withdrawn"


def test_a_state_nobody_wrote_is_refused(device: ConsentDevice) -> None:
    for value in ({"schema": 2}, {"schema": 1}, {**BookState().to_json(), "decisions": [{"x": 1}]}):
        device.vault.change({"consent": value})
        with pytest.raises(IntegrityError, match="state of consent"):
            device.reopen()


def test_a_state_is_read_back_as_it_was_written(device: ConsentDevice) -> None:
    device.book.set_signal("sec_gpc", None)
    state = device.book.keeper.state
    assert BookState.from_json(state.to_json()) == state
    waiting = BookState(pending=(Pending(event="ConsentWithdrawn", at=1.0, features=("x",)),))
    assert BookState.from_json(waiting.to_json()) == waiting
    assert "18_plus" not in repr(state)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"features":1}', b'{"features":[]}'])
def test_what_is_no_ticket_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Ticket.from_bytes(content)


@pytest.mark.parametrize(
    "change",
    [{"kind": "gossip"}, {"bytes": -1}, {"summary": ""}, {"summary": "a\nb"}, {"sent": False},
     {"why": "withdrawn"}],
)  # fmt: skip
def test_an_entry_of_the_egress_log_is_words_and_sizes(change: dict[str, Any]) -> None:
    usual = {"time": 1.0, "kind": "update", "purpose": "training", "bytes": 1, "summary": "s"}
    with pytest.raises(ValueError, match=r"."):
        EgressEntry(**{**usual, **change})


def test_an_egress_log_with_a_changed_line_is_refused(device: ConsentDevice) -> None:
    ticket = device.gates.read("training").ticket
    device.gates.send(ticket, b"1", what="update", deliver=lambda _: None)
    file = device.folder / "egress.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"update"', b'"gossip"', 1))
    with pytest.raises(IntegrityError):
        EgressLog(file).entries()
    assert EgressLog(device.folder / "none.jsonl").entries() == []


def test_names_that_do_not_exist_are_refused(device: ConsentDevice) -> None:
    with pytest.raises(ValueError, match="signal"):
        device.book.set_signal("moon_phase", on=True)
    with pytest.raises(ValueError, match="at least one"):
        device.book.grant("recommend", features=[])
    for act in (device.book.withdraw, device.book.refuse, device.book.request):
        with pytest.raises(ConsentMissingError, match="unknown_purpose"):
            act("advertising")
    with pytest.raises(ConsentMissingError, match="unknown_feature"):
        device.book.grant("recommend", features=["location"])
    with pytest.raises(ConsentMissingError, match="not_in_matrix"):
        device.book.grant("metrics", features=["tastes"])


def test_doing_a_thing_twice_does_it_once(device: ConsentDevice) -> None:
    device.book.restrict()
    epoch = device.book.epoch
    device.book.restrict()
    device.book.set_age_band("18_plus")
    assert device.book.epoch == epoch
    device.book.lift()
    epoch = device.book.epoch
    device.book.lift()
    assert device.book.epoch == epoch
    with pytest.raises(ConsentMissingError, match="already_given"):
        device.book.request("recommend")


def test_open_features_and_matrix_agree(device: ConsentDevice) -> None:
    device.book.grant("training", features=["tastes"])
    assert device.book.open_features("training") == ("tastes",)
    opened = [(row.purpose, row.feature) for row in device.book.matrix() if row.open]
    assert opened == [
        ("recommend", "purchases"),
        ("recommend", "tastes"),
        ("training", "tastes"),
        ("metrics", "purchases"),
    ]
    assert ConsentDevice.open(device.folder / "new", terms=None).book.matrix() == []


def test_a_purpose_that_newly_needs_another_waits_for_it(tmp_path: Path) -> None:
    loose = terms(purposes={
        name: type(one)(title=one.title, leaves_device=False) for name, one in
        terms().purposes.items()
    })  # fmt: skip
    device = ConsentDevice.open(tmp_path, terms=loose)
    device.book.grant("metrics", features=["purchases"])
    device.buy()
    device.book.adopt(terms(revision=14))
    assert device.code("metrics") == "expired"
    assert device.rows("purchases") == 1
