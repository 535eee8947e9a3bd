"""``homebody keys``, ``approve`` and ``waive``: what a reviewer types, and what comes of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody.cli import run
from tests.privacy.review_world import EXAMPLE

DPO, SECURITY = "dpo@example.org", "security@example.org"
Homebody = Callable[..., tuple[int, str, str]]


@pytest.fixture
def homebody(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Homebody:
    """Runner of the command line in a folder with a config and two reviewers' keys."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE, "privacy.toml")

    def start(*words: str) -> tuple[int, str, str]:
        code = run([*words])
        said = capsys.readouterr()
        return code, said.out, said.err

    lines = 'schema = "reviewers/1"\n'
    for name, file in ((DPO, "dpo.key"), (SECURITY, "security.key")):
        code, out, _ = start("keys", "new", file, "--as", name)
        assert code == 0
        lines += out
    Path("reviewers.toml").write_text(lines, "utf-8")
    return start


def as_(name: str) -> list[str]:
    """Return the options of a reviewer."""
    return ["--as", name, "--key", f"{name.partition('@')[0]}.key", "--reviewers", "reviewers.toml"]


def lifted(homebody: Homebody) -> None:
    """Lift what fails on the example: its notice is not beside it."""
    code, out, _ = homebody(
        "waive", "CON-022", "consent.notices.en.file", "--reason", "not here", "--expires", "9",
        *as_(DPO),
    )  # fmt: skip
    assert code == 0
    assert "CON-022 is lifted for consent.notices.en.file until " in out


def test_cr_37_two_reviewers_approve_and_one_does_not_suffice(homebody: Homebody) -> None:
    lifted(homebody)
    code, out, _ = homebody("approve", "privacy.toml", "--installed", *as_(DPO))
    assert code == 0
    assert "signed  config sha256:b9c4e58aa213bac7  app sha256:" in out
    assert out.endswith("1 of 2 approvals: may not run yet\n")
    code, out, _ = homebody("approve", "privacy.toml", "--installed", *as_(SECURITY))
    assert code == 0
    assert out.endswith("2 of 2 approvals: may run\n")
    kept = json.loads(Path("privacy.approvals.json").read_text("utf-8"))
    assert (kept["schema"], len(kept["envelopes"])) == ("approvals/1", 3)


def test_cr_37_a_changed_config_voids_all_that_was_signed(homebody: Homebody) -> None:
    lifted(homebody)
    homebody("approve", "privacy.toml", "--installed", *as_(DPO))
    text = Path("privacy.toml").read_text("utf-8")
    Path("privacy.toml").write_text(text.replace("revision = 12", "revision = 13"), "utf-8")
    code, _, error = homebody("approve", "privacy.toml", "--installed", *as_(SECURITY))
    assert code == 10  # the waiver was for another config
    assert "CON-022" in error


REFUSED: list[tuple[list[str], int, str]] = [
    (["--installed", "--as", "x@example.org", "--key", "dpo.key"], 10, "is not an approver"),
    (["--installed", *as_(SECURITY)[:2], "--key", "dpo.key", *as_(DPO)[4:]], 10, "not the one"),
    (["--installed", *as_(DPO)], 10, "CON-022"),
    (as_(DPO), 2, "--wheel"),
    (["--wheel", "none.whl", "--installed", *as_(DPO)], 2, "--wheel"),
    (["--installed", *as_(DPO), "--expires-days", "181"], 2, "180"),
]


@pytest.mark.parametrize(
    ("words", "code", "says"), REFUSED, ids=[f"{at}-{row[2]}" for at, row in enumerate(REFUSED)]
)
def test_what_nobody_may_approve_is_not_signed(
    homebody: Homebody, words: list[str], code: int, says: str
) -> None:
    ended, out, error = homebody("approve", "privacy.toml", *words)
    assert (ended, out) == (code, "")
    assert says in error
    assert not Path("privacy.approvals.json").exists()


@pytest.mark.parametrize("rule", ["DP-004", "CON-010", "FEA-002", "TXT-001", "DP-005"])
def test_cr_46_premises_and_bars_of_the_law_cannot_be_lifted(homebody: Homebody, rule: str) -> None:
    words = ["waive", rule, "dp.delta", "--reason", "please", "--expires", "9", *as_(DPO)]
    code, _, error = homebody(*words)
    assert code == 10
    assert "cannot be waived" in error
    assert not Path("privacy.approvals.json").exists()


def test_a_key_is_never_written_over_another(homebody: Homebody) -> None:
    before = Path("dpo.key").read_bytes()
    code, _, error = homebody("keys", "new", "dpo.key", "--as", DPO)
    assert (code, Path("dpo.key").read_bytes()) == (2, before)
    assert "never written over" in error
    code, out, _ = homebody("keys", "show", "dpo.key", "--as", DPO, "--witness")
    assert code == 0
    assert 'may = ["approve", "witness"]' in out
    assert out.splitlines()[2] in Path("reviewers.toml").read_text("utf-8")
