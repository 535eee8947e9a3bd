"""The ledger file: chain, crash, lock, order. What entries mean: ``test_ledger_record``."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from typing_extensions import Buffer

from homebody_privacy import ledger as ledger_module
from homebody_privacy.charges import PoissonRounds
from homebody_privacy.errors import IntegrityError, UsageError
from homebody_privacy.ledger import Ledger, read_ledger
from homebody_privacy.ledger_entries import RunClosed
from homebody_privacy.ledger_lines import chain_of
from homebody_privacy.ledger_record import Header, LedgerRecord
from homebody_privacy.signing import SigningKey

Build = Callable[..., PoissonRounds]
MODEL = "d" * 64


@pytest.fixture
def path(tmp_path: Path, header: Header, charge: Build) -> Path:
    """A closed ledger of a released round, a void one and a third that is open."""
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, header) as ledger:
        for number in (1, 2, 3):
            ledger.intend(number, charge(noise_multiplier=float(number)))
            if number == 1:
                ledger.release(number, MODEL)
            if number == 2:
                ledger.void(number, "too-few-nodes")
    return path


def standing(ledger: Ledger) -> tuple[int, int, int]:
    """Return the last round that was opened, the last closed and the last released."""
    return ledger.record.opened, ledger.record.closed, ledger.record.released


def test_a_reopened_ledger_says_what_was_written(path: Path, header: Header, charge: Build) -> None:
    with Ledger.open(path) as ledger:
        assert ledger.header == header
        assert standing(ledger) == (3, 2, 1)
        assert ledger.charges() == [charge(noise_multiplier=float(n)) for n in (1, 2, 3)]
        head = ledger.head
    assert head == json.loads(path.read_text().splitlines()[-1])["root"]


def test_a_reopened_ledger_goes_on_where_it_stopped(path: Path, charge: Build) -> None:
    with Ledger.open(path) as ledger:
        ledger.release(3, MODEL)
        ledger.intend(4, charge())
    with Ledger.open(path) as ledger:
        assert standing(ledger) == (4, 3, 3)


def test_pf_24_the_file_holds_the_schema_and_nothing_of_time_or_who_came(path: Path) -> None:
    entries = [json.loads(line)["entry"] for line in path.read_text().splitlines()]
    assert set(entries[0]) == {
        "kind", "schema", "run", "population", "devices", "delta", "ceiling", "config", "unit",
        "adjacency", "scope", "previous", "carried",
    }  # fmt: skip
    assert set(entries[1]) == {"kind", "round", "charge"}
    assert set(entries[2]) == {"kind", "round", "model", "unclipped"}
    assert set(entries[4]) == {"kind", "round", "reason"}


class VoidWithoutReason(BaseModel):
    """The entry of a void round as it was written before there were reasons."""

    kind: str = "void"
    round: int


def test_a_void_round_of_a_ledger_older_than_reasons_is_read(
    tmp_path: Path, header: Header, charge: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "Void", VoidWithoutReason)
    path = tmp_path / "old.jsonl"
    with Ledger.create(path, header) as ledger:
        ledger.intend(1, charge())
        ledger.void(1)
    assert "reason" not in path.read_text()
    record, _ = read_ledger(path)
    assert (record.closed, record.voids, record.void_reasons) == (1, 1, {1: None})


def test_a_ledger_says_why_a_round_was_void(path: Path) -> None:
    record, _ = read_ledger(path)
    assert (record.voids, record.void_reasons) == (1, {2: "too-few-nodes"})


def test_an_entry_is_on_disk_before_the_call_returns(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, header) as ledger:
        ledger.intend(1, charge())
        assert b'"intent"' in path.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(cut=st.integers(1, 200))
def test_a_last_line_cut_anywhere_is_dropped(path: Path, cut: int) -> None:
    content = path.read_bytes()
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    torn = path.with_name("torn.jsonl")
    torn.write_bytes(content[: last + cut % (len(content) - last - 1) + 1])
    with Ledger.open(torn) as ledger:
        assert ledger.record.opened == 2
    assert torn.read_bytes() == content[:last]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(where=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_any_changed_byte_in_a_whole_line_is_found(path: Path, where: int, flip: int) -> None:
    content = bytearray(path.read_bytes())
    where %= len(content) - 1  # the last newline makes a torn line, not damage
    content[where] ^= flip
    bad = path.with_name("bad.jsonl")
    bad.write_bytes(content)
    line = bytes(content[:where]).count(b"\n") + 1
    with pytest.raises(IntegrityError, match=rf"line {line} ") as refusal:
        Ledger.open(bad)
    assert refusal.value.exit_code == 14
    assert bad.read_bytes() == content  # evidence is kept


@pytest.mark.parametrize("line", [1, 2, 3, 4])
def test_a_removed_line_is_found(path: Path, line: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:line] + lines[line + 1 :]))
    with pytest.raises(IntegrityError, match=f"line {line + 1} "):
        Ledger.open(path)


@pytest.mark.parametrize(
    "content", [b"", b'{"entry": 1', b"\n", b"[]\n", b"{}\n", b'{"entry":', b"[" * 99_999 + b"\n"]
)
def test_a_file_without_a_header_is_no_ledger(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="line 1"):
        Ledger.open(path)


def test_a_well_rooted_entry_out_of_turn_is_refused(path: Path) -> None:
    header = path.read_bytes().splitlines(keepends=True)[0]
    entry: dict[str, int | str | None] = {
        "kind": "release",
        "round": 1,
        "model": MODEL,
        "unclipped": None,
    }
    leaves = [  # RFC 6962 section 2.1, by hand
        hashlib.sha256(b"\0" + data).digest()
        for data in (rfc8785.dumps(json.loads(header)["entry"]), rfc8785.dumps(entry))
    ]
    root = hashlib.sha256(b"\1" + leaves[0] + leaves[1]).hexdigest()
    path.write_bytes(header + rfc8785.dumps({"entry": entry, "root": root}) + b"\n")
    with pytest.raises(IntegrityError, match="round 1 is not open"):
        Ledger.open(path)


@pytest.mark.parametrize("version", ["ledger/2", "ledger/3"])
def test_a_ledger_of_before_there_were_roots_is_read_and_goes_on_as_a_chain_of_hashes(
    tmp_path: Path, header: Header, charge: Build, version: str
) -> None:
    path = tmp_path / "old.jsonl"
    old = header.model_copy(update={"version": version})
    with Ledger.create(path, old) as ledger:
        ledger.intend(1, charge())
    with Ledger.open(path, signer=SigningKey(bytes(32))) as ledger:
        ledger.release(1, MODEL)
        ledger.checkpoint()
        with pytest.raises(ValueError, match=f"a {version} holds no such entry"):
            ledger.enter(RunClosed(ended="finished"))
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    head = bytes(32)
    for line in lines:  # the format of that time, by hand
        assert set(line) == {"entry", "hash"}
        head = hashlib.sha256(head + rfc8785.dumps(line["entry"])).digest()
        assert line["hash"] == head.hex()
    assert not {"previous", "carried"} & set(lines[0]["entry"])
    assert read_ledger(path)[0].charges() == [charge()]
    assert [file.name for file in tmp_path.iterdir()] == ["old.jsonl"]  # it has no checkpoint
    with pytest.raises(ValidationError, match="schema"):
        Header.model_validate({**lines[0]["entry"], "schema": "ledger/5"})


def test_pf_14_two_processes_cannot_write_one_ledger(path: Path) -> None:
    program = "import sys; from pathlib import Path; from homebody_privacy.ledger import Ledger; "
    program += "Ledger.open(Path(sys.argv[1]))"
    with Ledger.open(path):
        with pytest.raises(UsageError, match="another process"):
            Ledger.open(path)
        command = [sys.executable, "-c", program, str(path)]
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "UsageError" in other.stderr
    Ledger.open(path).close()


def test_a_ledger_is_never_written_over(path: Path, header: Header) -> None:
    with pytest.raises(FileExistsError):
        Ledger.create(path, header)


def test_reading_needs_no_right_to_write_and_tells_whether_a_run_goes_on(path: Path) -> None:
    record, closed = read_ledger(path)
    assert (record.opened, record.released, closed) == (3, 1, True)
    with Ledger.open(path):
        assert read_ledger(path)[1] is False


def test_rounds_are_opened_and_released_in_turn_only(path: Path, charge: Build) -> None:
    with Ledger.open(path) as ledger:
        before = path.read_bytes()
        for number in (1, 3, 5):
            with pytest.raises(ValueError, match="cannot be opened"):
                ledger.intend(number, charge())
        for number in (1, 2, 4):
            with pytest.raises(ValueError, match="not open"):
                ledger.release(number, MODEL)
            with pytest.raises(ValueError, match="not open"):
                ledger.void(number)
        with pytest.raises(ValueError, match="the one before is open"):
            ledger.intend(4, charge())
        with pytest.raises(ValueError, match="at least one release"):
            ledger.purchase("tuning", charge(rounds=0))
        with pytest.raises(ValidationError, match="model"):
            ledger.release(3, "no digest")
        assert path.read_bytes() == before
        ledger.release(3, MODEL)
        with pytest.raises(ValueError, match="not open"):
            ledger.release(3, MODEL)
        with pytest.raises(ValueError, match="not open"):
            ledger.void(3)
        with pytest.raises(ValueError, match="at least 1 round"):
            ledger.intend(4, charge(rounds=0))


def test_a_void_round_says_so_and_stays_charged(path: Path, charge: Build) -> None:
    with Ledger.open(path) as ledger:
        ledger.void(3)
        assert standing(ledger) == (3, 3, 1)
        assert ledger.record.voids == 2
        assert len(ledger.charges()) == 3
        ledger.intend(4, charge())
        ledger.release(4, MODEL)
        assert standing(ledger) == (4, 4, 4)


def test_numbers_that_canonical_json_writes_without_a_point_read_back(
    tmp_path: Path, header: Header, charge: Build
) -> None:
    vast = charge(noise_multiplier=3.486827174004457e16, count_multiplier=1e300)
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, header.model_copy(update={"ceiling": 1e17})) as ledger:
        ledger.intend(1, charge())
        ledger.release(1, MODEL, unclipped=1.0)
        ledger.intend(2, vast)
    assert b"34868271740044570" in path.read_bytes()
    with Ledger.open(path) as ledger:
        assert ledger.header.ceiling == 1e17
        assert ledger.charges() == [charge(), vast]
        assert ledger.record.unclipped == [1.0]


def test_a_figure_that_is_no_number_is_never_entered(path: Path, charge: Build) -> None:
    before = path.read_bytes()
    with Ledger.open(path) as ledger:
        with pytest.raises(ValidationError):
            ledger.release(3, MODEL, unclipped=float("nan"))
        assert path.read_bytes() == before
        ledger.purchase("metrics/hit_rate/1", charge())
        bought = path.read_bytes()
        with pytest.raises(ValidationError):
            ledger.answer("metrics/hit_rate/1", {"hit_rate": float("inf")})
        assert path.read_bytes() == bought


def test_a_ledger_that_cannot_be_written_takes_no_further_entry(
    path: Path, header: Header, charge: Build
) -> None:
    with Path("/dev/full").open("r+b", buffering=0) as full:
        ledger = Ledger(path, full, LedgerRecord(header), chain_of(header))
        with pytest.raises(OSError, match="No space"):
            ledger.intend(1, charge())
        assert ledger.record.opened == 0
        with pytest.raises(ValueError, match="closed"):
            ledger.intend(1, charge())


class Filling(FileIO):
    """A file on a disk that fills up in the middle of a line."""

    def write(self, line: Buffer, /) -> int:
        """Write the first nine bytes."""
        return super().write(bytes(line)[:9]) or 0


def test_a_line_written_in_part_closes_the_ledger_and_is_dropped_later(
    path: Path, header: Header, charge: Build
) -> None:
    before = path.read_bytes()
    ledger = Ledger(path, Filling(path, "a"), LedgerRecord(header), chain_of(header))
    with pytest.raises(OSError, match="cut short"):
        ledger.intend(1, charge())
    assert len(path.read_bytes()) == len(before) + 9
    with pytest.raises(ValueError, match="closed"):
        ledger.intend(1, charge())
    with Ledger.open(path) as again:
        assert standing(again) == (3, 2, 1)
    assert path.read_bytes() == before
