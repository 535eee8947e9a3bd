"""CR-43: the pack as a person opens it, offline in headless Chromium, and as it prints."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from homebody_privacy.errors import DependencyError
from homebody_server.evidence.pdf import print_pack

from .browser_site import CHROMIUM
from .device_pages import CONTRAST, Browser, chromium
from .evidence_world import copied, finished, opened, packed

PHONE = {"width": 360, "height": 800}
DESKTOP = {"width": 1280, "height": 900}
PRINTABLE = {"width": 688, "height": 1005}
"""A4 less its margins, in CSS pixels."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("project") / "project")


@pytest.fixture(scope="module")
def pack(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(run, tmp_path_factory.mktemp("pack") / "evidence")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_cr_43_a_pack_opens_offline_and_is_readable(
    browser: Browser, pack: Path, size: dict[str, int], scheme: str
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
    page = context.new_page()
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: problems.append(line.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    for name in ("index.html", "ledger.html"):
        page.goto((pack / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
        assert page.evaluate(CONTRAST) == [], name
    assert asked == [(pack / name).as_uri() for name in ("index.html", "ledger.html")]
    assert problems == []
    context.close()


def test_cr_43_the_first_page_is_one_page_of_paper_and_no_table_is_cut(
    browser: Browser, pack: Path
) -> None:
    page = browser.new_page(viewport=PRINTABLE)
    page.goto((pack / "index.html").as_uri())
    page.emulate_media(media="print")
    face = page.evaluate("document.getElementById('face').getBoundingClientRect().height")
    assert face <= PRINTABLE["height"]
    cut = page.evaluate(
        """() => [...document.querySelectorAll("table, pre, svg")]
          .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 ||
            one.scrollWidth > one.clientWidth + 1 && one.tagName === "PRE")
          .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert cut == []
    paper = page.pdf(prefer_css_page_size=True, print_background=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", paper))
    assert 8 <= pages <= 30
    page.close()


@pytest.mark.slow  # a browser of its own
def test_a_pdf_lies_beside_the_pack_and_not_in_it(pack: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(pack, tmp_path / "evidence"))
    if CHROMIUM is None:
        with pytest.raises(DependencyError, match="WeasyPrint"):
            print_pack(own)
        return
    printed = print_pack(own)
    assert printed == tmp_path / "evidence.pdf"
    assert printed.read_bytes().startswith(b"%PDF-")
    assert sorted(p.name for p in own.iterdir()) == sorted(p.name for p in pack.iterdir())


def test_a_stamp_is_on_the_screen_and_on_every_sheet(
    browser: Browser, run: Path, tmp_path: Path
) -> None:
    own = copied(run, tmp_path)
    ledger = own / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"releases":1', b'"releases":2', 1))
    assert not opened(own).is_verified
    pack = packed(own, tmp_path / "evidence")
    page = browser.new_page(viewport=DESKTOP)
    page.goto((pack / "index.html").as_uri())
    assert page.locator(".stamp").first.is_visible()
    page.emulate_media(media="print")
    style = page.evaluate("getComputedStyle(document.querySelector('.watermark')).position")
    assert style == "fixed"  # what is fixed is repeated on every sheet
    page.close()
