"""``homebody data describe``: specs, never a value of one device."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from homebody_privacy.errors import HomebodyError, InvalidFileError, UsageError
from homebody_simulation.data_cli import app
from homebody_simulation.data_options import parse_columns
from homebody_simulation.datasets import Summary, load_dataset, summarise


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["describe", *arguments], catch_exceptions=False)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_text(
        "who,item,timestamp,value\n"
        "helga-31,pills,86400,31.41\nhelga-31,pills,86500,27.18\n"
        "otto-77,bread,172800,2\notto-77,milk,172801,oops\n",
        "utf-8",
    )
    return path


def test_json_is_one_object_of_specs(events: Path) -> None:
    result = _run(f"csv:{events}", "--column", "user=who", "--on-bad", "skip", "--format", "json")
    specs = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(specs) == {field.name for field in fields(Summary)}
    assert (specs["devices"], specs["events"], specs["raw_events"]) == (2, 3, 4)
    assert specs["skipped"] == {"value is not a number": 1}
    assert specs["repeated_share"] == pytest.approx(1 / 3)
    assert (specs["first_day"], specs["last_day"]) == ("1970-01-02", "1970-01-03")
    assert specs["head_share"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_id_and_no_value_of_a_device_is_printed(events: Path, form: str) -> None:
    result = _run(f"csv:{events}", "--column", "user=who", "--on-bad", "skip", "--format", form)
    secrets = ("helga", "otto", "pills", "bread", "31.41", "27.18", "86400", "oops")
    assert not any(secret in result.stdout for secret in secrets)


def test_text_names_what_was_left_out_source_and_licence(events: Path) -> None:
    text = _run(f"csv:{events}", "--column", "user=who", "--on-bad", "skip").stdout
    assert "3 of 4 rows" in text
    assert "value is not a number: 1" in text
    assert "licence" in text
    assert "SHA-256" in text


def test_complete_journey_is_described_by_default() -> None:
    text = _run().stdout
    assert "2,469 (one device = one household)" in text
    assert "1,462,997 of 1,469,307 rows" in text
    assert "2,378 in the catalog, 2,242 with an event" in text


def test_devices_are_drawn_as_asked() -> None:
    specs = json.loads(_run("synthetic", "--devices", "123", "--format", "json").stdout)
    assert (specs["devices"], specs["unit"], specs["repeats"]) == (123, "simulated user", False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["movielens-100k", "--devices", "5"],
        ["synthetic", "--items", "types"],
        ["synthetik"],
        ["csv:x.csv", "--column", "user"],
        ["csv:x.csv", "--column", "shoe=size"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(UsageError) as refusal:
        _run(*arguments)
    assert refusal.value.exit_code == 2


def test_bad_rows_are_refused_by_default(events: Path) -> None:
    with pytest.raises(InvalidFileError, match="1 of 4 rows") as refusal:
        _run(f"csv:{events}", "--column", "user=who")
    assert isinstance(refusal.value, HomebodyError)


def test_an_unknown_format_is_refused_by_the_parser() -> None:
    assert _run("synthetic", "--format", "xml").exit_code == 2


def test_a_role_cannot_be_mapped_twice() -> None:
    with pytest.raises(UsageError, match="user twice"):
        parse_columns(["user=a", "user=b"])


def test_the_summary_of_a_single_device_is_whole() -> None:
    data = load_dataset("synthetic", devices=1, items=10)
    specs = summarise(data)
    assert specs.events_per_device.p50 == len(data.interactions.items)
    assert specs.items_used == specs.items_per_device.p90 == len(set(data.interactions.items))
