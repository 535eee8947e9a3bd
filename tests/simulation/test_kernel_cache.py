"""Kernels are kept by the state of all their sources: an old one is never taken for a new one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from homebody_simulation.cohort import kernel_cache

config: Any = numba.config


def test_a_change_in_any_source_is_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kernel_cache.sources_digest()
    assert before == kernel_cache.sources_digest()
    sources = tmp_path / "sources"
    (sources / "on_numba").mkdir(parents=True)
    monkeypatch.setattr(kernel_cache, "_SOURCES", sources)
    seen = set()
    for text in ("x = 1\n", "x = 2\n"):
        (sources / "on_numba" / "inner.py").write_text(text)
        seen.add(kernel_cache.sources_digest())
    (sources / "other.py").write_text("")
    seen.add(kernel_cache.sources_digest())
    assert len(seen) == 3
    assert before not in seen


def test_few_folders_are_kept_and_a_named_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    for number in range(5):
        monkeypatch.setattr(kernel_cache, "sources_digest", lambda number=number: f"state{number}")
        kernel_cache.settle(tmp_path)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["state2", "state3", "state4"]
    assert str(tmp_path / "state4") == config.CACHE_DIR
    monkeypatch.setenv("NUMBA_CACHE_DIR", "elsewhere")
    assert kernel_cache.settle(tmp_path) == "elsewhere"
    assert str(tmp_path / "state4") == config.CACHE_DIR


def test_where_no_folder_can_be_made_numba_keeps_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("")
    assert kernel_cache.settle(tmp_path / "file") == ""


def test_kernels_are_kept_there(tmp_path: Path) -> None:
    program = (
        "import homebody_simulation.cohort.on_numba.counts, numba; print(numba.config.CACHE_DIR)"
    )
    environ = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    folder = tmp_path / "homebody" / "kernels" / kernel_cache.sources_digest()
    assert ended.stdout.strip() == str(folder)
    assert folder.is_dir()
