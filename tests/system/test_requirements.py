"""docs/requirements.md has every requirement, each with tests that exist and code that is there."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from .docs_blocks import ROOT, page

PAGE = page("requirements.md")
IDS = [f"CR-{number:02d}" for number in range(1, 47)]
_FOLDERS = ("client", "homebody", "models", "privacy", "server", "simulation")


class Row(NamedTuple):
    """One requirement as the page tells it."""

    name: str
    what: str
    where: tuple[str, ...]
    tests: tuple[str, ...]


def rows() -> dict[str, Row]:
    """Return the rows of the page by their id, in its order."""
    cells = re.findall(r"(?m)^\| (CR-\d\d) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE)
    found = [
        Row(name, what, tuple(re.findall(r"`(.+?)`", where)), tuple(re.findall(r"`(\w+)`", tests)))
        for name, what, where, tests in cells
    ]
    return {row.name: row for row in found}


def collected(folder: Path) -> dict[str, bool]:
    """Return every test below a folder, and whether it runs every day."""
    found: dict[str, bool] = {}
    for file in folder.rglob("test_*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        whole = any("slow" in ast.unparse(node) for node in tree.body if _marks_module(node))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = [ast.unparse(mark) for mark in node.decorator_list]
                rare = whole or any(re.search(r"mark\.(slow|chaos|skip)\b", m) for m in marks)
                found[node.name] = not rare
    return found


def _marks_module(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"


ROWS = rows()
TESTS = collected(ROOT / "tests")


def named(row: str) -> list[str]:
    """Return the tests that carry the id of a row."""
    own = re.compile(rf"(?:^|_){row.lower().replace('-', '_')}_")
    return [name for name in TESTS if own.search(name)]


def test_every_requirement_has_its_row_in_order_and_no_other() -> None:
    assert re.findall(r"(?m)^\| (CR-\d\d) ", PAGE) == IDS
    assert list(ROWS) == IDS


@pytest.mark.parametrize("row", IDS)
def test_a_requirement_has_tests_by_its_id_that_run_every_day(row: str) -> None:
    assert [name for name in named(row) if TESTS[name]]


@pytest.mark.parametrize("row", IDS)
def test_a_row_names_tests_and_modules_that_exist(row: str) -> None:
    told = ROWS[row]
    assert told.tests
    assert [name for name in told.tests if name not in named(row)] == []
    assert any(TESTS[name] for name in told.tests)
    assert told.where
    assert [name for name in told.where if not _exists(name)] == []


def _exists(module: str) -> bool:
    return any((ROOT / folder / module).is_file() for folder in _FOLDERS)


def test_no_test_carries_the_id_of_a_requirement_that_is_not() -> None:
    ids = {number for name in TESTS for number in re.findall(r"(?:^|_)cr_(\d\d)_", name)}
    assert {f"CR-{number}" for number in ids} == set(IDS)


def test_what_is_marked_slow_does_not_run_every_day(tmp_path: Path) -> None:
    marked = "import pytest\n\n\n@pytest.mark.slow\ndef test_one() -> None: ...\n"
    (tmp_path / "test_some.py").write_text(f"{marked}\n\ndef test_two() -> None: ...\n")
    (tmp_path / "test_all.py").write_text(
        "import pytest\n\npytestmark = pytest.mark.slow\n\n\ndef test_three() -> None: ...\n"
    )
    assert collected(tmp_path) == {"test_one": False, "test_two": True, "test_three": False}
