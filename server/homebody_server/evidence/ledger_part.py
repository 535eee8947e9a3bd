"""Section 10: every entry of the ledger in words, and proofs that they are under the checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import rfc8785

from homebody_privacy.merkle import Tree
from homebody_server.evidence.sources import Entry, RunRecord

_PROVED: Final = ("config_approved", "intent", "release", "void", "model_released", "run_closed")
"""Kinds of entry that a pack proves: what was approved, every round, what was given out."""

_DIGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Row:
    """An entry in words.

    Attributes:
        index: Its place.
        kind: What it is.
        words: What it says.
    """

    index: int
    kind: str
    words: str


def rows_of(record: RunRecord) -> tuple[Row, ...]:
    """Return every entry in words."""
    return tuple(Row(one.index, one.kind, _words(one)) for one in record.entries)


def proofs_of(record: RunRecord) -> dict[str, Any]:
    """Return the inclusion proofs of rounds, approval and model under the last checkpoint.

    Returns:
        JSON values: ``size``, ``root``, ``checkpoint`` (the signed note) and ``proofs``, each with
        ``index``, ``kind``, ``leaf`` (RFC 8785 JSON of the entry) and ``path``, hashes as hex from
        the leaf upward (RFC 6962). Where the ledger is a hash chain, ``why_not`` says so.
    """
    header = record.entries[0].values if record.entries else {}
    note = record.files.get("checkpoint")
    if header.get("schema") != "ledger/4" or note is None:
        return {
            "schema": "homebody.proofs/1",
            "why_not": "this ledger is a chain of hashes without a signed checkpoint",
        }
    leaves = [rfc8785.dumps(dict(one.values)) for one in record.entries]
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return {
        "schema": "homebody.proofs/1",
        "size": tree.size,
        "root": tree.root().hex(),
        "checkpoint": note.decode("utf-8", "replace"),
        "proofs": [
            {
                "index": one.index,
                "kind": one.kind,
                "leaf": leaves[one.index].decode(),
                "path": [step.hex() for step in tree.inclusion_proof(one.index, tree.size)],
            }
            for one in record.entries
            if one.kind in _PROVED
        ],
    }


def _words(entry: Entry) -> str:
    told = _WORDS.get(entry.kind)
    if told is not None:
        return told(entry.values)
    rest = {n: v for n, v in entry.values.items() if n != "kind" and v is not None}
    return ", ".join(f"{name} {_short(value)}" for name, value in sorted(rest.items()))


def _header(v: Mapping[str, Any]) -> str:
    return (
        f"{v['schema']}: delta {v['delta']:g}, epsilon at most {v['ceiling']:g}, unit {v['unit']}, "
        f"{v['adjacency']}, scope {v['scope']}, config {_short(v['config'])}, "
        f"{len(v.get('carried') or ())} charges carried in"
    )


def _intent(v: Mapping[str, Any]) -> str:
    paid = "paid for before" if v["charge"] is None else _charge(v["charge"])
    return f"round {v['round']} may start: {paid}"


def _void(v: Mapping[str, Any]) -> str:
    return f"round {v['round']} released nothing: {v.get('reason') or 'no reason stated'}"


def _answer(v: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{name} {value:.4f}" for name, value in sorted(v["values"].items()))
    return f"{v['name']} released with noise: {shown}"


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "header": _header,
    "purchase": lambda v: f"{v['name']} bought: {_charge(v['charge'])}",
    "intent": _intent,
    "release": lambda v: f"round {v['round']} released: model {_short(v['model'])}",
    "void": _void,
    "answer": _answer,
    "statistic": lambda v: f"{v['name']} released: sum {_short(v['sum'])}",
    "unanswered": lambda v: f"{v['name']} released nothing: {v['reason']}; its charge stands",
}


def _charge(charge: Mapping[str, Any]) -> str:
    kind = str(charge["kind"]).replace("-", " ")
    words = f"{kind}, noise multiplier {charge['noise_multiplier']:g}"
    match charge["kind"]:
        case "correlated-run":
            return (
                f"{words}, sensitivity {charge['sensitivity']:.5f}, {charge['rounds']} rounds, at "
                f"most {charge['max_rounds']} joins, {charge['min_separation']} apart"
            )
        case "poisson-rounds":
            return (
                f"{words}, {charge['cohort_size']} of {charge['population']} expected, at most "
                f"{charge['cohort_cap']}"
            )
        case _:
            return f"{words}, {charge['releases']} times"


def _short(value: object) -> str:
    """Return a value in few letters: of a digest its first twelve."""
    if isinstance(value, str):
        return value[:12] if len(value) == _DIGEST else value
    if isinstance(value, list):
        return "/".join(_short(one) for one in value) or "none"
    return str(value)
