"""CR-01 to CR-04, 10, 15, 16, 20 to 22, 25: rows of the requirements, each by the real parts."""

import ast
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import jsonschema  # type: ignore[import-untyped]
import pytest

from homebody_client.device import Device
from homebody_client.export_schema import export_schema
from homebody_client.housekeeping import Housekeeper
from homebody_client.secure.person import PersonWorker
from homebody_privacy.errors import ConsentMissingError, HomebodyError

from .consent_device import DAY, ConsentDevice, terms
from .device_life import allow, live, shown
from .device_shop import NOW, DemoShop, event, open_device

_CLIENT = Path(__file__).parents[2] / "client" / "homebody_client"
_NETWORK = frozenset(
    {
        *("aiohttp", "asyncio", "ftplib", "grpc", "http", "httpx", "requests", "select"),
        *("selectors", "smtplib", "socket", "socketserver", "ssl", "urllib3", "websockets"),
    }
)
_NO_MODEL = cast("Any", None)
"""What is asked of these devices rests on no model."""


def changed(shop: DemoShop, folder: Path, *edits: tuple[str, str]) -> Path:
    """Return the shop's config after edits."""
    text = shop.config.read_text("utf-8")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    file = folder / "changed.toml"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize("default", ["off", "on"])
def test_cr_01_a_fresh_device_keeps_and_sends_nothing_and_shows_a_list(
    shop: DemoShop, tmp_path: Path, default: str
) -> None:
    switch = ("leaves_device = true\n", f'leaves_device = true\ndefault = "{default}"\n')
    config = changed(shop, tmp_path, switch)
    with open_device(shop, tmp_path / "p", config=config) as device:
        assert not device.record(event("TEA-01", "purchase"))
        assert device.knows() == []
        assert {row.code for row in device.consent.matrix()} == {"not_asked"}
        assert device.consent.receipts() == ()
        assert device.egress.entries() == []
        assert not device.check_in(idle=True, charging=True, unmetered=True).may_join
        answer = device.recommend()
        assert (len(answer), answer.fallback_reason) == (10, "consent-closed")


def test_cr_02_a_yes_is_to_one_purpose_and_what_it_names(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path)
    device.book.grant("recommend", features=["purchases"])
    assert device.buy() == 1
    assert [row.feature for row in device.gates.read("recommend", ["purchases"]).rows] == [
        "purchases"
    ]
    with pytest.raises(ConsentMissingError, match=r"feature_not_chosen: .{10}") as refused:
        device.gates.read("recommend", ["tastes"])
    assert refused.value.exit_code == 13
    with pytest.raises(ConsentMissingError, match=r"not_asked: .{10}"):
        device.gates.read("training", ["purchases"])
    assert device.like() == 0


def test_cr_03_a_yes_outside_the_matrix_is_refused_on_the_device_too(
    shop: DemoShop, tmp_path: Path
) -> None:
    with open_device(shop, tmp_path / "p") as device:
        allow(device, leaving=True)
        before = device.consent.receipts()
        for purpose in ("training", "metrics"):
            with pytest.raises(ConsentMissingError, match="not_in_matrix"):
                device.consent.grant(purpose, features=["purchases", "tastes"], explicit=True)
        assert device.consent.receipts() == before
        assert device.consent.open_features("training") == ("purchases",)
    wider = changed(shop, tmp_path, ('allow = ["recommend"]', 'allow = ["recommend", "other"]'))
    with (
        open_device(shop, tmp_path / "q", config=wider) as device,
        pytest.raises(ConsentMissingError, match="config_not_approved"),
    ):
        device.consent.grant("recommend", features=["tastes"])


def _unknown_purpose(device: ConsentDevice) -> ConsentDevice:
    groups = {name: group for name, group in terms().groups.items() if name == "tastes"}
    device.book.adopt(terms(groups=groups))
    return device


def _no_record(device: ConsentDevice) -> ConsentDevice:
    (device.folder / "receipts.jsonl").unlink()
    return device.reopen()


def _corrupt_record(device: ConsentDevice) -> ConsentDevice:
    file = device.folder / "receipts.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"training"', b'"trainimg"', 1))
    return device.reopen()


def _no_terms(device: ConsentDevice) -> ConsentDevice:
    return device.reopen(terms=None)


def _exception(device: ConsentDevice) -> ConsentDevice:
    """Let the judge meet a value nobody expects, where it looks."""
    journal = device.book.keeper.journal
    decisions = {name: replace(one) for name, one in journal.state.decisions.items()}
    for one in decisions.values():
        object.__setattr__(one, "features", None)
    journal.state = replace(journal.state, decisions=decisions)
    assert device.code("training") == "internal_error"
    return device


