"""What report and bundle state: figures to compare, and words and settings to check at once."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.statement import statement

from .facts import REPORT, RunFacts
from .independent_lines import RawLedger
from .verify_epsilon import Claim
from .verify_lines import Line, wrong

MANIFEST: Final = "the bundle's manifest"
_SEEDED: Final = " The run was seeded"

Fields = Mapping[str, Any]


def claims_of(facts: RunFacts, manifest: Fields | None) -> tuple[Claim, ...]:
    """Return every epsilon that is stated.

    Args:
        facts: The run's files.
        manifest: ``privacy`` of the bundle's manifest, signature checked; None without one.
    """
    found: list[Claim] = []
    if facts.report is not None:
        user, privacy = _user(facts.report), _object(facts.report, "privacy")
        found.append(Claim(REPORT, "epsilon", user.get("spent")))
        found.append(Claim(REPORT, "unamplified", privacy.get("epsilon_unamplified")))
        for name, value in _object(user, "parts").items():
            found.append(Claim(REPORT, f"parts/{name}", value))
        for name, value in _object(privacy, "parts_unamplified").items():
            found.append(Claim(REPORT, f"parts_unamplified/{name}", value))
    if manifest is not None:
        found.append(Claim(MANIFEST, "epsilon", _decimal(manifest.get("epsilon"))))
        stated = _decimal(manifest.get("epsilon_unamplified"))
        found.append(Claim(MANIFEST, "unamplified", stated))
    return tuple(found)


def check_words(facts: RunFacts, manifest: Fields | None) -> tuple[Line, ...]:
    """Check the sentence and the settings that report and bundle state."""
    if facts.config is None or facts.ledger is None:
        return ()
    lines: list[Line] = []
    if facts.report is not None:
        lines += _report(facts.config, facts.ledger, facts.report)
    if manifest is not None:
        lines += _manifest(facts.config, facts.ledger, manifest)
    return tuple(lines)


def _report(config: PrivacyConfig, ledger: RawLedger, report: Fields) -> Iterator[Line]:
    user, privacy = _user(report), _object(report, "privacy")
    dp, rounds = config.dp, len(ledger.of_kind("release")) + len(ledger.of_kind("void"))
    statistics = len(ledger.of_kind("statistic"))
    expected: list[tuple[str, object, object]] = [
        ("delta", user.get("delta"), dp.delta),
        ("ceiling", user.get("ceiling"), ledger.header.get("ceiling")),
        ("unit", user.get("unit"), dp.unit),
        ("mechanism", user.get("mechanism"), dp.mechanism),
        ("rounds", user.get("rounds"), rounds),
        ("void_rounds", user.get("void_rounds"), len(ledger.of_kind("void"))),
        ("statistics", user.get("statistics"), statistics),
        ("adjacency", privacy.get("adjacency"), dp.adjacency),
        ("clip_norm", privacy.get("clip_norm"), dp.clip_norm),
        ("adaptive_clip", privacy.get("adaptive_clip"), dp.adaptive_clip),
        ("cohort_cap", privacy.get("cohort_cap"), dp.cohort_cap),
        ("sampling", privacy.get("sampling"), dp.sampling),
        ("budget_scope", privacy.get("budget_scope"), dp.budget_scope),
        ("amplified", user.get("amplified"), dp.amplification and not ledger.is_decided),
        ("released figures", _released(report), _answers(ledger)),
        ("parts", set(_object(user, "parts")), _parts(ledger)),
        ("parts_unamplified", set(_object(privacy, "parts_unamplified")), _parts(ledger)),
    ]
    if config.recipe != "statistics":
        expected += [
            ("noise_multiplier", privacy.get("noise_multiplier"), dp.noise_multiplier),
            ("cohort_size", privacy.get("cohort_size"), dp.cohort_size),
        ]
    for name, stated, so in expected:
        if stated != so:
            yield wrong(f"{REPORT} states another {name} than the ledger and the config")
    text = _object(report, "claim").get("statement")
    if not _is_sentence(config, text, user, seeded=report.get("seeded") is True):
        yield wrong(f"{REPORT} states another sentence than its figures make")


def _manifest(config: PrivacyConfig, ledger: RawLedger, manifest: Fields) -> Iterator[Line]:
    dp = config.dp
    rounds = len(ledger.of_kind("release")) + len(ledger.of_kind("void"))
    expected: list[tuple[str, object, object]] = [
        ("config", manifest.get("config_sha256"), config.digest()),
        ("delta", manifest.get("delta"), str(dp.delta)),
        ("unit", manifest.get("unit"), dp.unit),
        ("adjacency", manifest.get("adjacency"), dp.adjacency),
        ("mechanism", manifest.get("mechanism"), dp.mechanism),
        ("rounds", manifest.get("rounds"), rounds),
    ]
    if config.recipe != "statistics":
        expected.append(("clip_norm", manifest.get("clip_norm"), str(dp.clip_norm)))
        noise = None if dp.noise_multiplier is None else f"{dp.noise_multiplier:.6f}"
        expected.append(("noise_multiplier", manifest.get("noise_multiplier"), noise))
    for name, stated, so in expected:
        if stated != so:
            yield wrong(f"{MANIFEST} states another {name} than the ledger and the config")
    figures = {
        "spent": _decimal(manifest.get("epsilon")),
        "rounds": rounds,
        "amplified": dp.amplification and not ledger.is_decided,
        "statistics": len(ledger.of_kind("statistic")),
    }
    text = manifest.get("statement")
    if not _is_sentence(config, text, figures, seeded=isinstance(text, str) and _SEEDED in text):
        yield wrong(f"{MANIFEST} states another sentence than its figures make")


def _is_sentence(config: PrivacyConfig, text: object, user: Fields, *, seeded: bool) -> bool:
    """Tell whether a claim is the one that its figures generate."""
    epsilon, rounds, statistics = (user.get(n) for n in ("spent", "rounds", "statistics"))
    if not isinstance(epsilon, (int, float)) or type(rounds) is not int:
        return False
    if not isinstance(text, str) or type(statistics) is not int:
        return False
    try:
        due = statement(
            config,
            epsilon=float(epsilon),
            rounds=rounds,
            amplified=user.get("amplified") is True or not config.dp.amplification,
            statistics=statistics,
        )
    except ValueError:
        return False
    return text.startswith(due + _SEEDED) if seeded else text == due


def _parts(ledger: RawLedger) -> set[str]:
    """Return which parts of the work were charged."""
    charges = [one for _, one in ledger.charges]
    counted = any(one.get("count_multiplier") is not None for one in charges)
    return {str(one.get("part")) for one in charges} | ({"clipping"} if counted else set())


def _released(report: Fields) -> object:
    """Return the figures a report says were released, without what it says of their noise."""
    released = _object(report, "released")
    return {
        purchase: {
            name: value.get("value") if isinstance(value, dict) else None
            for name, value in (values.items() if isinstance(values, dict) else ())
        }
        for purchase, values in released.items()
    }


def _answers(ledger: RawLedger) -> object:
    return {str(one.get("name")): one.get("values") for _, one in ledger.of_kind("answer")}


def _user(report: Fields) -> Fields:
    return _object(_object(report, "epsilon"), "user")


def _object(values: Fields, name: str) -> Fields:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _decimal(text: object) -> float | None:
    """Return a decimal that a manifest holds as text."""
    try:
        return float(text) if isinstance(text, str) else None
    except ValueError:
        return None
