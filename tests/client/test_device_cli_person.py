"""Lists, reasons and the person's rights from the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from homebody_client.consent.egress import EgressEntry, EgressLog
from homebody_privacy.errors import IntegrityError, InvalidFileError, UsageError

from .device_commands import COMMAND, Commands, Home, allow, event


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.make(tmp_path_factory.mktemp("person"))


@pytest.fixture
def commands(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = home.copied(tmp_path, monkeypatch)
    allow(made, "purchases", "tastes")
    made.text("record", stdin="\n".join([event("TEA-01"), event("BREAD-01")]))
    return made


def test_recommend_prints_the_answer_of_the_local_api(commands: Commands) -> None:
    found = commands.json("recommend", "--top", "3")
    assert len(found["recommended_products"]) == len(found["items"]) == 3
    assert found["personalised"] is True
    assert found["fallback_reason"] is None
    assert all(item["reason"]["text"] for item in found["items"])


def test_recommend_shows_titles_and_reasons(commands: Commands) -> None:
    output = commands.text("recommend", "--top", "4")
    assert "Because you looked at" in output
    assert len(output.splitlines()) == 4


def test_the_list_for_all_says_why_it_is_not_personal(commands: Commands) -> None:
    commands.text("consent", "withdraw", "recommend")
    assert "not personal: consent-closed" in commands.text("recommend")


def test_surfaces_take_their_products_and_no_others(commands: Commands) -> None:
    beside = commands.json("recommend", "--surface", "product", "--product", "TEA-02")
    assert "TEA-02" not in beside["recommended_products"]
    cart = ("--surface", "cart", "--cart", "TEA-02", "--cart", "BREAD-02")
    assert commands.json("recommend", *cart)["recommended_products"]
    for words in (
        ("--surface", "product"),
        ("--product", "TEA-02"),
        ("--cart", "TEA-02"),
        ("--surface", "wall"),
    ):
        with pytest.raises(UsageError):
            commands.text("recommend", *words)


def test_why_names_the_cause_and_forget_takes_it_away(commands: Commands) -> None:
    assert commands.json("why", "TEA-02")["causes"] == ["TEA-01"]
    assert "because of TEA-01" in commands.text("why", "TEA-02")
    assert commands.json("forget", "TEA-01") == {"forgotten": 1}
    assert commands.json("why", "TEA-02")["causes"] == []
    assert commands.text("forget", "TEA-01") == "rows erased: 0\n"


def test_why_of_an_unknown_product_ends_with_2(commands: Commands) -> None:
    with pytest.raises(UsageError, match="not in the catalog"):
        commands.text("why", "GONE")


@pytest.mark.parametrize("reaction", ["like", "dislike", "dismiss"])
def test_react_is_kept_as_said(commands: Commands, reaction: str) -> None:
    assert commands.text("react", "TEA-03", reaction) == "kept: yes\n"
    assert commands.json("knows")["rows"][-1]["values"]["event"] == reaction


def test_react_says_why_it_was_not_kept(commands: Commands) -> None:
    allow(commands, "purchases")  # replaces the yes: tastes are off
    found = commands.json("react", "TEA-03", "like")
    assert not found["kept"]
    assert [why["code"] for why in found["why"]] == ["feature_not_chosen"]


def test_strength_is_shown_set_and_bounded(commands: Commands) -> None:
    assert commands.text("strength") == "100\n"
    assert commands.json("strength", "0") == {"strength": 0}
    assert commands.text("strength") == "0\n"
    assert commands.json("recommend")["fallback_reason"] == "strength-zero"
    with pytest.raises(UsageError, match="strength must be"):
        commands.text("strength", "101")


def test_cn_27_cr_23_a_corrected_row_changes_the_reasons(commands: Commands) -> None:
    first = commands.json("knows")["rows"][0]
    assert first["values"]["product_id"] == "TEA-01"
    row = str(first["row"])
    assert commands.text("correct", row, "product_id=PASTA-01", "hour=9") == "corrected\n"
    changed = commands.json("knows")["rows"][0]["values"]
    assert (changed["product_id"], changed["hour"]) == ("PASTA-01", 9)
    assert commands.json("why", "TEA-02")["causes"] == []


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("1", "product_id"),
        ("1", "=x"),
        ("1", "user_id=1"),
        ("1", "hour=late"),
        ("1", "hour=NaN"),
        ("1", "timestamp=1e999"),
        ("999", "hour=3"),
    ],
)
def test_a_correction_that_cannot_be_meant_ends_with_2(
    commands: Commands, row: str, value: str
) -> None:
    before = commands.json("knows")
    with pytest.raises(UsageError):
        commands.text("correct", row, value)
    assert commands.json("knows") == before


def test_a_deleted_row_is_gone(commands: Commands) -> None:
    rows = commands.json("knows")["rows"]
    assert commands.json("delete", str(rows[0]["row"])) == {"forgotten": 1}
    assert commands.json("knows")["rows"] == rows[1:]
    assert commands.json("delete", str(rows[0]["row"])) == {"forgotten": 0}


def test_an_id_cannot_write_to_the_terminal(commands: Commands) -> None:
    with pytest.raises(UsageError, match="control characters"):
        commands.text("record", event("TEA\x1b[31m"))
    for product in ("TEA\x9b2J", "TEA\u202e10-AET"):  # a control of eight bits, a turn-around
        commands.text("record", event(product))
    output = commands.text("knows")
    assert "TEA\N{REPLACEMENT CHARACTER}2J" in output
    assert "TEA\N{REPLACEMENT CHARACTER}10-AET" in output


def test_export_holds_everything_and_no_key(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    commands.text("export", str(file))
    document = json.loads(file.read_text())
    assert [row["values"]["product_id"] for row in document["rows"]] == ["TEA-01", "BREAD-01"]
    assert document["receipts"]
    assert "12345" not in file.read_text()  # the id was never kept
    with pytest.raises(InvalidFileError):
        commands.text("export", str(tmp_path / "no" / "mine.json"))


def test_erase_asks_for_a_yes_and_then_nothing_is_left(commands: Commands) -> None:
    with pytest.raises(UsageError, match="cannot be undone") as refusal:
        commands.text("erase")
    assert "--yes" in refusal.value.fix
    assert len(commands.json("knows")["rows"]) == 2
    assert commands.json("erase", "--yes") == {"erased": True}
    assert commands.json("knows") == {"rows": []}
    assert commands.json("status")["open"] == []
    assert commands.json("receipts", "--verify")["verified"] > 0  # proof of what was said stays


def test_egress_says_what_left_in_words_oldest_first(commands: Commands) -> None:
    assert commands.text("egress") == "nothing left this device\n"
    log = EgressLog(commands.profile / "egress.jsonl")
    left = EgressEntry(
        time=1.8e9,
        kind="update",
        purpose="training",
        bytes=1_000,
        summary="one clipped update",
        charge="run",
    )
    log.append(left)
    log.append(replace(left, time=1.9e9, sent=False, why="withdrawn: no"))
    first, second = commands.text("egress").splitlines()
    assert "one clipped update; counted as part of the run, charged as a whole" in first
    assert "held back, withdrawn: no" in second
    (last,) = commands.json("egress", "--tail", "1")["entries"]
    assert (last["sent"], last["bytes"], last["charge"]) == (False, 1_000, "run")
    (commands.profile / "egress.jsonl").write_bytes(b'{"damaged": 1}\n')
    with pytest.raises(IntegrityError):
        commands.text("egress")


@pytest.mark.parametrize(
    "words", ["recommend --top 0", "react TEA-01 love", "egress --tail 0", "delete first", "hatch"]
)
def test_a_wrong_word_on_the_command_line_ends_with_2(words: str) -> None:
    assert CliRunner().invoke(COMMAND, words.split()).exit_code == 2
