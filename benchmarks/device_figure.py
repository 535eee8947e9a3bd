"""One figure of the benchmark of the device, beside its target and its reference."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Relation = Literal["<", "<=", ">=", "="]
_LARGE = 1000.0  # from here on three digits would need a power of ten
_HEAD = (
    "| what | figure | target | reference, same run | ratio | |",
    "|---|---|---|---|---|---|",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured.

    Attributes:
        what: What it is the figure of.
        unit: Its unit; ``{:.1f} ms`` shows figure and reference.
        value: The figure; None if it was not measured.
        reference: What it is compared with.
        beside: Figure of the reference, in the same unit; None without one.
        by_turns: Median of the ratios of single turns, where those were measured.
        relation: How the figure must stand to the target; empty without a target.
        target: The target, of the figure or of the ratio.
        of_ratio: Whether the target is one of the ratio.
        note: Why it was not measured, or how.
    """

    what: str
    unit: str
    value: float | None
    reference: str = ""
    beside: float | None = None
    by_turns: float | None = None
    relation: Relation | Literal[""] = ""
    target: float = 0.0
    of_ratio: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The figure in units of its reference."""
        if self.by_turns is not None:
            return self.by_turns
        return None if self.value is None or not self.beside else self.value / self.beside

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or a figure."""
        judged = self.ratio if self.of_ratio else self.value
        if judged is None or not self.relation:
            return None
        return {
            "<": judged < self.target,
            "<=": judged <= self.target,
            ">=": judged >= self.target,
            "=": judged == self.target,
        }[self.relation]

    def to_json(self) -> dict[str, Any]:
        """Return what is kept."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Figure":
        """Return what was kept."""
        return cls(**{name: kept[name] for name in cls.__slots__})

    def line(self) -> str:
        """Return the figure as a line of the table."""
        word = {True: "met", False: "**missed**", None: self.note if self.value is None else ""}
        ratio = "" if self.ratio is None else short(self.ratio)
        beside = "" if self.beside is None else f": {self._shown(self.beside)}"
        cells = (self.what, self._shown(self.value), self._wanted(), self.reference + beside, ratio)
        return f"| {' | '.join(cells)} | {word[self.met]} |"

    def _shown(self, value: float | None) -> str:
        return "-" if value is None else self.unit.format(value)

    def _wanted(self) -> str:
        if not self.relation:
            return ""
        sign = {"<=": "≤", ">=": "≥"}.get(self.relation, self.relation)
        if self.of_ratio:
            return f"{sign} {self.target:g} x the reference"
        return f"{sign} {self.unit.format(self.target)}"


def short(ratio: float) -> str:
    """Return a ratio in three digits, or in whole ones where it is large."""
    return f"{ratio:,.0f}" if ratio >= _LARGE else f"{ratio:.3g}"


def table(figures: list[Figure]) -> str:
    """Return figures as a table in Markdown."""
    return "\n".join([*_HEAD, *(figure.line() for figure in figures)])
