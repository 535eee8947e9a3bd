"""Pages for reviewers name fields, codes and commands that exist."""

import re

import pytest

from homebody_privacy import errors
from homebody_privacy.comparing.fields import BOOKKEEPING, FIELDS, TABLES

from .docs_blocks import page, section

_PAGES = ("data-life.md", "cannot-prove.md", "reviewers-guide.md", "threat-model.md")
_SECTIONS = {"activity", "consent", "dp", "aggregation", "transport", "release", "retention"} | {
    *("rights", "transparency", "ledger", "approval", "features", "purposes", "metrics"),
}


def fields() -> set[str]:
    """Return every dotted path of the schema, tables included."""
    paths = {*FIELDS, *BOOKKEEPING, *TABLES}
    return paths | {".".join(path.split(".")[:-1]) for path in paths if "." in path}


def known_codes() -> set[str]:
    """Return the code of every refusal."""
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    return {one.code for one in classes if issubclass(one, errors.HomebodyError)}


@pytest.mark.parametrize("name", _PAGES)
def test_every_field_a_page_names_is_one_of_the_schema(name: str) -> None:
    named = set(re.findall(r"`((?:[a-z_]+)(?:\.(?:[a-z_]+|\*))+)[^`]*`", page(name)))
    of_the_file = {path for path in named if path.split(".")[0] in _SECTIONS}
    files = {path for path in of_the_file if path.endswith((".pub", ".key", ".jsonl", ".toml"))}
    assert of_the_file - files <= fields()


def test_the_codes_of_devices_that_the_threat_model_names_exist() -> None:
    told = section(page("threat-model.md"), "## Who attacks the compliance layer")
    codes = set(re.findall(r"device: `([a-z-]+)`", told))
    assert codes
    assert codes <= known_codes()


def test_every_row_of_an_attack_says_what_stays_open() -> None:
    told = section(page("threat-model.md"), "## Who attacks the compliance layer")
    rows = [row.strip("|").split(" | ") for row in told.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 15
    assert {len(row) for row in rows} == {4}
    assert all(re.search(r"\b1[04]\b|device: ", row[2]) for row in rows)


def test_every_field_that_is_not_enforced_is_called_a_plan_or_left_out_of_the_table() -> None:
    schema_page = page("privacy-toml.md")
    loose = set(re.findall(r"(?m)^\| `(\w+)` \|[^|]*Not enforced", schema_page))
    assert loose <= {path.rsplit(".", 1)[-1] for path in fields()}
    for row in page("data-life.md").splitlines():
        for name in loose & set(re.findall(r"`\w+\.(\w+)`", row)):
            assert "plan" in row or "homebody" in row or "word" in row, name
