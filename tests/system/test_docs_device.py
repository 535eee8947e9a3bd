"""docs/device.md names every code, event, kind and surface of the code and no other; it runs."""

import inspect
import re
import shutil
import time
from pathlib import Path
from typing import cast

import pytest

from homebody_client import housekeeping, profile
from homebody_client.api.tokens import install_token
from homebody_client.check_in import Condition, LocalModel
from homebody_client.consent.book import ConsentBook
from homebody_client.consent.gates import Gates
from homebody_client.consent.wire import Leave
from homebody_client.core import CONSENT_CLOSED
from homebody_client.demo.shop import write_shop
from homebody_client.device import Device
from homebody_client.events.parse import AHEAD_S
from homebody_client.events.quality import MOST_VIEWS, SKEW_S, Problem, Screen
from homebody_client.events.rows import ROW_FIELDS
from homebody_client.events.vocabulary import DEVICES, EVENTS, FIELDS, OPTIONAL, REQUIRED
from homebody_client.explain import CODES
from homebody_client.features import KINDS
from homebody_client.keystores import FileKeyStore, KeyringStore, PassphraseKeyStore
from homebody_client.parts import STORE_UNREADABLE
from homebody_client.recommend import NO_HISTORY, NOT_PERSONAL, UNKNOWN_HISTORY
from homebody_client.serving.list_maker import CONTROL_ARM, NO_MODEL, STRENGTH_ZERO
from homebody_client.serving.sensitive import SENSITIVE_TOPICS
from homebody_client.serving.surfaces import SURFACES
from homebody_client.store.batch import BatchWriter
from homebody_models import catalog_columns
from homebody_privacy.environment import STATE

from .docs_blocks import ROOT, first_column, page, run, section, told

PAGE = page("device.md")
EXAMPLES = ROOT / "docs" / "examples"
_REASON = r"(?:NO_\w+|UNKNOWN_\w+|NOT_\w+|\w+_ZERO|\w+_ARM|\w+_CLOSED|STORE_\w+)"
"""Names the client gives to what is said in ``fallback_reason``."""


@pytest.mark.parametrize("number", range(len(told(PAGE))))
def test_every_block_runs_and_prints_what_the_page_shows(number: int, tmp_path: Path) -> None:
    code, shown = told(PAGE)[number]
    assert run(code, tmp_path) == shown or not shown


def test_the_blocks_of_the_page_on_bundles_run(tmp_path: Path) -> None:
    write_shop(tmp_path, now=int(time.time()))
    for code, shown in told(page("bundle.md")):
        shutil.rmtree(tmp_path / "catalog", ignore_errors=True)
        assert run(code, tmp_path) == shown or not shown


def test_the_block_of_the_tutorial_runs(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "runs" / "own", now=int(time.time()))
    shutil.copy(shop.key, tmp_path / "runs")
    shutil.copy(shop.config, tmp_path)
    ((code, shown),) = (block for block in told(page("tutorial.md")) if "Device" in block[0])
    for sku, product in (("SKU-01", "BREAD-01"), ("SKU-07", "TEA-01"), ("SKU-33", "TEA-02")):
        code = code.replace(sku, product)  # the page's run is its reader's own
    said = run(code, tmp_path).splitlines()
    assert len(said) == len(shown.splitlines())
    assert all(" Because you bought " in line or " You bought " in line for line in said[:-1])
    assert said[-1] == "('TEA-01',) 1"


def test_the_fields_of_a_catalog_are_told_and_no_others() -> None:
    catalog = section(page("bundle.md"), "## The catalog")
    columns = vars(catalog_columns)
    known = columns["_FIELDS"] | columns["_OPTIONAL"]
    assert set(first_column(catalog, "field")) == known


def test_the_first_device_has_fifteen_lines() -> None:
    code = [line for line in told(PAGE)[0][0].splitlines() if line.strip()]
    after_imports = [line for line in code if not line.startswith(("import ", "from "))]
    assert len(after_imports) <= 15


def test_every_call_of_a_device_is_told_and_no_other() -> None:
    offers = section(PAGE, "## What it offers")
    rows = [row.split(" | ")[0] for row in offers.splitlines() if row.startswith("| `")]
    told_ones = set(re.findall(r"`(?:Device\.)?(\w+)", " ".join(rows)))
    assert told_ones == {name for name in dir(Device) if not name.startswith("_")}


def test_every_event_is_told_with_its_fields_and_its_weight() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", section(PAGE, "## Events"))
    names = {
        name: (tuple(re.findall(r"`(\w+)`", must)), tuple(re.findall(r"`(\w+)`", may)), weight)
        for name, must, may, weight in rows
    }
    assert names == {
        name: (
            kind.required,
            kind.optional,
            "by its stars" if name == "rating" else _plain(kind.weight),
        )
        for name, kind in EVENTS.items()
    }


def _plain(weight: float) -> str:
    return f"{weight:g}"


def test_fields_of_every_event_and_of_rows_are_told() -> None:
    events = " ".join(section(PAGE, "## Events").split())
    begin = events[events.index("Every event has") : events.index("As JSON Schema")]
    assert set(re.findall(r"`(\w+)`", begin)) == {*REQUIRED, *OPTIONAL}
    kept = section(PAGE, "### What of it is kept")
    made = re.findall(
        r"`(\w+)`", kept[kept.index("made on the device") : kept.index("\n`category`")]
    )
    assert set(made) == ROW_FIELDS - set(FIELDS) - {"event", "timestamp"}
    (devices,) = re.findall(r"(?s)- `device` is one of (.*?)\.", PAGE)
    assert tuple(re.findall(r"`(\w+)`", devices)) == DEVICES