@pytest.mark.parametrize(
    "fault", [_unknown_purpose, _no_record, _corrupt_record, _no_terms, _exception]
)
def test_cr_04_every_gate_shuts_when_something_is_wrong(
    tmp_path: Path, fault: Callable[[ConsentDevice], ConsentDevice]
) -> None:
    device = ConsentDevice.open(tmp_path)
    device.say_yes()
    assert device.buy() == 1
    ticket = device.gates.read("training", ["purchases"]).ticket
    device = fault(device)
    left: list[bytes] = []
    worked: list[str] = []
    given: dict[str, dict[str, Any]] = {"purchases": {"event": "purchase", "product_id": "TEA"}}
    assert device.gates.collect(given) == {}
    with pytest.raises(ConsentMissingError):
        device.gates.read("training", ["purchases"])
    with pytest.raises(ConsentMissingError):
        device.gates.train(ticket, lambda: worked.append("trained"))
    with pytest.raises(ConsentMissingError):
        device.gates.send(ticket, b"update", what="update", deliver=left.append)
    assert (left, worked) == ([], [])
    assert not any(entry.sent for entry in device.egress.entries())


def test_cr_04_an_unknown_purpose_is_shut_at_every_door(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path)
    device.say_yes()
    with pytest.raises(ConsentMissingError, match="unknown_purpose"):
        device.gates.read("advertising", ["purchases"])
    with pytest.raises(ConsentMissingError, match="unknown_purpose"):
        device.book.grant("advertising", features=["purchases"])


def test_cr_04_a_store_that_cannot_be_read_gives_nothing_away(
    shop: DemoShop, tmp_path: Path
) -> None:
    with open_device(shop, tmp_path / "p") as device:
        allow(device, leaving=True)
        live(device)
    store = tmp_path / "p" / "store.sqlite"
    store.write_bytes(b"\0" * store.stat().st_size)
    with open_device(shop, tmp_path / "p") as device:
        assert device.problems
        assert not device.record(event("TEA-01", "purchase"))
        with pytest.raises(HomebodyError):
            device.participant(_NO_MODEL).enrol(1)
        assert device.egress.entries() == []
        assert len(device.recommend()) == 10


def test_cr_10_new_terms_shut_every_gate_until_the_person_is_asked_again(tmp_path: Path) -> None:
    device = ConsentDevice.open(tmp_path)
    device.say_yes()
    device.buy()
    ticket = device.gates.read("training").ticket
    device.book.adopt(terms(policy_version=5))
    left: list[bytes] = []
    for purpose in ("recommend", "training", "metrics"):
        assert device.code(purpose) == "expired"
        with pytest.raises(ConsentMissingError):
            device.gates.read(purpose)
    with pytest.raises(ConsentMissingError):
        device.gates.send(ticket, b"update", what="update", deliver=left.append)
    assert (left, device.buy()) == ([], 0)
    assert device.book.may_ask("recommend")
    assert device.book.grant("recommend", features=["purchases"]).policy_version == 5
    assert device.code("recommend") == ""
    assert len(device.gates.read("recommend").rows) == 1


def test_cr_15_a_receipt_names_the_notice_that_the_config_names(
    shop: DemoShop, tmp_path: Path
) -> None:
    notice = tmp_path / "notice.txt"
    notice.write_text("What we would like to do.\n", "utf-8")
    digest = sha256(notice.read_bytes()).hexdigest()
    named = f'[consent.notices.en]\nfile = "notice.txt"\nsha256 = "{digest}"\n\n[dp]\n'
    config = changed(shop, tmp_path, ("[dp]\n", named))
    with open_device(shop, tmp_path / "p", config=config) as device:
        allow(device)
        assert [one.notice_sha256 for one in device.consent.receipts()] == [digest]
    notice.write_text("Something else.\n", "utf-8")
    with open_device(shop, tmp_path / "p", config=config) as device:
        with pytest.raises(ConsentMissingError, match="config_not_approved"):
            device.consent.grant("recommend", features=["purchases"])
        assert [one.notice_sha256 for one in device.consent.receipts()] == [digest]


def test_cr_16_a_device_shows_a_proof_only_where_the_config_says_it_may_be_kept(
    shop: DemoShop, tmp_path: Path
) -> None:
    for copy in ("none", "commitment"):
        config = changed(shop, tmp_path, ('server_copy = "none"', f'server_copy = "{copy}"'))
        with open_device(shop, tmp_path / copy, config=config) as device:
            allow(device, leaving=True)
            told = _consent_told(device)
            assert len(told.tag) == 32
            assert len(told.receipt_sha256) == (64 if copy == "commitment" else 0)
            assert _consent_told(device) == told
            device.erase()
            allow(device, leaving=True)
            again = _consent_told(device)
            assert again.tag != told.tag
            assert (again.receipt_sha256 != told.receipt_sha256) is (copy == "commitment")


