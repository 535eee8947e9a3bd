"""What the disk holds of a person: nothing that can be read, and nothing at all once it is erased.

Every file counts, in the profile and in the state folder, also while the device is open and after
it was killed.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from homebody_client.device import Device
from homebody_client.keystores import FileKeyStore
from homebody_client.store import Store
from homebody_client.vault import Vault
from homebody_privacy.consent_terms import DAY_S
from homebody_privacy.errors import ConsentMissingError, InvalidFileError

from .device_life import BOUGHT, LIKED, USER, allow, files_of, live, make, shown, state_of, traces
from .device_shop import NOW, DemoShop, event, open_device

MERCHANT = "Papaya Pharmacy 9"
QUERY = "divorce lawyer near me"
SESSION = "session-5517-a"
_ROOT = Path(__file__).resolve().parents[2]
WORDS = (USER, *BOUGHT, LIKED, MERCHANT, QUERY, SESSION, "2027-01-15T07:", "hot drinks")


@pytest.fixture(scope="module")
def wide(shop: DemoShop, tmp_path_factory: pytest.TempPathFactory) -> DemoShop:
    """Return the shop with a config that keeps searches and payments, too."""
    file = tmp_path_factory.mktemp("wide") / "privacy.toml"
    more = """
[features.words]
fields = ["query", "merchant", "amount", "timestamp", "session_id", "source"]
events = ["search", "transaction"]
allow = ["recommend"]
fides_category = "user.behavior.search_history"
dpv_category = "pd:Preference"
sensitivity = "ordinary"
ttl_days = 90
max_rows = 100

[consent]
"""
    file.write_text(shop.config.read_text("utf-8").replace("[consent]\n", more), "utf-8")
    return replace(shop, config=file)


def tell_all(device: Device) -> None:
    """Record events that name everything that may be nowhere."""
    assert not device.problems
    device.consent.grant("recommend", features=["purchases", "tastes", "words"])
    live(device)
    said = {"user_id": USER, "timestamp": "2027-01-15T07:30:00Z", "session_id": SESSION}
    paid = {"event": "transaction", "amount": 12.5, "currency": "EUR", "merchant": MERCHANT}
    assert device.record({**said, "event": "search", "query": QUERY})
    assert device.record({**said, **paid})


def test_s25_s74_no_file_holds_a_word_of_the_person_open_or_closed(
    wide: DemoShop, tmp_path: Path
) -> None:
    profile = tmp_path / "p"
    with open_device(wide, profile) as device:
        tell_all(device)
        device.recommend()
        device.features()
        assert len(device.knows()) == 8
        device.consent.set_age_band("18_plus")
        device.consent.grant("training", features=["purchases"])
        device.tick()
        assert traces(profile, *WORDS) == []
        device.export(tmp_path / "copy.json")
        assert traces(profile, *WORDS) == []
    assert traces(profile, *WORDS) == []
    assert len(list(files_of(profile))) > 5
    planted = profile / "planted"  # the search finds what it looks for
    planted.write_text(f"x{hashlib.sha256(USER.encode()).hexdigest()}x")
    assert traces(profile, *WORDS) == [("planted", USER)]
    plain = (tmp_path / "copy.json").read_text()
    assert all(word in plain for word in (*BOUGHT, MERCHANT, QUERY))
    assert USER not in plain  # not even the copy for the person: it was never kept
    assert (tmp_path / "copy.json").stat().st_mode & 0o077 == 0


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.client.device_shop import DemoShop, open_device
from tests.client.test_device_disk import tell_all
profile, config, bundle, catalog, key = map(Path, sys.argv[2:])
shop = DemoShop(config=config, bundle=bundle, catalog=catalog, key=key)
device = open_device(shop, profile)
tell_all(device)
device.recommend()
print("told", flush=True)
time.sleep(60)
"""


def test_s25_nor_after_a_kill(wide: DemoShop, tmp_path: Path) -> None:
    profile = tmp_path / "p"
    places = (_ROOT, profile, wide.config, wide.bundle, wide.catalog, wide.key)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, places)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"},
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"told\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert traces(profile, *WORDS) == []
    with open_device(wide, profile) as device:
        assert device.recommend().personalised
        assert traces(profile, *WORDS) == []


def test_s57_erased_device_leaves_no_key_that_opens_an_old_block(
    shop: DemoShop, tmp_path: Path
) -> None:
    profile, copy = tmp_path / "p", tmp_path / "copy"
    make(shop, profile, leaving=True)
    shutil.copytree(profile, copy)
    shutil.copytree(state_of(profile), tmp_path / "old-state")
    old = Vault.open(tmp_path / "old-state" / "keys.vault", FileKeyStore(tmp_path / "old-state"))
    names = [name for name in old.names() if name.startswith("purpose:")]
    secrets = {name: old.key(name) or b"" for name in (*names, "dedupe", "pseudonym")}
    with Store.open(copy / "store.sqlite", dedupe_key=bytes(32)) as store:
        segment = store.segment_key("purchases", {n: secrets[n] for n in names}) or b""
        assert len(store.rows("purchases", segment)) == len(BOUGHT)  # the old keys do open it
    with open_device(shop, profile) as device:
        device.erase()
        assert device.knows() == []
    content = b"".join(path.read_bytes() for path in files_of(profile))
    new = Vault.open(state_of(profile) / "keys.vault", FileKeyStore(state_of(profile)))
    held = [new.key(name) for name in new.names()]
    for secret in (*secrets.values(), segment):
        assert len(secret) == 32
        assert secret not in content
        assert secret.hex().encode() not in content
        assert secret not in held
    # Nor does the key of now open the vault of then.
    shutil.copy(tmp_path / "old-state" / "keys.vault", state_of(profile) / "keys.vault")
    with open_device(shop, profile) as device:
        assert device.knows() == []
        assert any("keys.vault" in problem for problem in device.problems)


