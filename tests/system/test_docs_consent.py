"""docs/consent.md names every code, state and kind of consent, and for each rule its tests."""

import re
import shutil
from pathlib import Path

import pytest

from homebody_client.consent.egress import KINDS
from homebody_privacy import consent
from homebody_privacy.consent import ConsentState

from .docs_blocks import ROOT, first_column, page, run, section, told

PAGE = page("consent.md")
RULES = [f"CN-{number:02d}" for number in range(1, 32)]
_ROW = re.compile(r"(?m)^\| (CN-\d\d) \| ([^|]+) \| ([^|]+) \|$")
_SOURCES = [
    *(ROOT / "client" / "homebody_client").rglob("*.py"),
    ROOT / "privacy" / "homebody_privacy" / "consent.py",
]


def codes() -> set[str]:
    """Return every code that the code can say, as the sources write it."""
    text = "\n".join(file.read_text("utf-8") for file in _SOURCES)
    said = set(re.findall(r'\b[Cc]losed\(\s*f?"([\w:{}]+)"', text))
    needs = {code for code in said if code.startswith("needs:")}
    return set(consent._SENTENCES) | (said - needs) | {"needs:<purpose>"}  # noqa: SLF001 - the table of codes


def named_after_rules() -> set[str]:
    """Return the names of all tests that are named after a rule or a pitfall."""
    return {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"(?m)^def (test_(?:cn|pf)_\d\d\w*)", file.read_text("utf-8"))
    }


def test_every_block_runs_and_prints_what_the_page_shows(tmp_path: Path) -> None:
    demo = ROOT / "client" / "homebody_client" / "demo" / "privacy.toml"
    shutil.copy(demo, tmp_path / "privacy.toml")
    for code, shown in told(PAGE):
        said = [line for line in run(code, tmp_path).splitlines() if "tastes" not in line]
        assert said == shown.splitlines()


def test_every_code_is_told_and_no_other() -> None:
    why = section(PAGE, "## Why something is shut")
    beside = re.findall(r"`(\w+)` \(|`(already_given)`", why[why.index("Three more") :])
    told_ones = {*first_column(why, "code"), *("".join(pair) for pair in beside)}
    assert told_ones == codes()


def test_every_state_is_told_in_its_order() -> None:
    assert first_column(PAGE, "state") == [state.value for state in ConsentState]


def test_every_kind_of_egress_is_told_in_its_order() -> None:
    assert tuple(first_column(PAGE, "kind")) == KINDS


def test_every_rule_has_its_row() -> None:
    assert [rule for rule, _, _ in _ROW.findall(PAGE)] == RULES


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_names_tests_that_exist_or_says_what_is_missing(rule: str) -> None:
    (words,) = [named for found, _, named in _ROW.findall(PAGE) if found == rule]
    known, named = named_after_rules(), re.findall(r"`(test_\w+)`", words)
    missing = [name for name in named if not any(test.startswith(name) for test in known)]
    assert missing == []
    if not named:
        assert words.startswith("no test yet")
        own = f"test_{rule.lower().replace('-', '_')}"
        assert [test for test in known if test.startswith(own)] == []
