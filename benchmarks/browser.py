"""The browser client in headless Chromium: bytes, page to ready, time of a list, lists of Python.

    python benchmarks/browser.py [--loads 7]

Needs playwright (the Python package) and a chromium on the path; downloads nothing. Prints one
line of JSON; about 20 seconds. "Ready" is from the start of the navigation until the bundle is
verified, on a loopback server, with nothing cached; the reference is a page whose script does
nothing, loaded in turn with ours.
"""

import argparse
import functools
import gzip
import json
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

import homebody_client
from homebody_client.bundles import open_model, trust_key
from homebody_models.bundle import BundleFacts, write_bundle
from homebody_models.recommender import Exported
from homebody_privacy.signing import SigningKey

SIZES = (3_706, 100_000)
SCRIPT = Path(homebody_client.__file__).parent / "browser" / "homebody.js"
_DIM = 64
_HISTORIES = 60
_NOW = 2
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_APP = """
import { openBundle } from "./homebody.js";
import { trust } from "./trust.js";
let model;
window.ready = openBundle((name) => fetch(`model.hbm/${name}`), trust).then((opened) => {
  model = opened;
  return performance.now();
});
window.lists = (histories) => histories.map((history) => {
  const started = performance.now(), list = model.recommend(history);
  return { list, ms: performance.now() - started };
});
"""


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder under a strict policy; isolated, so that the page's clock is fine."""

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback address."""
    handler = functools.partial(_Handler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def make_site(folder: Path, items: int) -> None:
    """Write the page, the module and a model of random rows."""
    key, rng = SigningKey(bytes(32)), np.random.default_rng(items)
    for name, script in (("index", _APP), ("empty", "window.ready = performance.now();")):
        (folder / f"{name}.html").write_text(
            f'<!doctype html><title>t</title><script type="module" src="{name}.js"></script>'
        )
        (folder / f"{name}.js").write_text(script)
    (folder / "favicon.ico").write_bytes(b"")
    shutil.copy(SCRIPT, folder)
    (folder / "key").write_bytes(key.public)
    trust = {"trusted": [key.public.hex()], "now": _NOW}
    (folder / "trust.js").write_text(f"export const trust = {json.dumps(trust)};")

    def sign(message: bytes) -> tuple[str, bytes]:
        return key.key_id, key.sign(message)

    write_bundle(
        folder / "model.hbm",
        Exported(
            encoder="mean",
            embeddings=rng.standard_normal((items, _DIM), np.float32) / np.float32(_DIM**0.5),
            bias=np.float32(0.1) * rng.standard_normal(items, np.float32),
            history_max=64,
            history_decay=0.9,
        ),
        item_ids=[f"SKU-{i}" for i in range(items)],
        facts=BundleFacts(
            model_id="bench",
            version="v1",
            serial=1,
            created=1,
            expires=3,
            catalog_sha256="0" * 64,
            privacy={},
        ),
        sign=sign,
    )


def _loaded(browser: Any, address: str) -> tuple[Any, float]:  # noqa: ANN401 as below
    """Open a page as a new visitor; return it and the milliseconds until it was ready."""
    page = browser.new_context().new_page()
    page.goto(address)
    return page, page.evaluate("() => window.ready")


def measure_page(
    browser: Any,  # noqa: ANN401 playwright may be missing
    folder: Path,
    items: int,
    loads: int,
) -> dict[str, Any]:
    """Return the figures of one catalog size."""
    ready, alone = [], []
    with served(folder) as address:
        for _ in range(loads):
            empty, took = _loaded(browser, f"{address}/empty.html")
            alone.append(took)
            empty.context.close()
            page, took = _loaded(browser, f"{address}/index.html")
            ready.append(took)
            if len(ready) < loads:
                page.context.close()
        rng = np.random.default_rng(2)
        histories = [
            [f"SKU-{i}" for i in rng.integers(0, items, int(rng.integers(1, 80)))]
            for _ in range(_HISTORIES)
        ]
        page.evaluate("(histories) => window.lists(histories)", histories)  # compiles
        answers = page.evaluate("(histories) => window.lists(histories)", histories)
    bundle = open_model(folder / "model.hbm", trust_key((folder / "key").read_bytes()), now=_NOW)
    alike, furthest = 0, 0.0
    for history, answer in zip(histories, answers, strict=True):
        wanted = bundle.ranker.top([bundle.index[name] for name in history], 10)
        names = [entry["product_id"] for entry in answer["list"]]
        alike += names == [bundle.item_ids[item] for item, _ in wanted]
        pairs = zip(answer["list"], wanted, strict=True)
        furthest = max(furthest, *(abs(one["score"] - score) for one, (_, score) in pairs))
    times = [answer["ms"] for answer in answers]
    return {
        "lists_equal": f"{alike}/{_HISTORIES}",
        "furthest_score": furthest,
        "page_to_ready_ms": round(statistics.median(ready), 1),
        "page_alone_ms": round(statistics.median(alone), 1),
        "list_best_ms": round(min(times), 3),
        "list_p50_ms": round(statistics.median(times), 3),
        "list_p95_ms": round(float(np.quantile(times, 0.95)), 3),
    }


def measure(loads: int = 7) -> dict[str, Any]:
    """Return bytes of the module and the figures by catalog size.

    Raises:
        ImportError: If playwright is not installed.
        RuntimeError: If there is no chromium on the path.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 optional

    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("no chromium on the path")
    data = SCRIPT.read_bytes()
    figures: dict[str, Any] = {"bytes": len(data), "gzip_bytes": len(gzip.compress(data, 9))}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=list(_ARGUMENTS))
        figures["chromium"] = browser.version
        for items in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                make_site(Path(folder), items)
                figures[str(items)] = measure_page(browser, Path(folder), items, loads)
        browser.close()
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loads", type=int, default=7)
    print(json.dumps(measure(parser.parse_args(arguments).loads)))


if __name__ == "__main__":
    main()
