"""CN-01 to CN-03, CN-09, CN-13, CN-16, CN-18: what a no, a smaller yes and time must do to data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from homebody_client.store import Store
from homebody_client.store.sealing import Box
from homebody_privacy.consent_terms import GroupTerms, PurposeTerms
from homebody_privacy.errors import ConsentMissingError

from .consent_device import DAY, GROUPS, PURPOSES, ConsentDevice, terms


@pytest.fixture
def device(tmp_path: Path) -> ConsentDevice:
    """A device of a grown-up who switched everything on and did something."""
    opened = ConsentDevice.open(tmp_path)
    opened.say_yes()
    assert opened.buy("MILK") == 1
    assert opened.like("tea") == 1
    return opened


def test_cn_01_cr_06_an_update_read_before_a_withdrawal_and_a_smaller_yes_is_dropped(
    device: ConsentDevice,
) -> None:
    read = device.gates.read("training")
    assert read.features == ("purchases", "tastes")
    update = np.ones(4, np.float32)

    def work() -> np.ndarray:
        device.book.withdraw("training")
        device.book.grant("training", features=["tastes"])
        return update

    with pytest.raises(ConsentMissingError, match="feature_not_chosen"):
        device.gates.train(read.ticket, work)
    assert not update.any(), "the result was not zeroed"
    left: list[bytes] = []
    with pytest.raises(ConsentMissingError):
        device.gates.send(read.ticket, b"update", what="update", deliver=left.append)
    assert left == []
    entry = device.egress.tail()[-1]
    assert not entry.sent
    assert entry.why.startswith("feature_not_chosen")


def test_cn_01_cr_06_the_same_yes_again_is_another_yes(device: ConsentDevice) -> None:
    read = device.gates.read("training", ["tastes"])
    device.book.withdraw("training")
    device.book.grant("training", features=["purchases", "tastes"])
    with pytest.raises(ConsentMissingError, match="not_fresh"):
        device.gates.send(read.ticket, b"update", what="update", deliver=lambda _: None)


def test_cn_01_cr_06_a_change_of_another_purpose_drops_nothing(device: ConsentDevice) -> None:
    read = device.gates.read("training")
    device.book.withdraw("metrics")
    left: list[bytes] = []
    device.gates.send(read.ticket, b"update", what="update", deliver=left.append)
    assert left == [b"update"]


def test_cn_01_cr_06_a_required_purpose_that_changed_drops_it(device: ConsentDevice) -> None:
    read = device.gates.read("training")
    device.book.grant("recommend", features=["purchases", "tastes"])
    with pytest.raises(ConsentMissingError, match="not_fresh"):
        device.gates.send(read.ticket, b"update", what="update", deliver=lambda _: None)


def test_cn_02_narrowing_leaves_nothing_of_what_was_dropped(device: ConsentDevice) -> None:
    read = device.gates.read("recommend")
    device.shelf.put("local-model", read.ticket, b"weights")
    training = device.gates.read("training")
    device.shelf.enqueue(training.ticket, b"payload")
    keys = {name: device.vault.key(name) for name in device.vault.names()}
    old = (device.folder / "store.sqlite").read_bytes()
    device.book.withdraw("metrics")
    device.book.withdraw("training")
    device.book.grant("recommend", features=["tastes"])

    device = device.reopen()
    assert device.rows("purchases") == 0
    assert device.rows("tastes") == 1
    assert set(device.store.wraps()) == {"tastes"}
    assert device.store.derived_index() == []
    assert device.store.queue(device.vault.key("outgoing") or b"") == []
    alive = {name: device.vault.key(name) for name in device.vault.names()}
    kept = {name for name, key in keys.items() if key is not None and alive.get(name) == key}
    assert not any(name.startswith("purpose:") for name in kept), "a data key lived on"
    _assert_no_key_opens(old, device, "purchases", tmp=device.folder)


def test_cn_02_what_stays_can_still_be_read(device: ConsentDevice) -> None:
    device.book.withdraw("training")
    device.book.grant("recommend", features=["tastes"])
    read = device.reopen().gates.read("recommend")
    assert [row.values["topic"] for row in read.rows] == ["tea"]


def test_cn_03_cr_09_a_yes_that_ran_out_is_shut_and_its_data_goes_after_the_grace(
    device: ConsentDevice,
) -> None:
    device.book.adopt(terms(groups=_long_lived()))
    device.clock.time += 366 * DAY
    assert device.code("recommend") == "expired"
    device.book.tick()
    assert device.rows("purchases") == 1
    device.clock.time += 14 * DAY
    device.book.tick()
    device = device.reopen(terms(groups=_long_lived()))
    assert (device.rows("purchases"), device.rows("tastes")) == (0, 0)
    assert not any(name.startswith("purpose:") for name in device.vault.names())


def test_cn_03_cr_09_a_new_yes_within_the_grace_keeps_the_data(device: ConsentDevice) -> None:
    device.book.adopt(terms(groups=_long_lived()))
    device.clock.time += 366 * DAY
    device.book.tick()
    receipt = device.book.grant("recommend", features=["purchases", "tastes"])
    assert receipt.event == "RenewedConsentGiven"
    assert len(device.gates.read("recommend").rows) == 2


def test_cn_03_cr_09_a_refusal_of_new_terms_erases_at_once(device: ConsentDevice) -> None:
    device.book.adopt(terms(policy_version=5))
    assert device.code("recommend") == "expired"
    assert device.rows("purchases") == 1
    for purpose in ("recommend", "training", "metrics"):
        device.book.refuse(purpose)
    assert (device.rows("purchases"), device.rows("tastes")) == (0, 0)
    assert device.code("recommend") == "refused"


def test_cn_03_cr_09_a_feature_removed_from_the_config_is_erased_at_once(
    device: ConsentDevice,
) -> None:
    device.book.adopt(terms(groups={"tastes": GROUPS["tastes"]}))
    assert device.rows("purchases") == 0
    assert device.rows("tastes") == 1
    assert device.code("recommend", "tastes") == ""
    assert device.code("metrics") == "revoked" or device.code("metrics") == "unknown_feature"
    events = [(r.event, r.purpose, r.features) for r in device.book.receipts()[3:]]
    assert ("ConsentRevoked", "recommend", ("purchases",)) in events
    assert ("ConsentRevoked", "metrics", ("purchases",)) in events


def test_cn_03_cr_09_a_purpose_removed_from_the_config_is_revoked(device: ConsentDevice) -> None:
    groups = {
        "purchases": GroupTerms(fields=("product_id",), allow=("recommend",), ttl_days=365),
        "tastes": GroupTerms(fields=("topic",), allow=("recommend",), ttl_days=180),
    }
    device.book.adopt(terms(purposes={"recommend": PURPOSES["recommend"]}, groups=groups))
    assert device.book.decision("training").state == "ConsentRevoked"
    assert device.code("training") == "unknown_purpose"
    assert device.code("recommend") == ""


def test_cn_09_cr_08_all_that_needs_a_closed_purpose_closes_at_any_depth(tmp_path: Path) -> None:
    chain = {
        "c": PurposeTerms(title="c", leaves_device=False),
        "b": PurposeTerms(title="b", leaves_device=False, requires=("c",)),
        "a": PurposeTerms(title="a", leaves_device=False, requires=("b",)),
    }
    groups = {"x": GroupTerms(fields=("v",), allow=("a", "b", "c"), ttl_days=30)}
    device = ConsentDevice.open(tmp_path, terms=terms(purposes=chain, groups=groups))
    with pytest.raises(ConsentMissingError, match=r"^needs:b: "):
        device.book.grant("a", features=["x"])
    for purpose in ("c", "b", "a"):
        device.book.grant(purpose, features=["x"])
    device.book.withdraw("c")
    assert [device.code(purpose, "x") for purpose in "abc"] == ["withdrawn"] * 3
    closing = device.book.receipts()[3:]
    assert {(r.purpose, r.event, r.cause) for r in closing} == {
        ("c", "ConsentWithdrawn", ""),
        ("b", "ConsentWithdrawn", "cascade:c"),
        ("a", "ConsentWithdrawn", "cascade:c"),
    }
    device.book.grant("c", features=["x"])
    assert device.code("b", "x") == "withdrawn", "a yes switched on what it was not asked for"


def test_cn_13_derived_things_go_with_any_of_their_pairs(device: ConsentDevice) -> None:
    both = device.gates.read("recommend")
    tastes = device.gates.read("recommend", ["tastes"])
    device.shelf.put("user-vector", both.ticket, b"vector")
    device.shelf.put("reason-log", tastes.ticket, b"reasons")
    assert device.shelf.get("user-vector", "recommend") == b"vector"
    device.book.adopt(terms(groups={"tastes": GROUPS["tastes"]}))
    assert device.shelf.get("user-vector", "recommend") is None
    assert "user-vector" not in dict(device.store.derived_index())
    device.book.withdraw("recommend")
    assert device.store.derived_index() == []


def test_cn_16_rows_from_before_the_yes_are_invisible_to_it(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path)
    device.book.set_age_band("18_plus")
    device.book.grant("recommend", features=["purchases"])
    device.buy("BEFORE")
    device.clock.time += 10
    device.book.grant("training", features=["purchases"])
    device.buy("AFTER")
    seen = [row.values["product_id"] for row in device.gates.read("training").rows]
    assert seen == ["AFTER"]
    assert len(device.gates.read("recommend").rows) == 2


def test_cn_16_reach_back_shows_them(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path, terms=terms(reach_back=True))
    device.book.set_age_band("18_plus")
    device.book.grant("recommend", features=["purchases"])
    device.buy("BEFORE")
    device.clock.time += 10
    device.book.grant("training", features=["purchases"])
    assert len(device.gates.read("training").rows) == 1


def test_cn_16_a_later_yes_does_not_show_what_an_earlier_one_had(device: ConsentDevice) -> None:
    device.book.withdraw("training")
    device.clock.time += 10
    device.book.grant("training", features=["purchases", "tastes"])
    assert device.gates.read("training").rows == []


def test_cn_18_cr_11_a_no_is_kept_and_not_asked_again(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path)
    device.book.request("recommend")
    device.book.defer("recommend")
    assert device.code("recommend") == "deferred"
    receipt = device.book.refuse("recommend")
    assert (receipt.event, receipt.policy_version) == ("ConsentRefused", 4)
    assert not device.book.may_ask("recommend")
    device.clock.time += 179 * DAY
    with pytest.raises(ConsentMissingError, match="refused"):
        device.reopen().book.request("recommend")
    device.clock.time += 1 * DAY
    device = device.reopen()
    device.book.request("recommend")
    assert device.code("recommend") == "not_asked"


def test_cn_18_cr_11_a_person_may_say_yes_at_any_time(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path)
    device.book.refuse("recommend")
    device.book.grant("recommend", features=["tastes"])
    assert device.code("recommend", "tastes") == ""


def test_a_second_withdrawal_writes_no_second_receipt(device: ConsentDevice) -> None:
    first = device.book.withdraw("metrics")
    assert device.book.withdraw("metrics") == first
    assert device.book.object_to("training").cause == "objection"


def test_rows_past_their_time_or_their_number_go_on_read_and_by_timer(tmp_path: Path) -> None:
    groups = {
        "purchases": GroupTerms(
            fields=("product_id",), allow=("recommend",), ttl_days=10, max_rows=2
        ),
    }
    short = terms(purposes={"recommend": PURPOSES["recommend"]}, groups=groups)
    device = ConsentDevice.open(tmp_path, terms=short)
    device.book.grant("recommend", features=["purchases"])
    for number in range(3):
        device.buy(str(number))
    assert [r.values["product_id"] for r in device.gates.read("recommend").rows] == ["1", "2"]
    assert device.rows("purchases") == 2
    device.clock.time += 10 * DAY
    device.book.tick()
    assert device.rows("purchases") == 0


def _long_lived() -> dict[str, GroupTerms]:
    return {name: replace(group, ttl_days=4_000) for name, group in GROUPS.items()}


def _assert_no_key_opens(old: bytes, device: ConsentDevice, feature: str, tmp: Path) -> None:
    """No key the vault still has opens a wrap of the feature in an older copy of the store."""
    copy = tmp / "copy.sqlite"
    copy.write_bytes(old)
    store = Store.open(copy, dedupe_key=bytes(32))
    names = store.wraps()[feature]
    keys = [device.vault.key(name) for name in device.vault.names()]
    query = "SELECT body FROM wraps WHERE feature = ?"
    bodies = [row[0] for row in store._database.read(query, (feature,))]  # noqa: SLF001 - the bytes
    for key in keys:
        for name, body in zip(names, bodies, strict=True):
            assert key is None or Box(key).open(body, "wrap", feature, name) is None
    store.close()
