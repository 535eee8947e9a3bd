"""docs/privacy-toml.md holds every field of the schema, with its default, and no other."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.config_digest import LATER
from homebody_privacy.config_sections import (
    Activity,
    Aggregation,
    ApprovalTerms,
    FeatureGroup,
    LedgerTerms,
    Metric,
    Purpose,
    Release,
    Retention,
    Rights,
    Transparency,
    Transport,
)
from homebody_privacy.consent_config import Consent, Notice
from homebody_privacy.protection import Correlation, Protection, RecordLevel
from homebody_privacy.statistics_config import Statistics

_PAGE = Path(__file__).parents[2] / "docs" / "privacy-toml.md"
_TABLES: dict[str, type[BaseModel]] = {
    "Top level": PrivacyConfig,
    "[activity]": Activity,
    "[purposes.NAME]": Purpose,
    "[features.NAME]": FeatureGroup,
    "[consent]": Consent,
    "[consent.notices.LANGUAGE]": Notice,
    "[statistics]": Statistics,
    "[metrics.NAME]": Metric,
    "[aggregation]": Aggregation,
    "[transport]": Transport,
    "[release]": Release,
    "[retention]": Retention,
    "[rights]": Rights,
    "[transparency]": Transparency,
    "[ledger]": LedgerTerms,
    "[approval]": ApprovalTerms,
    "[dp]": Protection,
    "[dp.blt]": Correlation,
    "[dp.record]": RecordLevel,
}


def sections() -> dict[str, str]:
    parts = re.split(r"(?m)^## (.+)$", _PAGE.read_text("utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(section: str) -> dict[str, str]:
    """Return field and default of each row of a section's table."""
    rows = re.findall(r"(?m)^\| `(\w+)` \|.*\| ([^|]+) \|$", section)
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def defaults(model: type[BaseModel]) -> dict[str, object]:
    return {
        field.alias or name: "required"
        if field.is_required()
        else field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
    }


def shown(default: object) -> str:
    if isinstance(default, BaseModel):
        return "its defaults"
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    words = {"required": "required", "None": "none", "True": "`true`", "False": "`false`"}
    return words.get(str(default), f"`{default}`" if default != "" else '`""`')


@pytest.mark.parametrize("heading", _TABLES)
def test_every_field_is_documented_with_its_default_and_no_unknown_one_is(heading: str) -> None:
    expected = {name: shown(value) for name, value in defaults(_TABLES[heading]).items()}
    assert documented(sections()[heading]) == expected


def test_every_table_of_the_schema_has_a_section() -> None:
    assert set(_TABLES) == {name for name in sections() if "[" in name} | {"Top level"}


def test_the_whole_file_of_the_page_is_valid_and_leaves_the_defaults_out(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    file = tmp_path / "privacy.toml"
    file.write_text(text, "utf-8")
    assert PrivacyConfig.load(file).dp.lattice_bits == 16
    assert not {"lattice_bits", "record"} & set(tomllib.loads(text)["dp"])


def test_the_fields_that_came_later_are_named() -> None:
    intro = _PAGE.read_text("utf-8").partition("## Top level")[0]
    later = {
        heading.strip("[]").replace("NAME", "*") + f".{name}"
        for heading, model in _TABLES.items()
        for name, field in model.model_fields.items()
        if LATER in field.metadata
    }
    (listed,) = re.findall(r"(?s)while it has its default:\n(.*?)\. So", intro)
    assert set(re.findall(r"`([^`]+)`", listed)) == later
