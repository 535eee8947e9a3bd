"""Words nobody can promise are found, and none is in anything homebody prints (TXT-001)."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from homebody_privacy.policy.words import banned_words

ROOT = Path(__file__).parents[2]
PARTS = ("homebody", "client", "models", "privacy", "server", "simulation")
LISTS = {"words.py", "withdrawal_words.py", "report.py"}
"""Files that list the words themselves."""
SHORTEST = len("anonymous")
WRITTEN = {".css", ".html", ".j2", ".js", ".json", ".md", ".toml", ".ttl", ".txt"}


def written() -> Iterator[tuple[str, str]]:
    """Return every template, page and shipped text."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    shipped = (file for part in PARTS for file in (ROOT / part).rglob("*"))
    for file in itertools.chain(pages, shipped):
        if file.suffix in WRITTEN and file.is_file():
            yield str(file.relative_to(ROOT)), file.read_text("utf-8")


def spoken() -> dict[str, str]:
    """Return every text in the code that is no docstring, with a file it stands in."""
    found: dict[str, str] = {}
    for file in (file for part in PARTS for file in (ROOT / part).rglob("*.py")):
        if file.name not in LISTS:
            code = compile(file.read_text("utf-8"), file, "exec", dont_inherit=True, optimize=2)
            found.update(dict.fromkeys(constants(code), str(file.relative_to(ROOT))))
    return found


def constants(code: CodeType) -> Iterator[str]:
    """Return every text of a compiled file, of its functions and classes too."""
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from constants(value)
        elif isinstance(value, (tuple, frozenset)):
            yield from (one for one in value if isinstance(one, str) and len(one) >= SHORTEST)
        elif isinstance(value, str) and len(value) >= SHORTEST:
            yield value


def test_no_page_and_no_template_promises_what_nobody_can_keep() -> None:
    texts = list(written())
    assert len(texts) > 40
    assert [(where, banned_words(text)) for where, text in texts if banned_words(text)] == []


def test_no_text_in_the_code_promises_what_nobody_can_keep() -> None:
    texts = spoken()
    assert len(texts) > 4_000
    assert {where: banned_words(text) for text, where in texts.items() if banned_words(text)} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("You are anonymous here", ["anonymous"]),
        ("This is FULLY\n  PRIVATE.", ["fully private"]),
        ("We are GDPR compliant", ["gdpr compliant"]),
        ("You cannot be traced", ["cannot be traced"]),
        ("Your data never leaves your device", ["your data never leaves"]),
        ("We delete your data from the model", ["we delete your data from the model"]),
        ("It is 100 % private", ["100 % private"]),
        ("There is zero risk", ["zero risk"]),
        ("guaranteed safe", ["guaranteed safe"]),
        ("proven by audit", ["proven by audit"]),
        ("Audit passed!", ["audit passed"]),
        ("military-grade, unbreakable", ["military-grade", "unbreakable"]),
        ("state-of-the-art encryption", ["state-of-the-art encryption"]),
        (
            "Your updates are differentially private",
            [
                "differentially private without unit, epsilon, delta, adjacency, scope",
            ],
        ),
        (
            "User level differential privacy: ε = 0.962, δ = 1e-07, zero-out adjacency, one run.",
            [],
        ),
        ("This run had no differential privacy.", []),
        ("[it](https://example.org/differential-privacy/anonymous) counts", []),
        ("audit_passed is a name of a check", []),
        ("A synonymous title about unbreakables", []),
    ],
)
def test_each_word_is_found_and_nothing_else(text: str, found: list[str]) -> None:
    assert banned_words(text) == found


def test_data_may_be_said_to_stay_where_nothing_leaves() -> None:
    assert banned_words("Your data never leaves your device", anything_leaves=False) == []
