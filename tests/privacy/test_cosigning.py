"""A witness signs one history of a ledger only, whatever the operator shows it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody.cli import run
from homebody_privacy.approval.reviewers import reviewer_lines
from homebody_privacy.charges import PoissonRounds
from homebody_privacy.checkpoint import (
    CHECKPOINT_NAME,
    LedgerCheckpoint,
    ledger_key,
    ledger_public,
    origin_of,
    read_checkpoint,
    sign_checkpoint,
)
from homebody_privacy.cosigning import cosign, memory_of
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_privacy.ledger import Ledger
from homebody_privacy.ledger_entries import Header, Previous
from homebody_privacy.note import COSIGNATURE, VerifierKey
from homebody_privacy.signing import SigningKey

MODEL = "d" * 64
NOW = 1_800_000_000
KEY = SigningKey(b"\2" * 32)
WITNESS = VerifierKey("dpo@example.org", KEY.public, COSIGNATURE)

Charge = Callable[..., PoissonRounds]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs, with the operator's key."""
    folder = tmp_path / "runs"
    folder.mkdir()
    ledger_key(folder)
    return folder


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """What the witness remembers, beside its key."""
    KEY.save(tmp_path / "dpo.key")
    return memory_of(tmp_path / "dpo.key")


def story(
    runs: Path, header: Header, charge: PoissonRounds, rounds: int, *, again: bool = False
) -> Path:
    """Return the folder of a run of so many rounds, signed by the operator; ``again`` is anew."""
    folder = runs / header.run
    folder.mkdir(exist_ok=True)
    path, signer = folder / "ledger.jsonl", ledger_key(runs)
    if path.exists() and not again:
        opened = Ledger.open(path, signer=signer)
    else:
        for file in folder.iterdir():
            file.unlink()
        opened = Ledger.create(path, header, signer=signer)
    with opened as ledger:
        for number in range(ledger.record.opened + 1, rounds + 1):
            ledger.intend(number, charge)
            ledger.release(number, MODEL)
        ledger.checkpoint()
    return folder


def signed(folder: Path, memory: Path, now: int = NOW) -> LedgerCheckpoint:
    """Let the witness cosign."""
    operator = ledger_public(folder.parent)
    return cosign(folder, WITNESS.name, KEY, memory, operator=operator, now=now)


def is_cosigned(folder: Path) -> bool:
    """Tell whether the witness's line is under the checkpoint that is there."""
    operator = ledger_public(folder.parent)
    _, note = read_checkpoint(folder / CHECKPOINT_NAME, [operator, WITNESS])
    return note.is_signed_by(WITNESS)


def test_cr_39_a_ledger_that_only_grew_is_cosigned_each_time(
    runs: Path, memory: Path, header: Header, charge: Charge
) -> None:
    folder = story(runs, header, charge(), 1)
    assert not is_cosigned(folder)
    assert signed(folder, memory).size == 3
    assert is_cosigned(folder)
    story(runs, header, charge(), 3)
    assert not is_cosigned(folder)  # a later checkpoint needs a new line
    assert signed(folder, memory).size == 7
    assert signed(folder, memory, NOW + 60).size == 7
    _, note = read_checkpoint(folder / CHECKPOINT_NAME, [WITNESS])
    assert note.time_of(WITNESS) == NOW + 60
    assert memory.stat().st_mode & 0o777 == 0o600


def test_a_checkpoint_that_did_not_move_keeps_the_witnesss_line(
    runs: Path, memory: Path, header: Header, charge: Charge
) -> None:
    folder = story(runs, header, charge(), 1)
    signed(folder, memory)
    with Ledger.open(folder / "ledger.jsonl", signer=ledger_key(runs)) as ledger:
        ledger.checkpoint()
    assert is_cosigned(folder)


def test_cr_39_a_ledger_written_anew_and_signed_again_is_not_cosigned(
    runs: Path, memory: Path, header: Header, charge: Charge
) -> None:
    folder = story(runs, header, charge(), 2)
    signed(folder, memory)
    before = memory.read_bytes()
    story(runs, header, charge(noise_multiplier=3.0), 4, again=True)
    with pytest.raises(IntegrityError, match="forked") as refusal:
        signed(folder, memory)
    assert refusal.value.exit_code == 14
    story(runs, header, charge(), 1, again=True)
    with pytest.raises(IntegrityError, match="older"):
        signed(folder, memory)
    assert not is_cosigned(folder)
    assert memory.read_bytes() == before


