"""The browser client in a real Chromium gives Python's lists and reasons, and asks for little.

The page has a content security policy of ``default-src 'self'`` alone.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homebody_client.bundles import open_model, trust_key
from homebody_models.bundle import ModelBundle, write_bundle
from homebody_models.ranking import HIDE
from homebody_models.recommender import Exported
from homebody_simulation.simulate import SimulatedRun
from tests.models.bundle_forge import FACTS, NOW, PUBLISHER, Forge, forge_at

from .browser_page import SCRIPT, Page, client_page
from .browser_site import Site, serving

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "browser"

_MOST_BYTES = 12 * 1024
_HISTORIES = 64  # for each encoder


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with client_page() as opened:
        yield opened


_NUMBERS: dict[str, dict[str, Any]] = {
    "none": {},
    "mean": {},
    "mean-repeat": {"repeat": 2.0},
    "ridge": {"ridge": 0.1, "unseen_weight": 0.1},
}
_SHAPES = {"small": (7, 3), "usual": (700, 32), "movies": (3_706, 64)}


def _publish(folder: Path, encoder: str, items: int, dim: int) -> ModelBundle:
    """Write a bundle of random rows; a tenth of the items are cold and tie."""
    rng = np.random.default_rng(items)
    dim = 0 if encoder == "none" else dim
    table = rng.standard_normal((items, dim), np.float32) / np.float32(max(dim, 1) ** 0.5)
    bias = np.float32(0.1) * rng.standard_normal(items, np.float32)
    cold = rng.random(items) < 0.1
    table[cold], bias[cold] = 0.0, 0.05
    if encoder == "none":
        bias = bias.round(1)  # everything ties with something
    exported = Exported(
        encoder=encoder,
        embeddings=table,
        bias=bias,
        history_max=20,
        history_decay=0.9,
        **_NUMBERS[encoder],
    )
    ids = [f"SKU-{i}" for i in range(items)]
    write_bundle(folder, exported, item_ids=ids, facts=FACTS, sign=PUBLISHER.sign)
    return Forge(folder).open()


def _jobs(items: int) -> list[dict[str, Any]]:
    """Return histories with repeats and unknown ids, and options of every kind."""
    rng = np.random.default_rng(9)
    jobs: list[dict[str, Any]] = []
    for number in range(_HISTORIES):
        length = [0, 1, 3, 20, 70][number % 5]
        drawn = rng.integers(0, min(items, 40) if number % 2 else items, length)
        history = [f"SKU-{i}" for i in drawn]
        if number % 3 == 0:
            history.insert(length // 2, "not of this catalog")
        options: dict[str, Any] = {"n": int(rng.integers(1, 15))}
        if number % 4 == 1:
            options["strength"] = int(rng.integers(0, 101))
        if number % 4 == 2:
            options["hideSeen"] = True
        if number % 4 == 3:
            some = rng.choice(items, min(items - 1, 20), replace=False)
            options["adjust"] = {
                f"SKU-{i}": HIDE if i % 2 else float(np.float32(rng.normal())) for i in some
            }
        jobs.append({"history": history, "options": options})
    return jobs


def _python_list(
    bundle: ModelBundle, history: list[str], options: dict[str, Any]
) -> list[tuple[str, float]]:
    """Return the list by the Python client's contract."""
    known = [bundle.index[name] for name in history if name in bundle.index]
    adjust = np.zeros(len(bundle.ranker), np.float32)
    for name, value in options.get("adjust", {}).items():
        adjust[bundle.index[name]] = value
    n, gain = options["n"], options.get("strength", 100) / 100
    if not options.get("hideSeen"):
        top = bundle.ranker.top(known, n, adjust=adjust, gain=gain)
    else:
        seen = np.isin(np.arange(len(adjust)), known)
        unseen_only = np.where(seen, np.float32(HIDE), adjust)
        top = bundle.ranker.top(known, n, adjust=unseen_only, gain=gain)
        seen_only = np.where(seen, adjust, np.float32(HIDE))
        top += bundle.ranker.top(known, n - len(top), adjust=seen_only, gain=gain)
    return [(bundle.item_ids[item], score) for item, score in top]


