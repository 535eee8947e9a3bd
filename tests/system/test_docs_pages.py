"""The pages name tests, steps and files that exist, and claim nothing that no figure carries."""

import re
from pathlib import Path

import pytest

from homebody_models.bundle_error import STEPS

_ROOT = Path(__file__).parents[2]
_PAGES = [*sorted((_ROOT / "docs").glob("*.md")), *sorted(_ROOT.glob("*.md"))]
_LINKED = [page for page in _PAGES if page.name != "README.md"]  # it has a test of its own
_BANNED = (
    "anonym",
    "cannot be traced",
    "fully private",
    "100 % private",
    "zero risk",
    "guaranteed safe",
    "proven by audit",
    "audit passed",
    "gdpr compliant",
    "your data never leaves",
    "we delete your data from the model",
    "military-grade",
    "unbreakable",
    "state-of-the-art",
)


def page(name: str) -> str:
    return (_ROOT / "docs" / name).read_text("utf-8")


def test_every_test_a_page_names_exists() -> None:
    known = {
        name
        for file in (_ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"(?m)^def (test_\w+)", file.read_text("utf-8"))
    }
    named = set(
        re.findall(
            r"`(test_(?:pf|bn|cn)_\w+)`",
            page("sharp-edges.md") + page("bundle.md") + page("threat-model.md"),
        )
    )
    assert len(named) > 10
    assert {name for name in named if not any(test.startswith(name) for test in known)} == set()


def test_the_steps_of_a_bundles_verification_are_listed_in_order() -> None:
    steps = re.findall(r"(?m)^\| (\d+) \| ([^|]+) \|", page("bundle.md"))
    assert [(int(number), name) for number, name in steps] == list(enumerate(STEPS, start=1))


@pytest.mark.parametrize("file", _LINKED, ids=lambda file: file.name)
def test_every_local_link_leads_somewhere(file: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", file.read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (file.parent / link).exists()] == []


@pytest.mark.parametrize("file", _PAGES, ids=lambda file: file.name)
def test_no_page_claims_what_no_figure_carries(file: Path) -> None:
    text = " ".join(file.read_text("utf-8").lower().split())
    assert [words for words in _BANNED if words in text] == []
