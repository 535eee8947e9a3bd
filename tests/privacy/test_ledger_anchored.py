"""How an anchored ledger is missed: cut, put back, exchanged or deleted, it is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.anchor import START, AnchorBook, Mark
from homebody_privacy.charges import GaussianReleases, PoissonRounds
from homebody_privacy.errors import IntegrityError
from homebody_privacy.ledger import Ledger, anchor_name, population_prefix, read_ledger
from homebody_privacy.ledger_record import Header

Build = Callable[..., PoissonRounds]
Step = tuple[str, tuple[Any, ...]]
MODEL = "d" * 64
FIGURE = GaussianReleases(noise_multiplier=9.0)


@pytest.fixture
def anchors(tmp_path: Path) -> AnchorBook:
    """Anchors in a folder of their own."""
    return AnchorBook.open(tmp_path / "state" / "anchors")


@pytest.fixture
def lifetime(header: Header) -> Header:
    """Promise of a run whose budget outlives it."""
    return header.model_copy(update={"scope": "lifetime"})


def anchored(path: Path, header: Header, anchors: AnchorBook, charge: PoissonRounds) -> None:
    """Write an anchored ledger of one released round."""
    with Ledger.create(path, header, anchors) as ledger:
        ledger.intend(1, charge)
        ledger.release(1, MODEL)


def refused_everywhere(path: Path, anchors: AnchorBook, why: str) -> None:
    """See that neither a reader nor a writer takes the ledger."""
    for use in (read_ledger, Ledger.open):
        with pytest.raises(IntegrityError, match=why):
            use(path, anchors)


def test_every_entry_of_an_anchored_ledger_moves_its_anchor(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    name = anchor_name(lifetime, path)
    assert name == f"{population_prefix('a' * 64)}{path}"
    with Ledger.create(path, lifetime, anchors) as ledger:
        calls: list[Step] = [
            ("purchase", ("tuning", FIGURE)),
            ("answer", ("tuning", {"a": 1.0})),
            ("intend", (1, charge())),
            ("void", (1,)),
            ("intend", (2, charge())),
            ("release", (2, MODEL)),
        ]
        assert anchors.mark(name) == Mark(1, ledger.head)
        for size, (entry, values) in enumerate(calls, start=2):
            getattr(ledger, entry)(*values)
            assert anchors.mark(name) == Mark(size, ledger.head)
    assert read_ledger(path, anchors)[1]


def test_pf_14_a_cut_ledger_of_a_lifetime_budget_is_refused(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    anchored(path, lifetime, anchors, charge())
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in (1, 2):
        path.write_bytes(b"".join(lines[:kept]))
        read_ledger(path)  # by itself it is in order
        refused_everywhere(path, anchors, "entries at its end were removed")


def test_pf_14_cr_34_a_restored_older_copy_is_refused(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path, backup = tmp_path / "ledger.jsonl", tmp_path / "backup"
    anchored(path, lifetime, anchors, charge())
    shutil.copy(path, backup)
    with Ledger.open(path, anchors) as ledger:
        ledger.intend(2, charge())
    shutil.copy(backup, path)
    refused_everywhere(path, anchors, "an older copy was put back")


def test_pf_14_an_exchanged_ledger_of_the_same_length_is_refused(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path, other = tmp_path / "ledger.jsonl", tmp_path / "other.jsonl"
    anchored(path, lifetime, anchors, charge())
    with Ledger.create(other, lifetime) as ledger:
        ledger.intend(1, charge(noise_multiplier=50.0))
        ledger.release(1, MODEL)
    shutil.copy(other, path)
    refused_everywhere(path, anchors, "were rewritten")


def test_pf_14_a_deleted_ledger_is_not_started_anew(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    anchored(path, lifetime, anchors, charge())
    path.unlink()
    with pytest.raises(IntegrityError, match="deleted"):
        Ledger.create(path, lifetime, anchors)
    assert not path.exists()


def test_pf_14_a_lifetime_ledger_whose_anchors_are_gone_is_refused(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    anchored(path, lifetime, anchors, charge())
    shutil.rmtree(anchors.folder)
    refused_everywhere(path, AnchorBook.open(anchors.folder), "its anchor is gone")


def test_a_ledger_that_is_written_to_may_be_anchored_further_than_a_reader_saw(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    anchored(path, lifetime, anchors, charge())
    with Ledger.open(path, anchors):
        anchors.advance(anchor_name(lifetime, path), Mark(9, "e" * 64))
        record, closed = read_ledger(path, anchors)
        assert (record.released, closed) == (1, False)
    refused_everywhere(path, anchors, "entries at its end were removed")


def test_a_ledger_of_one_run_needs_no_anchor(
    tmp_path: Path, header: Header, anchors: AnchorBook, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, header) as ledger:
        ledger.intend(1, charge())
    assert read_ledger(path, anchors)[0].opened == 1


def test_a_ledger_ahead_of_its_anchor_brings_it_forward(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    anchored(path, lifetime, anchors, charge())
    with Ledger.open(path) as ledger:  # a crash before the anchor was written
        ledger.intend(2, charge())
    name = anchor_name(lifetime, path)
    assert read_ledger(path, anchors)[0].opened == 2
    assert getattr(anchors.mark(name), "size", 0) == 3
    Ledger.open(path, anchors).close()
    assert getattr(anchors.mark(name), "size", 0) == 4


def test_a_ledger_announced_before_a_crash_may_be_made_after_it(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    anchors.advance(anchor_name(lifetime, path), START)
    anchored(path, lifetime, anchors, charge())
    assert read_ledger(path, anchors)[0].released == 1


def test_an_anchored_ledger_is_never_written_over(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    path = tmp_path / "ledger.jsonl"
    anchored(path, lifetime, anchors, charge())
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Ledger.create(path, lifetime, anchors)
    assert path.read_bytes() == before


def test_an_anchor_knows_people_and_place_and_nothing_of_what_was_charged(
    tmp_path: Path, lifetime: Header, anchors: AnchorBook, charge: Build
) -> None:
    anchored(tmp_path / "ledger.jsonl", lifetime, anchors, charge())
    marks = json.loads((anchors.folder / "anchors.json").read_bytes())["body"]["marks"]
    assert set(marks) == {f"ledger|{'a' * 64}|{tmp_path / 'ledger.jsonl'}"}
    assert all(set(mark) == {"head", "size"} for mark in marks.values())
