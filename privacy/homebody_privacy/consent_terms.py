"""What of ``privacy.toml`` a device needs to keep consent: terms without the file's parser.

A device starts hundreds of times between two configs. It reads the file once, keeps these terms
sealed beside its keys together with the digest of the file, and starts without a schema library.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

DAY_S: Final = 86_400
"""Seconds of a day, as expiry and retention count it."""

SENSITIVITIES: Final = ("ordinary", "elevated", "special", "criminal")
"""Special: GDPR Art. 9; criminal: Art. 10."""

_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeTerms:
    """One use of data. Public.

    Attributes:
        title: What the person reads beside the switch.
        leaves_device: Whether anything computed from the data is sent.
        requires: Purposes that must be on too.
    """

    title: str
    leaves_device: bool
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTerms:
    """Data that is allowed or refused together. Public.

    Attributes:
        fields: What is kept of each event; nothing else reaches the disk.
        allow: Purposes that may read it.
        ttl_days: Days a row stays on the device, at least 1.
        max_rows: Most rows kept, at least 1; the oldest go first.
        events: Kinds of event that belong to the group; none names every kind with such a field.
        exclude: ``field:value`` pairs; a row that holds one is never collected.
        sensitivity: One of ``SENSITIVITIES``.
        risk_ref: Entry of the impact assessment that covers it; empty for none.
        user_editable: Whether the person may correct a row (GDPR Art. 16).
    """

    fields: tuple[str, ...]
    allow: tuple[str, ...]
    ttl_days: int
    max_rows: int = 1_000
    events: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sensitivity: str = "ordinary"
    risk_ref: str = ""
    user_editable: bool = True

    def __post_init__(self) -> None:
        """Refuse what no config can mean."""
        if not self.fields:
            raise ValueError("fields must name at least one field")
        if self.ttl_days < 1 or self.max_rows < 1:
            raise ValueError("ttl_days and max_rows must be at least 1")
        if self.sensitivity not in SENSITIVITIES:
            raise ValueError(f"sensitivity must be one of {', '.join(SENSITIVITIES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentTerms:
    """What people are asked, and how long an answer holds. Public.

    Attributes:
        config_sha256: Digest of the whole config, as hex.
        revision: Grows with each change of the file; a device refuses a lower one.
        policy_version: Version of the notice; a higher one makes the device ask again.
        purposes: The switches by name.
        groups: Feature groups by name.
        expiry_days: Days a yes holds.
        grace_days: Days that data waits, shut, for a new yes after an expiry.
        refusal_days: Days a no is kept without asking again.
        reach_back: Whether a yes covers rows older than itself.
        receipts_years: Years receipts are kept after the last event.
        withdraw_max_seconds: Bound on the time a withdrawal takes, erasure on disk included.
        honour_gpc: Whether Global Privacy Control closes purposes that leave the device.
        signals: Opt-out signals the device looks at.
        min_age: Under it, and where the age is not known, purposes that leave are locked.
        notices: SHA-256 of the words shown, as hex, by language.
        trained_model: What a withdrawal does to a trained model: ``rights`` of the config.
        retrain_every_days: Days between two fresh starts; 0 for never.
        main_parameters: What decides a list, in plain words (DSA Art. 27).
    """

    config_sha256: str
    revision: int
    policy_version: int
    purposes: Mapping[str, PurposeTerms]
    groups: Mapping[str, GroupTerms]
    expiry_days: int = 365
    grace_days: int = 14
    refusal_days: int = 180
    reach_back: bool = False
    receipts_years: int = 3
    withdraw_max_seconds: int = 1
    honour_gpc: bool = True
    signals: tuple[str, ...] = ("sec_gpc", "os_setting")
    min_age: int = 16
    notices: Mapping[str, str] = field(default_factory=dict)
    trained_model: str = "dp_only_stop_future"
    retrain_every_days: int = 0
    main_parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that point nowhere, and freeze the tables."""
        for name, purpose in self.purposes.items():
            if not set(purpose.requires) <= set(self.purposes):
                raise ValueError(f"purposes.{name}.requires names an unknown purpose")
        for name, group in self.groups.items():
            if not set(group.allow) <= set(self.purposes):
                raise ValueError(f"groups.{name}.allow names an unknown purpose")
        for name in ("purposes", "groups", "notices"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def to_json(self) -> dict[str, object]:
        """Return plain JSON, to be kept sealed on the device."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return plain | {
            "schema": _SCHEMA,
            "signals": list(self.signals),
            "main_parameters": list(self.main_parameters),
            "notices": dict(self.notices),
            "purposes": {name: _fields(p) for name, p in self.purposes.items()},
            "groups": {name: _fields(g) for name, g in self.groups.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """Return terms that ``to_json`` wrote.

        Raises:
            ValueError: If the JSON is of another version or was not written by ``to_json``.
        """
        if value.get("schema") != _SCHEMA:
            raise ValueError("the terms are of another version")
        rest = dict(value)
        try:
            del rest["schema"]
            purposes = {n: PurposeTerms(**_tuples(p)) for n, p in _table(rest.pop("purposes"))}
            groups = {n: GroupTerms(**_tuples(g)) for n, g in _table(rest.pop("groups"))}
            return cls(purposes=purposes, groups=groups, **_tuples(rest))
        except (KeyError, TypeError) as error:
            raise ValueError("the terms are damaged") from error


_PLAIN: Final = (
    "config_sha256",
    "revision",
    "policy_version",
    "expiry_days",
    "grace_days",
    "refusal_days",
    "reach_back",
    "receipts_years",
    "withdraw_max_seconds",
    "honour_gpc",
    "min_age",
    "trained_model",
    "retrain_every_days",
)


def _fields(terms: PurposeTerms | GroupTerms) -> dict[str, object]:
    values = {name: getattr(terms, name) for name in terms.__slots__}
    return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


def _table(value: object) -> list[tuple[str, object]]:
    if not isinstance(value, dict):
        raise TypeError("a table is expected")
    return list(value.items())


def _tuples(value: object) -> dict[str, Any]:
    return {n: tuple(v) if isinstance(v, list) else v for n, v in _table(value)}
