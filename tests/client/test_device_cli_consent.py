"""``homebody device consent`` and ``receipts``: a no as short as a yes, and proof of both."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from homebody_privacy.consent_record import problems
from homebody_privacy.errors import ConsentMissingError, IntegrityError, UsageError

from .device_commands import COMMAND, Commands, Home, allow, event, init


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.make(tmp_path_factory.mktemp("consent"))


@pytest.fixture
def commands(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    return home.copied(tmp_path, monkeypatch)


def states(commands: Commands) -> dict[str, str]:
    shown = commands.json("consent", "show")
    return {name: purpose["state"] for name, purpose in shown["purposes"].items()}


def test_cr_01_everything_is_off_at_first(commands: Commands) -> None:
    assert set(states(commands).values()) == {"ConsentUnknown"}
    lines = commands.text("consent", "show").splitlines()
    assert lines
    assert all(line.startswith("off") for line in lines)


def test_cr_02_a_yes_is_to_what_it_names_and_no_more(commands: Commands) -> None:
    shown = commands.json("consent", "grant", "recommend", "--features", "purchases")
    features = shown["purposes"]["recommend"]["features"]
    assert (features["purchases"]["open"], features["tastes"]["open"]) == (True, False)
    assert states(commands)["training"] == "ConsentUnknown"


def test_purposes_named_together_are_taken_in_the_order_they_need(commands: Commands) -> None:
    commands.text("consent", "age", "18_plus")
    words = ("training", "metrics", "recommend", "--features", "purchases")
    commands.text("consent", "grant", *words)
    assert set(states(commands).values()) == {"ConsentGiven"}


def test_a_purpose_that_needs_another_is_not_given_alone(commands: Commands) -> None:
    commands.text("consent", "age", "18_plus")
    with pytest.raises(ConsentMissingError, match=r"^needs:recommend") as refusal:
        commands.text("consent", "grant", "training", "--features", "purchases")
    assert refusal.value.exit_code == 13
    assert set(states(commands).values()) == {"ConsentUnknown"}


def test_what_leaves_is_locked_while_the_age_is_not_known(commands: Commands) -> None:
    words = ("recommend", "training", "--features", "purchases")
    with pytest.raises(ConsentMissingError, match=r"^age_locked.*done before it: recommend") as no:
        commands.text("consent", "grant", *words)
    assert "homebody device consent age" in no.value.fix
    assert commands.json("consent", "age", "16_17")["age_band"] == "16_17"
    with pytest.raises(UsageError, match="age band"):
        commands.text("consent", "age", "17")


@pytest.mark.parametrize("word", ["withdraw", "refuse", "object"])
def test_cn_25_cr_12_a_no_is_one_command_as_a_yes_and_erases(commands: Commands, word: str) -> None:
    allow(commands, "purchases")
    commands.text("record", event())
    commands.text("consent", word, "recommend")
    assert states(commands)["recommend"] == "ConsentWithdrawn"
    assert commands.json("knows") == {"rows": []}


def test_not_now_and_no_are_kept_apart(commands: Commands) -> None:
    commands.text("consent", "defer", "recommend")
    assert states(commands)["recommend"] == "ConsentRequestDeferred"
    commands.text("consent", "refuse", "recommend")
    assert states(commands)["recommend"] == "ConsentRefused"
    with pytest.raises(ConsentMissingError, match="refused"):
        commands.text("consent", "defer", "recommend")


def test_cr_23_an_objection_is_in_its_receipt(commands: Commands) -> None:
    allow(commands, "purchases")
    commands.text("consent", "object", "recommend")
    assert commands.json("receipts")["receipts"][-1]["cause"] == "objection"


def test_cn_29_cr_23_a_pause_shuts_and_erases_nothing(commands: Commands) -> None:
    allow(commands, "purchases")
    commands.text("record", event())
    before = commands.json("knows")
    assert commands.json("consent", "restrict")["paused"] is True
    assert commands.json("recommend")["fallback_reason"] == "consent-closed"
    why = commands.json("record", event("TEA-01"))["why"]
    assert [one["code"] for one in why] == ["restricted"]
    assert commands.json("knows") == before
    with pytest.raises(ConsentMissingError, match="restricted") as refusal:
        allow(commands, "purchases")
    assert "consent lift" in refusal.value.fix
    assert commands.json("consent", "lift")["paused"] is False
    assert commands.json("recommend")["personalised"] is True


def test_a_signal_withdraws_what_leaves_and_only_a_second_yes_goes_over_it(
    commands: Commands,
) -> None:
    commands.text("consent", "age", "18_plus")
    commands.text("consent", "grant", "recommend", "training", "--features", "purchases")
    shown = commands.json("consent", "signal", "sec_gpc", "on")
    assert shown["signals"] == {"sec_gpc": True}
    assert states(commands) == {
        "recommend": "ConsentGiven",
        "training": "ConsentWithdrawn",
        "metrics": "ConsentUnknown",
    }
    with pytest.raises(ConsentMissingError, match="opt_out_signal"):
        commands.text("consent", "grant", "training", "--features", "purchases")
    commands.text("consent", "grant", "training", "--features", "purchases", "--over-signal")
    assert states(commands)["training"] == "ConsentGiven"
    with pytest.raises(UsageError, match="signal"):
        commands.text("consent", "signal", "sec_dnt", "on")


def test_an_unreadable_signal_shuts_and_erases_nothing(commands: Commands) -> None:
    commands.text("consent", "age", "18_plus")
    commands.text("consent", "grant", "recommend", "training", "--features", "purchases")
    shown = commands.json("consent", "signal", "os_setting", "unreadable")
    assert shown["signals"] == {"os_setting": None}
    training = shown["purposes"]["training"]
    assert training["state"] == "ConsentGiven"
    assert training["features"]["purchases"]["code"] == "opt_out_signal"


@pytest.mark.parametrize(
    "words",
    [
        ("grant", "marketing", "--features", "purchases"),
        ("grant", "recommend", "--features", "location"),
        ("grant", "recommend", "--features", " , "),
        ("withdraw", "recommend", "marketing"),
        ("refuse", "marketing"),
    ],
)
def test_a_name_the_config_does_not_have_ends_with_2_and_changes_nothing(
    commands: Commands, words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError):
        commands.text("consent", *words)
    assert set(states(commands).values()) == {"ConsentUnknown"}


def test_a_yes_without_features_is_a_wrong_command_line() -> None:
    assert CliRunner().invoke(COMMAND, ["consent", "grant", "recommend"]).exit_code == 2


def test_without_a_config_nothing_can_be_granted(tmp_path: Path) -> None:
    init(str(tmp_path / "p"))
    bare = Commands(tmp_path / "p")
    with pytest.raises(ConsentMissingError, match="config_not_approved") as refusal:
        allow(bare, "purchases")
    assert "--config" in refusal.value.fix
    assert "config_not_approved" in bare.text("consent", "show")


def test_receipts_are_shown_and_verified(commands: Commands) -> None:
    assert commands.text("receipts") == "nothing was decided yet\n"
    allow(commands, "purchases")
    commands.text("consent", "withdraw", "recommend")
    found = commands.json("receipts", "--verify")
    events = [receipt["event"] for receipt in found["receipts"]]
    assert events == ["ConsentGiven", "ConsentWithdrawn"]
    assert {receipt["method"] for receipt in found["receipts"]} == {"cli"}
    assert (found["verified"], len(found["public_key"])) == (2, 64)
    text = commands.text("receipts", "--verify")
    assert "verified: 2 receipts" in text
    assert len(text.splitlines()) == 3


def test_cn_22_cr_13_a_changed_receipt_is_found_and_ends_with_14(commands: Commands) -> None:
    allow(commands, "purchases")
    commands.text("consent", "withdraw", "recommend")
    file = commands.profile / "receipts.jsonl"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"ConsentWithdrawn", b"ConsentRefused", 1))
    with pytest.raises(IntegrityError):
        commands.text("receipts", "--verify")
    shown = commands.json("consent", "show")["purposes"]["recommend"]["features"]
    assert {feature["code"] for feature in shown.values()} == {"chain_broken"}


def test_receipts_once_found_changed_are_not_believed_again_when_put_back(
    commands: Commands,
) -> None:
    allow(commands, "purchases")
    file = commands.profile / "receipts.jsonl"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"cli", b"tap"))
    commands.text("status")
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="shut since"):
        commands.text("receipts", "--verify")
    allow(commands, "purchases")  # asked again: the chain begins anew
    assert commands.json("receipts", "--verify")["verified"] > 0


def test_cn_21_cr_14_the_copy_to_hand_on_is_a_record_with_the_configs_controller(
    commands: Commands,
) -> None:
    with pytest.raises(UsageError, match="nothing was decided"):
        commands.text("receipts", "--format", "dpv")
    allow(commands, "purchases")
    commands.text("consent", "refuse", "metrics")
    first, second = (
        json.loads(commands.text("receipts", "--verify", "--format", "dpv")) for _ in range(2)
    )
    assert problems(first) == []
    parts = {one["dpv:hasPurpose"]["dct:identifier"]: one for one in first["dct:hasPart"]}
    assert set(parts) == {"recommend", "metrics"}
    controller = parts["recommend"]["dpv:hasDataController"]
    assert controller["dpv:hasName"] == "Example Grocer GmbH"
    assert controller["dpv:hasContact"] == "dpo@example.org"
    ids = [[one["dct:identifier"] for one in copy["dct:hasPart"]] for copy in (first, second)]
    assert not set(ids[0]) & set(ids[1])
