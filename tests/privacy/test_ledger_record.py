"""What a ledger's entries mean, and which may follow which."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from homebody_privacy.charges import CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.errors import IntegrityError
from homebody_privacy.ledger import Ledger, read_ledger
from homebody_privacy.ledger_record import Header, LedgerRecord

Build = Callable[..., PoissonRounds]
BuildRun = Callable[..., CorrelatedRun]
Step = tuple[str, tuple[Any, ...]]
MODEL = "d" * 64
FIGURE = GaussianReleases(noise_multiplier=9.0)


@pytest.fixture
def ledger(tmp_path: Path, header: Header) -> Iterator[Ledger]:
    """An open ledger with its header alone."""
    with Ledger.create(tmp_path / "ledger.jsonl", header) as ledger:
        yield ledger


@pytest.mark.parametrize(
    "change",
    [
        {"delta": 0.0},
        {"delta": 1.0},
        {"ceiling": 0.0},
        {"ceiling": float("nan")},
        {"population": "x"},
        {"config": "C" * 64},
        {"devices": 0},
        {"devices": 1.5},
        {"run": ""},
        {"scope": "year"},
        {"schema": "ledger/1"},
        {"unit": "record"},
        {"adjacency": "replace_one"},
        {"surprise": 1},
    ],
)
def test_a_promise_without_meaning_is_refused(header: Header, change: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        Header.model_validate(header.model_dump(by_alias=True) | change)


def test_a_budget_is_one_runs_unless_the_header_says_otherwise(header: Header) -> None:
    assert header.scope == "run"
    assert (header.unit, header.adjacency) == ("user", "zero_out")


def test_a_purchase_is_charged_once_and_known_by_name(ledger: Ledger, correlated: BuildRun) -> None:
    ledger.purchase("run", correlated())
    assert ledger.record.bought("run") == correlated()
    assert ledger.record.bought("tuning") is None
    assert ledger.charges() == [correlated()]
    with pytest.raises(ValueError, match="'run' was bought before"):
        ledger.purchase("run", correlated())
    with pytest.raises(ValueError, match="at least one release"):
        ledger.purchase("tuning", correlated(runs=0))
    assert ledger.charges() == [correlated()]


@pytest.mark.parametrize("name", ["", "Run", "metrics/", "/run", "a b", "metrics//1", "run\n"])
def test_a_purchase_has_a_plain_name(ledger: Ledger, name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        ledger.purchase(name, FIGURE)


def test_pf_19_an_answer_needs_a_purchase_and_comes_once(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="nothing may be answered"):
        ledger.answer("metrics/hit_rate/1", {"hit_rate": 0.5})
    ledger.purchase("metrics/hit_rate/1", FIGURE)
    ledger.answer("metrics/hit_rate/1", {"hit_rate": 0.5})
    with pytest.raises(ValueError, match="nothing may be answered"):
        ledger.answer("metrics/hit_rate/1", {"hit_rate": 0.6})
    assert ledger.record.answers == {"metrics/hit_rate/1": {"hit_rate": 0.5}}


def test_a_round_without_a_charge_needs_a_run_that_was_paid_for(
    ledger: Ledger, correlated: BuildRun
) -> None:
    with pytest.raises(ValueError, match="paid for"):
        ledger.intend(1, None)
    ledger.purchase("tuning", correlated().with_part("tuning"))
    with pytest.raises(ValueError, match="paid for"):
        ledger.intend(1, None)
    ledger.purchase("run", correlated())
    ledger.intend(1, None)
    assert ledger.record.round_charge is None
    assert len(ledger.charges()) == 2


def test_figures_may_be_bought_while_a_round_is_open(ledger: Ledger, charge: Build) -> None:
    ledger.intend(1, charge())
    ledger.purchase("metrics/hit_rate/1", FIGURE)
    ledger.release(1, MODEL)
    assert ledger.charges() == [charge(), FIGURE]
    assert ledger.record.round_charge == charge()


def test_a_figure_is_answered_or_said_to_be_unanswered_and_never_both(ledger: Ledger) -> None:
    for name in ("metrics/a/1", "metrics/b/1"):
        ledger.purchase(name, FIGURE)
    ledger.answer("metrics/a/1", {"a": 1.0})
    ledger.unanswered("metrics/b/1", "quorum")
    for name in ("metrics/a/1", "metrics/b/1", "metrics/c/1"):
        with pytest.raises(ValueError, match="not open"):
            ledger.unanswered(name, "quorum")
        with pytest.raises(ValueError, match="not open"):
            ledger.answer(name, {})
    assert ledger.charges() == [FIGURE, FIGURE]
    assert (ledger.record.answers, ledger.record.unanswered) == (
        {"metrics/a/1": {"a": 1.0}},
        {"metrics/b/1": "quorum"},
    )


def test_a_statistic_is_released_once_under_its_own_purchase_and_before_the_rounds(
    ledger: Ledger, charge: Build
) -> None:
    charged = GaussianReleases(noise_multiplier=2.0, part="statistics")
    with pytest.raises(ValueError, match="not open"):
        ledger.statistic("statistics/popularity", MODEL)
    for name in ("popularity", "gram", "late"):
        ledger.purchase(f"statistics/{name}", charged)
    ledger.statistic("statistics/popularity", MODEL)
    ledger.unanswered("statistics/gram", "interrupted")
    for name in ("popularity", "gram"):
        with pytest.raises(ValueError, match="not open"):
            ledger.statistic(f"statistics/{name}", MODEL)
    with pytest.raises(ValidationError, match="sum"):
        ledger.statistic("statistics/late", "D" * 64)
    ledger.intend(1, charge())
    with pytest.raises(ValueError, match="before the first round"):
        ledger.statistic("statistics/late", MODEL)
    for name in ("popularity", "gram"):
        with pytest.raises(ValueError, match="before the first"):
            ledger.statistic(f"statistics/{name}", MODEL)
        with pytest.raises(ValueError, match="not open"):
            ledger.unanswered(f"statistics/{name}", "quorum")
        with pytest.raises(ValueError, match="not open"):
            ledger.answer(f"statistics/{name}", {})
    assert ledger.record.statistics == {"statistics/popularity": MODEL}
    assert ledger.charges() == [charged, charged, charged, charge()]


def test_a_ledger_of_before_there_were_statistics_is_read_and_holds_none(
    tmp_path: Path, header: Header
) -> None:
    old = header.model_copy(update={"version": "ledger/2"})
    with Ledger.create(tmp_path / "old.jsonl", old) as ledger:
        ledger.purchase("statistics/gram", FIGURE)
        with pytest.raises(ValueError, match="holds no statistic"):
            ledger.statistic("statistics/gram", MODEL)
    record, closed = read_ledger(tmp_path / "old.jsonl")
    assert (record.header.version, closed, record.charges()) == ("ledger/2", True, [FIGURE])


def test_shares_of_updates_within_the_clip_norm_are_kept_round_by_round(
    ledger: Ledger, charge: Build
) -> None:
    for number, share in enumerate((0.25, None, 0.75), start=1):
        ledger.intend(number, charge(count_multiplier=5.0))
        if number == 2:
            ledger.void(number)
        else:
            ledger.release(number, MODEL, share)
    assert ledger.record.unclipped == [0.25, None, 0.75]
    assert (ledger.record.released, ledger.record.voids) == (3, 1)


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "header"},
        {"kind": None},
        {},
        {"kind": "intent", "round": 1},
        {"kind": "intent", "round": True, "charge": None},
        {"kind": "intent", "round": 1, "charge": {}},
        {"kind": "intent", "round": 1, "charge": None, "time": 1},
        {"kind": "void", "round": 0},
        {"kind": "void", "round": 1, "reason": "7 of 9"},
        {"kind": "unanswered", "name": "run", "reason": None},
        {"kind": "release", "round": 1, "model": MODEL, "unclipped": "0.5"},
        {"kind": "purchase", "name": "run", "charge": None},
        {"kind": "answer", "name": "run", "values": {"a": "1"}},
    ],
)
def test_an_entry_that_breaks_its_schema_is_refused_and_changes_nothing(
    header: Header, entry: dict[str, Any]
) -> None:
    record = LedgerRecord(header)
    with pytest.raises(ValueError, match=r"\w"):
        record.apply(entry)
    assert (record.entries, record.opened, record.charges()) == (1, 0, [])


def steps(draws: Sequence[int], charge: Build, correlated: BuildRun) -> list[Step]:
    """Turn numbers into calls that are valid one after the other."""
    calls: list[Step] = []
    bought: list[str] = []
    opened, is_open, answered = 0, False, 0
    for number in draws:
        match number % 5:
            case 0 if not is_open:
                opened, is_open = opened + 1, True
                paid = "run" in bought and number % 2
                calls.append(("intend", (opened, None if paid else charge(rounds=1 + number))))
            case 1 if is_open:
                is_open = False
                calls.append(("release", (opened, MODEL, number / 100 if number % 2 else None)))
            case 2 if is_open:
                is_open = False
                calls.append(("void", (opened, "quorum" if number % 2 else None)))
            case 3 if answered < len(bought):
                name = bought[answered]
                answer = ("answer", (name, {"figure": number / 7}))
                calls.append(("unanswered", (name, "quorum")) if number % 4 else answer)
                answered += 1
            case _:
                name = "run" if "run" not in bought else f"metrics/figure/{len(bought)}"
                cost = correlated(noise_multiplier=1.0 + number) if name == "run" else FIGURE
                bought.append(name)
                calls.append(("purchase", (name, cost)))
    return calls


def shown(record: LedgerRecord) -> dict[str, Any]:
    """Return all a record says."""
    names = ("header", "entries", "opened", "closed", "released", "round_charge", "unclipped")
    more = ("voids", "void_reasons", "answers", "unanswered")
    return {name: getattr(record, name) for name in (*names, *more)} | {
        "charges": record.charges(),
        "bought": {
            n: record.bought(n) for n in ("run", *(f"metrics/figure/{i}" for i in range(9)))
        },
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    draws=st.lists(st.integers(0, 99), max_size=12),
    where=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
    data=st.data(),
)
def test_a_valid_sequence_reads_back_as_it_was_and_any_changed_byte_is_found(
    tmp_path: Path,
    header: Header,
    charge: Build,
    correlated: BuildRun,
    draws: list[int],
    where: float,
    flip: int,
    data: st.DataObject,
) -> None:
    path = tmp_path / "ledger.jsonl"
    path.unlink(missing_ok=True)
    calls = steps(draws, charge, correlated)
    stop = data.draw(st.integers(0, len(calls)))
    with Ledger.create(path, header) as ledger:
        for name, values in calls[:stop]:
            getattr(ledger, name)(*values)
    with Ledger.open(path) as ledger:  # a restart anywhere
        for name, values in calls[stop:]:
            getattr(ledger, name)(*values)
        written = shown(ledger.record)
    assert shown(read_ledger(path)[0]) == written
    assert written["entries"] == 1 + len(calls) == path.read_bytes().count(b"\n")
    content = bytearray(path.read_bytes())
    place = int(where * (len(content) - 1))
    content[place] ^= flip
    path.write_bytes(content)
    line = bytes(content[:place]).count(b"\n") + 1
    with pytest.raises(IntegrityError, match=rf"line {line} "):
        read_ledger(path)