@pytest.mark.parametrize("encoder", _NUMBERS)
@pytest.mark.parametrize("shape", _SHAPES)
def test_lists_are_python_lists_and_scores_agree_to_1e_5(
    tmp_path: Path, page: Page, encoder: str, shape: str
) -> None:
    items, dim = _SHAPES[shape]
    bundle = _publish(tmp_path / "model.hbm", encoder, items, dim)
    assert "state" in page.open(tmp_path / "model.hbm")
    jobs = _jobs(items)
    for job, got in zip(jobs, page.call("lists", jobs), strict=True):
        wanted = _python_list(bundle, job["history"], job["options"])
        assert [entry["product_id"] for entry in got] == [name for name, _ in wanted]
        scores = [entry["score"] for entry in got]
        assert scores == pytest.approx([score for _, score in wanted], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("encoder", _NUMBERS)
def test_reasons_are_pythons_leave_one_out(tmp_path: Path, page: Page, encoder: str) -> None:
    bundle = _publish(tmp_path / "model.hbm", encoder, *_SHAPES["usual"])
    assert "state" in page.open(tmp_path / "model.hbm")
    jobs = []
    for job in _jobs(700)[:30]:
        ids = [name for name, _ in _python_list(bundle, job["history"], {"n": 3})]
        options = {"strength": job["options"].get("strength", 100)}
        jobs.append({"ids": ids, "history": job["history"], "options": options})
    for job, answers in zip(jobs, page.call("reasons", jobs), strict=True):
        known = [bundle.index[name] for name in job["history"] if name in bundle.index]
        items = [bundle.index[name] for name in job["ids"]]
        wanted = bundle.ranker.reasons(known, items, gain=job["options"]["strength"] / 100)
        for causes, got in zip(wanted, answers, strict=True):
            assert [cause["product_id"] for cause in got] == [bundle.item_ids[i] for i, _ in causes]
            drops = [cause["drop"] for cause in got]
            assert drops == pytest.approx([drop for _, drop in causes], rel=1e-5, abs=1e-5)


def test_a_trained_bundle_ranks_alike(page: Page, tiny_run: SimulatedRun) -> None:
    key = tiny_run.trusted_key.read_bytes()
    trust = trust_key(key)
    now = 1 + int(tiny_run.bundle.stat().st_mtime)
    bundle = open_model(tiny_run.bundle, trust, now=now)
    answer = page.open(tiny_run.bundle, trusted=[key.hex()], now=now)
    assert answer["state"]["digest"] == bundle.digest
    history = [bundle.item_ids[i] for i in (3, 1, 3)]
    got = page.call("lists", [{"history": history, "options": {"n": 8}}])[0]
    wanted = _python_list(bundle, history, {"n": 8})
    assert [entry["product_id"] for entry in got] == [name for name, _ in wanted]


@pytest.mark.parametrize(
    "options",
    [
        {"n": 0},
        {"n": 2.5},
        {"n": "3"},
        {"strength": 101},
        {"strength": -1},
        {"strength": "x"},
        {"adjust": {"SKU-1": "x"}},
        {"adjust": {"SKU-1": 1e39}},
    ],
    ids=str,
)
def test_options_that_would_spoil_a_list_are_refused(
    tmp_path: Path, page: Page, options: dict[str, Any]
) -> None:
    assert "state" in page.open(forge_at(tmp_path / "model.hbm").folder)
    assert page.call("failure", ["SKU-1"], options) is not None
    assert page.call("failure", ["SKU-1"], {}) is None


def test_the_module_is_at_most_12_kilobytes_and_stands_alone() -> None:
    text = SCRIPT.read_text("utf-8")
    assert len(text.encode()) <= _MOST_BYTES
    code = re.sub(r"//.*|/\*[\s\S]*?\*/", "", text)
    assert not re.search(
        r"\b(eval|Function|import|require|fetch|document|localStorage)\b\s*\(", code
    )
    assert "import " not in code


def test_no_request_leaves_the_site_and_no_policy_is_broken(page: Page) -> None:
    assert {origin[: len(page.site.address)] for origin in page.origins} == {page.site.address}
    assert page.problems == []
    page.page.evaluate("fetch('http://localhost:9/').catch(() => null)")
    assert any("Content Security Policy" in problem for problem in page.problems)  # it is in force


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the example page of the docs, with a model and the publisher's key filled in."""
    folder = tmp_path_factory.mktemp("example") / "site"
    shutil.copytree(EXAMPLE, folder)
    shutil.copy(SCRIPT, folder)
    _publish(folder / "model.hbm", "mean", *_SHAPES["usual"])
    text = (folder / "publisher.js").read_text("utf-8")
    text = text.replace("replace-with-64-hex-digits", PUBLISHER.public.hex())
    # The page reads the real clock; the made-up bundle is valid at another time.
    text += f"Date.now = () => {NOW} * 1000;\n"
    (folder / "publisher.js").write_text(text, "utf-8")
    return folder


def test_the_example_page_ranks_learns_and_forgets(example: Path, page: Page) -> None:
    site = Site()
    site.folders = {"/": example, "/model.hbm/": example / "model.hbm"}
    site.files = {"/favicon.ico": b"", "/": (example / "index.html").read_bytes()}
    bundle = Forge(example / "model.hbm").open()
    with serving(site), page.browser.new_page() as shown:
        problems: list[str] = []
        shown.on("pageerror", lambda error: problems.append(str(error)))
        shown.on("console", lambda line: problems.append(line.text))
        shown.goto(f"{site.address}/")
        rows = shown.locator("#list li")
        rows.first.wait_for()
        first = _python_list(bundle, [], {"n": 10})
        assert [text.split()[0] for text in rows.all_inner_texts()] == [name for name, _ in first]
        assert all("popular" in text for text in rows.all_inner_texts())
        chosen = first[0][0]
        rows.first.get_by_role("button").click()
        shown.reload()  # the history is kept, and so is the state of the model
        rows.first.wait_for()
        second = _python_list(bundle, [chosen], {"n": 10, "hideSeen": True})
        assert [text.split()[0] for text in rows.all_inner_texts()] == [name for name, _ in second]
        assert f"because you chose {chosen}" in rows.first.inner_text()
        shown.get_by_role("button", name="Forget what I chose").click()
        assert [text.split()[0] for text in rows.all_inner_texts()] == [name for name, _ in first]
        site.files["/model.hbm/items.json"] = b"{}"
        shown.reload()
        shown.get_by_text("No list: bundle refused at step 7 (files)").wait_for()
        assert problems == []


def test_the_example_page_is_at_most_60_lines_of_script() -> None:
    assert len((EXAMPLE / "app.js").read_text("utf-8").splitlines()) <= 60
