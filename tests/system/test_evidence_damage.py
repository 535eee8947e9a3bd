"""CR-43, CR-32: what becomes of a pack whose record is damaged, or whose figures mean nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody.cli import run as homebody
from homebody_privacy.checkpoint import ledger_public
from homebody_privacy.errors import PolicyViolationError, UsageError
from homebody_server.evidence.manifest import read_manifest
from homebody_server.evidence.pack import write_pack

from .evidence_world import (
    PINNED,
    copied,
    edit_run,
    files_of,
    finished,
    key_of,
    opened,
    packed,
    shape_of,
)

PAGES = ("index.html", "ledger.html")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run; read only."""
    return finished(tmp_path_factory.mktemp("project") / "project")


def test_a_config_that_says_what_no_figure_carries_gets_no_pack(run: Path, tmp_path: Path) -> None:
    own = copied(run, tmp_path)
    config = own / "privacy.toml"
    config.write_text(
        config.read_text("utf-8").replace("Grocery suggestions", "Fully private suggestions"),
        "utf-8",
    )
    with pytest.raises(PolicyViolationError, match="TXT-001"):
        write_pack(tmp_path / "evidence", opened(own), key_of(own))
    assert not (tmp_path / "evidence").exists()


def test_cr_43_a_changed_ledger_stamps_every_page_and_shows_no_figure(
    run: Path, tmp_path: Path
) -> None:
    own = copied(run, tmp_path)
    ledger = own / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"releases":1', b'"releases":2', 1))
    arguments = ["report", str(own), "--evidence", str(tmp_path / "evidence")]
    assert homebody(arguments) == 14
    pack = tmp_path / "evidence"
    for name in PAGES:
        assert "NOT VERIFIED" in shape_of(pack / name).text
    for document in (pack / "documents").iterdir():
        assert "NOT VERIFIED" in document.read_text("utf-8").splitlines()[0]
    told = json.loads((pack / "evidence.json").read_bytes())
    assert told["verified"] is False
    assert told["claim"]["statement"]["absent"] == "not shown"
    assert told["user_level"]["absent"] == "not shown"
    read_manifest(pack, [ledger_public(own.parent)])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("run.json", lambda data: data.replace(b'"payload": "', b'"payload": "*', 1)),
        ("run.json", lambda data: data[: len(data) // 2]),
        ("privacy.toml", lambda data: data.replace(b"unit", b"unti", 1)),
        ("policy.toml", lambda data: data.replace(b"value", b"vaule", 1)),
        ("ledger.jsonl", lambda data: data[:400]),
        ("checkpoint", lambda _: b""),
        ("egress.jsonl", lambda data: data[: len(data) // 2]),
        ("model.hbm/manifest.json", lambda data: data[1:]),
    ],
    ids=["approvals", "run", "config", "policy", "ledger", "checkpoint", "egress", "bundle"],
)
def test_a_damaged_record_ends_in_14_and_never_in_a_pack_that_says_verified(
    run: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    own = copied(run, tmp_path)
    file = own / name
    before = file.read_bytes()
    file.write_bytes(damage(before))
    assert file.read_bytes() != before
    keys = run.parents[1] / PINNED
    pack = tmp_path / "evidence"
    assert homebody(["report", str(own), "--evidence", str(pack), "--keys", str(keys)]) == 14
    if pack.exists():
        assert json.loads((pack / "evidence.json").read_bytes())["verified"] is False


def test_a_figure_whose_premise_failed_is_nowhere(tmp_path: Path) -> None:
    run = finished(tmp_path / "project", population=2_000)  # delta lets two people go
    shown = files_of(packed(run, tmp_path / "evidence"))
    spent = json.loads((run / "report.json").read_text("utf-8"))["epsilon"]["user"]["spent"]
    told = json.loads(shown["evidence.json"])
    assert told["verified"]
    assert told["user_level"]["why"].startswith("DP-004 failed")
    for name, data in shown.items():
        if not name.startswith("record/"):
            text = data.decode()
            assert f"ε = {spent:g}" not in text, name
            assert f"{spent:g} of {spent:g}" not in text, name
            assert "times in 100" not in text, name


@pytest.mark.slow  # with secret coins every accountant takes seconds
def test_with_secret_coins_the_figure_without_their_credit_stands_beside(tmp_path: Path) -> None:
    run = finished(tmp_path / "project", coins=True)
    shown = files_of(packed(run, tmp_path / "evidence"))
    loss = json.loads(shown["evidence.json"])["user_level"]["privacy_loss"]
    assert loss["epsilon"] < loss["epsilon_unamplified"]
    assert f"epsilon = {loss['epsilon_unamplified']:g}" in shown["index.html"].decode()
    assert loss["mu"]["absent"] == "does not apply"


def test_nothing_but_a_pack_is_written_over(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine"
    other.mkdir()
    (other / "letter.txt").write_text("mine", "utf-8")
    with pytest.raises(UsageError, match="no evidence pack"):
        write_pack(other, opened(run), key_of(run))
    assert (other / "letter.txt").read_text("utf-8") == "mine"


def test_a_run_that_promised_nothing_has_no_evidence(run: Path, tmp_path: Path) -> None:
    own = copied(run, tmp_path)
    edit_run(own, lambda told: told["spec"].update(ceiling=None))
    assert homebody(["report", str(own), "--evidence", str(tmp_path / "evidence")]) == 2


def test_report_without_a_folder_for_the_pack_is_refused(run: Path) -> None:
    assert homebody(["report", str(run)]) == 2
    assert homebody(["report", str(run), "--format", "opendp-registry", "--day", "soon"]) == 2
