"""Edits of the config and the policy: before anything runs, and in the record of a run."""

import tomllib
from collections.abc import Callable, Iterator
from typing import Any, Final

import tomli_w

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import InvalidFileError

from .mutants import Mutant, at, leaves, other, put, rng
from .world import World, small_config

_BROKEN: Final[dict[str, Callable[[str], str]]] = {
    "misspelt key": lambda t: t.replace("epsilon_max =", "epsilon_mx =", 1),
    "misspelt table": lambda t: t.replace("[transport]", "[transports]", 1),
    "unknown key": lambda t: t.replace("[dp]", "[dp]\nfree = true", 1),
    "missing table": lambda t: t.replace("[ledger]", "[ledgers]", 1),
    "not a number": lambda t: t.replace("epsilon_max = 2.5", "epsilon_max = nan", 1),
    "infinite": lambda t: t.replace("epsilon_max = 2.5", "epsilon_max = inf", 1),
    "text for a number": lambda t: t.replace("epsilon_max = 2.5", 'epsilon_max = "2.5"', 1),
    "true for a number": lambda t: t.replace("epsilon_max = 2.5", "epsilon_max = true", 1),
    "a key twice": lambda t: t.replace("[dp]", '[dp]\nunit = "user"', 1),
    "a table twice": lambda t: t + "\n[dp]\n",
    "no TOML": lambda t: t.replace("[dp]", "[dp", 1),
    "a word for another": lambda t: t.replace('accountant = "pld"', 'accountant = "gdp"', 1),
    "negative": lambda t: t.replace("epsilon_max = 2.5", "epsilon_max = -2.5", 1),
    "cap below the cohort": lambda t: t.replace("cohort_cap = 150", "cohort_cap = 50", 1),
}

_AGAINST_RULES: Final[dict[str, tuple[tuple[str, ...], object]]] = {
    "DP-001": (("dp", "mechanism"), "none"),
    "DP-002": (("dp", "epsilon_max"), 5.0),
    "DP-002 of the firm": (("dp", "epsilon_max"), 3.5),
    "DP-003": (("dp", "unit"), "record"),
    "DP-004": (("dp", "delta"), 0.01),
    "DP-006": (("dp", "budget_scope"), "run"),
    "DP-007": (("dp", "amplification"), True),
    "DP-008": (("dp", "noise_multiplier"), 0.5),
    "DP-009": (("dp", "noise_by"), "devices"),
    "DP-010": (("dp", "sampling"), "poisson"),
    "DP-011": (("dp", "max_rounds_per_device"), 2),
    "DP-012": (("dp", "adjacency"), "replace_one"),
    "DP-013": (("dp", "tuning_data"), "private"),
    "CON-001": (("consent", "expiry_days"), 400),
    "CON-003": (("consent", "honour_gpc"), False),
    "CON-004": (("consent", "min_age"), 12),
    "CON-010": (("purposes", "recommend", "default"), "on"),
    "CON-011": (("purposes", "training", "legal_basis"), "contract"),
    "CON-013": (("purposes", "training", "requires"), ["recommending"]),
    "CON-014": (("purposes", "recommend", "requires"), ["training"]),
    "CON-022": (("consent", "notices", "en", "sha256"), "0" * 64),
    "CON-023": (("consent", "grace_days"), 31),
    "FEA-001": (("features", "tastes", "allow"), ["profiling"]),
    "FEA-002": (("features", "tastes", "sensitivity"), "special"),
    "FEA-004": (("features", "purchases", "risk_ref"), ""),
    "FEA-005": (("features", "tastes", "fields"), ["topic", "email"]),
    "TAX-001": (("features", "tastes", "fides_category"), "user.behaviour"),
    "DOC-001": (("activity", "dpia_ref"), ""),
    "ADM-001": (("transparency", "significant_decision"), True),
    "AGG-001": (("aggregation", "secagg"), False),
    "AGG-002": (("aggregation", "report_goal"), 99),
    "TLS-002": (("transport", "ip_log"), "full"),
    "REL-001": (("release", "min_k"), 19),
    "REL-002": (("release", "requires"), ["ledger_verified"]),
    "RET-001": (("retention", "server_updates_hours"), 25),
    "RGT-001": (("rights", "trained_model"), "unlearn"),
    "APP-001": (("approval", "required"), 1),
}

_INFEASIBLE: Final[dict[str, tuple[tuple[str, ...], object]]] = {
    "AGG-003": (("aggregation", "report_goal"), 101),
    "AGG-004": (("dp", "rounds"), 4),
}