def test_cn_28_cr_23_receipts_stay_when_everything_else_is_erased(
    shop: DemoShop, tmp_path: Path
) -> None:
    with open_device(shop, tmp_path / "p") as device:
        allow(device, leaving=True)
        live(device)
        before = device.consent.receipts()
        device.strength = 30
        device.erase()
        after = device.consent.receipts()
        assert after[: len(before)] == before
        assert [(r.purpose, r.event, r.cause) for r in after[len(before) :]] == [
            ("metrics", "ConsentWithdrawn", "erasure"),
            ("recommend", "ConsentWithdrawn", "erasure"),
            ("training", "ConsentWithdrawn", "erasure"),
        ]
        assert device.strength == 100
        assert device.owns("anybody")
        assert device.recommend().fallback_reason == "consent-closed"
        consent = device.consent
        consent.grant("recommend", features=["purchases"])  # one held from before goes on working
        assert device.record(event("TEA-01", "purchase", user="another"))
        assert device.recommend().personalised
    with open_device(shop, tmp_path / "p") as device:
        assert len(device.consent.receipts()) == len(after) + 1
        assert device.recommend().personalised


def test_cn_26_cr_22_copy_is_taken_in_elsewhere_and_gives_the_same_list_but_no_yes(
    shop: DemoShop, tmp_path: Path
) -> None:
    with open_device(shop, tmp_path / "old") as device:
        allow(device)
        live(device)
        device.export(tmp_path / "copy.json")
        rows = [(row.feature, row.values) for row in device.knows()]
        list_there = shown(device.recommend(60))
    copy = json.loads((tmp_path / "copy.json").read_text())
    assert copy["schema"] == "homebody/export/v1"
    assert {"rows", "decisions", "receipts", "model", "reasons", "left", "joined"} <= copy.keys()
    assert len(copy["receipts"]) == 1
    with open_device(shop, tmp_path / "new") as device:
        assert device.take_in(tmp_path / "copy.json") == 0  # nobody said yes here
        assert device.consent.receipts() == ()
        device.consent.grant("recommend", features=["tastes"])
        assert device.take_in(tmp_path / "copy.json") == 1
        device.consent.grant("recommend", features=["purchases", "tastes"])
        assert device.take_in(tmp_path / "copy.json") == len(BOUGHT)
        assert device.take_in(tmp_path / "copy.json") == 0  # each row once
        found = [(row.feature, row.values) for row in device.knows()]
        assert sorted(map(repr, found)) == sorted(map(repr, rows))
        assert shown(device.recommend(60)) == list_there
        device.forget("TEA-01")
        later = device.export(tmp_path / "later.json")
        assert device.take_in(later) == 0  # a later copy of the same rows adds none
        assert device.take_in(tmp_path / "copy.json") == 1


BAD_COPIES = {
    "no file": None,
    "no json": b"{",
    "not utf-8": b"\xff\xfe\x00{",
    "deep": b"[" * 100_000,
    "null": b"null",
    "a list": b"[]",
    "another schema": b'{"schema": "homebody/export/v9", "rows": []}',
    "rows no list": b'{"schema": "homebody/export/v1", "rows": {}}',
    "row no table": b'{"schema": "homebody/export/v1", "rows": [7]}',
    "values nested": b'{"schema": "homebody/export/v1", "rows": [{"feature": "purchases", "at": 1,'
    b' "values": {"product_id": ["SECRET-99"]}}]}',
    "hour no hour": b'{"schema": "homebody/export/v1", "rows": [{"feature": "purchases", "at": 1,'
    b' "values": {"event": "purchase", "product_id": "SECRET-99", "hour": 99}}]}',
    "endless number": b'{"schema": "homebody/export/v1", "rows": [{"feature": "purchases", "at": 1,'
    b' "values": {"event": "purchase", "product_id": "SECRET-99", "timestamp": Infinity}}]}',
    "kind of nothing": b'{"schema": "homebody/export/v1", "rows": [{"feature": "purchases", "at": 1'
    b', "values": {"event": "SECRET-99", "product_id": "A"}}]}',
}


