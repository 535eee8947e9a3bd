"""Verify over the runs of a lifetime: each names the one before it and carries in what it spent."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from homebody_privacy.charges import GaussianReleases
from homebody_privacy.merkle import Tree
from homebody_server.evidence.facts import RunFacts
from homebody_server.evidence.independent_lines import RawLedger, parse_ledger
from homebody_server.evidence.verify_before import check_before
from homebody_server.evidence.verify_ledger import check_ledger

CHARGE = GaussianReleases(noise_multiplier=20.0, releases=1).to_dict()


@dataclass(slots=True)
class Story:
    """A ledger being written.

    Attributes:
        run: Name of its run.
        entries: All of it.
    """

    run: str
    entries: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, after: "Story | None" = None, carried: int = 0, **header: object) -> "Story":
        """Enter the header."""
        previous = None
        if after is not None:
            previous = {"run": after.run, "size": len(after.entries), "root": after.root()}
        times = {**CHARGE, "releases": carried}
        self.entries.append(
            {
                "kind": "header",
                "schema": "ledger/4",
                "run": self.run,
                "population": "a" * 64,
                "scope": "lifetime",
                "delta": 1e-5,
                "previous": previous,
                "carried": [times] if carried else [],
                **header,
            }
        )
        return self

    def spend(self, times: int) -> "Story":
        """Enter purchases."""
        for _ in range(times):
            name = f"metrics/quality/{len(self.entries)}"
            self.entries.append({"kind": "purchase", "name": name, "charge": CHARGE})
        return self

    def root(self) -> str:
        """Return the Merkle root, as hex."""
        return self._tree().root().hex()

    def write(self, runs: Path) -> RunFacts:
        """Write the ledger into a folder of runs."""
        folder = runs / self.run
        folder.mkdir(exist_ok=True)
        tree, lines = Tree(), []
        for entry in self.entries:
            tree.append(rfc8785.dumps(entry))
            lines.append(rfc8785.dumps({"entry": entry, "root": tree.root().hex()}) + b"\n")
        content = b"".join(lines)
        (folder / "ledger.jsonl").write_bytes(content)
        return facts_of(folder, parse_ledger(content), content)

    def _tree(self) -> Tree:
        tree = Tree()
        for entry in self.entries:
            tree.append(rfc8785.dumps(entry))
        return tree


def facts_of(folder: Path, ledger: RawLedger, content: bytes) -> RunFacts:
    return RunFacts(
        folder=folder,
        content={"ledger.jsonl": content},
        ledger=ledger,
        config=None,
        run=None,
        report=None,
        audit=None,
        envelopes=(),
        damage=(),
    )


def said(facts: RunFacts, runs: Path) -> list[tuple[str, str]]:
    return [(one.mark, one.text) for one in check_before(facts, runs)]


@pytest.fixture
def first(tmp_path: Path) -> Story:
    story = Story("spring").begin().spend(3)
    story.write(tmp_path)
    return story


def test_cr_34_a_first_run_carries_nothing(tmp_path: Path) -> None:
    facts = Story("spring").begin().spend(1).write(tmp_path)
    assert said(facts, tmp_path) == [("ok", "no run before this one spent of the same budget")]


def test_cr_34_what_was_spent_before_is_carried_in(tmp_path: Path, first: Story) -> None:
    second = Story("summer").begin(first, carried=3).spend(1)
    facts = second.write(tmp_path)
    third = Story("autumn").begin(second, carried=4).write(tmp_path)
    carried = [("ok", "what the runs before spent was carried in")]
    assert said(facts, tmp_path) == said(third, tmp_path) == carried
    begin = facts_of(tmp_path / "spring", *_read(tmp_path / "spring"))
    assert said(begin, tmp_path)[0][0] == "ok"


def _read(folder: Path) -> tuple[RawLedger, bytes]:
    content = (folder / "ledger.jsonl").read_bytes()
    return parse_ledger(content), content


def test_cr_34_less_than_was_spent_is_caught(tmp_path: Path, first: Story) -> None:
    facts = Story("summer").begin(first, carried=2).write(tmp_path)
    assert said(facts, tmp_path) == [("WRONG", "less was carried in than the runs before spent")]


def test_cr_34_a_run_that_forgets_the_one_before_is_caught(tmp_path: Path, first: Story) -> None:
    del first
    facts = Story("summer").begin().write(tmp_path)
    why = "another run on the same people is here whose spend was not carried in"
    assert said(facts, tmp_path) == [("WRONG", why)]


def test_cr_34_a_run_before_that_was_rewritten_is_caught(tmp_path: Path, first: Story) -> None:
    facts = Story("summer").begin(first, carried=3).write(tmp_path)
    Story("spring").begin().spend(2).write(tmp_path)
    ((mark, why),) = said(facts, tmp_path)
    assert (mark, why[:26]) == ("WRONG", "the run before does not en")


def test_cr_34_a_run_before_that_is_elsewhere_is_told_of(tmp_path: Path) -> None:
    gone = Story("spring").begin().spend(1)
    facts = Story("summer").begin(gone, carried=1).write(tmp_path)
    ((mark, why),) = said(facts, tmp_path)
    assert (mark, why[:26]) == ("note", "the run before is not here")


def test_other_people_and_other_scopes_are_left_alone(tmp_path: Path) -> None:
    Story("winter").begin(population="b" * 64).write(tmp_path)
    Story("trial").begin(scope="run").write(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ledger.jsonl").write_bytes(b"{")
    facts = Story("spring").begin().write(tmp_path)
    assert said(facts, tmp_path) == [("ok", "no run before this one spent of the same budget")]


def test_a_run_that_names_itself_does_not_go_round_in_circles(tmp_path: Path) -> None:
    story = Story("spring").begin(previous={"run": "spring", "size": 1, "root": "0" * 64})
    assert said(story.write(tmp_path), tmp_path)[0][0] == "note"


def test_cr_39_a_ledger_of_before_checkpoints_is_checked_by_its_hashes(tmp_path: Path) -> None:
    import hashlib  # noqa: PLC0415 - here alone

    entries: list[dict[str, Any]] = [
        {"kind": "header", "schema": "ledger/3", "delta": 0.1},
        {"kind": "void", "round": 1},
    ]
    head, lines = bytes(32), []
    for entry in entries:
        head = hashlib.sha256(head + rfc8785.dumps(entry)).digest()
        lines.append(rfc8785.dumps({"entry": entry, "hash": head.hex()}) + b"\n")
    content = b"".join(lines)
    good = check_ledger(facts_of(tmp_path, parse_ledger(content), content), None, tmp_path)
    assert [one.mark for one in good.lines] == ["ok", "note"]
    assert good.holds
    changed = content.replace(b'"round":1', b'"round":2')
    bad = check_ledger(facts_of(tmp_path, parse_ledger(changed), changed), None, tmp_path)
    assert [one.text for one in bad.lines] == ["entry 1 (void of round 2) is not what was written"]
    assert not bad.holds
