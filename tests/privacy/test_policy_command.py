"""``homebody check`` from outside: what it ends with, what it prints, what it loads."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from homebody.cli import build, run

SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "compliance"
MOST_CPU_S = 1.0
MOST_RATIO = 6.0
"""Of the CPU that ``import pydantic, numpy`` takes: 3 on a quiet machine."""


def check(*words: str | Path) -> int:
    return run(["check", *map(str, words)])


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """Return a copy of the sample, to be broken."""
    (tmp_path / "notices").mkdir()
    for file in ("privacy.toml", "notices/en-4.md"):
        (tmp_path / file).write_bytes((SAMPLE / file).read_bytes())
    return tmp_path / "privacy.toml"


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(old) == 1, (old, text.count(old))
    file.write_text(text.replace(old, new), "utf-8")


def test_the_sample_passes_and_the_proposal_fails(capsys: pytest.CaptureFixture[str]) -> None:
    policy = SAMPLE / "policy.toml"
    assert check(SAMPLE / "privacy.toml", "--policy", policy) == 0
    assert capsys.readouterr().out.endswith("0 failed, 0 warned\n")
    assert check(SAMPLE / "proposed.toml", "--policy", policy) == 10
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines() if line.startswith("  FAIL")] == [
        "CON-010",
        "DP-002",
        "DP-004",
        "DP-005",
        "AGG-001",
    ]
    assert said.endswith("not printed, DP-004, DP-005 failed\n5 failed, 0 warned\n")


@pytest.mark.parametrize("profiles", ["gdpr", "ccpa", "gdpr,ccpa", "ccpa, gdpr", "retail", "media"])
def test_s57_the_sample_keeps_the_laws_profiles(
    profiles: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(SAMPLE / "privacy.toml", "--profile", profiles) == 0
    assert "0 failed" in capsys.readouterr().out


def test_s57_a_profile_refuses_what_its_law_does(
    changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(changed, 'authority = "BlnBDI"', 'authority = ""')
    assert check(changed) == 0
    assert check(changed, "--profile", "gdpr,ccpa") == 10
    assert "GDPR-002" in capsys.readouterr().out


def test_s54_health_refuses_what_retail_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(SAMPLE / "privacy.toml", "--profile", "retail") == 0
    assert check(SAMPLE / "privacy.toml", "--profile", "health") == 10
    said = capsys.readouterr().out
    assert {"HLT-001", "HLT-002", "HLT-003"} <= set(said.split())  # epsilon, sensitive, retention


def test_s17_an_identifier_ends_with_10(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(changed, '"topic", "weight"', '"topic", "weight", "email_hash"')
    assert check(changed) == 10
    assert "FEA-005" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epsilon_max = 2.5", "epsilon_maxx = 2.5"),
        ("epsilon_max = 2.5", "# left out"),
        ("epsilon_max = 2.5", "epsilon_max = nan"),
        ("epsilon_max = 2.5", "epsilon_max = inf"),
        ("epsilon_max = 2.5", "epsilon_max = -inf"),
        ("epsilon_max = 2.5", 'epsilon_max = "2.5"'),
        ("epsilon_max = 2.5", "epsilon_max = true"),
        ("epsilon_max = 2.5", "epsilon_max = 2.5\nepsilon_max = 3.5"),
        ("epsilon_max = 2.5", "epsilon_max = "),
        ('unit = "user"', 'unit = "User"'),
        ("adaptive_clip = false", "adaptive_clip = 0"),
        ("[transport]", "[transports]"),
    ],
)
def test_cr_27_s79_a_file_that_breaks_its_schema_ends_with_2(
    old: str, new: str, changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(changed, old, new)
    assert check(changed) == 2
    told = capsys.readouterr()
    assert "invalid-file" in told.err
    assert told.out == ""


def test_cr_28_comments_and_order_change_nothing_and_values_do(
    changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def digest() -> str:
        check(changed, "--format", "json")
        return str(json.loads(capsys.readouterr().out)["config_sha256"])

    first, text = digest(), changed.read_text("utf-8")
    head, *tables = re.split(r"(?m)^(?=\[)", text)
    changed.write_text("".join([head, *reversed(tables), "# a comment\n"]), "utf-8")
    assert digest() == first
    changed.write_text(text.replace("epsilon_max = 2.5", "epsilon_max = 2.50"), "utf-8")
    assert digest() == first
    changed.write_text(text.replace("epsilon_max = 2.5", "epsilon_max = 2.4"), "utf-8")
    assert digest() != first
    group = "[features.tastes]\n"
    changed.write_text(text.replace(group, f"{group}user_editable = true\n"), "utf-8")
    assert digest() == first  # its default
    changed.write_text(text.replace(group, f"{group}user_editable = false\n"), "utf-8")
    assert digest() != first


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (r"allow = \[.*", 2),  # purpose
        (r"fields = \[.*", 2),  # what
        (r"ttl_days = .*", 2),  # retention
        (r"max_rows = .*", 2),
        (r"sensitivity = .*", 2),
        (r"fides_category = .*", 2),
        (r"leaves_device = .*", 2),  # egress
    ],
)
def test_s55_a_feature_whose_purpose_retention_or_egress_is_not_said_fails(
    line: str, code: int, changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = changed.read_text("utf-8")
    without = re.sub(rf"(?m)^{line}$", "", text, count=1)
    assert without != text
    changed.write_text(without, "utf-8")
    assert check(changed) == code
    assert "Field required" in " ".join(capsys.readouterr().err.split())


def test_other_files_and_words_end_with_2(
    changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(changed, "--policy", changed) == 2
    assert check(changed.with_name("nowhere.toml")) == 2
    assert check(changed, "--profile", "gdpr,law") == 2
    assert check(changed, "--enrolled", "0") == 2
    assert check(changed, "--format", "yaml") == 2
    assert capsys.readouterr().out == ""


def test_a_notice_that_was_changed_ends_with_10(
    changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notice = changed.parent / "notices" / "en-4.md"
    notice.write_text(notice.read_text("utf-8") + " ", "utf-8")
    assert check(changed) == 10
    notice.unlink()
    assert check(changed) == 10
    assert capsys.readouterr().out.count("CON-022") == 2


def test_too_few_people_end_with_12(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(SAMPLE / "privacy.toml", "--enrolled", "100") == 12
    assert "AGG-004" in capsys.readouterr().out


def test_every_format_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for form in ("json", "sarif", "junit"):
        assert check(SAMPLE / "proposed.toml", "--format", form) == 10
        told[form] = capsys.readouterr().out
    found = json.loads(told["json"])
    (log,) = json.loads(told["sarif"])["runs"]
    rules = [one["rule"] for one in found["findings"]]
    assert [one["ruleId"] for one in log["results"]] == rules
    assert all("region" in one["locations"][0]["physicalLocation"] for one in log["results"])
    assert all(f'name="{rule}"' in told["junit"] for rule in rules)
    assert found["withheld"] == ["DP-004", "DP-005"]


def test_the_schema_for_editors_knows_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "schema", "privacy"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].endswith("2020-12/schema")
    assert {"activity", "purposes", "dp", "approval"} <= set(schema["properties"])
    assert schema["$defs"]["Protection"]["properties"]["clip_norm"]["description"]


def test_an_expression_nobody_can_judge_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    rule = '[[rule]]\nid = "X-101"\nexpr = "true"\nwhy = "so"\n'
    policy = tmp_path / "policy.toml"
    policy.write_text(f'schema = "policy/1"\nname = "Firm"\n{rule}', "utf-8")
    assert check(SAMPLE / "privacy.toml", "--policy", policy) == 1
    assert "homebody[review]" in capsys.readouterr().err


def test_a_terminal_gets_colours_and_the_same_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(SAMPLE / "proposed.toml") == 10
    plain = capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "200"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    assert check(SAMPLE / "proposed.toml") == 10
    shown = capsys.readouterr().out
    assert "\x1b[" in shown
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == plain


def test_a_command_loads_its_own_part_alone() -> None:
    program = (
        "import sys; from homebody.cli import run; "
        f"code = run(['check', {str(SAMPLE / 'privacy.toml')!r}]); "
        "heavy = ('dp_accounting', 'scipy', 'torch', 'flwr', 'opacus', 'polars', 'cel', "
        "'fideslang', 'homebody_simulation', 'homebody_server', 'homebody_client'); "
        "print(code, [m for m in heavy if m in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "0 []"


def test_one_command_is_built_as_in_the_whole() -> None:
    whole = {command.name: command for command in build().registered_commands}
    (alone,) = build("check").registered_commands
    assert alone.name == "check"
    assert alone.callback is whole["check"].callback
    assert build("check").registered_groups == []
    assert run(["chekc"]) == 2


def cpu_s(*words: str) -> float:
    """Return the CPU that a program took: other work on the machine does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_check_answers_within_a_second() -> None:
    main = "from homebody.cli import main; main()"
    words = (sys.executable, "-c", main, "check", str(SAMPLE / "privacy.toml"))
    checked = min(cpu_s(*words), cpu_s(*words))
    imported = cpu_s(sys.executable, "-c", "import pydantic, numpy")
    assert checked < MOST_CPU_S
    assert checked < MOST_RATIO * imported
