"""CN-08, 10 to 12, 19, 23: signals, age, sensitive data, gates."""

import json
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from homebody_client.consent.egress import EgressLog
from homebody_client.consent.wipe import wipe
from homebody_privacy.consent_terms import GroupTerms
from homebody_privacy.errors import BudgetExhaustedError, ConsentMissingError, UsageError

from .consent_device import GROUPS, TERMS, ConsentDevice, terms


@pytest.fixture
def device(tmp_path: Path) -> ConsentDevice:
    """A device of a grown-up who switched everything on."""
    opened = ConsentDevice.open(tmp_path)
    opened.say_yes()
    return opened


def test_s23_cr_04_a_shut_collect_gate_leaves_the_bytes_of_the_store_unchanged(
    tmp_path: Path,
) -> None:
    device = ConsentDevice.open(tmp_path)
    before = (device.folder / "store.sqlite").read_bytes()
    assert device.buy() == 0
    device.book.grant("recommend", features=["tastes"])
    between = (device.folder / "store.sqlite").read_bytes()
    assert device.buy() == 0
    assert (device.folder / "store.sqlite").read_bytes() == between
    assert len(before) == len(between)


def test_cr_20_collect_keeps_listed_fields_alone(device: ConsentDevice) -> None:
    given = {"purchases": {"event": "purchase", "product_id": "MILK", "store": "B7"}}
    assert device.gates.collect(given) == {"purchases": {"event": "purchase", "product_id": "MILK"}}
    assert device.gates.collect({"purchases": {"event": "purchase", "store": "B7"}}) == {}
    assert device.gates.collect({"unknown": {"product_id": "MILK"}}) == {}


def test_cn_12_cr_19_an_excluded_value_is_never_stored(device: ConsentDevice) -> None:
    values = {"event": "purchase", "product_id": "X-1", "category": "FAMILY PLANNING"}
    before = (device.folder / "store.sqlite").read_bytes()
    assert device.keep({"purchases": values}) == 0
    assert (device.folder / "store.sqlite").read_bytes() == before
    assert device.keep({"purchases": {**values, "category": "DAIRY"}}) == 1


def test_a_group_takes_only_its_kinds_of_event(tmp_path: Path) -> None:
    groups = {"purchases": replace(GROUPS["purchases"], events=("purchase",))}
    device = ConsentDevice.open(tmp_path, terms=terms(groups=groups))
    device.book.grant("recommend", features=["purchases"])
    assert device.keep({"purchases": {"event": "product_view", "product_id": "MILK"}}) == 0
    assert device.keep({"purchases": {"event": "purchase", "product_id": "MILK"}}) == 1


def test_cn_08_cr_21_with_metrics_off_no_number_leaves(device: ConsentDevice) -> None:
    ticket = device.gates.read("metrics").ticket
    device.book.withdraw("metrics")
    with pytest.raises(ConsentMissingError, match="withdrawn"):
        device.gates.read("metrics")
    left: list[bytes] = []
    for kind in ("metric", "kpi", "drift", "experiment", "log", "crash_report"):
        with pytest.raises(ConsentMissingError) as refused:
            device.gates.send(ticket, b"7", what="a count", deliver=left.append, kind=kind)
        assert refused.value.exit_code == 13
    assert left == []
    assert {(entry.sent, entry.why[:9]) for entry in device.egress.entries()} == {
        (False, "withdrawn")
    }


def test_cn_08_cr_21_the_egress_log_says_in_words_what_left_and_holds_no_value(
    device: ConsentDevice,
) -> None:
    device.buy("PLANTED-VALUE")
    read = device.gates.read("training", run="r1", round_number=3)
    order: list[str] = []
    device.gates.send(
        read.ticket,
        b"PLANTED-VALUE",
        what="one clipped update",
        charge=lambda: order.append("charged"),
        deliver=lambda _: order.append(f"handed over, {len(device.egress.entries())} logged"),
        paid_by="round/3",
    )
    assert order == ["charged", "handed over, 1 logged"]
    [entry] = device.egress.tail()
    assert (entry.kind, entry.purpose, entry.bytes, entry.round, entry.charge, entry.sent) == (
        "update", "training", 13, 3, "round/3", True,
    )  # fmt: skip
    for name in ("egress.jsonl", "receipts.jsonl", "store.sqlite"):
        assert b"PLANTED-VALUE" not in (device.folder / name).read_bytes()
    assert "PLANTED-VALUE" not in repr(read)


def test_what_could_not_be_counted_is_not_sent(device: ConsentDevice) -> None:
    def charge() -> None:
        raise BudgetExhaustedError("the device's own ceiling would be passed")

    left: list[bytes] = []
    ticket = device.gates.read("training").ticket
    with pytest.raises(BudgetExhaustedError):
        device.gates.send(ticket, b"u", what="update", deliver=left.append, charge=charge)
    assert left == []
    assert not device.egress.tail()[-1].sent


