"""The page of the browser tests: the client's module over a folder, in headless Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.models.bundle_forge import NOW, PUBLISHER

from .browser_site import ARGUMENTS, CHROMIUM, Site, serving

playwright: Any = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)

SCRIPT: Final = Path(__file__).parents[2] / "client" / "homebody_client" / "browser" / "homebody.js"

_APP = """
import { BundleError, openBundle } from "/homebody.js";
const get = (name) => fetch(`/model.hbm/${encodeURIComponent(name)}`, { redirect: "error" });
let model;
window.open_ = async (trust) => {
  try {
    model = await openBundle(get, trust);
    return { state: model.state, stale: model.stale };
  } catch (error) {
    return { step: error instanceof BundleError ? error.step : null, message: error.message };
  }
};
window.lists = (jobs) => jobs.map(({ history, options }) => model.recommend(history, options));
window.reasons = (jobs) =>
  jobs.map(({ ids, history, options }) => model.why(ids, history, options));
window.failure = (history, options) => {
  try {
    model.recommend(history, options);
    return null;
  } catch (error) {
    return error.message;
  }
};
"""


class Page:
    """The page of the tests: a bundle's folder, opened in Chromium."""

    def __init__(self, site: Site, page: Any) -> None:  # noqa: ANN401 playwright may be missing
        """Open the page."""
        self.site, self.page, self.browser = site, page, page.context.browser
        self.origins: set[str] = set()
        self.problems: list[str] = []
        page.on("request", lambda request: self.origins.add(request.url.rpartition("/")[0]))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda line: self.problems.append(line.text))
        page.goto(f"{site.address}/")

    def open(self, folder: Path, **trust: Any) -> dict[str, Any]:  # noqa: ANN401 JSON
        """Open a bundle; return its state, or the step of the refusal."""
        self.site.folders["/model.hbm/"] = folder
        self.site.asked.clear()
        given = {"trusted": [PUBLISHER.public.hex()], "now": NOW} | trust
        answer: dict[str, Any] = self.call("open_", given)
        return answer

    def call(self, function: str, *arguments: Any) -> Any:  # noqa: ANN401 JSON
        """Call a function of the page."""
        return self.page.evaluate(f"(given) => window.{function}(...given)", list(arguments))


@contextmanager
def client_page() -> Iterator[Page]:
    """Open the page, or skip the tests where there is no browser."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    site = Site()
    site.files = {
        "/": b'<!doctype html><title>t</title><script type="module" src="/app.js"></script>',
        "/app.js": _APP.encode(),
        "/homebody.js": SCRIPT.read_bytes(),
        "/favicon.ico": b"",
    }
    with serving(site), playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield Page(site, browser.new_page())
        finally:
            browser.close()