def _consent_told(device: Device) -> Any:  # noqa: ANN401 - what the worker returns
    def participant() -> Any:  # noqa: ANN401 - as the device returns it
        return device.participant(_NO_MODEL)

    return PersonWorker(participant, 0).consent("training")


def test_cr_20_rows_past_their_days_or_number_are_gone_on_read(tmp_path: Path) -> None:
    device = _crowded(tmp_path)
    assert device.rows("purchases") == 3
    read = device.gates.read("recommend")
    assert [row.values["product_id"] for row in read.rows] == ["P2", "P3"]
    assert device.rows("purchases") == 2
    device.clock.time += 30 * DAY
    assert device.gates.read("recommend").rows == []
    assert device.reopen().rows("purchases") == 0


def test_cr_20_rows_past_their_days_or_number_are_gone_by_the_timer(tmp_path: Path) -> None:
    device = _crowded(tmp_path)
    done, book = threading.Event(), device.book

    class House:
        def tick(self) -> None:
            book.tick()
            done.set()

    house = House()
    for left, later in ((2, 0.0), (0, 30 * DAY)):
        device.clock.time += later
        done.clear()
        keeper = Housekeeper(house.tick, every_s=0.005)
        assert done.wait(5.0)
        keeper.stop()
        assert device.rows("purchases") == left


def _crowded(folder: Path) -> ConsentDevice:
    """Return a device with three rows of a group that may have two, for thirty days."""
    usual = terms().groups["purchases"]
    small = type(usual)(
        fields=usual.fields, allow=usual.allow, ttl_days=30, max_rows=2, exclude=usual.exclude
    )
    device = ConsentDevice.open(folder, terms=terms(groups={"purchases": small}))
    device.book.grant("recommend", features=["purchases"])
    for number in (1, 2, 3):
        device.clock.time += 1.0
        assert device.buy(f"P{number}") == 1
    return device


def test_cr_21_the_local_api_alone_opens_sockets() -> None:
    found = {
        path.relative_to(_CLIENT).parts[0]
        for path in _CLIENT.rglob("*.py")
        if _NETWORK & set(_imported(ast.parse(path.read_text("utf-8"))))
    }
    assert found == {"api"}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            dotted = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield node.module.split(".")[0]
            if "urllib.request" in dotted:
                yield "http"


def test_cr_21_everything_a_device_hands_over_passes_one_gate() -> None:
    """Nothing but the gates writes the egress log, and nothing else calls what hands over."""
    writers = {
        str(path.relative_to(_CLIENT))
        for path in _CLIENT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("EgressEntry", "deliver")
    }
    assert writers == {"consent/egress.py", "consent/gates.py"}


def test_s57_cr_22_an_export_meets_its_schema(shop: DemoShop, tmp_path: Path) -> None:
    schema = export_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema).is_valid
    with open_device(shop, tmp_path / "p") as device:
        assert valid(json.loads(device.export(tmp_path / "fresh.json").read_text()))
        allow(device, leaving=True)
        live(device)
        device.check_in(idle=True, charging=True, unmetered=True)
        device.participant(_NO_MODEL).enrol(3)
        assert device.knows()  # what waited is on disk
        device.consent.refuse("metrics")
        device.consent.restrict()
        copy = json.loads(device.export(tmp_path / "copy.json").read_text())
    assert copy["problems"] == []
    assert copy["rows"]
    assert copy["left"]
    assert valid(copy)
    for part in schema["required"]:
        assert not valid({name: value for name, value in copy.items() if name != part})
    assert not valid({**copy, "score": 0.9})
    for part in ("rows", "decisions", "receipts", "left"):
        assert not valid({**copy, part: [{**copy[part][0], "score": 0.9}]})


def test_cr_25_with_all_off_every_person_gets_the_same_list_each_time(
    shop: DemoShop, tmp_path: Path
) -> None:
    lists = []
    for name, products in (("one", ("TEA-01",) * 3), ("two", ("BREAD-01",) * 3), ("new", ())):
        with open_device(shop, tmp_path / name, now=lambda: NOW) as device:
            if products:
                allow(device, leaving=True)
                for minute, product in enumerate(products):
                    device.record(event(product, "purchase", user=name, minute=minute))
                assert device.recommend().personalised
                for purpose in ("recommend", "training", "metrics"):
                    device.consent.withdraw(purpose)
            lists += [shown(device.recommend()), shown(device.recommend())]
        with open_device(shop, tmp_path / name, now=lambda: NOW) as device:
            lists.append(shown(device.recommend()))
    assert lists[0][0] == "consent-closed"
    assert all(one == lists[0] for one in lists)
