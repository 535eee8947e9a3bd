"""Is every charge what the config says? Noise, rounds, cohort, cap, separation and strategy.

Each charge is compared as its raw fields stand in the ledger, and how often each is there.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from homebody_privacy.config import PrivacyConfig

from .independent_lines import CARRIED, RawLedger
from .verify_lines import Line, ok, wrong

_METRIC: Final = re.compile(r"metrics/([a-z0-9_]+)/([0-9]+)")
_SHOWN: Final = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*")

Fields = Mapping[str, Any]


def check_charges(config: PrivacyConfig, ledger: RawLedger) -> tuple[Line, ...]:
    """Compare what this run was charged with its config.

    Raises:
        IntegrityError: If a charge of the ledger is none.
    """
    own = [(name, one) for name, one in ledger.charges if not name.startswith(CARRIED)]
    lines = [line for name, one in own for line in _one(config, ledger.header, name, one)]
    lines += _counts(config, ledger, [name for name, _ in own])
    return tuple(lines) or (ok("every charge has the noise, rounds and cap of the config"),)


def _one(config: PrivacyConfig, header: Fields, name: str, charge: Fields) -> Iterator[Line]:
    expected = _expected(config, name, header)
    shown = name if _SHOWN.fullmatch(name) else "something nameless"
    if expected is None:
        yield wrong(f"the ledger charges {shown}, which the config does not have")
        return
    for field in sorted(k for k, value in expected.items() if charge.get(k) != value):
        yield wrong(f"the charge of {shown} has another {field} than the config")


def _expected(config: PrivacyConfig, name: str, header: Fields) -> Fields | None:
    """Return what the charge of that name must say; None where there may be none."""
    dp = config.dp
    head, _, rest = name.partition("/")
    if head == "tuning":
        return _tuning(config, rest, header) if dp.tuning_data == "private" else None
    if head == "statistics":
        return _statistic(config, rest, releases=1)
    if head == "metrics":
        known = _METRIC.fullmatch(name)
        metric = None if known is None else config.metrics.get(known[1])
        return None if metric is None else _plain(metric.noise_multiplier, "metrics", releases=1)
    if head == "round" and dp.mechanism == "gaussian":
        return _sampled(config, header, rounds=1)
    is_run = name == "run" and dp.mechanism == "blt" and config.recipe != "statistics"
    return _correlated(config, "training", runs=1) if is_run else None


def _tuning(config: PrivacyConfig, which: str, header: Fields) -> Fields | None:
    dp, runs = config.dp, config.dp.tuning_runs
    if which:
        found = _statistic(config, which, releases=runs)
        return None if found is None else {**found, "part": "tuning"}
    if dp.mechanism == "blt":
        return _correlated(config, "tuning", runs=runs)
    return {**_sampled(config, header, rounds=dp.rounds * runs), "part": "tuning"}


def _correlated(config: PrivacyConfig, part: str, *, runs: int) -> Fields:
    dp = config.dp
    return {
        "kind": "correlated-run",
        "noise_multiplier": dp.noise_multiplier,
        "rounds": dp.rounds,
        "min_separation": dp.min_separation,
        "max_rounds": dp.max_rounds_per_device,
        "theta": None if dp.blt is None else list(dp.blt.theta),
        "omega": None if dp.blt is None else list(dp.blt.omega),
        "runs": runs,
        "part": part,
    }


def _sampled(config: PrivacyConfig, header: Fields, *, rounds: int) -> Fields:
    dp = config.dp
    count = max(1.0, dp.cohort_size / 10.0) if dp.adaptive_clip else None
    return {
        "kind": "poisson-rounds",
        "population": header.get("devices"),
        "cohort_size": dp.cohort_size,
        "cohort_cap": dp.cohort_cap,
        "noise_multiplier": dp.noise_multiplier,
        "count_multiplier": count,
        "rounds": rounds,
        "part": "training",
    }


def _statistic(config: PrivacyConfig, which: str, *, releases: int) -> Fields | None:
    statistics = config.statistics
    if statistics is None or which not in ("popularity", "gram"):
        return None
    noise = {
        "popularity": statistics.popularity_multiplier,
        "gram": statistics.gram_multiplier,
    }
    return _plain(noise[which], "statistics", releases=releases)


def _plain(noise: float | None, part: str, *, releases: int) -> Fields:
    return {
        "kind": "gaussian-releases",
        "noise_multiplier": noise,
        "releases": releases,
        "part": part,
    }


def _counts(config: PrivacyConfig, ledger: RawLedger, names: list[str]) -> Iterator[Line]:
    """Check how often something was charged: no more than said, and nothing for free."""
    dp, kinds = config.dp, [name.partition("/")[0] for name in names]
    opened = len(ledger.of_kind("intent"))
    if opened > (dp.rounds if config.recipe != "statistics" else 0):
        yield wrong(f"the ledger opened {opened} rounds, the config has {dp.rounds}")
    if opened and dp.mechanism == "blt" and "run" not in kinds:
        yield wrong("rounds were opened and nothing was charged for them")
    if dp.mechanism == "gaussian" and kinds.count("round") != opened:
        yield wrong("a round was opened and not charged")
    if dp.tuning_data == "private" and opened and "tuning" not in kinds:
        yield wrong("tuning on private data was not charged")
    for name, metric in config.metrics.items():
        times = sum(1 for one in names if one.startswith(f"metrics/{name}/"))
        if times > metric.releases_per_run:
            yield wrong(f"{name} was released more often than the config says")
    if len(set(names)) != len(names):
        yield wrong("something was charged twice under one name")
    yield from _answered(ledger, set(names))


def _answered(ledger: RawLedger, bought: set[str]) -> Iterator[Line]:
    """Check that nothing was released that was not charged first."""
    for index, entry in enumerate(ledger.entries):
        answers = entry["kind"] in {"answer", "statistic", "unanswered"}
        if answers and str(entry.get("name")) not in bought:
            yield wrong(f"entry {index} releases what was never charged")
