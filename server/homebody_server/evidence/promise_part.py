"""Sections 1 and 2: what is promised, whom one must trust for it, and what it does not cover."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from homebody_privacy.explaining.trust import enforced, not_against, trusted, uncovered
from homebody_privacy.explaining.withdrawal import after, at_once
from homebody_privacy.statement import statement
from homebody_server.evidence.case import Case, day_of
from homebody_server.evidence.words import CHECKED, ENFORCED, WORD, Statement

_DP: Final = ("config:dp.epsilon_max", "config:dp.delta")
_REFS: Final[Mapping[str, tuple[str, ...]]] = {
    "add the noise": ("config:dp.noise_by", "rule:DP-009"),
    "coin": ("config:dp.sampling", "rule:DP-010"),
    "nodes of a sum": ("config:aggregation.max_corrupt", "config:aggregation.secagg"),
    "under": ("config:aggregation.report_goal", "rule:AGG-002"),
    "ledger": ("config:ledger.witness", "rule:LED-002"),
    "cosign": ("config:ledger.witness", "rule:LED-002"),
    "tuned": ("config:dp.tuning_data", "rule:DP-013"),
    "update of length": ("config:dp.clip_norm",),
    "joins at most": (
        "config:dp.max_rounds_per_device",
        "config:dp.min_separation",
        "rule:DP-011",
    ),
    "one-shot": ("config:statistics.recipe",),
    "epsilon": ("config:dp.epsilon_max", "rule:DP-008"),
    "counts what it spends": ("config:dp.epsilon_max",),
    "server: it sees": ("config:aggregation.secagg", "rule:AGG-001"),
}
"""What supports the sentences of ``explaining``, by words they hold; the first that fits counts."""

_SIMULATED: Final = (
    "This run was a simulation: what is enforced on a device was enforced by the code of one, in "
    "one place, and nobody's own device took part."
)
_NOT_SUMMED: Final = (
    "In this run replies were not summed by secure aggregation: the server app saw each clipped "
    "update before the noise."
)
_SEEDED: Final = (
    "This run was seeded: whoever knows the seed can subtract the noise. The figure holds for the "
    "plan, not for this model, which must not be given to anyone."
)
_PUBLIC: Final = (
    "The number of devices, the size of a cohort, the number of rounds and the list of items are "
    "treated as public: the figure does not cover them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """The first page.

    Attributes:
        claim: The one sentence of the claim; None where no figure is shown.
        bets: What somebody can guess at most; empty likewise.
        enforced: What devices see to.
        checked: What was checked afterwards.
        word: What is the operator's word.
    """

    claim: Statement | None
    bets: tuple[Statement, ...]
    enforced: tuple[Statement, ...]
    checked: tuple[Statement, ...]
    word: tuple[Statement, ...]


def face(case: Case) -> Face:
    """Return the first page of a pack."""
    return Face(
        claim=claim(case),
        bets=bets(case),
        enforced=devices_see_to(case),
        checked=checked(case),
        word=operators_word(case),
    )


def claim(case: Case) -> Statement | None:
    """Return the sentence of field 1, from what was charged; None where no figure is shown."""
    figures, ledger = case.figures, case.record.ledger
    if figures is None or ledger is None:
        return None
    text = statement(
        case.record.config,
        epsilon=figures.epsilon,
        rounds=ledger.closed,
        amplified=figures.amplified or not case.record.config.dp.amplification,
        statistics=len(ledger.statistics),
    )
    refs = ("ledger:0", *case.record.refs("purchase", "intent"), "verify")
    return Statement(text, CHECKED, tuple(dict.fromkeys(refs)))


def bets(case: Case) -> tuple[Statement, ...]:
    """Return what somebody who sees everything can guess at most."""
    figures = case.figures
    if figures is None:
        return ()
    unseen = " but not who takes part," if figures.amplified else ""
    guess = (
        f"Someone who sees everything released,{unseen} and starts with an even guess whether you "
        f"took part can be right at most {figures.guess} times in 100, but for a chance of "
        f"{figures.delta:g}; at the cap it would be {figures.cap_guess}."
    )
    texts = [guess]
    if figures.amplified:
        texts.append(
            "Toward whoever sees who took part, the operator among them, the figure is epsilon = "
            f"{figures.unamplified:g}."
        )
    return tuple(Statement(text, CHECKED, (*_DP, "rule:DP-008", "verify")) for text in texts)


def devices_see_to(case: Case) -> tuple[Statement, ...]:
    """Return what a person's own device sees to."""
    config = case.record.config
    texts = [_of_device(text) for text in enforced(config)]
    gates = (
        "A device keeps, reads, trains on and sends nothing without a yes to that purpose and that "
        "data; every switch starts off."
    )
    limit = config.consent.withdraw_max_seconds
    off = f"Switched off, a device shuts its gates and erases within {limit} s."
    return (
        Statement(gates, ENFORCED, ("rule:CON-010", "rule:CON-011")),
        *(Statement(text, ENFORCED, _refs(text)) for text in texts),
        Statement(off, ENFORCED, ("config:consent.withdraw_max_seconds",)),
    )


