"""Edits of what reviewers signed: beside the config, in a run's record, and while they sign."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from homebody_privacy.approval.approvals_file import read_approvals, write_approvals
from homebody_privacy.approval.dsse import Envelope, Signature
from homebody_privacy.approval.statement import PAYLOAD_TYPE, Approval, sign, unverified
from homebody_privacy.signing import SigningKey

from .edits_config import setting
from .mutants import Mutant, rng
from .world import DAY, DPO, SECURITY, World

Values = dict[str, Any]
_Envelopes = list[Envelope]


def _signed(world: World, envelopes: _Envelopes, *, by: str = DPO, **changes: Any) -> _Envelopes:  # noqa: ANN401
    """Let a person sign a changed statement in the place of their own."""
    found = []
    for one in envelopes:
        said = unverified(one)
        assert isinstance(said, Approval)
        told = {name: getattr(said, name) for name in Approval.__slots__}
        changed = sign(Approval(**{**told, **changes}), world.signers[by])
        found.append(changed if said.by == by else one)
    return found


def _forged(one: Envelope, **changes: object) -> Envelope:
    """Change the payload and keep the signature."""
    value = json.loads(one.payload)
    value["predicate"].update(changes)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Envelope(PAYLOAD_TYPE, text.encode(), one.signatures)


def _flip(one: Envelope, number: int) -> Envelope:
    raw = bytearray(one.signatures[0].sig)
    raw[rng("sig", number).randrange(len(raw))] ^= 1 << rng("bit", number).randrange(8)
    return Envelope(
        one.payload_type, one.payload, (Signature(one.signatures[0].keyid, bytes(raw)),)
    )


_STRANGER: Final = SigningKey(bytes([77]) * 32)
_OTHER: Final = "0" * 64

Change = Callable[[World, _Envelopes], _Envelopes]

_REFUSED: Final[dict[str, Change]] = {
    "none": lambda _, e: e[:0],
    "one of two": lambda _, e: e[:1],
    "the other of two": lambda _, e: e[1:],
    "one twice": lambda _, e: [e[0], e[0]],
    "another app": lambda w, e: _signed(w, e, app=_OTHER),
    "another config": lambda w, e: _signed(w, e, config=_OTHER),
    "another revision": lambda w, e: _signed(w, e, revision=99),
    "another notice": lambda w, e: _signed(w, e, policy_version=99),
    "another policy": lambda w, e: _signed(w, e, policy=_OTHER),
    "no policy": lambda w, e: _signed(w, e, policy=None),
    "expired": lambda w, e: _signed(w, e, expires=w.now - 1),
    "of the future": lambda w, e: _signed(w, e, issued=w.now + DAY),
    "for too long": lambda w, e: _signed(w, e, expires=w.now + 10_000 * DAY),
    "the other's, too: another app": lambda w, e: _signed(w, e, by=SECURITY, app=_OTHER),
    "the other's, too: expired": lambda w, e: _signed(w, e, by=SECURITY, expires=w.now - 1),
    "by a stranger": lambda _, e: [
        e[0],
        sign(Approval(**_told(e[1], by="x@example.org")), _STRANGER),
    ],
}
_BROKEN_APPROVALS: Final[dict[str, Change]] = {
    **{f"signature byte {i}": (lambda _, e, i=i: [_flip(e[0], i), e[1]]) for i in range(6)},  # type: ignore[misc]
    "later expiry, not signed": lambda w, e: [_forged(e[0], expires=w.now + 60 * DAY), e[1]],
    "another name, not signed": lambda _, e: [e[0], _forged(e[0], by=SECURITY)],
    "another revision, not signed": lambda _, e: [_forged(e[0], revision=2), e[1]],
    "another policy, not signed": lambda _, e: [_forged(e[0], policy=_OTHER), e[1]],
    "a waiver, not signed": lambda _, e: [_forged(e[0], waivers=[_OTHER]), e[1]],
    "signed by a stranger's key": lambda _, e: [
        sign(Approval(**_told(e[0])), _STRANGER),
        e[1],
    ],
    "another type": lambda _, e: [Envelope("text/plain", e[0].payload, e[0].signatures), e[1]],
}


def _told(one: Envelope, **changes: object) -> Values:
    said = unverified(one)
    assert isinstance(said, Approval)
    return {**{name: getattr(said, name) for name in Approval.__slots__}, **changes}


def mutants() -> Iterator[Mutant]:
    """Give every edit of approvals."""
    yield from _approvals()
    yield from _approving()


def _approvals() -> Iterator[Mutant]:
    for name, change in _REFUSED.items():
        yield Mutant("approvals that do not count", name, "run", (10,), _beside(change))
    for name, change in _BROKEN_APPROVALS.items():
        yield Mutant("approvals that were changed", name, "run", (14,), _beside(change))
    for name, change in {**_REFUSED, **_BROKEN_APPROVALS}.items():
        yield Mutant("approvals of the run", name, "verify", (10, 14), _of_run(change))
    yield Mutant("approvals that were changed", "file of no JSON", "run", (14,), _no_json)


def _beside(change: Change) -> Callable[[World], None]:
    def apply(world: World) -> None:
        write_approvals(world.approvals, change(world, list(read_approvals(world.approvals))))

    return apply


def _of_run(change: Change) -> Callable[[World], None]:
    def apply(world: World) -> None:
        before = list(read_approvals(world.approvals))
        values = json.loads((world.run / "run.json").read_text("utf-8"))
        values["approvals"] = [one.to_json() for one in change(world, before)]
        (world.run / "run.json").write_text(json.dumps(values), "utf-8")

    return apply


def _no_json(world: World) -> None:
    world.approvals.write_text("{", "utf-8")


def _approving() -> Iterator[Mutant]:
    """Give edits that a reviewer's own command refuses."""
    cases: dict[str, tuple[Callable[[World], None], int]] = {
        "not an approver": (setting(("approval", "approvers"), [SECURITY, "x@example.org"]), 10),
        "a rule fails": (setting(("dp", "epsilon_max"), 5.0), 10),
        "no TOML": (_no_toml, 2),
        "another key": (_other_key, 10),
        "key open to others": (_open_key, 2),
        "key cut short": (_short_key, 2),
        "pinned under another name": (_pinned_otherwise, 10),
    }
    for name, (apply, code) in cases.items():
        yield Mutant("approve", name, "approve", (code,), apply)


def _no_toml(world: World) -> None:
    world.config.write_text("[dp", "utf-8")


def _other_key(world: World) -> None:
    _STRANGER.save(world.root / "dpo.key")


def _open_key(world: World) -> None:
    world.signers[DPO].save(world.root / "dpo.key")
    (world.root / "dpo.key").chmod(0o644)


def _short_key(world: World) -> None:
    path = world.root / "dpo.key"
    path.write_bytes(b"short")
    path.chmod(0o600)


def _pinned_otherwise(world: World) -> None:
    text = world.reviewers.read_text("utf-8").replace(DPO, "other@example.org")
    world.reviewers.write_text(text, "utf-8")
