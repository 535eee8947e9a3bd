"""The device page as a person meets it, in headless Chromium over a real device and server."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from homebody_client.api.serve import LocalServer
from homebody_client.consent.egress import EgressEntry
from homebody_client.device import Device
from tests.client.api_home import NOW, SEED_EVENT, allow, seed_event, shop_device

from .device_pages import Browser, Watched, chromium, served

PHONE = {"viewport": {"width": 360, "height": 800}}
_UPDATE = EgressEntry(
    time=NOW, kind="update", purpose="training", bytes=12_345, summary="An update."
)
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with shop_device(tmp_path) as found:
        yield found


@pytest.fixture
def server(device: Device) -> Iterator[LocalServer]:
    with served([("This phone", device)]) as found:
        yield found


@pytest.fixture
def shown(browser: Browser, server: LocalServer) -> Iterator[Watched]:
    """Return a watched page; whatever a test did, it asked nobody else and broke no policy."""
    watched = Watched(browser, server, **DESKTOP)
    yield watched
    watched.check()
    watched.close()


# Milliseconds from a click to the moment the list is another one, measured inside the page.
_CLICK_TO_CHANGE = """
([selector, part]) => new Promise((done) => {
  const list = document.querySelector(part);
  const said = () => list.querySelector(".state").textContent +
    [...list.querySelectorAll(".card")].map((card) => card.id).join();
  const before = said();
  const watcher = new MutationObserver(() => {
    if (!list.querySelector(".state") || said() === before) return;
    watcher.disconnect();
    done(performance.now() - started);
  });
  watcher.observe(list, { childList: true, subtree: true });
  const started = performance.now();
  document.querySelector(selector).click();
})
"""


def test_s43_consent_toggle_changes_the_carousel_within_500_ms_without_reload(
    device: Device, shown: Watched
) -> None:
    shown.page.evaluate("window.sameDocument = true")
    assert shown.page.locator("#list-0 h3").text_content() == "For everybody"
    on = shown.page.evaluate(_CLICK_TO_CHANGE, ["#yes-0-recommend-purchases", "#list-0"])
    device.record(SEED_EVENT)
    shown.page.wait_for_selector("text=Sourdough loaf >> nth=0")
    # A function: the page's policy lets no text be evaluated, which a text would be on each look.
    shown.page.wait_for_function(
        "() => document.querySelector('#list-0 h3').textContent === 'For you'"
    )
    personal = shown.list()
    shown.settled()
    off = shown.page.evaluate(_CLICK_TO_CHANGE, ["#no-0-recommend-purchases", "#list-0"])
    shown.settled()
    assert shown.list() != personal
    assert shown.page.locator("#list-0 h3").text_content() == "For everybody"
    assert shown.page.evaluate("window.sameDocument") is True
    assert max(on, off) <= 500, f"{on:.0f} ms on, {off:.0f} ms off"


def test_events_from_elsewhere_re_rank_the_list_live(device: Device, shown: Watched) -> None:
    allow(device)
    device.record(SEED_EVENT)
    shown.page.wait_for_selector("text=Because you")
    before = shown.list()
    device.record(seed_event(product_id="TEA-01", event="purchase"))
    device.record(seed_event(product_id="TEA-02", event="purchase"))
    started = time.monotonic()
    shown.page.wait_for_function(
        "(before) => document.querySelector('#list-0 h4').textContent !== before", arg=before[0]
    )
    assert time.monotonic() - started < 2
    assert "The list changed. First:" in (shown.page.locator("#said-0").text_content() or "")


def test_cn_25_cr_12_no_takes_as_many_clicks_as_yes_and_is_as_large(
    device: Device, shown: Watched
) -> None:
    device.consent.set_age_band("18_plus")
    shown.settled()
    clicks = {"yes": 0, "no": 0}

    def press(answer: str, switch: str, *, until: str) -> None:
        shown.page.click(f"#{answer}-0-{switch}")
        clicks[answer] += 1
        shown.page.wait_for_selector(f"#{answer}-0-{switch}[aria-pressed={until}]")

    switches = ("recommend-purchases", "recommend-tastes", "training-purchases")
    for switch in switches:
        press("yes", switch, until="true")
    for switch in reversed(switches):
        press("no", switch, until="true")
    assert clicks["no"] == clicks["yes"] == len(switches)
    shown.page.mouse.move(0, 0)
    shown.settled()
    for switch in switches:
        boxes = [
            shown.page.locator(f"#{answer}-0-{switch}").bounding_box() for answer in ("yes", "no")
        ]
        assert boxes[0]["width"] == pytest.approx(boxes[1]["width"], abs=1)
        assert boxes[0]["height"] == pytest.approx(boxes[1]["height"], abs=1)
        assert boxes[0]["y"] == boxes[1]["y"]
        styles = [
            shown.page.locator(f"#{answer}-0-{switch}").evaluate(
                "(e) => { e.setAttribute('aria-pressed', 'false'); const s = getComputedStyle(e);"
                " return [s.color, s.backgroundColor, s.borderColor, s.fontSize, s.fontWeight]; }"
            )
            for answer in ("yes", "no")
        ]
        assert styles[0] == styles[1]


def test_refused_yes_says_why_and_changes_nothing(device: Device, shown: Watched) -> None:
    shown.page.click("#yes-0-training-purchases")
    shown.page.wait_for_selector("#problem:not([hidden])")
    assert "age" in (shown.page.locator("#problem").text_content() or "")
    assert shown.page.locator("#yes-0-training-purchases").get_attribute("aria-pressed") == "false"
    shown.page.select_option("#age-0", "18_plus")
    shown.page.wait_for_selector("#age-0", state="detached")
    shown.page.click("#yes-0-recommend-purchases")
    shown.page.wait_for_selector("#yes-0-recommend-purchases[aria-pressed=true]")
    shown.page.click("#yes-0-training-purchases")
    shown.page.wait_for_selector("#yes-0-training-purchases[aria-pressed=true]")
    assert device.consent.decision("training").holds
    assert all("409" in problem for problem in shown.problems)
    shown.problems.clear()  # the browser's own note of the refusal


def test_s65_cause_of_a_reason_is_removed_where_it_is_shown(device: Device, shown: Watched) -> None:
    allow(device)
    device.record(SEED_EVENT)
    shown.page.wait_for_selector("text=Because you")
    shown.page.locator(".card summary").first.click()
    shown.page.locator(".card button", has_text="Forget Sourdough loaf").first.click()
    shown.page.wait_for_selector("text=Because you", state="detached")
    assert device.knows() == []
    assert shown.page.evaluate("document.activeElement.id") == "list-title-0"


def test_not_this_takes_an_item_from_the_top(device: Device, shown: Watched) -> None:
    allow(device)
    device.record(SEED_EVENT)
    shown.page.wait_for_selector("text=Because you")
    shown.settled()
    first = shown.list()[0]
    shown.page.locator(".card .acts button", has_text="Not this").first.click()
    shown.page.wait_for_function(
        "(first) => document.querySelector('#list-0 h4').textContent !== first", arg=first
    )
    assert shown.list()[0] != first


def test_row_is_corrected_and_deleted_in_place(device: Device, shown: Watched) -> None:
    allow(device)
    device.record(SEED_EVENT)
    row = device.knows()[0].row
    shown.page.click(f"#correct-0-{row} summary")
    shown.page.fill(f"#correct-0-{row} input[name='values.hour']", "3")
    shown.page.click(f"#correct-0-{row} button")
    shown.page.wait_for_selector(f"#correct-0-{row}:not([open])")
    shown.settled()
    assert device.knows()[0].values["hour"] == 3
    shown.page.click(f"#delete-0-{row}")
    shown.page.wait_for_selector(f"#delete-0-{row}", state="detached")
    assert device.knows() == []


def test_strength_slider_works_from_the_keyboard(device: Device, shown: Watched) -> None:
    shown.page.focus("#strength-0")
    shown.page.keyboard.press("Home")
    shown.page.wait_for_function("() => document.querySelector('.strength output').value === '0'")
    shown.settled()
    assert device.strength == 0
    assert shown.page.evaluate("document.activeElement.id") == "strength-0"


def test_pause_stops_everything_and_is_lifted_by_the_same_button(
    device: Device, shown: Watched
) -> None:
    allow(device)
    shown.page.click("#pause-0")
    shown.page.wait_for_selector("text=Paused: nothing is collected, used or sent.")
    assert device.consent.restricted
    assert device.record(SEED_EVENT) is False
    shown.page.click("#pause-0")
    shown.page.wait_for_selector("#pause-0[aria-pressed=false]")
    assert not device.consent.restricted


def test_erase_asks_once_and_empties_the_device(device: Device, shown: Watched) -> None:
    allow(device)
    device.record(SEED_EVENT)
    shown.page.wait_for_selector("text=Because you")
    shown.page.click("#erase-0")
    shown.page.wait_for_selector("dialog[open]")
    assert "Receipts of your choices stay" in (shown.page.locator("#ask-text").text_content() or "")
    device.record({**SEED_EVENT, "timestamp": "2025-07-01T09:00:00Z"})  # the part is made anew
    shown.page.wait_for_selector("#knows-0 .rows li:nth-child(2)")
    shown.page.keyboard.press("Escape")
    assert len(device.knows()) == 2
    shown.page.wait_for_function("() => document.activeElement.id === 'erase-0'")
    shown.page.click("#erase-0")
    shown.page.click("#ask-yes")
    shown.page.wait_for_selector("#knows-0 >> text=Nothing. It keeps only what you allow.")
    assert device.knows() == []
    assert shown.page.locator("#consent-0 [aria-pressed=true]", has_text="Yes").count() == 0
    assert shown.page.locator("#list-0 h3").text_content() == "For everybody"


def test_export_is_saved_as_a_file(device: Device, shown: Watched, tmp_path: Path) -> None:
    allow(device)
    device.record(SEED_EVENT)
    with shown.page.expect_download() as download:
        shown.page.click("#export-0")
    download.value.save_as(tmp_path / "mine.json")
    assert "BREAD-01" in json.dumps(json.loads((tmp_path / "mine.json").read_bytes()))


def test_what_left_is_listed(device: Device, shown: Watched) -> None:
    device.egress.append(_UPDATE)
    device.strength = 90  # any change
    shown.page.wait_for_selector("#left-0 >> text=An update.")
    assert "12 kB" in (shown.page.locator("#left-0").text_content() or "")


def test_token_is_kept_in_memory_alone(shown: Watched, server: LocalServer) -> None:
    assert shown.page.url == f"{server.address}/"
    kept = shown.page.evaluate("[{...localStorage}, {...sessionStorage}, document.cookie]")
    assert kept == [{}, {"htmx-current-path-for-history": "/"}, ""]
    assert shown.context.cookies() == []
    assert all("#" not in url and "token=" not in url for url in shown.asked[1:])
    shown.page.reload()
    shown.page.wait_for_selector("#closed:not([hidden])")
    assert shown.page.locator("#main").is_hidden()
    assert shown.page.locator(".card").count() == 0


def test_address_opens_the_page_once(browser: Browser, server: LocalServer) -> None:
    address = server.page_address()
    first, second = browser.new_page(), browser.new_page()
    first.goto(address)
    first.wait_for_selector(".card")
    second.goto(address)
    second.wait_for_selector("#closed:not([hidden])")
    first.close()
    second.close()


def test_page_of_another_origin_gets_nothing(browser: Browser, server: LocalServer) -> None:
    page = browser.new_page()
    page.goto("about:blank")
    failed = page.evaluate(
        "(url) => fetch(url).then((r) => r.status, () => 'blocked')", f"{server.address}/model"
    )
    assert failed == "blocked"
    page.close()


def test_three_devices_side_by_side_change_one_at_a_time(browser: Browser, tmp_path: Path) -> None:
    with (
        shop_device(tmp_path / "a") as ann,
        shop_device(tmp_path / "b") as ben,
        shop_device(tmp_path / "c") as cleo,
        served([("Ann", ann), ("Ben", ben), ("Cleo", cleo)]) as server,
    ):
        watched = Watched(browser, server, viewport={"width": 1440, "height": 900})
        watched.page.wait_for_selector("#about-2 .rights")
        tops = [watched.page.locator(f"#name-{at}").bounding_box()["y"] for at in range(3)]
        assert len(set(tops)) == 1  # beside each other
        before = [watched.list(at) for at in range(3)]
        watched.page.click("#yes-1-recommend-purchases")
        watched.page.wait_for_selector("#yes-1-recommend-purchases[aria-pressed=true]")
        ben.record(SEED_EVENT)
        watched.page.wait_for_selector("#list-1 >> text=Because you")
        watched.settled()
        after = [watched.list(at) for at in range(3)]
        assert after[1] != before[1]
        assert (after[0], after[2]) == (before[0], before[2])
        assert (ann.knows(), cleo.knows()) == ([], [])
        watched.check()
        watched.close()


def test_page_works_over_fastapi_too(browser: Browser, device: Device) -> None:
    with served([("This phone", device)], engine="fastapi") as server:
        watched = Watched(browser, server, **DESKTOP)
        watched.page.click("#yes-0-recommend-purchases")
        watched.page.wait_for_selector("#yes-0-recommend-purchases[aria-pressed=true]")
        watched.check()
        watched.close()