def test_every_code_is_told_and_no_other() -> None:
    assert first_column(PAGE, "reason") == list(CODES)
    assert set(first_column(PAGE, "`fallback_reason`")) == {
        *(CONSENT_CLOSED, STORE_UNREADABLE, NO_MODEL, NO_HISTORY),
        *(UNKNOWN_HISTORY, STRENGTH_ZERO, CONTROL_ARM, NOT_PERSONAL),
    }
    assert first_column(PAGE, "problem") == [problem.value for problem in Problem]
    nothing = Condition(idle=False, charging=False, unmetered=False)
    assert tuple(first_column(PAGE, "code"))[:3] == nothing.missing()


def test_no_list_of_the_client_has_another_fallback_reason() -> None:
    told_ones = set(first_column(PAGE, "`fallback_reason`"))
    found = {
        value
        for file in (ROOT / "client").rglob("*.py")
        for value in re.findall(
            rf'(?m)^{_REASON}: Final = "([a-z]+-[a-z-]+)"', file.read_text("utf-8")
        )
    }
    assert found == told_ones


def test_every_number_is_the_one_of_the_code() -> None:
    text = " ".join(PAGE.split())
    waits = inspect.signature(BatchWriter).parameters
    for words in (
        f"{waits['batch'].default} rows, or what came within {waits['max_delay_s'].default} s",
        f"more than {MOST_VIEWS:,} views in a minute",
        f"among the last {inspect.signature(Screen).parameters['remember'].default:,}",
        f"at most {SURFACES['home'].category_cap} of a category in 10 items",
        f"with weight {SURFACES['home'].mmr}",
    ):
        assert words in text
    assert "refused after two seconds" in text
    assert profile._PATIENCE_S == 2.0  # noqa: SLF001 - the wait of a second process
    assert "every ten minutes" in text
    assert housekeeping.EVERY_S == 600.0
    assert SKEW_S == 300
    assert "more than five minutes after now" in text
    assert AHEAD_S == 86_400
    assert "More than a day ahead" in text


def test_every_kind_place_and_topic_is_told_and_no_other() -> None:
    features = section(PAGE, "## Features")
    assert first_column(features, "kind") == list(KINDS)
    assert first_column(PAGE, "surface") == list(SURFACES)
    stores = (KeyringStore, PassphraseKeyStore, FileKeyStore)
    assert first_column(section(PAGE, "### Keys"), "kind") == [store.kind for store in stores]
    (topics,) = re.findall(r"(?s)item of these topics: (.*?); nor", PAGE)
    assert set(re.findall(r"`([\w-]+)`", topics)) == SENSITIVE_TOPICS


def files_of_a_whole_life(folder: Path) -> set[str]:
    """Return the names of all files a device leaves, models and catalogs aside."""
    home, shop = folder / "profile", write_shop(folder / "shop", now=int(time.time()))
    nothing = cast("LocalModel", None)
    with Device.open(home, config=shop.config, trusted_key=shop.key) as device:
        device.consent.grant("recommend", features=["purchases"])
        device.features()
        device.participant(nothing).joins().close()
        install_token(home)
        book = device.consent
        assert isinstance(book, ConsentBook)
        notice = Leave(purpose="training", tag="0" * 32, signature=bytes(64))
        Gates(book, device.egress).leave(notice, deliver=lambda _: None)
    (home / "receipts.jsonl").write_text("")  # cut: it is set aside at the next yes
    with Device.open(home, config=shop.config) as device:
        device.consent.grant("recommend", features=["purchases"])
    kept = [*home.glob("*"), *(folder / "state").rglob("*")]
    return {file.name for file in kept if file.is_file()}


def test_every_file_a_device_leaves_is_told_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE, str(tmp_path / "state"))
    stored = section(PAGE, "## What is stored, and until when")
    told_ones = set(re.findall(r"`([a-z]+(?:\.[a-zN-]+)+|lock)`", stored))
    shipped = {"privacy.toml", "publisher.pub"}
    found = {re.sub(r"broken-\d+", "broken-N", name) for name in files_of_a_whole_life(tmp_path)}
    assert found == told_ones - shipped - {"kek.sealed"}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the example app said, and the folder it left behind."""
    folder = tmp_path_factory.mktemp("app")
    return run((EXAMPLES / "python_app.py").read_text("utf-8"), folder), folder


def test_the_app_lives_its_short_life_in_less_than_sixty_lines(lived: tuple[str, Path]) -> None:
    source = (EXAMPLES / "python_app.py").read_text("utf-8")
    assert len(source.splitlines()) < 60
    said, _ = lived
    assert "Why TEA-02: Because you bought Earl Grey tea\n" in said
    before, _, after = said.partition("After the yes was taken back")
    assert before.startswith("Before anything was allowed (consent-closed)")
    assert "After a yes and two purchases (personal)" in before
    assert after.startswith(" (consent-closed)")
    assert "Because" not in after
    assert after.endswith("Rows kept: 0\nReceipts kept as proof: 2\n")


def test_the_app_of_the_examples_leaves_no_plain_text_but_its_export(
    lived: tuple[str, Path],
) -> None:
    _, folder = lived
    kept = [*(folder / "profile").glob("*"), *(folder / "state").rglob("*")]
    assert all(b"12345" not in file.read_bytes() for file in kept if file.is_file())
    assert b"TEA-01" in (folder / "mine.json").read_bytes()
