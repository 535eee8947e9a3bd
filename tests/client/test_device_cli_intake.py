"""``homebody device record``, ``import`` and ``take-in`` say what became of every event."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from homebody_privacy.errors import InvalidFileError, PolicyViolationError, UsageError

from .device_commands import COMMAND, SEED, Commands, Home, allow, begun, event, init

FILES = Path(__file__).parent / "event_files"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.make(tmp_path_factory.mktemp("intake"))


@pytest.fixture
def commands(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    return home.copied(tmp_path, monkeypatch)


def test_recording_while_nothing_is_open_ends_with_0_and_says_why(commands: Commands) -> None:
    found = commands.json("record", event())
    assert (found["received"], found["kept"], found["not_allowed"]) == (1, 0, 1)
    assert [why["code"] for why in found["why"]] == ["not_asked"]
    assert commands.text("record", event()).splitlines()[0] == "kept: no"
    assert commands.json("knows") == {"rows": []}


def test_without_a_config_the_reason_is_the_config(tmp_path: Path) -> None:
    init(str(tmp_path / "p"))
    found = Commands(tmp_path / "p").json("record", event())
    assert [why["code"] for why in found["why"]] == ["config_not_approved"]


def test_an_event_is_kept_where_a_switch_is_open_and_a_repeat_is_named(commands: Commands) -> None:
    allow(commands, "purchases")
    assert commands.text("record", event()) == "kept: yes\n"
    again = commands.json("record", event())
    assert (again["kept"], again["not_allowed"]) == (0, 0)
    assert again["quarantined"] == {"duplicate": 1}  # known from an earlier process
    assert again["why"] == []
    assert "recorded before" in commands.text("record", event())


def test_events_come_from_a_file_or_from_standard_input(commands: Commands, tmp_path: Path) -> None:
    allow(commands, "purchases", "tastes")
    lines = f"{event('TEA-01')}\n\n{event('TEA-02', event='purchase')}\n"
    (tmp_path / "events.jsonl").write_text(lines)
    assert commands.json("record", "--file", str(tmp_path / "events.jsonl"))["kept"] == 2
    found = commands.json("record", stdin=event("TEA-03", event="like"))
    assert (found["received"], found["kept"]) == (1, 1)
    assert len(commands.json("knows")["rows"]) == 3


@pytest.mark.parametrize(
    "stdin",
    ["no json", '{"event": "like"}', "[1]", b"\xff\xfe", "{" * 70_000, event(wrong="secret-value")],
)
def test_what_is_no_event_ends_with_2_and_is_not_repeated(
    commands: Commands, stdin: str | bytes
) -> None:
    allow(commands, "purchases")
    bad = stdin if isinstance(stdin, bytes) else stdin.encode()
    lines = event("TEA-01").encode() + b"\n" + bad
    with pytest.raises(UsageError, match="line 2") as refusal:
        commands.text("record", stdin=lines)
    assert refusal.value.exit_code == 2
    assert "secret-value" not in f"{refusal.value}{refusal.value.fix}"
    assert len(commands.json("knows")["rows"]) == 1  # the line before it stays


def test_lax_passes_over_what_the_vocabulary_does_not_know(commands: Commands) -> None:
    allow(commands, "purchases")
    assert commands.json("record", event(campaign="spring"), "--lax")["kept"] == 1


def test_an_event_of_another_person_ends_with_10(commands: Commands) -> None:
    allow(commands, "purchases")
    commands.text("record", event())
    with pytest.raises(PolicyViolationError, match="another person") as refusal:
        commands.text("record", event(user_id="99999"))
    assert refusal.value.exit_code == 10
    assert "99999" not in str(refusal.value)


def test_an_event_that_the_config_leaves_out_says_so(commands: Commands) -> None:
    allow(commands, "purchases")
    baby = commands.json("record", event("BABY-01"))
    assert [why["code"] for why in baby["why"]] == ["left_out"]
    search = json.dumps({**SEED, "event": "search", "query": "tea", "product_id": "TEA-01"})
    kind = commands.json("record", "--lax", search)
    assert [why["code"] for why in kind["why"]] == ["no_feature_group"]


def test_an_event_and_a_file_at_once_are_refused(commands: Commands, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both named"):
        commands.text("record", event(), "--file", str(tmp_path / "events.jsonl"))


@pytest.mark.parametrize("kind", ["app", "web", "crm", "tickets"])
def test_import_counts_by_outcome_for_each_kind_of_file(commands: Commands, kind: str) -> None:
    allow(commands, "purchases", "tastes")
    (file,) = FILES.glob(f"shop_{kind}.*")
    offset = ("--offset", "Z") if kind in {"crm", "tickets"} else ()
    found = commands.json("import", str(file), "--kind", kind, *offset)
    assert found["kept"] > 0
    assert found["received"] == (
        found["kept"] + found["not_allowed"] + sum(found["quarantined"].values())
    )
    assert len(commands.json("knows")["rows"]) == found["kept"]
    again = commands.json("import", str(file), "--kind", kind, *offset)
    assert (again["kept"], again["quarantined"]) == (0, {"duplicate": found["kept"]})


def test_import_names_what_is_put_aside(commands: Commands, tmp_path: Path) -> None:
    allow(commands, "purchases")
    lines = [
        event("TEA-01"),
        event("TEA-01"),
        event("TEA-02", event="purchase", price=-1, currency="EUR"),
        event("TEA-03", timestamp="1999-01-01T00:00:00Z"),
        event("TEA-02", event="like"),
    ]
    (tmp_path / "app.jsonl").write_text("\n".join(lines))
    text = commands.text("import", str(tmp_path / "app.jsonl"), "--kind", "app")
    counts = dict(line.rsplit(maxsplit=1) for line in text.splitlines() if line[-1].isdigit())
    assert counts == {
        "received": "5",
        "kept": "1",
        "not allowed": "1",
        "put aside: clock_skew": "1",
        "put aside: duplicate": "1",
        "put aside: negative_price": "1",
    }
    assert "feature_not_chosen" in text  # the like: tastes were not chosen


def test_import_stops_at_another_person_and_keeps_what_came_before(
    commands: Commands, tmp_path: Path
) -> None:
    allow(commands, "purchases")
    lines = [event("TEA-01"), event("TEA-02", user_id="7"), event("TEA-03")]
    (tmp_path / "app.jsonl").write_text("\n".join(lines))
    with pytest.raises(PolicyViolationError, match=r"event 2.*those before it were taken"):
        commands.text("import", str(tmp_path / "app.jsonl"), "--kind", "app")
    assert [row["values"]["product_id"] for row in commands.json("knows")["rows"]] == ["TEA-01"]


def test_import_of_a_bad_line_ends_with_2_and_names_it(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "app.jsonl").write_text(f"{event()}\nsecret-value\n")
    with pytest.raises(InvalidFileError, match="line 2") as refusal:
        commands.text("import", str(tmp_path / "app.jsonl"), "--kind", "app")
    assert "secret-value" not in str(refusal.value)
    with pytest.raises(UsageError, match="--offset"):
        commands.text("import", str(tmp_path / "x"), "--kind", "web", "--offset", "Z")
    with pytest.raises(InvalidFileError):
        commands.text("import", str(tmp_path / "absent"), "--kind", "web")


def test_import_needs_a_kind(tmp_path: Path) -> None:
    assert CliRunner().invoke(COMMAND, ["import", str(tmp_path / "x")]).exit_code == 2
    assert CliRunner().invoke(COMMAND, ["import", "x", "--kind", "sap"]).exit_code == 2


def test_an_import_is_not_read_at_once(commands: Commands, tmp_path: Path) -> None:
    allow(commands, "purchases")
    file = tmp_path / "long.jsonl"
    lines = [
        event("TEA-01", timestamp=f"2026-05-15T{h:02d}:{m:02d}:00Z")
        for h in range(20)
        for m in range(60)
    ]
    file.write_text("\n".join(lines))
    found = commands.json("import", str(file), "--kind", "app")
    assert (found["received"], found["kept"]) == (1_200, 1_200)
    assert len(commands.json("knows")["rows"]) == 1_000  # max_rows of the group


def test_cn_26_cr_22_an_export_is_taken_in_where_the_same_is_allowed(
    commands: Commands, home: Home, tmp_path: Path
) -> None:
    allow(commands, "purchases", "tastes")
    for product in ("TEA-01", "BREAD-01"):
        commands.text("record", event(product))
    commands.text("react", "TEA-02", "like")
    mine = tmp_path / "mine.json"
    commands.text("export", str(mine))
    assert mine.stat().st_mode & 0o077 == 0
    second = begun(home.shop, tmp_path / "second")
    assert second.json("take-in", str(mine)) == {"kept": 0}  # a yes does not travel
    allow(second, "purchases")
    assert second.json("take-in", str(mine)) == {"kept": 2}
    allow(second, "purchases", "tastes")
    assert second.json("take-in", str(mine)) == {"kept": 1}
    values = [
        [row["values"] for row in device.json("knows")["rows"]] for device in (commands, second)
    ]
    assert values[0] == values[1]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": "homebody/export/v1"}'])
def test_what_is_no_export_ends_with_2(commands: Commands, tmp_path: Path, content: str) -> None:
    (tmp_path / "mine.json").write_text(content)
    with pytest.raises(InvalidFileError):
        commands.text("take-in", str(tmp_path / "mine.json"))