def test_half_a_line_of_the_egress_log_is_passed_over(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path)
    device.say_yes()
    send = device.gates.send
    send(device.gates.read("training").ticket, b"1", what="first", deliver=lambda _: None)
    with (tmp_path / "egress.jsonl").open("ab") as file:
        file.write(b'{"time": 1.0, "kind": "upd')
    send(device.gates.read("training").ticket, b"2", what="second", deliver=lambda _: None)
    assert [entry.summary for entry in EgressLog(tmp_path / "egress.jsonl").entries()] == [
        "first",
        "second",
    ]


@pytest.mark.parametrize("name", ["sec_gpc", "os_setting"])
def test_cn_10_cr_17_a_signal_withdraws_all_that_leaves_and_going_off_opens_nothing(
    device: ConsentDevice, name: str
) -> None:
    device.book.set_signal(name, on=True)
    assert [device.code(p) for p in ("recommend", "training", "metrics")] == [
        "", "withdrawn", "withdrawn",
    ]  # fmt: skip
    causes = {r.purpose: r.cause for r in device.book.receipts()[3:]}
    assert causes == {"training": "signal", "metrics": "signal"}
    device.book.set_signal(name, on=False)
    assert device.reopen().code("training") == "withdrawn"


def test_cn_10_cr_17_a_yes_while_it_is_on_needs_a_second_confirmation(
    device: ConsentDevice,
) -> None:
    device.book.set_signal("sec_gpc", on=True)
    with pytest.raises(ConsentMissingError, match="opt_out_signal"):
        device.book.grant("training", features=["tastes"])
    receipt = device.book.grant("training", features=["tastes"], over_signal=True)
    assert receipt.over_signal, "the conflict is not in the receipt"
    assert device.reopen().code("training", "tastes") == ""


def test_cn_10_cr_17_a_signal_that_comes_on_again_ends_a_yes_said_over_it(
    device: ConsentDevice,
) -> None:
    device.book.set_signal("sec_gpc", on=True)
    device.book.grant("training", features=["tastes"], over_signal=True)
    device.book.set_signal("sec_gpc", on=False)
    device.book.set_signal("sec_gpc", on=True)
    assert device.code("training", "tastes") == "withdrawn"


def test_cn_10_cr_17_an_unreadable_signal_shuts_and_erases_nothing(device: ConsentDevice) -> None:
    device.buy()
    device.book.set_signal("sec_gpc", on=False)
    device.book.set_signal("sec_gpc", None)
    assert device.code("training") == "opt_out_signal"
    assert device.rows("purchases") == 1
    with pytest.raises(ConsentMissingError, match="opt_out_signal"):
        device.book.grant("training", features=["tastes"], over_signal=True)
    device.book.set_signal("sec_gpc", on=False)
    assert device.code("training") == ""


def test_cn_11_cr_18_a_child_may_have_suggestions_and_training_is_locked(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path)
    device.book.set_age_band("13_15")
    device.book.grant("recommend", features=["tastes"])
    assert device.code("recommend", "tastes") == ""
    with pytest.raises(ConsentMissingError, match="age_locked"):
        device.book.grant("training", features=["tastes"])
    assert not device.book.may_ask("training")
    device.book.set_age_band("16_17")
    assert device.code("training", "tastes") == "not_asked", "a birthday opened something"


def test_cn_11_cr_18_an_unknown_age_is_locked(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path)
    device.book.grant("recommend", features=["tastes"])
    with pytest.raises(ConsentMissingError, match="age_locked"):
        device.book.grant("training", features=["tastes"])


def test_cn_11_cr_18_an_age_that_was_too_high_ends_what_leaves(device: ConsentDevice) -> None:
    device.book.set_age_band(None)
    assert device.code("training") == "age_locked"
    device.book.set_age_band("13_15")
    device.book.set_age_band("18_plus")
    assert device.code("training") == "withdrawn"


def test_cn_11_cr_18_only_the_band_is_stored(device: ConsentDevice) -> None:
    kept = device.vault.value("consent")
    assert isinstance(kept, dict)
    assert kept["age"] == "18_plus"
    with pytest.raises(ValueError, match="band"):
        device.book.set_age_band("1990-04-01")


def _sensitive(sensitivity: str) -> dict[str, GroupTerms]:
    health = GroupTerms(
        fields=("kind",), allow=("recommend", "training"), ttl_days=30, sensitivity=sensitivity
    )
    return {**GROUPS, "health": health}


@pytest.mark.parametrize("sensitivity", ["special", "criminal"])
def test_cn_12_cr_19_sensitive_data_never_feeds_what_leaves(
    tmp_path: Path, sensitivity: str
) -> None:
    device = ConsentDevice.open(tmp_path, terms=terms(groups=_sensitive(sensitivity)))
    device.say_yes()
    with pytest.raises(ConsentMissingError, match="not_in_matrix"):
        device.book.grant("training", features=["tastes", "health"], explicit=True)
    assert device.code("training", "health") == "not_in_matrix"
    assert ("training", "health") not in {(r.purpose, r.feature) for r in device.book.matrix()}


