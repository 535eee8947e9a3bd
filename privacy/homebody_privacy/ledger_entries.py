"""The entries of a ledger: what each may hold, and nothing else.

Every text is a code, a digest or a name of settings, held to a pattern: no entry has a field into
which somebody's words, name or address could go.

==================  =============================================================================
entry               meaning
==================  =============================================================================
``header``          what the run promised, and what earlier runs spent; first and once
``config_approved`` reviewers signed this config for this app
``waiver``          reviewers lifted a rule of the policy for this config
``policy_changed``  the firm's own rules are others than in the run before
``purchase``        a charge for what is no round: a correlated run, a statistic, tuning, a metric
``answer``          the noised figures a purchase released
``statistic``       the noised sum a purchase released, by its digest
``unanswered``      nothing was released for a purchase; its charge stands
``intent``          round t was charged and may start; without a charge a purchase paid for it
``release``         round t's model was released
``void``            round t ended without a release, and why; its charge stands
``budget_stop``     a charge would have passed the ceiling: it was not made
``model_released``  a signed bundle with this model was published
``run_closed``      nothing more is charged, and why
``retention_run``   what the run kept and no longer does
``withdrawals``     how many people took back a yes, as a range
==================  =============================================================================

``ledger/2`` has no ``statistic``; ``ledger/2`` and ``ledger/3`` have none of the uncharged kinds
that ``NOTICES`` lists.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

STRICT: Final = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

INTERRUPTED: Final = "interrupted"
"""Reason of a void round that was cut short: it says nothing of who came."""

_PURCHASE: Final = r"^[a-z0-9_]+(/[a-z0-9_]+)*$"

Digest: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 as hex."""

Code: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
"""A word of the program's own."""

PurchaseName: TypeAlias = Annotated[str, Field(pattern=_PURCHASE)]
"""What is bought: ``run``, ``tuning``, ``statistics/gram``, ``metrics/hit_rate/1``."""

RunName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Name of a run: of its folder."""

Figure: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9_]+(@[0-9]+)?$")]
"""Name of a figure: ``hit_rate``, ``ndcg@10``."""

Bucket: TypeAlias = Literal["none", "1-99", "100-999", "1000-9999", "10000-or-more"]
"""A number of people, as a range."""

Destroyed: TypeAlias = Literal[
    "run-key", "noise-state", "device-records", "aggregator-keys", "replay-log"
]
"""What a run keeps while it is open: key of coins and noise; sealed noise of later rounds; own
records of simulated devices; the server app's keys; keyed hashes of the replies that were taken."""


class Previous(BaseModel):
    """Where the ledger of the run before stood, on the same people."""

    model_config = STRICT

    run: RunName
    size: int = Field(ge=1)
    root: Digest