def test_a_checkpoint_of_another_operator_or_another_ledger_is_not_cosigned(
    runs: Path, memory: Path, header: Header, charge: Charge
) -> None:
    folder = story(runs, header, charge(), 1)
    fitting = (folder / CHECKPOINT_NAME).read_text("utf-8")
    other = LedgerCheckpoint(origin_of(header.run), 3, bytes(32))
    (folder / CHECKPOINT_NAME).write_text(sign_checkpoint(other, ledger_key(runs)), "utf-8")
    with pytest.raises(IntegrityError, match="an entry was changed"):
        signed(folder, memory)
    theirs = sign_checkpoint(LedgerCheckpoint.parse(fitting.partition("\n\n")[0] + "\n"), KEY)
    (folder / CHECKPOINT_NAME).write_text(theirs, "utf-8")
    with pytest.raises(IntegrityError, match="none of the known keys"):
        signed(folder, memory)
    assert not memory.exists()


def test_two_runs_after_the_same_run_on_the_same_people_are_two_histories(
    runs: Path, memory: Path, header: Header, charge: Charge
) -> None:
    first = header.model_copy(update={"scope": "lifetime"})
    folder = story(runs, first, charge(), 1)
    seen = signed(folder, memory)
    before = Previous(run=first.run, size=seen.size, root=seen.root.hex())
    second = first.model_copy(update={"run": "winter", "previous": before})
    signed(story(runs, second, charge(), 1), memory)
    fork = first.model_copy(update={"run": "spring", "previous": before})
    with pytest.raises(IntegrityError, match="two histories"):
        signed(story(runs, fork, charge(), 1), memory)
    with pytest.raises(IntegrityError, match="two histories"):
        signed(
            story(runs, fork.model_copy(update={"previous": None}), charge(), 1, again=True), memory
        )
    other = fork.model_copy(update={"population": "b" * 64})  # of other people
    signed(story(runs, other, charge(), 1, again=True), memory)
    alone = header.model_copy(update={"run": "alone"})  # a budget of its own
    signed(story(runs, alone, charge(), 1), memory)


@pytest.mark.parametrize("grown", [False, True])
def test_a_run_that_came_after_another_ledger_than_was_cosigned_is_not_cosigned(
    runs: Path, memory: Path, header: Header, charge: Charge, *, grown: bool
) -> None:
    first = header.model_copy(update={"scope": "lifetime"})
    folder = story(runs, first, charge(), 1)
    seen = signed(folder, memory)
    if grown:
        story(runs, first, charge(), 2)
    with Ledger.open(folder / "ledger.jsonl") as ledger:
        right = Previous(run=first.run, size=ledger.record.entries, root=ledger.head)
    wrong = right.model_copy(update={"root": "e" * 64})
    second = first.model_copy(update={"run": "winter", "previous": wrong})
    with pytest.raises(IntegrityError, match="came after"):
        signed(story(runs, second, charge(), 1), memory)
    true = second.model_copy(update={"previous": right})
    assert signed(story(runs, true, charge(), 1, again=True), memory).size == 3
    assert (right.size == seen.size) is not grown


def test_a_memory_that_was_changed_signs_nothing(
    runs: Path, memory: Path, header: Header, charge: Charge
) -> None:
    folder = story(runs, header, charge(), 1)
    for wrong in (b"", b"[]", b'{"schema":"cosigned/2","ledgers":[]}', b'{"schema":"cosigned/1"}'):
        memory.write_bytes(wrong)
        with pytest.raises(InvalidFileError, match="not what a witness wrote"):
            signed(folder, memory)
    assert not is_cosigned(folder)


def test_the_command_cosigns_and_says_so(
    runs: Path,
    memory: Path,
    header: Header,
    charge: Charge,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, key = story(runs, header, charge(), 1), memory.with_name("dpo.key")
    words = ["cosign", str(folder), "--key", str(key), "--as", WITNESS.name]
    assert run(words) == 0
    assert "cosigned  homebody.ledger/autumn  3 entries  root " in capsys.readouterr().out
    assert is_cosigned(folder)
    pinned = memory.with_name("reviewers.toml")
    pinned.write_text(
        'schema = "reviewers/1"\n'
        + reviewer_lines(WITNESS.name, KEY.public, witness=True)
        + f'[ledger]\nkey = "{ledger_public(runs)}"\n',
        "utf-8",
    )
    assert run([*words, "--reviewers", str(pinned)]) == 0
    assert run([*words[:-1], "somebody", "--reviewers", str(pinned)]) == 10
    assert run([*words[:-1], "two words"]) == 2
    assert run(["cosign", str(runs / "none"), *words[2:]]) == 2
    other = story(runs, header, charge(noise_multiplier=3.0), 1, again=True)
    assert run(words) == 14
    assert not is_cosigned(other)
    assert json.loads(memory.read_bytes())["ledgers"][0]["size"] == 3