@pytest.mark.parametrize("kind", BAD_COPIES)
def test_damaged_copy_is_refused_whole_without_a_word_of_it(
    shop: DemoShop, tmp_path: Path, kind: str
) -> None:
    content, file = BAD_COPIES[kind], tmp_path / "copy.json"
    if content is not None:
        file.write_bytes(content)
    with open_device(shop, tmp_path / "p") as device:
        allow(device)
        with pytest.raises(InvalidFileError) as refused:
            device.take_in(file)
        assert "SECRET-99" not in f"{refused.value!r} {refused.value.__cause__!r}"
        assert device.knows() == []


@pytest.mark.parametrize("at", [10**400, -1, 1e300, "NaN"])
def test_time_of_a_row_of_a_copy_can_be_anything(
    shop: DemoShop, tmp_path: Path, at: object
) -> None:
    row = {"feature": "purchases", "at": 0, "values": {"event": "purchase", "product_id": "TEA-01"}}
    text = json.dumps({"schema": "homebody/export/v1", "rows": [row]})
    (tmp_path / "copy.json").write_text(text.replace('"at": 0', f'"at": {at}'))
    with open_device(shop, tmp_path / "p") as device:
        allow(device)
        assert device.take_in(tmp_path / "copy.json") == 1
        assert device.recommend().personalised


def test_cn_29_cr_23_restricted_device_keeps_every_byte_and_lifting_drops_what_is_overdue_first(
    shop: DemoShop, tmp_path: Path
) -> None:
    clock = [float(NOW)]
    profile = tmp_path / "p"
    with open_device(shop, profile, now=lambda: clock[0]) as device:
        allow(device)
        live(device)
        clock[0] += 100 * DAY_S
        late = event("FRUIT-01", "purchase", user=USER)
        assert device.record({**late, "timestamp": "2027-04-25T07:00:00Z"})
        assert len(device.knows()) == 7
        device.consent.restrict()
        frozen = (profile / "store.sqlite").read_bytes()
        clock[0] += 300 * DAY_S  # the first purchases are past a year, the yes has run out
        assert not device.record(event("TEA-02", "purchase", user=USER))
        assert device.recommend().fallback_reason == "consent-closed"
        device.tick()
        device.recommend()
        assert len(device.knows()) == 7  # the person may look
        assert (profile / "store.sqlite").read_bytes() == frozen
    with open_device(shop, profile, now=lambda: clock[0]) as device:
        assert (profile / "store.sqlite").read_bytes() == frozen
        told: list[list[object]] = []
        device.subscribe(lambda: told.append([r.values["product_id"] for r in device.knows()]))
        device.consent.lift()
        assert all(not set(BOUGHT) & set(seen) for seen in told)
        assert not set(BOUGHT) & {row.values["product_id"] for row in device.knows()}


def test_time_that_ends_a_yes_takes_the_rows_after_its_grace(
    shop: DemoShop, tmp_path: Path
) -> None:
    clock = [float(NOW)]
    with open_device(shop, tmp_path / "p", now=lambda: clock[0]) as device:
        allow(device)
        live(device)
        clock[0] += 366 * DAY_S
        device.tick()
        assert device.recommend().fallback_reason == "consent-closed"
        clock[0] += 15 * DAY_S
        device.tick()
        assert device.knows() == []


def test_cn_18_cr_11_refused_person_is_not_asked_again(shop: DemoShop, tmp_path: Path) -> None:
    clock = [float(NOW)]
    with open_device(shop, tmp_path / "p", now=lambda: clock[0]) as device:
        book = device.consent
        book.refuse("recommend")
        assert not book.may_ask("recommend")  # type: ignore[union-attr]
        with pytest.raises(ConsentMissingError, match="refused"):
            book.request("recommend")  # type: ignore[union-attr]
        clock[0] += 181 * DAY_S
        assert book.may_ask("recommend")  # type: ignore[union-attr]


def test_cr_05_withdrawal_of_five_thousand_rows_takes_less_than_a_second_disk_included(
    shop: DemoShop, tmp_path: Path
) -> None:
    config = tmp_path / "privacy.toml"
    text = shop.config.read_text("utf-8").replace("max_rows = 1000", "max_rows = 9000")
    config.write_text(text, "utf-8")
    profile = tmp_path / "p"
    with open_device(shop, profile, config=config) as device:
        allow(device, leaving=True)
        values = {"event": "purchase", "category": "hot drinks", "device": "mobile"}
        rows = [
            {"feature": "purchases", "at": n, "values": {**values, "product_id": f"TEA-{n}"}}
            for n in range(5_000)
        ]
        file = tmp_path / "copy.json"
        file.write_text(json.dumps({"schema": "homebody/export/v1", "rows": rows}))
        assert device.take_in(file) == 5_000
        assert len(device.knows()) == 5_000
        large = (profile / "store.sqlite").stat().st_size
        assert large > 5_000 * 64
        before = time.perf_counter()
        device.consent.withdraw("recommend")
        took = time.perf_counter() - before
        print(f"withdrawal of 5,000 rows: {took * 1e3:.0f} ms")  # noqa: T201 - the figure
        assert took < 1.0
        assert device.knows() == []
        assert device.recommend().fallback_reason == "consent-closed"
        content = (profile / "store.sqlite").read_bytes()
        assert content[8192:].count(0) > 0.9 * (len(content) - 8192) or len(content) < large
