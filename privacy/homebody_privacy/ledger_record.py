"""What a ledger says: charges and outcomes, added up entry by entry; knows nothing of files.

What each entry may hold is in ``ledger_entries``; here is which may follow which.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from .charges import Charge, charge_from_dict
from .ledger_entries import (
    INTERRUPTED,
    NOTICES,
    Answer,
    BudgetStop,
    ConfigApproved,
    Header,
    Intent,
    ModelReleased,
    Notice,
    PolicyChanged,
    Purchase,
    Release,
    RetentionRun,
    RunClosed,
    Statistic,
    Unanswered,
    Void,
    WaiverEntered,
    Withdrawals,
)

__all__ = [
    "INTERRUPTED",
    "Answer",
    "Header",
    "Intent",
    "LedgerRecord",
    "Purchase",
    "Release",
    "Statistic",
    "Unanswered",
    "Void",
]

_AFTER_THE_END: Final = frozenset({"model_released", "retention_run", "withdrawals"})


class LedgerRecord:
    """What a ledger says.

    Args:
        header: First entry.
    """

    __slots__ = (
        "_charged_rounds",
        "_charges",
        "_purchases",
        "answers",
        "carried",
        "closed",
        "entries",
        "header",
        "notices",
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
        self.notices: list[Notice] = []
        """Entries that charge and answer nothing, in order."""
        self.carried: tuple[Charge, ...] = _carried(header)
        """What earlier runs charged to the same people, as the header has it."""
        self._charges: list[Charge] = []
        self._charged_rounds: set[int] = set()
        self._purchases: dict[str, Charge] = {}

    def charges(self) -> list[Charge]:
        """Return everything charged in this run, in order, released or not."""
        return list(self._charges)

    def lifetime_charges(self) -> list[Charge]:
        """Return what earlier runs carried in, then everything charged in this one."""
        return [*self.carried, *self._charges]

    @property
    def purchases(self) -> tuple[str, ...]:
        """Names of what was bought, in order."""
        return tuple(self._purchases)

    def charged_round(self, number: int) -> bool:
        """Tell whether a round was charged by itself: none is that a purchase paid for."""
        return number in self._charged_rounds

    @property
    def approvals(self) -> tuple[ConfigApproved, ...]:
        """What reviewers signed."""
        return tuple(one for one in self.notices if isinstance(one, ConfigApproved))

    @property
    def waivers(self) -> tuple[WaiverEntered, ...]:
        """What reviewers lifted."""
        return tuple(one for one in self.notices if isinstance(one, WaiverEntered))

    @property
    def models(self) -> tuple[ModelReleased, ...]:
        """Bundles that were published."""
        return tuple(one for one in self.notices if isinstance(one, ModelReleased))

    @property
    def stops(self) -> tuple[str, ...]:
        """What would have passed the ceiling and was not charged, by name."""
        return tuple(one.name for one in self.notices if isinstance(one, BudgetStop))

    @property
    def retention_runs(self) -> tuple[RetentionRun, ...]:
        """What was destroyed."""
        return tuple(one for one in self.notices if isinstance(one, RetentionRun))

    @property
    def withdrawals(self) -> tuple[Withdrawals, ...]:
        """How many people took back a yes, as ranges."""
        return tuple(one for one in self.notices if isinstance(one, Withdrawals))

    @property
    def ended(self) -> str | None:
        """How the run ended, as a code; None while it may go on."""
        return next((one.ended for one in self.notices if isinstance(one, RunClosed)), None)

    @property
    def policy(self) -> str | None:
        """Digest of the firm's own rules in force; None where there are none."""
        found = [one.policy for one in self.notices if isinstance(one, PolicyChanged)]
        return found[-1] if found else None

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
        kind = entry.get("kind")
        if self.ended is not None and kind not in _AFTER_THE_END:
            raise ValueError("the run is closed: nothing more is charged or answered")
        if kind in NOTICES:
            self._check_notice(NOTICES[str(kind)].model_validate(entry))
            return
        match kind:
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
        self.entries += 1
        if entry["kind"] in NOTICES:
            self.notices.append(NOTICES[entry["kind"]].model_validate(entry))
            return
        match entry["kind"]:
            case "intent":
                self.opened = entry["round"]
                cost = entry["charge"]
                self.round_charge = None if cost is None else charge_from_dict(cost)
                if self.round_charge is not None:
                    self._charges.append(self.round_charge)
                    self._charged_rounds.add(entry["round"])
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

    def _check_notice(self, notice: BaseModel) -> None:
        if self.header.version in {"ledger/2", "ledger/3"}:
            raise ValueError(f"a {self.header.version} holds no such entry")
        if isinstance(notice, BudgetStop) and notice.name in self.stops:
            raise ValueError(f"that {notice.name} was stopped is entered once")

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


def _carried(header: Header) -> tuple[Charge, ...]:
    if header.version != "ledger/4" and (header.carried or header.previous):
        raise ValueError(f"a {header.version} carries nothing in")
    return tuple(charge_from_dict(one) for one in header.carried or ())
