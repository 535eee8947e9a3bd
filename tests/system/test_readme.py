"""The README's example runs as it stands there."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def example() -> str:
    found: list[str] = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    assert len(found) == 1
    return found[0]


def test_example_has_at_most_fifteen_lines_of_code() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 15


def test_example_trains_and_ranks_ten_items_with_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "privacy.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(compile(example(), "README.md", "exec"), {})  # noqa: S102 our own page
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "user blt 8.0"
    spent, _, ceiling = lines[1].partition(" of ")
    assert 0.0 < float(spent) <= float(ceiling) == 4.0
    assert len(lines) == 13
    assert all(re.search(r" -?\d+\.\d+ \S", line) for line in lines[3:])


def test_every_local_link_of_the_readme_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    assert local
    assert [link for link in local if not (ROOT / link).exists()] == []
