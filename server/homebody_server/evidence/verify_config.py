"""Did the config run? Its digest everywhere, the ledger's promise, and the run's constants.

What a figure rests on is not taken from ``run.json``: that file is held to the config, too.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from homebody_privacy.config import PrivacyConfig

from .facts import RunFacts
from .independent_lines import RawLedger
from .verify_charges import check_charges
from .verify_lines import BUDGET, POLICY, Line, note, ok, wrong

BELOW_MIN_K: Final = "below-min-k"
"""The code that a ledger has for a figure nobody gets; said anew, as all that verify rests on."""

_SHORT: Final = 12
_REASON: Final = re.compile(r"[a-z][a-z0-9-]{0,40}")


def check_config(facts: RunFacts) -> tuple[Line, ...]:
    """Check the config's digest, the run's constants and every charge."""
    if facts.config is None or facts.ledger is None:
        return ()
    lines = [*_digests(facts, facts.config, facts.ledger), *_header(facts.config, facts.ledger)]
    lines += _constants(facts, facts.config)
    lines += check_charges(facts.config, facts.ledger)
    lines += _voids(facts.config, facts.ledger)
    lines += _figures(facts, facts.config, facts.ledger)
    return tuple(lines)


def _digests(facts: RunFacts, config: PrivacyConfig, ledger: RawLedger) -> Iterator[Line]:
    digest = config.digest()
    named = {"the ledger's header": ledger.header.get("config")}
    if facts.run is not None:
        named["run.json"] = facts.spec.get("config_digest")
    if facts.report is not None:
        digests = facts.report.get("digests")
        named["report.json"] = digests.get("config") if isinstance(digests, dict) else None
    others = [name for name, value in named.items() if value != digest]
    for name in others:
        yield wrong(f"{name} names another config than privacy.toml, {digest[:_SHORT]}")
    if not others:
        yield ok(f"the config that ran is privacy.toml, {digest[:_SHORT]}")


def _header(config: PrivacyConfig, ledger: RawLedger) -> Iterator[Line]:
    """Check what the ledger promised before the first round."""
    dp, header = config.dp, ledger.header
    promised = {
        "delta": dp.delta,
        "scope": dp.budget_scope,
        "unit": dp.unit,
        "adjacency": dp.adjacency,
    }
    for name, value in promised.items():
        if header.get(name) != value:
            yield wrong(f"the ledger promised another {name} than the config, {value}")
    ceiling = header.get("ceiling")
    if not isinstance(ceiling, (int, float)) or not 0.0 < ceiling <= dp.epsilon_max:
        why = f"the ledger's ceiling is above the config's epsilon_max, {dp.epsilon_max:g}"
        yield wrong(why, BUDGET)


def _constants(facts: RunFacts, config: PrivacyConfig) -> Iterator[Line]:
    """Check the constants that the server app and devices worked by."""
    spec, dp, goal = facts.spec, config.dp, config.aggregation.report_goal
    if facts.run is None:
        return
    rounds = config.recipe != "statistics"
    expected: dict[str, Any] = {
        "clip_norm": dp.clip_norm,
        "lattice_bits": dp.lattice_bits,
        "delta": dp.delta,
        "rounds": dp.rounds if rounds else 0,
        "cohort_cap": dp.cohort_cap,
        "mechanism": dp.mechanism,
        "min_separation": dp.min_separation,
        "max_rounds_per_device": dp.max_rounds_per_device,
        "report_goal": goal or 0,
        "max_corrupt": config.aggregation.max_corrupt,
        "max_dropout": config.aggregation.max_dropout,
        "min_nodes": config.aggregation.min_nodes,
        "lifetime": dp.budget_scope == "lifetime",
    }
    if rounds:
        expected |= {"cohort_size": dp.cohort_size, "noise_multiplier": dp.noise_multiplier}
    header = {} if facts.ledger is None else facts.ledger.header
    for name, source in (("devices", "devices"), ("population", "population")):
        expected[name] = header.get(source)
    expected["ceiling"] = header.get("ceiling")
    differ = sorted(name for name, value in expected.items() if spec.get(name) != value)
    for name in differ:
        yield wrong(f"run.json ran with another {name} than the config and the ledger say")
    if not differ:
        yield ok("the run's constants are those of the config")
    if config.aggregation.secagg and spec.get("secagg") is not True:
        fleet = spec.get("runtime") == "deploy"
        why = "replies were not summed by secure aggregation"
        yield wrong(why) if fleet else note(f"{why}: this was a simulation")
    if spec.get("seeded") is True:
        yield note("the run was seeded: its noise can be drawn again, its model protects nobody")


def _figures(facts: RunFacts, config: PrivacyConfig, ledger: RawLedger) -> Iterator[Line]:
    """Check that no figure is about fewer people than the config says."""
    least, enrolled = config.release.min_k, ledger.header.get("devices")
    answers, given_up = ledger.of_kind("answer"), ledger.of_kind("unanswered")
    metrics = facts.spec.get("metrics")
    told = metrics if isinstance(metrics, list) else []
    if any(isinstance(one, dict) and one.get("min_k", least) != least for one in told):
        yield wrong("run.json ran with another min_k than the config says")
    few = type(enrolled) is not int or enrolled < least
    if answers and few:
        yield wrong(f"figures are about fewer people than release.min_k, {least}", POLICY)
    elif answers:
        yield ok(f"no figure is about fewer than {least} people")
    for _, one in given_up:
        if one.get("reason") == BELOW_MIN_K:
            yield note("a figure was suppressed, of fewer people than release.min_k; it is charged")


def _voids(config: PrivacyConfig, ledger: RawLedger) -> Iterator[Line]:
    """Say which rounds released nothing, and that none was released under the goal."""
    goal, voids = config.aggregation.report_goal, ledger.of_kind("void")
    released = ledger.rounds_of("release")
    for _, one in voids:
        number, reason = one.get("round"), one.get("reason")
        if type(number) is not int:
            yield wrong("a round of no number was void")
            return
        if number in released:
            yield wrong(f"round {number} was void and is released all the same")
            return
        why = reason if isinstance(reason, str) and _REASON.fullmatch(reason) else "no reason given"
        yield note(f"round {number} was void ({why}): nothing was released, its charge stands")
    if goal is not None and released:
        yield ok(f"no round under {goal} replies" + (" was released" if voids else ""))
