"""Edits of an evidence pack, by a stranger and by its operator."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import rfc8785

from homebody_privacy.checkpoint import ledger_key
from homebody_privacy.signing import SigningKey
from homebody_server.evidence.document import _signed_bytes
from homebody_server.evidence.manifest import write_manifest

from .mutants import Mutant, flipped, rng
from .world import World

FILES: Final = (
    *("index.html", "ledger.html", "evidence.json", "evidence.schema.json", "proofs.json"),
    *("verify.txt", "documents/opendp-registry.yaml", "record/ledger.jsonl", "record/checkpoint"),
    *("record/privacy.toml", "record/policy.toml", "record/egress.jsonl", "record/approvals.json"),
    *("record/model.hbm/manifest.json", "record/model.hbm/manifest.sig.json", "MANIFEST"),
)
"""Files of a pack that are edited one by one; the world has them all (a test)."""

_LIES: Final = ("epsilon", "epsilon_unamplified")
_STRANGER: Final = SigningKey(bytes([77]) * 32)

Edit = Callable[[World], None]


def mutants() -> Iterator[Mutant]:
    """Give every edit of the pack."""
    for name in FILES:
        for turn in range(2):
            yield _of_pack("pack bytes", f"{name}, bit {turn}", _flip(name, turn))
        if name != "MANIFEST":
            yield _of_pack("pack files", f"{name} missing", _gone(name))
            yield _of_pack("pack files", f"{name} empty", _emptied(name))
    yield _of_pack("pack files", "a file more", _more)
    yield _of_pack("pack files", "a line of the list less", _unlisted)
    yield _of_pack("pack files", "signed by a stranger", lambda w: _listed(w, _STRANGER))
    for name in _LIES:
        for factor in (0.97, 0.5, 0.0):
            yield _of_pack("pack's claim, signed anew", f"{name} x {factor}", _lie(name, factor))
    for name in ("record/ledger.jsonl", "record/checkpoint", "record/model.hbm/manifest.json"):
        for turn in range(2):
            label = f"{name}, bit {turn}, listed anew"
            yield _of_pack("pack's record, listed anew", label, _relisted(_flip(name, turn)))
    for name in ("record/approvals.json", "record/checkpoint", "record/egress.jsonl"):
        label = f"{name} missing, listed anew"
        yield _of_pack("pack's record, listed anew", label, _relisted(_gone(name)))


def _of_pack(kind: str, name: str, apply: Edit) -> Mutant:
    return Mutant(kind, name, "verify pack", (14,), apply)


def _flip(name: str, turn: int) -> Edit:
    return lambda world: flipped(world.pack / name, rng("pack", name, turn))


def _gone(name: str) -> Edit:
    return lambda world: (world.pack / name).unlink()


def _emptied(name: str) -> Edit:
    def apply(world: World) -> None:
        (world.pack / name).write_bytes(b"")

    return apply


def _more(world: World) -> None:
    (world.pack / "more.html").write_text("<p>all is well</p>", "utf-8")


def _unlisted(world: World) -> None:
    path = world.pack / "MANIFEST"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:2], *lines[3:]]), "utf-8")


def _listed(world: World, key: SigningKey) -> None:
    write_manifest(world.pack, key)


def _relisted(edit: Edit) -> Edit:
    """Let the operator list and sign what was edited."""

    def apply(world: World) -> None:
        edit(world)
        _listed(world, ledger_key(world.root / "runs"))

    return apply


def _lie(name: str, factor: float) -> Edit:
    """Let the operator state another figure, sign the document, and list it anew."""

    def apply(world: World) -> None:
        key = ledger_key(world.root / "runs")
        path = world.pack / "evidence.json"
        value: dict[str, Any] = json.loads(path.read_text("utf-8"))
        value["user_level"]["privacy_loss"][name] *= factor
        value["signature"]["value"] = key.sign(_signed_bytes(value)).hex()
        path.write_bytes(rfc8785.dumps(value))
        _listed(world, key)

    return apply
