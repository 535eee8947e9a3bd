"""CN-04 to CN-07, CN-14, CN-15, CN-17, CN-22: what cannot be relied on is shut."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from homebody_client.consent.wire import Leave
from homebody_privacy.errors import ConsentMissingError, IntegrityError
from homebody_privacy.receipts import NO_CHAIN, read_chain

from .consent_device import DAY, TERMS, ConsentDevice, terms


@pytest.fixture
def device(tmp_path: Path) -> ConsentDevice:
    """A device of a grown-up who switched everything on and bought milk."""
    opened = ConsentDevice.open(tmp_path)
    opened.say_yes()
    opened.buy("MILK")
    return opened


def _lines(device: ConsentDevice) -> list[bytes]:
    return (device.folder / "receipts.jsonl").read_bytes().splitlines(keepends=True)


def test_cn_04_cr_13_a_cut_tail_shuts_everything(device: ConsentDevice) -> None:
    (device.folder / "receipts.jsonl").write_bytes(b"".join(_lines(device)[:-1]))
    device = device.reopen()
    assert {row.code for row in device.book.matrix()} == {"chain_broken"}
    assert device.rows("purchases") == 1, "data waits for a new yes"
    assert device.buy() == 0


def test_cn_04_cr_13_no_receipts_at_all_shut_everything(device: ConsentDevice) -> None:
    (device.folder / "receipts.jsonl").unlink()
    assert device.reopen().code("recommend") == "chain_broken"


def test_cn_04_cr_13_what_does_not_verify_is_erased_after_the_grace(device: ConsentDevice) -> None:
    (device.folder / "receipts.jsonl").unlink()
    device = device.reopen()
    device.clock.time += 14 * DAY
    device = device.reopen()
    assert device.rows("purchases") == 0
    assert not any(name.startswith("purpose:") for name in device.vault.names())


def test_cn_04_cr_13_a_new_yes_begins_a_new_chain_and_the_rest_is_invalidated(
    device: ConsentDevice,
) -> None:
    (device.folder / "receipts.jsonl").write_bytes(b"".join(_lines(device)[:-1]))
    device = device.reopen()
    with pytest.raises(ConsentMissingError, match="needs:recommend"):
        device.book.grant("training", features=["purchases"])
    assert device.code("recommend") == "chain_broken", "a yes that was refused changed something"
    device.book.grant("recommend", features=["purchases"])
    device = device.reopen()
    assert device.code("recommend") == ""
    assert device.code("training") == "invalidated"
    assert len(device.gates.read("recommend").rows) == 1
    assert (device.folder / "receipts.jsonl.broken-1").exists()
    events = [(r.event, r.purpose, r.cause) for r in device.book.receipts()]
    assert ("ConsentInvalidated", "training", "chain_broken") in events


def test_cn_04_cr_13_receipts_cut_while_the_device_runs_are_noticed(device: ConsentDevice) -> None:
    (device.folder / "receipts.jsonl").write_bytes(b"".join(_lines(device)[:-1]))
    with pytest.raises(IntegrityError):
        device.book.withdraw("metrics")
    assert device.code("recommend") == "chain_broken"
    assert device.reopen().code("metrics") == "chain_broken"


def test_cn_05_cr_13_a_restored_profile_brings_no_yes_back(
    device: ConsentDevice, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backup = tmp_path_factory.mktemp("backup")
    for name in ("receipts.jsonl", "store.sqlite"):
        shutil.copy(device.folder / name, backup / name)
    device.book.withdraw("recommend")
    device.store.close()
    for name in ("receipts.jsonl", "store.sqlite"):
        shutil.copy(backup / name, device.folder / name)
    device = device.reopen()
    assert {row.code for row in device.book.matrix()} == {"chain_broken"}
    assert device.rows("purchases") == 0, "no key opens what was put back"


def test_cn_05_cr_13_a_profile_on_a_new_machine_is_asked_again(
    device: ConsentDevice, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    for name in ("receipts.jsonl", "store.sqlite"):
        shutil.copy(device.folder / name, other / name)
    moved = ConsentDevice.open(other)
    assert {row.code for row in moved.book.matrix()} == {"chain_broken"}
    assert moved.rows("purchases") == 0
    moved.book.grant("recommend", features=["purchases"])
    assert moved.reopen().code("recommend") == ""


def test_cn_06_a_clock_that_went_back_shuts_everything(device: ConsentDevice) -> None:
    device.clock.time -= DAY
    assert {row.code for row in device.book.matrix()} == {"clock_went_back"}
    device = device.reopen()
    assert device.code("recommend") == "clock_went_back"
    device.clock.time += DAY
    assert device.code("recommend") == ""


def test_cn_06_a_step_of_a_time_server_shuts_nothing(device: ConsentDevice) -> None:
    device.clock.time -= 1
    assert device.code("recommend") == ""


def test_cn_06_a_clock_that_goes_back_never_makes_a_row_last_longer(device: ConsentDevice) -> None:
    device.clock.time += 364 * DAY
    device.book.tick()
    device.clock.time -= 300 * DAY
    device = device.reopen()
    device.clock.time += 302 * DAY
    device.book.tick()
    assert device.rows("purchases") == 0


def test_cn_06_only_a_new_yes_sets_the_clock_right_and_ends_every_older_one(
    device: ConsentDevice,
) -> None:
    device.clock.time += 200 * DAY
    device.buy("FROM THE FUTURE")
    device.book.tick()
    device.clock.time -= 199 * DAY
    device.book.withdraw("metrics")
    assert device.code("recommend") == "clock_went_back", "a no set the clock right"
    device.book.grant("recommend", features=["purchases"])
    device = device.reopen()
    assert device.code("recommend") == ""
    assert device.code("training") == "invalidated"
    kept = [row.values["product_id"] for row in device.gates.read("recommend").rows]
    assert kept == ["MILK"], "a row from ahead of the clock has no age"


def test_cn_07_cr_07_the_next_contact_carries_a_signed_leave_of_the_old_tag(
    device: ConsentDevice,
) -> None:
    tag, public = device.wire.tag("training"), device.wire.signing_key.public
    device.book.withdraw("training")
    with pytest.raises(ConsentMissingError):
        device.wire.tag("training")
    sent: list[bytes] = []
    for notice in device.wire.notices():
        device.gates.leave(notice, deliver=sent.append)
    [told] = [Leave.from_bytes(one, public) for one in sent]
    assert (told.purpose, told.tag) == ("training", tag)
    assert device.egress.tail()[-1].kind == "leave"
    device = device.reopen()
    assert device.wire.leaving() == {"training": (tag,)}
    device.wire.left([tag])
    assert device.reopen().wire.leaving() == {}


def test_cn_07_cr_07_a_leave_of_another_device_is_refused(device: ConsentDevice) -> None:
    device.book.withdraw("training")
    [notice] = device.wire.notices()
    body = bytearray(notice.to_bytes())
    body[20] ^= 1
    for content, public in (
        (bytes(body), device.wire.signing_key.public),
        (notice.to_bytes(), bytes(32)),
    ):
        with pytest.raises(IntegrityError):
            Leave.from_bytes(content, public)


def test_cn_07_cr_07_each_change_has_another_tag_and_none_tells_the_count(
    device: ConsentDevice,
) -> None:
    tags = [device.wire.tag("training")]
    for _ in range(3):
        device.book.grant("training", features=["tastes"])
        tags.append(device.wire.tag("training"))
    assert len(set(tags)) == 4
    assert all(len(tag) == 32 for tag in tags)


def test_cn_14_cr_33_counters_outlive_withdrawal_and_erasure(device: ConsentDevice) -> None:
    device.vault.change({"participation": {"rounds": 5}}, new_keys=["participation"])
    key, epoch = device.vault.key("participation"), device.book.epoch
    device.book.withdraw("training")
    device.book.erase()
    device = device.reopen()
    assert device.vault.value("participation") == {"rounds": 5}
    assert device.vault.key("participation") == key
    assert device.book.epoch > epoch
    device.book.grant("recommend", features=["purchases"])
    assert device.book.receipts()[-1].n > 4, "receipts began anew"


def test_cn_15_cr_38_a_lower_revision_is_refused(device: ConsentDevice) -> None:
    device.book.adopt(terms(revision=13))
    refused = device.book.adopt(TERMS)
    assert refused is not None
    assert refused.code == "config_not_approved"
    assert device.code("recommend") == "config_not_approved"
    device = device.reopen(TERMS)
    assert {row.code for row in device.book.matrix()} == {"config_not_approved"}
    with pytest.raises(ConsentMissingError, match="config_not_approved"):
        device.book.grant("recommend", features=["purchases"])
    assert device.reopen(terms(revision=13)).code("recommend") == ""


def test_cn_15_cr_38_no_approved_config_shuts_and_erases_nothing(device: ConsentDevice) -> None:
    device = device.reopen(None)
    assert device.code("recommend") == "config_not_approved"
    assert device.rows("purchases") == 1
    device.book.withdraw("recommend")
    assert device.rows("purchases") == 0


_DIES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.client.consent_device import ConsentDevice
device = ConsentDevice.open(Path(sys.argv[1]))
if device.book.decision("recommend").state == "ConsentUnknown":
    device.book.set_age_band("18_plus")
    device.book.grant("recommend", features=["purchases", "tastes"])
print("ready", flush=True)
while True:
    if device.code("training", "tastes"):
        device.book.grant("training", features=["purchases", "tastes"])
        print("given", flush=True)
    else:
        device.book.withdraw("training")
        print("withdrawn", flush=True)
    device.like()
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.007, 0.019])
def test_cn_17_a_killed_process_leaves_no_half_decision(tmp_path: Path, delay_s: float) -> None:
    for _ in range(2):
        last = _kill_after(tmp_path, delay_s)
        device = ConsentDevice.open(tmp_path)
        is_open = device.code("training", "tastes") == ""
        told = [r.event for r in device.book.receipts() if r.purpose == "training"]
        assert is_open == bool(told and told[-1] in ("ConsentGiven", "RenewedConsentGiven"))
        keys = {name.split("#")[0] for name in device.vault.names() if "#" in name}
        assert ("purpose:training" in keys) == is_open
        assert device.code("recommend") == ""
        told_off = last == "withdrawn" and not is_open
        told_on = last in ("given", "") and is_open
        one_ahead = told[-1:] and not (told_off or told_on)
        assert told_off or told_on or one_ahead or not told
        device.store.close()


def _kill_after(folder: Path, delay_s: float) -> str:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _DIES, str(folder), "", str(root)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(delay_s)
    os.kill(child.pid, signal.SIGKILL)
    said = child.stdout.read().split()
    child.wait()
    child.stdout.close()
    return said[-1] if said else ""


def test_cn_17_a_yes_without_its_anchor_was_not_given(device: ConsentDevice) -> None:
    device.book.withdraw("metrics")
    shutil.copytree(device.folder / "state", device.folder / "before")
    device.book.grant("metrics", features=["purchases"])
    count = len(_lines(device))
    _put_vault_back(device)
    device = device.reopen()
    assert device.code("metrics") == "withdrawn"
    assert len(_lines(device)) == count - 1


def test_cn_17_a_closing_receipt_ahead_of_its_anchor_is_honoured(device: ConsentDevice) -> None:
    shutil.copytree(device.folder / "state", device.folder / "before")
    device.book.withdraw("metrics")
    _put_vault_back(device)
    device = device.reopen()
    assert device.code("metrics") == "withdrawn"
    assert device.code("training") == ""


def test_cn_17_a_half_written_receipt_is_cut_off(device: ConsentDevice) -> None:
    with (device.folder / "receipts.jsonl").open("ab") as file:
        file.write(b'{"receipt":{"at":17')
    device = device.reopen()
    assert device.code("recommend") == ""
    assert _lines(device)[-1].endswith(b"}\n")


def test_cn_22_cr_13_any_flipped_byte_of_the_chain_is_found(device: ConsentDevice) -> None:
    content = (device.folder / "receipts.jsonl").read_bytes()
    public = device.wire.signing_key.public
    whole = read_chain(content.splitlines(), public=public, base=NO_CHAIN)
    assert [receipt.n for receipt in whole] == [1, 2, 3]
    for place in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[place] ^= 1
        (device.folder / "receipts.jsonl").write_bytes(flipped)
        with pytest.raises(IntegrityError):
            device.book.receipts()


def test_cn_22_cr_13_receipts_of_another_key_are_found(device: ConsentDevice) -> None:
    lines = [line.rstrip(b"\n") for line in _lines(device)]
    with pytest.raises(IntegrityError, match="another key"):
        read_chain(lines, public=bytes(32))


def test_receipts_hold_no_behaviour_data(device: ConsentDevice) -> None:
    text = b"".join(_lines(device))
    assert b"MILK" not in text
    assert set(json.loads(_lines(device)[0])["receipt"]) == {
        "v", "n", "prev", "event", "purpose", "features", "policy_version", "config_sha256",
        "notice_sha256", "language", "at", "valid_until", "by", "method", "explicit",
        "over_signal", "cause", "epoch",
    }  # fmt: skip


def test_cr_16_a_commitment_is_unlinked_with_its_secret(device: ConsentDevice) -> None:
    first = device.wire.commitment()
    assert device.wire.commitment() == first
    device.book.withdraw("metrics")
    assert device.wire.commitment() != first
    second = device.wire.commitment()
    device.wire.unlink()
    assert device.wire.commitment() != second


def _put_vault_back(device: ConsentDevice) -> None:
    device.store.close()
    shutil.rmtree(device.folder / "state")
    (device.folder / "before").rename(device.folder / "state")