def checked(case: Case) -> tuple[Statement, ...]:
    """Return what was checked afterwards, from the lines of verify."""
    return tuple(
        Statement(_sentence(line.text), CHECKED, ("verify",))
        for line in case.lines
        if line.mark == "ok"
    )


def operators_word(case: Case) -> tuple[Statement, ...]:
    """Return what is the operator's word, and what makes less of it first."""
    record = case.record
    found = []
    if record.seeded:
        found.append(Statement(_SEEDED, WORD, ("ledger:0",)))
    if record.simulated:
        found.append(Statement(_SIMULATED, WORD, ("ledger:0",)))
    if record.config.aggregation.secagg and not record.secagg:
        refs = ("config:aggregation.secagg", "rule:AGG-001", "verify")
        found.append(Statement(_NOT_SUMMED, WORD, refs))
    found += [
        Statement(f"It needs trust in {text}.", WORD, _refs(text))
        for text in trusted(record.config)
    ]
    kept = record.config.retention.server_updates_hours
    memory = "in memory only" if kept == 0 else f"for {kept} hours at most"
    text = f"The server keeps replies {memory}, and sums without noise not at all."
    found.append(Statement(text, WORD, ("config:retention.server_updates_hours", "rule:RET-001")))
    return tuple(found)


def not_covered(case: Case) -> tuple[Statement, ...]:
    """Return what the figure does not cover, and toward whom it does not hold."""
    config = case.record.config
    found = [
        Statement(f"It does not cover {text}.", CHECKED, ("config:dp.unit", "config:dp.adjacency"))
        for text in uncovered(config)
    ]
    found += [
        Statement(f"It does not hold against {text}.", CHECKED, _refs(text))
        for text in not_against(config)
    ]
    found.append(Statement(_PUBLIC, CHECKED, ("ledger:0", "config:activity.population")))
    found += _voids(case)
    return tuple(found)


def switched_off(case: Case) -> tuple[Statement, ...]:
    """Return what a withdrawal does and what it cannot."""
    config, figures = case.record.config, case.figures
    refs = ("config:rights.trained_model", "rule:RGT-001")
    found = [
        Statement(
            f"Switched off, at once: {at_once(config)}.",
            ENFORCED,
            ("config:consent.withdraw_max_seconds",),
        )
    ]
    words = after(config, None if figures is None else figures.epsilon)
    if words is not None:
        found.append(Statement(words, WORD, refs))
    return tuple(found)


def waived(case: Case) -> tuple[Statement, ...]:
    """Return every waiver in words, with who signed it, why and until when."""
    return tuple(
        Statement(
            f"{one.rule} at {one.path} is lifted by {one.by} until {day_of(one.expires)}: "
            f"{one.reason}"
            + ("" if one.expires > case.now else " (EXPIRED: the rule holds again)"),
            WORD,
            (f"waiver:{index}", f"rule:{one.rule}"),
        )
        for index, one in case.waivers
    )


def _voids(case: Case) -> Iterable[Statement]:
    for entry in case.record.of_kind("void"):
        reason = entry.values.get("reason") or "no reason is stated"
        text = f"Round {entry.values['round']} released nothing ({reason}); its charge stands."
        yield Statement(text, CHECKED, (f"ledger:{entry.index}",))


def _refs(text: str) -> tuple[str, ...]:
    return next((refs for words, refs in _REFS.items() if words in text), ("check",))


def _of_device(text: str) -> str:
    """Return a sentence about "it" as one about a device."""
    return _sentence(f": {text}".replace(": it ", ": a device ", 1).removeprefix(": "))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
