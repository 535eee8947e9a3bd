"""Edits of a ledger and its signed checkpoint."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import rfc8785

from homebody_privacy.checkpoint import LedgerCheckpoint, ledger_key, sign_checkpoint
from homebody_privacy.merkle import Tree
from homebody_privacy.note import cosign_note
from homebody_privacy.signing import SigningKey

from .mutants import Mutant, at, flipped, leaves, other, put, rng
from .world import WITNESS, World

ENTRIES: Final = 15
"""Entries of the untouched ledger; the world says so (a test)."""

_STRANGER: Final = SigningKey(bytes([77]) * 32)
_FLIPS: Final = 20

Lines = list[dict[str, Any]]
Change = Callable[[Lines], Lines]


def mutants() -> Iterator[Mutant]:
    """Give every edit of the ledger and the checkpoint."""
    for index in range(ENTRIES):
        for turn in range(2):
            name = f"entry {index}, value {turn}"
            yield _ledger("ledger entry", name, _value(index, turn))
        yield _ledger("ledger entry", f"entry {index} removed", _removed(index))
        name = f"entry {index} changed, all roots made anew"
        yield _ledger("ledger rewritten", name, _value(index, 0), anew=True)
    for index in range(1, ENTRIES - 1):
        yield _ledger("ledger entry", f"entries {index} and {index + 1} swapped", _swapped(index))
    for size in (1, 4, 9, 14):
        yield _ledger("ledger cut", f"to {size} entries", _cut(size))
        yield _ledger(
            "ledger rewritten", f"entry {size} twice, roots anew", _twice(size), anew=True
        )
    for index in (3, 8):
        yield _ledger(
            "ledger rewritten", f"{index} removed, roots anew", _removed(index), anew=True
        )
    yield _ledger("ledger rewritten", "an entry more, roots anew", _more, anew=True)
    for number in range(_FLIPS):
        yield _verify("ledger bytes", f"bit {number}", _flip("ledger.jsonl", number))
        yield _verify("checkpoint", f"bit {number}", _flip("checkpoint", number))
    for name, edit in _CHECKPOINTS.items():
        yield _verify("checkpoint", name, edit)
    for name, edit in _FILES.items():
        yield _verify("ledger file", name, edit)


def resigned(world: World, change: Change, *, witness: bool) -> None:
    """Write a whole new story and sign it with the operator's own key.

    Args:
        world: A copy.
        change: The new story.
        witness: Whether the witness, too, signs it.
    """
    _write(world, change(_lines(world)), anew=True)
    tree = _tree(_lines(world))
    origin = "homebody.ledger/autumn"
    note = sign_checkpoint(
        LedgerCheckpoint(origin, tree.size, tree.root()), ledger_key(world.root / "runs")
    )
    if witness:
        note = cosign_note(note, WITNESS, world.signers[WITNESS], world.now)
    (world.run / "checkpoint").write_text(note, "utf-8")


def _ledger(kind: str, name: str, change: Change, *, anew: bool = False) -> Mutant:
    def apply(world: World) -> None:
        before = (world.run / "ledger.jsonl").read_bytes()
        _write(world, change(_lines(world)), anew=anew)
        assert (world.run / "ledger.jsonl").read_bytes() != before

    return _verify(kind, name, apply)


def _verify(kind: str, name: str, apply: Callable[[World], None]) -> Mutant:
    return Mutant(kind, name, "verify", (14,), apply)


def _lines(world: World) -> Lines:
    content = (world.run / "ledger.jsonl").read_text("utf-8")
    return [json.loads(line) for line in content.splitlines()]


def _write(world: World, lines: Lines, *, anew: bool) -> None:
    tree = Tree()
    for line in lines:
        tree.append(rfc8785.dumps(line["entry"]))
        if anew:
            line["root"] = tree.root().hex()
    content = b"".join(rfc8785.dumps(line) + b"\n" for line in lines)
    (world.run / "ledger.jsonl").write_bytes(content)


def _tree(lines: Lines) -> Tree:
    tree = Tree()
    for line in lines:
        tree.append(rfc8785.dumps(line["entry"]))
    return tree


def _value(index: int, turn: int) -> Change:
    def change(lines: Lines) -> Lines:
        entry = lines[index]["entry"]
        found = [path for path in leaves(entry) if at(entry, path) is not None]
        path = rng("ledger", index, turn).sample(found, k=min(2, len(found)))[turn % len(found)]
        put(entry, path, other(at(entry, path), rng("ledger value", index, turn)))
        return lines

    return change


def _removed(index: int) -> Change:
    return lambda lines: [*lines[:index], *lines[index + 1 :]]


def _swapped(index: int) -> Change:
    return lambda lines: [
        *lines[:index],
        lines[index + 1],
        lines[index],
        *lines[index + 2 :],
    ]


def _cut(size: int) -> Change:
    return lambda lines: lines[:size]


def _twice(index: int) -> Change:
    return lambda lines: [*lines[: index + 1], *json.loads(json.dumps(lines[index:]))]


def _more(lines: Lines) -> Lines:
    return [*lines, {"entry": {"kind": "withdrawals", "bucket": "1-99"}, "root": ""}]


def _flip(name: str, number: int) -> Callable[[World], None]:
    return lambda world: flipped(world.run / name, rng(name, number))


def _note(world: World) -> str:
    return (world.run / "checkpoint").read_text("utf-8")


def _write_note(world: World, note: str) -> None:
    (world.run / "checkpoint").write_text(note, "utf-8")


def _text(world: World, old: str, new: str) -> None:
    note = _note(world)
    assert old in note
    _write_note(world, note.replace(old, new, 1))


def _without_line(number: int) -> Callable[[World], None]:
    def apply(world: World) -> None:
        text, below = _note(world).split("\n\n")
        lines = below.splitlines(keepends=True)
        del lines[number]
        _write_note(world, f"{text}\n\n{''.join(lines)}")

    return apply


def _by(key: SigningKey) -> Callable[[World], None]:
    def apply(world: World) -> None:
        tree = _tree(_lines(world))
        there = LedgerCheckpoint("homebody.ledger/autumn", tree.size, tree.root())
        _write_note(world, sign_checkpoint(there, key))

    return apply


def _of_another_run(world: World) -> None:
    tree = _tree(_lines(world))
    there = LedgerCheckpoint("homebody.ledger/winter", tree.size, tree.root())
    note = sign_checkpoint(there, ledger_key(world.root / "runs"))
    _write_note(world, cosign_note(note, WITNESS, world.signers[WITNESS], world.now))


def _older(world: World) -> None:
    tree = _tree(_lines(world)[:9])
    there = LedgerCheckpoint("homebody.ledger/autumn", 9, tree.root())
    note = sign_checkpoint(there, ledger_key(world.root / "runs"))
    _write_note(world, cosign_note(note, WITNESS, world.signers[WITNESS], world.now))


def _other_witness(world: World) -> None:
    _without_line(1)(world)
    _write_note(world, cosign_note(_note(world), WITNESS, _STRANGER, world.now))


def _other_root(world: World) -> None:
    line = _note(world).splitlines()[2]
    _text(world, line, base64.b64encode(bytes(32)).decode())


def _retold(change: Change) -> Callable[[World], None]:
    """Rewrite the story and sign it anew, without the witness who saw the first one."""
    return lambda world: resigned(world, change, witness=False)


_CHECKPOINTS: Final[dict[str, Callable[[World], None]]] = {
    "missing": lambda w: (w.run / "checkpoint").unlink(),
    "empty": lambda w: _write_note(w, ""),
    "another size": lambda w: _text(w, "\n15\n", "\n16\n"),
    "another root": _other_root,
    "another origin": lambda w: _text(w, "/autumn", "/winter"),
    "of another run, signed": _of_another_run,
    "older, signed by both": _older,
    "without the operator": _without_line(0),
    "without the witness": _without_line(1),
    "by a stranger": _by(_STRANGER),
    "by another witness": _other_witness,
    "retold: a charge less": _retold(_removed(8)),
    "retold: less noise": _retold(_value(3, 0)),
    "retold: cut": _retold(_cut(9)),
    "retold: another approval": _retold(_value(2, 0)),
}


def _shortened(world: World, end: int | None) -> None:
    path = world.run / "ledger.jsonl"
    path.write_bytes(b"" if end is None else path.read_bytes()[:end])


def _spaced(world: World) -> None:
    path = world.run / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'":', b'": ', 1))


def _linked(world: World) -> None:
    path = world.run / "ledger.jsonl"
    path.rename(world.run / "elsewhere")
    path.symlink_to(world.run / "elsewhere")


_FILES: Final[dict[str, Callable[[World], None]]] = {
    "missing": lambda w: (w.run / "ledger.jsonl").unlink(),
    "empty": lambda w: _shortened(w, None),
    "last line cut short": lambda w: _shortened(w, -1),
    "half": lambda w: _shortened(w, -2000),
    "of spaces": _spaced,
    "a link": _linked,
}
