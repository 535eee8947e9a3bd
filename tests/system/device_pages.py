"""The device page in Chromium, watched: what it asks for, what it is refused, what it says."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from homebody_client.api.profiles import Profile
from homebody_client.api.serve import LocalServer, local_server
from homebody_client.api.tokens import Tokens
from homebody_client.device import Device
from homebody_client.page.render import Page

from .browser_site import ARGUMENTS, CHROMIUM

Browser = Any  # playwright's own types; it may be missing

_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""

CONTRAST = """
() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) =>
    0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = parse(getComputedStyle(at).backgroundColor);
      if (found[3] === 1) return found;
    }
    return [255, 255, 255, 1];
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const [text, element] = [walker.currentNode.data.trim(), walker.currentNode.parentElement];
    if (!text || element.closest("script, .unseen, option")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const [one, two] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) bad.push(`${element.tagName} ${ratio.toFixed(2)} ${text}`);
  }
  return bad;
}
"""
"""Every shown text whose contrast with what lies behind it is below 4.5."""


@contextlib.contextmanager
def served(
    devices: Sequence[tuple[str, Device]], engine: str = "standard"
) -> Iterator[LocalServer]:
    """Serve a page over some devices until the block ends."""
    server = local_server(
        [Profile(label, device) for label, device in devices],
        tokens=Tokens(None),
        page=Page(demonstration=len(devices) > 1),
        port=0,
        engine=engine,
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(10)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's browser, or skip the test where it or Playwright is missing."""
    reason = "playwright is not installed: pip install playwright"
    api = pytest.importorskip("playwright.sync_api", reason=reason)
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page opened at a server's one-time address."""

    def __init__(self, browser: Browser, server: LocalServer, **context: object) -> None:
        """Open the page and wait for its first list."""
        self.server = server
        self.asked: list[str] = []
        self.problems: list[str] = []
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda line: self.problems.append(line.text))
        self.page.add_init_script(_WATCH)
        self.page.goto(server.page_address())
        self.page.wait_for_selector(".card")
        self.page.wait_for_selector(".rights")

    def list(self, at: int = 0) -> list[str]:
        """Return the titles of a device's list, best first."""
        found: list[str] = self.page.locator(f"#list-{at} .card h4").all_text_contents()
        return found

    def settled(self) -> None:
        """Wait until everything that changes has changed."""
        self.page.wait_for_timeout(400)

    def check(self) -> None:
        """Fail if anything but the server was asked, or the policy or the page's code broke."""
        own = self.server.address + "/"
        assert [url for url in self.asked if not url.startswith((own, f"blob:{own}"[:-1]))] == []
        assert self.page.evaluate("window.violations") == []
        assert self.problems == []

    def close(self) -> None:
        """Close the page and what it remembers."""
        self.context.close()