_POLICY_BROKEN: Final[dict[str, Callable[[str], str]]] = {
    "misspelt key": lambda t: t.replace("value =", "valu =", 1),
    "unknown operator": lambda t: t.replace('op = "<="', 'op = "~"', 1),
    "no id": lambda t: t.replace('id = "DP-002"\n', "", 1),
    "no TOML": lambda t: t.replace("[[rule]]", "[[rule]", 1),
    "another schema": lambda t: t.replace("policy/1", "policy/9", 1),
}
_POLICY_STRICTER: Final[dict[str, Callable[[str], str]]] = {
    "a lower cap": lambda t: t.replace("value = 3.0", "value = 1.0", 1),
    "nobody may receive": lambda t: t.replace("== 0 ||", "== 1 ||", 1),
    "an expression that is none": lambda t: t.replace("size(", "size((", 1),
    "a missing key": lambda t: t.replace("release.min_k", "release.least", 1),
    "a wrong type": lambda t: t.replace(">= 100", ">= 'a'", 1).replace("== 0 ||", "== 1 ||", 1),
}
_POLICY_OTHER: Final[dict[str, Callable[[str], str]]] = {
    "a higher cap": lambda t: t.replace("value = 3.0", "value = 3.9", 1),
    "fewer people": lambda t: t.replace(">= 100", ">= 50", 1),
    "another name": lambda t: t.replace("baseline 3", "baseline 4", 1),
    "another reason": lambda t: t.replace("is capped", "is limited", 1),
    "a rule less": lambda t: t[: t.rindex("[[rule]]")],
    "another reference": lambda t: t.replace("800-226", "800-227", 1),
}


def mutants() -> Iterator[Mutant]:
    """Give every edit of the project."""
    yield from _texts("config breaks its schema", _BROKEN, "check", 2)
    for name, (path, value) in _AGAINST_RULES.items():
        yield Mutant("config breaks a rule", name, "check", (10,), setting(path, value))
    for name, (path, value) in _INFEASIBLE.items():
        yield Mutant("config nobody can carry out", name, "check", (12,), setting(path, value))
    for path in leaves(small_config()):
        name = ".".join(path)
        new = other(at(small_config(), path), rng("config", name))
        if _is_word(path, new):
            yield Mutant("config breaks its schema", name, "check", (2,), setting(path, new))
        else:
            yield Mutant("config after approval", name, "run", (10,), setting(path, new))
            yield Mutant("config of the run", name, "verify", (14,), _in_run(path, new))
    yield Mutant("config breaks a rule", "notice file", "check", (10,), _notice)
    yield from _texts("policy breaks its schema", _POLICY_BROKEN, "check", 2, of="policy")
    yield from _texts("policy is broken by the config", _POLICY_STRICTER, "check", 10, of="policy")
    yield from _texts("policy after approval", _POLICY_OTHER, "run", 14, of="policy")
    for name, change in _POLICY_OTHER.items():
        yield Mutant("policy of the run", name, "verify", (14,), _policy_in_run(change))


def _texts(
    kind: str,
    table: dict[str, Callable[[str], str]],
    verb: Any,  # noqa: ANN401 - a verb
    code: int,
    of: str = "config",
) -> Iterator[Mutant]:
    for name, change in table.items():
        yield Mutant(kind, name, verb, (code,), _text(change, of))


def _text(change: Callable[[str], str], of: str) -> Callable[[World], None]:
    def apply(world: World) -> None:
        path = world.config if of == "config" else world.policy
        before = path.read_text("utf-8")
        after = change(before)
        assert after != before
        path.write_text(after, "utf-8")

    return apply


def _changed(path: tuple[str, ...], value: object) -> str:
    values = small_config()
    put(values, path, value)
    return tomli_w.dumps(values)


def setting(path: tuple[str, ...], value: object) -> Callable[[World], None]:
    return lambda world: (world.config.write_text(_changed(path, value), "utf-8"), None)[1]


def _in_run(path: tuple[str, ...], value: object) -> Callable[[World], None]:
    file = "privacy.toml"
    return lambda w: ((w.run / file).write_text(_changed(path, value), "utf-8"), None)[1]


def _policy_in_run(change: Callable[[str], str]) -> Callable[[World], None]:
    def apply(world: World) -> None:
        path = world.run / "policy.toml"
        path.write_text(change(path.read_text("utf-8")), "utf-8")

    return apply


def _notice(world: World) -> None:
    (notice, *_) = (world.config.parent / "notices").iterdir()
    notice.write_text(notice.read_text("utf-8") + ".", "utf-8")


def _is_word(path: tuple[str, ...], value: object) -> bool:
    """Tell whether a value breaks the schema, as far as the schema itself says."""
    try:
        PrivacyConfig.model_validate(tomllib.loads(_changed(path, value)))
    except ValueError:
        return True
    except InvalidFileError:
        return True
    return False
