"""What a pack is made of: statements with a label and what supports them, in sheets of answers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

Label = Literal["enforced on device", "checked afterwards", "operator's word"]
"""How much a statement rests on: code on the person's own device, a record anybody can check
again, or what the operator says."""

LABELS: Final[tuple[Label, ...]] = get_args(Label)

ENFORCED: Final[Label] = "enforced on device"
CHECKED: Final[Label] = "checked afterwards"
WORD: Final[Label] = "operator's word"

LEDGER_SENTENCE: Final = (
    "A ledger shows that the story is consistent and unchanged, not that it is true."
)
AUDIT_SENTENCE: Final = "An audit can refute a claim; it cannot prove it."

_REF: Final = re.compile(
    r"(rule:[A-Z]{1,4}-\d{3}|config:[a-z0-9_.]+|ledger:\d+|approval:\d+|waiver:\d+"
    r"|verify|check|audit|egress|bundle|feature:[a-z0-9_]+)"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that is said.

    Attributes:
        text: One or two sentences. Public.
        label: What it rests on.
        refs: What supports it, at least one: ``rule:DP-004``, ``config:dp.delta``, ``ledger:3``
            (an entry, from 0), ``approval:0``, ``waiver:0``, ``feature:purchases``, or one of
            ``verify``, ``check``, ``audit``, ``egress``, ``bundle``.
    """

    text: str
    label: Label
    refs: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a statement that nothing supports."""
        if not self.text or self.label not in LABELS:
            raise ValueError("a statement has a text and one of the three labels")
        if not self.refs or any(_REF.fullmatch(ref) is None for ref in self.refs):
            raise ValueError(f"a statement names what supports it, got {self.refs}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a question of a sheet.

    Attributes:
        question: What is asked, in our own words.
        statements: What is said; empty where people must answer.
        people: What is left to people; empty where nothing is.
    """

    question: str
    statements: tuple[Statement, ...] = ()
    people: str = ""

    def __post_init__(self) -> None:
        """Refuse a question that nobody is to answer."""
        if not self.statements and not self.people:
            raise ValueError(f"{self.question!r} has no answer and is left to nobody")


@dataclass(frozen=True, slots=True)
class Part:
    """A titled part of a sheet."""

    title: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A document that is filled in from the record.

    Attributes:
        key: Name of its file and of its place on the page.
        title: What it is.
        about: What it follows and what it is not.
        parts: Its parts, in order.
    """

    key: str
    title: str
    about: str
    parts: tuple[Part, ...]

    def statements(self) -> Iterable[Statement]:
        """Return every statement, in order."""
        return (s for part in self.parts for answer in part.answers for s in answer.statements)


def listed(words: Iterable[str], none: str = "none") -> str:
    """Return words with commas between.

    Examples:
        >>> listed(["a", "b"]), listed([])
        ('a, b', 'none')
    """
    return ", ".join(words) or none


def markdown(sheet: Sheet, stamp: str = "") -> str:
    """Return a sheet as Markdown, to be taken over into a firm's own document.

    Args:
        sheet: The sheet.
        stamp: What is put first; empty for nothing.
    """
    lines = [f"**{stamp}**", ""] if stamp else []
    lines += [f"# {sheet.title}", "", sheet.about, ""]
    for part in sheet.parts:
        lines += [f"## {part.title}", ""]
        for answer in part.answers:
            lines += [f"**{answer.question}**", ""]
            lines += [f"- {s.text} [{s.label}; {listed(s.refs)}]" for s in answer.statements]
            lines += [f"- TO BE FILLED IN BY PEOPLE: {answer.people}"] if answer.people else []
            lines.append("")
    return "\n".join(lines)