class Header(BaseModel):
    """What a run promised before its first round."""

    model_config = STRICT

    kind: Literal["header"] = "header"
    """Which entry this is."""
    version: Literal["ledger/2", "ledger/3", "ledger/4"] = Field(default="ledger/4", alias="schema")
    """Format of the file; ``schema`` in it."""
    run: RunName
    """Name of the run."""
    population: Digest
    """SHA-256 that stands for the people: runs with the same one spend the same budget."""
    devices: int = Field(ge=1)
    """Devices of the population."""
    delta: float = Field(gt=0, lt=1)
    """Failure chance of the claim."""
    ceiling: float = Field(gt=0)
    """Epsilon that is never passed."""
    config: Digest
    """Digest of the privacy config."""
    scope: Literal["run", "lifetime"] = "run"
    """Whether runs on the same people spend one budget; such a ledger is anchored."""
    unit: Literal["user"] = "user"
    """Unit of privacy."""
    adjacency: Literal["zero_out"] = "zero_out"
    """How two worlds differ."""
    previous: Previous | None = None
    """The run before on the same people, where they spend one budget."""
    carried: list[dict[str, Any]] | None = None
    """What earlier runs charged to them, so that this ledger alone gives the sum."""

    def values(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        later = {"previous", "carried"} if self.version != "ledger/4" else set()
        return self.model_dump(mode="json", by_alias=True, exclude=later)


class Intent(BaseModel):
    """A round that was charged and may start."""

    model_config = STRICT

    kind: Literal["intent"] = "intent"
    round: int = Field(ge=1)
    charge: dict[str, Any] | None


class Release(BaseModel):
    """A round whose model was released."""

    model_config = STRICT

    kind: Literal["release"] = "release"
    round: int = Field(ge=1)
    model: Digest
    unclipped: float | None = None


class Void(BaseModel):
    """A round that ended without a release."""

    model_config = STRICT

    kind: Literal["void"] = "void"
    round: int = Field(ge=1)
    reason: Code | None = None
    """A code, never a count; None in ledgers of before there were reasons."""


class Purchase(BaseModel):
    """A charge for what is no round."""

    model_config = STRICT

    kind: Literal["purchase"] = "purchase"
    name: PurchaseName
    charge: dict[str, Any]


class Answer(BaseModel):
    """The noised figures a purchase released."""

    model_config = STRICT

    kind: Literal["answer"] = "answer"
    name: PurchaseName
    values: dict[Figure, float]


class Statistic(BaseModel):
    """The noised sum a purchase released."""

    model_config = STRICT

    kind: Literal["statistic"] = "statistic"
    name: PurchaseName
    sum: Digest
    """SHA-256 of the released entries, float32 little-endian, as hex."""


class Unanswered(BaseModel):
    """A purchase for which nothing was released."""

    model_config = STRICT

    kind: Literal["unanswered"] = "unanswered"
    name: PurchaseName
    reason: Code


class ConfigApproved(BaseModel):
    """Reviewers signed a config for an app; who they are, their keys' ids alone say."""

    model_config = STRICT

    kind: Literal["config_approved"] = "config_approved"
    config: Digest
    app: Digest
    keys: list[Digest] = Field(min_length=1)
    policy: Digest | None = None


class WaiverEntered(BaseModel):
    """Reviewers lifted a rule at a field of the config; their reason is in what they signed."""

    model_config = STRICT

    kind: Literal["waiver"] = "waiver"
    rule: str = Field(pattern=r"^[A-Z]{1,4}-[0-9]{3}$")
    path: str = Field(pattern=r"^[A-Za-z0-9_.*-]{1,200}$")
    config: Digest
    keys: list[Digest] = Field(min_length=1)
    expires_day: str | None = Field(default=None, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")


class PolicyChanged(BaseModel):
    """The firm's own rules are others than in the run before; None: there are none any more."""

    model_config = STRICT

    kind: Literal["policy_changed"] = "policy_changed"
    policy: Digest | None


class ModelReleased(BaseModel):
    """A signed bundle was published."""

    model_config = STRICT

    kind: Literal["model_released"] = "model_released"
    bundle: Digest
    """SHA-256 of the bundle's manifest."""
    model: Digest
    """Digest of the model in it, as a ``release`` has it where a round made it."""


class RunClosed(BaseModel):
    """Nothing more is charged."""

    model_config = STRICT

    kind: Literal["run_closed"] = "run_closed"
    ended: Code
    """``finished``, or the code of the error that ended it."""


class BudgetStop(BaseModel):
    """A charge that would have passed the ceiling and was not made."""

    model_config = STRICT

    kind: Literal["budget_stop"] = "budget_stop"
    name: PurchaseName
    """A purchase, or ``round/3``."""


class RetentionRun(BaseModel):
    """What the run kept while it was open and no longer does."""

    model_config = STRICT

    kind: Literal["retention_run"] = "retention_run"
    what: list[Destroyed] = Field(min_length=1)


class Withdrawals(BaseModel):
    """How many people took back a yes since the entry before, as a range."""

    model_config = STRICT

    kind: Literal["withdrawals"] = "withdrawals"
    bucket: Bucket


Notice: TypeAlias = (
    ConfigApproved
    | WaiverEntered
    | PolicyChanged
    | ModelReleased
    | RunClosed
    | BudgetStop
    | RetentionRun
    | Withdrawals
)
"""An entry that charges and answers nothing."""

NOTICES: Final[dict[str, type[Notice]]] = {
    "config_approved": ConfigApproved,
    "waiver": WaiverEntered,
    "policy_changed": PolicyChanged,
    "model_released": ModelReleased,
    "run_closed": RunClosed,
    "budget_stop": BudgetStop,
    "retention_run": RetentionRun,
    "withdrawals": Withdrawals,
}
"""The uncharged entries by their kind; none is in a ledger older than ``ledger/4``."""

ENTRIES: Final[tuple[type[BaseModel], ...]] = (
    Header, Intent, Release, Void, Purchase, Answer, Statistic, Unanswered, *NOTICES.values(),
)  # fmt: skip
"""Every entry there is."""

_LEAST: Final[tuple[tuple[int, Bucket], ...]] = (
    (10_000, "10000-or-more"),
    (1_000, "1000-9999"),
    (100, "100-999"),
    (1, "1-99"),
    (0, "none"),
)


def bucket_of(people: int) -> Bucket:
    """Return the range a number of people is entered as.

    Raises:
        ValueError: If it is below 0.

    Examples:
        >>> bucket_of(37)
        '1-99'
    """
    for least, name in _LEAST:
        if people >= least:
            return name
    raise ValueError("a number of people is at least 0")


def withdrawals(people: int) -> Withdrawals:
    """Return the entry that says, as a range, how many people took back a yes.

    Raises:
        ValueError: If the number is below 0.
    """
    return Withdrawals(bucket=bucket_of(people))
