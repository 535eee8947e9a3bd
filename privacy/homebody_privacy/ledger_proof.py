"""What a server shows a device of its ledger before a round, and what the device makes of it.

Shown are the ledger's checkpoint as its operator signed it, a proof that it begins with what the
device saw last, where a witness is asked for the latest checkpoint the witness cosigned with a
proof that the present one begins with it, and the entries that matter with proofs that they are in
it: the header, the approval, and what the sum was charged as. The witness sees a run when it opens
and whenever it cosigns; between two cosignatures entries of rounds rest on the operator's signature
and on what each device pinned.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import rfc8785

from .errors import IntegrityError, LedgerRefusedError
from .note import VerifierKey
from .pinned import Inclusion, Pin, PinnedKeys, advance

MOST_SIZES: Final = 64
"""Most earlier checkpoints a proof starts from: those a node may have seen and not answered."""

_HASH_HEX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerProof:
    """What is shown. Public; nothing of it is trusted.

    Attributes:
        checkpoint: Signed note of the ledger as it is now.
        consistency: By size of an earlier checkpoint, hashes of 32 bytes from it to this one.
        inclusions: Entries that matter.
        witnessed: The latest note that a witness cosigned; empty for none.
        since: Hashes of 32 bytes from that note's size to this one's.
    """

    checkpoint: str
    consistency: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)
    inclusions: tuple[Inclusion, ...] = ()
    witnessed: str = ""
    since: tuple[bytes, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: hashes as hex, sizes as text."""
        return {
            "checkpoint": self.checkpoint,
            "consistency": {str(size): _hexed(proof) for size, proof in self.consistency.items()},
            "inclusions": [
                {"entry": one.data.decode(), "index": one.index, "proof": _hexed(one.proof)}
                for one in self.inclusions
            ],
            "witnessed": self.witnessed,
            "since": _hexed(self.since),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` returned.

        Raises:
            LedgerRefusedError: If it is anything else.
        """
        try:
            if value.keys() != set(cls.__slots__) or len(value["consistency"]) > MOST_SIZES:
                raise ValueError("it has other fields")  # noqa: TRY301 - one message for all
            return cls(
                checkpoint=_text(value["checkpoint"]),
                consistency={int(s): _bytes(p) for s, p in value["consistency"].items()},
                inclusions=tuple(
                    Inclusion(
                        data=_text(one["entry"]).encode(),
                        index=int(one["index"]),
                        proof=_bytes(one["proof"]),
                    )
                    for one in value["inclusions"]
                ),
                witnessed=_text(value["witnessed"]),
                since=_bytes(value["since"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise LedgerRefusedError("what was shown of the ledger is no proof") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a device asks a ledger for.

    Attributes:
        operator: Key of the ledger.
        witnesses: Keys of which one must have cosigned the run's opening; None where the config
            asks for no witness.
        config: Digest of the config in force, hex.
        app: Digest of the installed app, hex.
        charge: What the sum is charged as: ``round/3``, or the name of a purchase.
    """

    operator: VerifierKey
    witnesses: tuple[VerifierKey, ...] | None
    config: str
    app: str
    charge: str

    def checked(self, pin: Pin | None, proof: LedgerProof) -> Pin:
        """Return what to keep in the place of ``pin``.

        Args:
            pin: What was kept of this run's ledger; None at first.
            proof: What was shown.

        Raises:
            LedgerRefusedError: If a signature is missing, the ledger does not begin with what was
                seen before, or an entry that matters is not in it.
        """
        steps = () if pin is None else proof.consistency.get(pin.size)
        if steps is None:
            raise LedgerRefusedError("no proof starts from the checkpoint that was seen last")
        try:
            latest = advance(
                pin, proof.checkpoint, PinnedKeys(self.operator), steps, proof.inclusions
            )
            seen = latest.size if self.witnesses is None else self._witnessed(proof, latest)
        except IntegrityError as error:
            raise LedgerRefusedError(str(error)) from error
        self._check_entries(proof.inclusions, seen)
        return latest

    def _witnessed(self, proof: LedgerProof, latest: Pin) -> int:
        """Return how many entries a witness has seen of the ledger that was checked."""
        for key in self.witnesses or ():
            try:
                witnessed = advance(None, proof.witnessed, PinnedKeys(self.operator, key))
            except IntegrityError:
                continue
            keys = PinnedKeys(self.operator)
            if advance(witnessed, proof.checkpoint, keys, proof.since) == latest:
                return witnessed.size
        raise LedgerRefusedError("no witness that is pinned cosigned the ledger")

    def _check_entries(self, inclusions: Sequence[Inclusion], seen: int) -> None:
        """Refuse where header, approval or charge is not among what is included."""
        entries = [(one.index, _entry(one.data)) for one in inclusions]

        def has(*, early: bool, **wanted: object) -> bool:
            return any(
                wanted.items() <= entry.items() and (index < seen or not early)
                for index, entry in entries
            )

        if not (entries and entries[0][0] == 0 and entries[0][1].get("config") == self.config):
            raise LedgerRefusedError("the ledger is of another config")
        if not has(early=True, kind="config_approved", config=self.config, app=self.app):
            raise LedgerRefusedError("the approval of config and app is not in the ledger")
        if not self.charge.startswith("round/"):
            if not has(early=False, kind="purchase", name=self.charge):
                raise LedgerRefusedError("the ledger holds no charge of this sum")
            return
        number = int(self.charge.removeprefix("round/"))
        opened = [e for _, e in entries if e.get("kind") == "intent" and e.get("round") == number]
        if not opened:
            raise LedgerRefusedError("the ledger holds no charge of this round")
        if opened[0].get("charge") is None and not has(early=True, kind="purchase", name="run"):
            raise LedgerRefusedError("the ledger holds no charge of the run")


def _entry(data: bytes) -> dict[str, Any]:
    """Return an entry from the bytes of its leaf, which are canonical."""
    try:
        value = json.loads(data)
        if not isinstance(value, dict) or rfc8785.dumps(value) != data:
            raise ValueError("it is not canonical")  # noqa: TRY301 - one message for all
    except (RecursionError, ValueError) as error:
        raise LedgerRefusedError("an entry of the ledger is not what was written") from error
    return value


def _hexed(hashes: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in hashes]


def _bytes(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or any(len(_text(one)) != _HASH_HEX for one in value):
        raise ValueError("a proof is a list of SHA-256, hex")
    return tuple(bytes.fromhex(one) for one in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("text is expected")  # noqa: TRY004 - who reads catches one kind
    return value
