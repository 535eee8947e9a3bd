"""Features of one person: computed through the read gate, kept sealed until consent or time ends.

A value belongs to the (purpose, feature group) pairs it was made from: when one of them is shut it
is erased with everything else that was derived. Values are recomputed from the rows whenever they
are asked for at a time; what is kept is the last answer, for a process that must not read the log.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from homebody_client.consent.gates import Gates
from homebody_client.consent.shelf import Shelf
from homebody_client.features.batch import compute
from homebody_client.features.examples import example_at
from homebody_client.features.spec import DAY_S, FeatureSpec, Value
from homebody_client.memory import event_time
from homebody_client.store import StoredRow
from homebody_client.store import Value as Kept

_NAME: Final = "features/"


@dataclass(frozen=True, slots=True)
class Reading:
    """A row as features read it: when it happened, and what is kept of it. Secret."""

    at: float = field(repr=False)
    values: Mapping[str, Kept] = field(repr=False)
    feature: str

    @classmethod
    def of(cls, row: StoredRow) -> "Reading":
        """Return what features read of a stored row."""
        return cls(event_time(row.values, row.at), row.values, row.feature)


class FeatureStore:
    """Features of one device.

    Args:
        gates: The device's gates.
        specs: What is computed, names unique.
    """

    __slots__ = ("_gates", "_shelf", "_specs")

    def __init__(self, gates: Gates, specs: Sequence[FeatureSpec]) -> None:
        """Compute nothing yet."""
        if len({spec.name for spec in specs}) != len(specs):
            raise ValueError("names of features must be unique")
        self._gates = gates
        self._shelf = Shelf(gates)
        self._specs = tuple(specs)

    def describe(self) -> list[dict[str, object]]:
        """Return the declarations as plain JSON; no value of a person."""
        return [spec.describe() for spec in self._specs]

    def values(self, purpose: str, *, now: float) -> dict[str, Value]:
        """Return the features a purpose may use now, by name, and keep them sealed.

        Args:
            purpose: What for; only specs declared for it, of groups open to it, are computed.
            now: Unix seconds in force.

        Raises:
            ConsentMissingError: If nothing is open to it.
            IntegrityError: If the store is damaged.
        """
        read = self._gates.read(purpose)
        rows = [Reading.of(row) for row in read.rows]
        specs = self._for(purpose, read.features)
        values = {spec.name: compute(spec, rows, now) for spec in specs}
        kept = json.dumps({"at": now, "values": values}, allow_nan=False).encode()
        self._shelf.put(_NAME + purpose, read.ticket, kept)
        return values

    def kept(self, purpose: str, *, now: float) -> dict[str, Value] | None:
        """Return the last values, without reading a row; None if none may be used any more.

        A value past its ``ttl_days``, or from a later time than ``now``, is left out.
        """
        content = self._shelf.get(_NAME + purpose, purpose)
        if content is None:
            return None
        document = json.loads(content)
        age = now - document["at"]
        ttl = {spec.name: spec.ttl_days * DAY_S for spec in self._specs}
        values: dict[str, Value] = document["values"]
        return {name: v for name, v in values.items() if 0.0 <= age < ttl.get(name, 0)}

    def example(self, purpose: str, *, at: float) -> dict[str, Value]:
        """Return the features as they were known at a time, and nothing later.

        Args:
            purpose: What for.
            at: Unix seconds.

        Raises:
            ConsentMissingError: If nothing is open to it.
        """
        read = self._gates.read(purpose)
        rows = [Reading.of(row) for row in read.rows]
        return example_at(self._for(purpose, read.features), rows, at)

    def _for(self, purpose: str, groups: Sequence[str]) -> list[FeatureSpec]:
        return [s for s in self._specs if purpose in s.purposes and s.group in groups]