@pytest.mark.parametrize("sensitivity", ["special", "criminal"])
def test_cn_12_cr_19_on_the_device_it_needs_a_second_explicit_yes(
    tmp_path: Path, sensitivity: str
) -> None:
    device = ConsentDevice.open(tmp_path, terms=terms(groups=_sensitive(sensitivity)))
    with pytest.raises(ConsentMissingError, match="explicit_needed"):
        device.book.grant("recommend", features=["health"])
    receipt = device.book.grant("recommend", features=["health"], explicit=True)
    assert receipt.explicit
    assert device.code("recommend", "health") == ""


def test_cn_12_cr_19_a_group_that_becomes_sensitive_leaves_the_purpose(
    device: ConsentDevice,
) -> None:
    device.buy()
    groups = {**GROUPS, "purchases": replace(GROUPS["purchases"], sensitivity="special")}
    device.book.adopt(terms(groups=groups))
    assert device.code("training") == "not_in_matrix"
    assert device.code("recommend") == "feature_not_chosen"
    assert device.rows("purchases") == 0


def test_cn_12_cr_19_elevated_data_is_chosen_alone_and_nothing_is_preselected(
    tmp_path: Path,
) -> None:
    device = ConsentDevice.open(tmp_path)
    rows = device.book.matrix()
    assert {(row.feature, row.alone) for row in rows} == {("purchases", True), ("tastes", False)}
    assert not any(row.chosen or row.open for row in rows)


def test_cn_19_rows_of_a_shut_pair_change_nothing_that_a_purpose_reads(tmp_path: Path) -> None:
    seen = []
    for name, product in (("one", "MILK"), ("two", "SPIRITS")):
        device = ConsentDevice.open(tmp_path / name)
        device.book.set_age_band("18_plus")
        device.book.grant("recommend", features=["purchases", "tastes"])
        device.book.grant("training", features=["tastes"])
        device.buy(product)
        device.like("tea")
        read = device.gates.read("training")
        values = [(row.feature, row.at, dict(row.values)) for row in read.rows]
        seen.append(json.dumps([values, list(read.features), read.ticket.to_bytes().decode()]))
        with pytest.raises(ConsentMissingError, match="feature_not_chosen"):
            device.gates.read("training", ["purchases"])
    assert seen[0] == seen[1]


def test_cn_23_cr_15_the_receipt_names_the_words_that_were_shown(tmp_path: Path) -> None:
    notice = tmp_path / "en-4.md"
    notice.write_text("What we would like to do.\n", "utf-8")
    digest = sha256(notice.read_bytes()).hexdigest()
    device = ConsentDevice.open(tmp_path, terms=replace(TERMS, notices={"en": digest}))
    receipt = device.book.grant("recommend", features=["tastes"])
    assert (receipt.notice_sha256, receipt.language) == (digest, "en")
    with pytest.raises(UsageError, match="no notice in this language"):
        device.book.grant("recommend", features=["tastes"], language="fr")


def test_cr_05_a_withdrawal_is_complete_on_disk_within_a_second(device: ConsentDevice) -> None:
    rows = 0
    for day in range(40):
        rows += device.buy(f"P{day}")
    assert rows == 40
    begun = time.perf_counter()
    device.book.withdraw("recommend")
    taken = time.perf_counter() - begun
    assert taken < TERMS.withdraw_max_seconds
    assert device.reopen().rows("purchases") == 0


def test_results_of_a_stale_ticket_are_wiped_wherever_they_are(device: ConsentDevice) -> None:
    scratch, result = np.ones(3), {"sum": np.ones(2), "parts": [bytearray(b"xy"), np.ones(1)]}
    ticket = device.gates.read("training").ticket

    def work() -> dict[str, object]:
        device.book.withdraw("training")
        return dict(result)

    with pytest.raises(ConsentMissingError):
        device.gates.train(ticket, work, scratch=[scratch])
    assert not scratch.any()
    assert not result["sum"].any()  # type: ignore[attr-defined]
    assert result["parts"][0] == bytearray(2)  # type: ignore[index]
    frozen = np.ones(1)
    frozen.flags.writeable = False
    wipe([frozen, "text", 3])
    assert frozen[0] == 1.0


def test_callbacks_hear_of_each_change_with_the_counter(device: ConsentDevice) -> None:
    heard: list[int] = []
    device.book.on_change(heard.append)
    device.book.withdraw("metrics")
    device.book.set_age_band(None)
    device.book.restrict()
    assert heard == sorted(heard)
    assert heard[-1] == device.book.epoch
    assert len(set(heard)) == 3
