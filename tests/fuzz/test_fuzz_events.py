"""Minutes of coverage-guided fuzzing, where atheris is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

_TARGET = Path(__file__).with_name("events_target.py")
_SEEDS = (
    {
        "user_id": "12345",
        "event": "product_view",
        "product_id": "SKU-987",
        "timestamp": "2026-05-15T10:45:00Z",
        "device": "mobile",
    },
    {
        "user_id": "1",
        "event": "rating",
        "product_id": "S",
        "rating": 4.5,
        "timestamp": "2026-02-28T23:59:59.5+02:00",
        "more": [{"deep": None}],
    },
)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: pip install atheris (Linux, CPython 3.11 to 3.13)",
)
def test_s25_guided_fuzzing_finds_neither_a_crash_nor_a_leak(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(_SEEDS):
        (corpus / f"seed-{number}").write_text(json.dumps(seed), "utf-8")
    words = tmp_path / "words"
    names = ("user_id", "event", "timestamp", "purchase", "quantity", "2026-05-15T10:45:00Z")
    words.write_text("".join(f'"\\"{name}\\""\n' for name in names), "utf-8")
    command = [sys.executable, str(_TARGET), "-runs=200000", "-max_len=512", "-timeout=10"]
    command += ["-max_total_time=240", f"-dict={words}", f"-artifact_prefix={tmp_path}/"]
    result = subprocess.run(
        [*command, str(corpus)], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr[-2_000:]
    assert "Done " in result.stderr
