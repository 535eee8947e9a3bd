"""What the vault keeps of consent: decisions, counter, anchor of the receipts, times and signals.

One value of the vault, replaced in one step with the keys it speaks of. It lies outside every
backup of the profile; it holds no behaviour data and outlives every erasure.
"""

from collections.abc import Mapping
from dataclasses import field, fields, replace
from types import MappingProxyType
from typing import Any, Final, Self

from homebody_client.light_dataclass import dataclass
from homebody_privacy.consent import OPEN_STATES, Decision
from homebody_privacy.consent_terms import ConsentTerms
from homebody_privacy.receipts import NO_CHAIN, ChainEnd, ConsentReceipt

VALUE: Final = "consent"
"""Name of the value in the vault."""
COMMITMENT: Final = "receipts-commitment"
"""Name, in the vault, of the secret under what a server may keep as proof."""

_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A receipt that a closing has promised and may not have written yet.

    Attributes:
        event: A state or a restriction.
        purpose: The switch; empty for a restriction.
        features: Feature groups it is about.
        cause: Why.
        by: Who.
        method: How.
        at: Unix seconds.
    """

    event: str
    at: float
    purpose: str = ""
    features: tuple[str, ...] = ()
    cause: str = ""
    by: str = "DataSubject"
    method: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookState:
    """Everything the book knows between two calls. Secret as a whole.

    Attributes:
        decisions: Current decision by purpose.
        keys: Name of the data key in the vault by purpose, while it has one.
        epoch: Counter of changes.
        end: Where the receipts stand: the anchor.
        base: Where the file of receipts begins; older lines were cut or set aside.
        pending: Receipts of a closing under way.
        last_seen: Latest time the device ever saw, Unix seconds.
        restricted: The person froze processing.
        age: Age band; None is not known.
        signals: Opt-out signals by name; None is unreadable.
        remembered: Last readable state of each signal.
        terms: Terms last in force; None before the first.
        broken_at: When the receipts were found not to verify, Unix seconds; None if they do.
        seen: Every feature group that was ever chosen.
        unswept: The clock was set right, and rows from ahead of it are still to be deleted.
        leaves: Tags that other machines may still hold, by purpose: they are to be told.
    """

    decisions: Mapping[str, Decision] = field(default_factory=dict, repr=False)
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    epoch: int = 0
    end: ChainEnd = NO_CHAIN
    base: ChainEnd = NO_CHAIN
    pending: tuple[Pending, ...] = ()
    last_seen: float = 0.0
    restricted: bool = False
    age: str | None = field(default=None, repr=False)
    signals: Mapping[str, bool | None] = field(default_factory=dict, repr=False)
    remembered: Mapping[str, bool] = field(default_factory=dict, repr=False)
    terms: ConsentTerms | None = field(default=None, repr=False)
    broken_at: float | None = None
    seen: tuple[str, ...] = ()
    unswept: bool = False
    leaves: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Freeze the tables."""
        for name in ("decisions", "keys", "signals", "remembered", "leaves"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def decision(self, purpose: str) -> Decision:
        """Return the current decision of a purpose; an unknown one if there is none."""
        return self.decisions.get(purpose, Decision(purpose=purpose))

    def with_decision(self, decision: Decision) -> "BookState":
        """Return the state with one decision replaced and its features remembered."""
        seen = tuple(sorted({*self.seen, *decision.features}))
        return replace(self, decisions={**self.decisions, decision.purpose: decision}, seen=seen)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, to be kept in the vault."""
        return {
            "schema": _SCHEMA,
            "decisions": [_plain(one) for one in self.decisions.values()],
            "keys": dict(self.keys),
            "epoch": self.epoch,
            "end": [self.end.size, self.end.head],
            "base": [self.base.size, self.base.head],
            "pending": [_plain(one) for one in self.pending],
            "last_seen": self.last_seen,
            "restricted": self.restricted,
            "age": self.age,
            "signals": dict(self.signals),
            "remembered": dict(self.remembered),
            "terms": None if self.terms is None else self.terms.to_json(),
            "broken_at": self.broken_at,
            "seen": list(self.seen),
            "unswept": self.unswept,
            "leaves": {name: list(tags) for name, tags in self.leaves.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return a state that ``to_json`` wrote.

        Raises:
            ValueError: If it is of another version or was not written by ``to_json``.
        """
        rest = dict(value)
        if rest.pop("schema", None) != _SCHEMA:
            raise ValueError("the state of consent is of another version")
        try:
            decisions = [Decision(**_tuples(one)) for one in rest.pop("decisions")]
            terms = rest.pop("terms")
            return cls(
                decisions={one.purpose: one for one in decisions},
                end=ChainEnd(*rest.pop("end")),
                base=ChainEnd(*rest.pop("base")),
                pending=tuple(Pending(**_tuples(one)) for one in rest.pop("pending")),
                terms=None if terms is None else ConsentTerms.from_json(terms),
                seen=tuple(rest.pop("seen")),
                leaves={name: tuple(tags) for name, tags in rest.pop("leaves").items()},
                **rest,
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("the state of consent is damaged") from error


def receipt_of(pending: Pending, state: BookState) -> ConsentReceipt:
    """Return the receipt of a change; its place in the chain is given when it is written.

    Args:
        pending: The change.
        state: What it left behind.
    """
    given = pending.event in OPEN_STATES
    decision = state.decision(pending.purpose)
    return ConsentReceipt(
        n=1,
        prev=NO_CHAIN.head,
        event=str(pending.event),
        purpose=pending.purpose,
        features=pending.features,
        policy_version=decision.policy_version,
        config_sha256=state.terms.config_sha256 if state.terms is not None else "",
        notice_sha256=decision.notice_sha256,
        language=decision.language,
        at=int(pending.at),
        valid_until=int(decision.valid_until) if given else None,
        by=pending.by,
        method=pending.method,
        explicit=given and decision.explicit,
        over_signal=given and decision.over_signal,
        cause=pending.cause,
        epoch=decision.epoch if pending.purpose else state.epoch,
    )


def _plain(one: Decision | Pending) -> dict[str, Any]:
    values = {f.name: getattr(one, f.name) for f in fields(one)}
    return {n: list(v) if isinstance(v, tuple) else _table(v) for n, v in values.items()}


def _table(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
