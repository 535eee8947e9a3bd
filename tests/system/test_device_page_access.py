"""The device page for everyone: by keyboard, read aloud, on a phone, in the dark, on paper."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from homebody_client.consent.egress import EgressEntry
from homebody_client.page.render import LIST
from tests.client.api_home import NOW, SEED_EVENT, allow, shop_device

from .device_pages import CONTRAST, Browser, Watched, chromium, served

PHONE = {"viewport": {"width": 360, "height": 800}}
_UPDATE = EgressEntry(
    time=NOW, kind="update", purpose="training", bytes=12_345, summary="An update."
)
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def still(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Return a page over a device that allowed, kept and sent something; only looked at."""
    with shop_device(tmp_path_factory.mktemp("still")) as device:
        allow(device)
        device.record(SEED_EVENT)
        device.egress.append(_UPDATE)
        with served([("This phone", device)]) as server:
            watched = Watched(browser, server, reduced_motion="reduce", **DESKTOP)
            watched.page.wait_for_selector("text=Because you")
            watched.settled()
            yield watched
            watched.check()
            watched.close()


def tab_through(page: Browser) -> list[dict[str, Any]]:
    """Press Tab until the focus has gone round; return what it met."""
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    met: list[dict[str, Any]] = []
    for _ in range(400):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              const e = document.activeElement, s = getComputedStyle(e);
              const label = e.labels?.[0]?.textContent ?? "";
              const by = (e.getAttribute("aria-labelledby") ?? "").split(" ")
                .map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
              return { tag: e.tagName, id: e.id, name: (by || label || e.textContent).trim(),
                outline: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 };
            }"""
        )
        if found["tag"] in {"BODY", "HTML"} or (
            met and found["id"] and found["id"] == met[0]["id"]
        ):
            break
        met.append(found)
    return met


def test_every_control_is_reached_by_tab_with_a_name_and_a_visible_focus(still: Watched) -> None:
    met = tab_through(still.page)
    assert [one for one in met if not one["name"] or not one["outline"]] == []
    controls = still.page.evaluate(
        """[...document.querySelectorAll("button, select, input, summary")]
          .filter((e) => e.checkVisibility()).length"""
    )
    lists = sum(one["tag"] == "UL" for one in met)
    assert len(met) - lists == controls
    names = [one["name"] for one in met if one["tag"] == "BUTTON" and one["id"].startswith("less")]
    assert len(set(names)) == len(names) == LIST  # "Not this" says what


def test_consent_is_given_by_keyboard_and_the_focus_stays(browser: Browser, tmp_path: Path) -> None:
    with shop_device(tmp_path) as device, served([("Phone", device)]) as server:
        shown = Watched(browser, server, **DESKTOP)
        for _ in range(100):
            shown.page.keyboard.press("Tab")
            if shown.page.evaluate("document.activeElement.id") == "yes-0-recommend-purchases":
                break
        shown.page.keyboard.press("Enter")
        shown.page.wait_for_selector("#yes-0-recommend-purchases[aria-pressed=true]")
        shown.settled()
        assert shown.page.evaluate("document.activeElement.id") == "yes-0-recommend-purchases"
        shown.page.keyboard.press("Tab")
        shown.page.keyboard.press("Space")
        shown.page.wait_for_selector("#no-0-recommend-purchases[aria-pressed=true]")
        assert not device.consent.decision("recommend").holds
        shown.check()
        shown.close()


def test_structure_is_sound_for_screen_readers(still: Watched) -> None:
    facts = still.page.evaluate(
        """() => {
          const all = (s) => [...document.querySelectorAll(s)].filter((e) => e.checkVisibility());
          const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
          const refs = [...document.querySelectorAll("[aria-labelledby], [aria-describedby]")]
            .flatMap((e) => `${e.getAttribute("aria-labelledby") ?? ""} ${
              e.getAttribute("aria-describedby") ?? ""}`.split(" ")).filter(Boolean);
          return {
            doubled: ids.filter((id, at) => ids.indexOf(id) !== at),
            dangling: refs.filter((id) => !document.getElementById(id)),
            levels: all("h1, h2, h3, h4").map((e) => Number(e.tagName[1])),
            unlabelled: all("input, select").filter((e) => !e.labels?.length).map((e) => e.id),
            lang: document.documentElement.lang, mains: all("main").length,
            live: document.querySelectorAll("[role=status][aria-live=polite]").length,
            alerts: document.querySelectorAll("[role=alert]").length,
            groups: all("[role=group]").every((e) => e.getAttribute("aria-labelledby")),
          };
        }"""
    )
    levels = facts.pop("levels")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert facts == {
        "doubled": [],
        "dangling": [],
        "unlabelled": [],
        "lang": "en",
        "mains": 1,
        "live": 1,
        "alerts": 2,
        "groups": True,
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_every_text_is_at_least_4_5(still: Watched, scheme: str) -> None:
    still.page.emulate_media(color_scheme=scheme)
    still.page.evaluate("document.getElementById('problem').hidden = false")
    still.page.evaluate("document.getElementById('problem').textContent = 'A complaint.'")
    assert still.page.evaluate(CONTRAST) == []


def test_phone_width_needs_no_sideways_scroll_and_targets_fit_a_thumb(
    browser: Browser, tmp_path: Path
) -> None:
    with shop_device(tmp_path) as device, served([("Phone", device)]) as server:
        allow(device)
        device.record(SEED_EVENT)
        watched = Watched(browser, server, has_touch=True, is_mobile=True, **PHONE)
        watched.page.wait_for_selector("text=Because you")
        watched.settled()
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 360
        clipped = watched.page.evaluate(
            """[...document.querySelectorAll("main *")].filter((e) => e.checkVisibility()
              && !e.closest(".unseen, .rows") && e.getBoundingClientRect().right > 361).length"""
        )
        assert clipped == 0
        small = watched.page.evaluate(
            """[...document.querySelectorAll("button, select")].filter((e) => e.checkVisibility()
              && (e.getBoundingClientRect().height < 36 || e.getBoundingClientRect().width < 36))
              .map((e) => e.id)"""
        )
        assert small == []
        sizes = watched.page.evaluate(
            """[...document.querySelectorAll("p, dd, h4, button")]
              .filter((e) => e.checkVisibility())
              .map((e) => parseFloat(getComputedStyle(e).fontSize))"""
        )
        assert min(sizes) >= 12.8
        watched.check()
        watched.close()


def test_print_shows_the_words_and_no_buttons(still: Watched) -> None:
    still.page.emulate_media(media="print")
    assert still.page.locator("button:visible").count() == 0
    assert still.page.locator("#knows-title-0").is_visible()
    still.page.emulate_media(media="screen")
