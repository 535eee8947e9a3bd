"""What a ledger's entries mean, and which may follow which; knows nothing of files.

=============  ==================================================================================
entry          meaning
=============  ==================================================================================
``header``     what the run promised; first and once
``purchase``   a charge for what is no round: a whole correlated run, a statistic, tuning, a metric
``answer``     the noised figures a purchase released
``statistic``  the noised sum a purchase released, by its digest; not in ``ledger/2``
``unanswered`` nothing was released for a purchase; its charge stands
``intent``     round t was charged and may start; without a charge a purchase paid for it
``release``    round t's model was released
``void``       round t ended without a release, and why; its charge stands
=============  ==================================================================================
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from .charges import Charge, charge_from_dict

_STRICT: Final = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
INTERRUPTED: Final = "interrupted"
"""Reason of a void round that was cut short: it says nothing of who came."""

_DIGEST: Final = r"^[0-9a-f]{64}$"
_REASON: Final = r"^[a-z][a-z0-9-]*$"


class Header(BaseModel):
    """What a run promised before its first round."""

    model_config = _STRICT

    kind: Literal["header"] = "header"
    """Which entry this is."""
    version: Literal["ledger/2", "ledger/3"] = Field(default="ledger/3", alias="schema")
    """Format of the file; ``schema`` in it. A ``ledger/2`` holds no statistic."""
    run: str = Field(min_length=1)
    """Name of the run."""
    population: str = Field(pattern=_DIGEST)
    """SHA-256 that stands for the people: runs with the same one spend the same budget."""
    devices: int = Field(ge=1)
    """Devices of the population."""
    delta: float = Field(gt=0, lt=1)
    """Failure chance of the claim."""
    ceiling: float = Field(gt=0)
    """Epsilon that is never passed."""
    config: str = Field(pattern=_DIGEST)
    """Digest of the privacy config."""
    scope: Literal["run", "lifetime"] = "run"
    """Whether runs on the same people spend one budget; such a ledger is anchored."""
    unit: Literal["user"] = "user"
    """Unit of privacy."""
    adjacency: Literal["zero_out"] = "zero_out"
    """How two worlds differ."""


class Intent(BaseModel):
    """A round that was charged and may start."""

    model_config = _STRICT

    kind: Literal["intent"] = "intent"
    round: int = Field(ge=1)
    charge: dict[str, Any] | None


class Release(BaseModel):
    """A round whose model was released."""

    model_config = _STRICT

    kind: Literal["release"] = "release"
    round: int = Field(ge=1)
    model: str = Field(pattern=_DIGEST)
    unclipped: float | None = None


class Void(BaseModel):
    """A round that ended without a release."""

    model_config = _STRICT

    kind: Literal["void"] = "void"
    round: int = Field(ge=1)
    reason: str | None = Field(default=None, pattern=_REASON)
    """A code, never a count; None in ledgers of before there were reasons."""


class Purchase(BaseModel):
    """A charge for what is no round."""

    model_config = _STRICT

    kind: Literal["purchase"] = "purchase"
    name: str = Field(pattern=r"^[a-z0-9_]+(/[a-z0-9_]+)*$")
    charge: dict[str, Any]


class Answer(BaseModel):
    """The noised figures a purchase released."""

    model_config = _STRICT

    kind: Literal["answer"] = "answer"
    name: str = Field(min_length=1)
    values: dict[str, float]


class Statistic(BaseModel):
    """The noised sum a purchase released."""

    model_config = _STRICT

    kind: Literal["statistic"] = "statistic"
    name: str = Field(min_length=1)
    sum: str = Field(pattern=_DIGEST)
    """SHA-256 of the released entries, float32 little-endian, as hex."""


class Unanswered(BaseModel):
    """A purchase for which nothing was released."""

    model_config = _STRICT

    kind: Literal["unanswered"] = "unanswered"
    name: str = Field(min_length=1)
    reason: str = Field(pattern=_REASON)


class LedgerRecord:
    """What a ledger says.

    Args:
        header: First entry.
    """

    __slots__ = (
        "_charges",
        "_purchases",
        "answers",
        "closed",
        "entries",
        "header",
        "opened",
        "released",
        "round_charge",
        "statistics",
        "unanswered",
        "unclipped",
        "void_reasons",
        "voids",
    )

    def __init__(self, header: Header) -> None:
        """Start with no round opened."""
        self.header = header
        self.entries = 1
        """How many entries there are, the header included."""
        self.opened = 0
        """Last round charged, 0 before the first."""
        self.closed = 0
        """Last round released or void, 0 before the first."""
        self.released = 0
        """Last round released, 0 before the first."""
        self.round_charge: Charge | None = None
        """What the last opened round cost by itself; None if a purchase paid for it."""
        self.unclipped: list[float | None] = []
        """Released, noised share of updates below the clip norm, round by round."""
        self.voids = 0
        """How many rounds ended without a release."""
        self.void_reasons: dict[int, str | None] = {}
        """Why, by round: a code; None where the ledger is older than reasons."""
        self.answers: dict[str, dict[str, float]] = {}
        """Released figures of each purchase that was answered."""
        self.statistics: dict[str, str] = {}
        """Digest of the released sum of each purchase that was one, as hex."""
        self.unanswered: dict[str, str] = {}
        """Why nothing was released for a purchase: a code, by purchase."""
        self._charges: list[Charge] = []
        self._purchases: dict[str, Charge] = {}

    def charges(self) -> list[Charge]:
        """Return everything charged, in order, released or not."""
        return list(self._charges)

    @property
    def decided(self) -> bool:
        """Whether a round was void because of who came.

        That decision depends on the secret cohort, so an epsilon that takes credit for its
        secrecy no longer holds for the run.
        """
        return any(reason != INTERRUPTED for reason in self.void_reasons.values())

    def bought(self, name: str) -> Charge | None:
        """Return what a purchase cost, or None if there was none of that name."""
        return self._purchases.get(name)

    def check(self, entry: Mapping[str, Any]) -> None:
        """Refuse an entry that breaks its schema or is out of turn.

        Raises:
            ValueError: Saying why; nothing has changed.
        """
        match entry.get("kind"):
            case "intent":
                self._check_intent(Intent.model_validate(entry))
            case "release":
                self._check_open(Release.model_validate(entry).round)
            case "void":
                self._check_open(Void.model_validate(entry).round)
            case "purchase":
                self._check_purchase(Purchase.model_validate(entry))
            case "answer":
                self._check_answer(Answer.model_validate(entry).name)
            case "statistic":
                self._check_statistic(Statistic.model_validate(entry))
            case "unanswered":
                self._check_answer(Unanswered.model_validate(entry).name)
            case other:
                raise ValueError(f"{other!r} is no entry of a ledger")

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Take one more entry in.

        Raises:
            ValueError: If the entry breaks its schema or is out of turn.
        """
        self.check(entry)
        match entry["kind"]:
            case "intent":
                self.opened = entry["round"]
                cost = entry["charge"]
                self.round_charge = None if cost is None else charge_from_dict(cost)
                if self.round_charge is not None:
                    self._charges.append(self.round_charge)
            case "release":
                self.closed = self.released = entry["round"]
                self.unclipped.append(entry["unclipped"])
            case "void":
                self.closed = entry["round"]
                self.voids += 1
                self.void_reasons[entry["round"]] = entry.get("reason")
                self.unclipped.append(None)
            case "purchase":
                charge = charge_from_dict(entry["charge"])
                self._purchases[entry["name"]] = charge
                self._charges.append(charge)
            case "statistic":
                self.statistics[entry["name"]] = entry["sum"]
            case "unanswered":
                self.unanswered[entry["name"]] = entry["reason"]
            case _:
                self.answers[entry["name"]] = dict(entry["values"])
        self.entries += 1

    def _check_intent(self, intent: Intent) -> None:
        if intent.round != self.opened + 1:
            raise ValueError(f"round {intent.round} cannot be opened after round {self.opened}")
        if self.closed != self.opened:
            raise ValueError(f"round {intent.round} cannot be opened: the one before is open")
        if intent.charge is None:
            if "run" not in self._purchases:
                raise ValueError("a round without a charge needs a run that was paid for")
            return
        charge = charge_from_dict(intent.charge)
        if charge.squared_loss == 0.0:
            raise ValueError("the charge of an opened round must be for at least 1 round")

    def _check_open(self, number: int) -> None:
        if number != self.opened or number == self.closed:
            raise ValueError(f"round {number} is not open: nothing may be released for it")

    def _check_purchase(self, purchase: Purchase) -> None:
        if purchase.name in self._purchases:
            raise ValueError(f"{purchase.name!r} was bought before")
        if charge_from_dict(purchase.charge).squared_loss == 0.0:
            raise ValueError("a purchase must be for at least one release")

    def _check_statistic(self, statistic: Statistic) -> None:
        if self.header.version == "ledger/2":
            raise ValueError("a ledger/2 holds no statistic")
        if self.opened:
            raise ValueError("a statistic is released before the first round is opened")
        self._check_answer(statistic.name)

    def _check_answer(self, name: str) -> None:
        closed = self.answers.keys() | self.statistics.keys() | self.unanswered.keys()
        if name not in self._purchases or name in closed:
            raise ValueError(f"{name!r} is not open: nothing may be answered for it")
