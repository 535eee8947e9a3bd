"""``recommend`` on the command line: text for people, one JSON object for programs."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from homebody_client.cli import app, parse_history
from homebody_privacy.errors import HomebodyError, IntegrityError, InvalidFileError, UsageError

from .conftest import IDS, KEY


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["recommend", *arguments])
    if isinstance(result.exception, HomebodyError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def _bundle(runs: Path) -> str:
    return str(runs / "shop" / "model.hbm")


def test_json_is_one_object_with_products_scores_and_reasons(runs: Path) -> None:
    output = _run("--bundle", _bundle(runs), "--history", "BREAD", "--top", "2", "--format", "json")
    answer = json.loads(output)
    assert answer["recommended_products"] == ["BREAD", "MILK"]
    assert answer["items"][1]["reason"] == {
        "code": "because",
        "text": "Because you chose BREAD",
        "causes": ["BREAD"],
    }
    assert answer["items"][0]["score"] > answer["items"][1]["score"]
    assert (answer["model_version"], answer["serial"]) == ("v1", 1)
    assert answer["personalised"] is True
    assert answer["fallback_reason"] is None
    assert answer["privacy"] == {"epsilon": "4.05"}


def test_text_shows_products_and_reasons(runs: Path) -> None:
    output = _run("--bundle", _bundle(runs), "--history", "BREAD", "--top", "2")
    assert "MILK" in output
    assert "Because you chose BREAD" in output
    assert "\x1b" not in output  # no colour off a terminal


def test_text_says_when_the_list_is_not_personal(runs: Path) -> None:
    assert "no-history" in _run("--bundle", _bundle(runs))


def test_id_with_a_comma_is_quoted(runs: Path) -> None:
    output = _run("--bundle", _bundle(runs), "--history", '"SALT, COARSE"', "--format", "json")
    assert json.loads(output)["personalised"] is True


def test_seen_products_are_hidden_on_request(runs: Path) -> None:
    arguments = ("--bundle", _bundle(runs), "--history", "BREAD", "--top", "5", "--format", "json")
    assert "BREAD" in json.loads(_run(*arguments))["recommended_products"]
    assert "BREAD" not in json.loads(_run(*arguments, "--hide-seen"))["recommended_products"]


def test_key_can_be_named(runs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(runs / "shop" / "model.hbm", tmp_path / "model.hbm")
    key = tmp_path / "key.pub"
    key.write_text(KEY.public.hex())
    assert "MILK" in _run("--bundle", str(folder), "--key", str(key))


def test_missing_default_key_exits_2_and_names_the_file(runs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(runs / "shop" / "model.hbm", tmp_path / "a" / "model.hbm")
    with pytest.raises(InvalidFileError, match=r"publisher\.pub"):
        _run("--bundle", str(folder))


def test_tampered_bundle_on_the_command_line_exits_14(runs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(runs / "shop" / "model.hbm", tmp_path / "model.hbm")
    (folder / "card.json").write_text("{}")
    with pytest.raises(IntegrityError) as refusal:
        _run("--bundle", str(folder), "--key", str(runs / "publisher.pub"))
    assert refusal.value.exit_code == 14


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("a", ["a"]),
        ("a, b ,,c", ["a", "b", "c"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"say ""hi"""', ['say "hi"']),
    ],
)
def test_history_is_one_line_of_csv(text: str, ids: list[str]) -> None:
    assert parse_history(text) == ids


@pytest.mark.parametrize("text", ['"a', '"a"b'])
def test_broken_quoting_exits_2(text: str) -> None:
    with pytest.raises(UsageError, match="--history"):
        parse_history(text)


def test_id_cannot_write_to_the_terminal(runs: Path) -> None:
    assert IDS[4] in _run("--bundle", _bundle(runs))
    output = _run("--bundle", _bundle(runs), "--history", "\x1b[31m[bold]x")
    assert "\x1b" not in output
