"""What a device joined is kept on disk; neither a clock nor a server takes any of it back."""

import ast
import itertools
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client import participation, participation_store
from homebody_client.participation_store import ParticipationStore
from homebody_privacy.anchor import START, Mark
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.errors import (
    BudgetExhaustedError,
    HomebodyError,
    IntegrityError,
    PolicyViolationError,
    UsageError,
)

from .device_home import MODEL, OTHER, RULES, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def store(home: Home) -> Iterator[ParticipationStore]:
    with home.open() as store:
        yield store


def test_pf_17_cr_33_a_restart_takes_nothing_back(home: Home) -> None:
    home.join(1, 11, 21)
    with home.open() as store:
        assert store.joins(0, "autumn") == 3
        assert store.spent(0, 1e-5) == pytest.approx(
            gaussian_epsilon(math.sqrt(3) * 0.25, 1e-5), rel=1e-9
        )
        with pytest.raises(PolicyViolationError, match="too few rounds"):
            store.admit(0, RULES, 30)
        store.admit(0, RULES, 31)


def test_an_admitted_device_that_hands_nothing_over_has_not_joined(home: Home) -> None:
    with home.open() as store:
        store.admit(0, RULES, 1)
    with home.open() as store:
        assert store.joins(0, "autumn") == 0
        assert home.book().mark("participation") == START


def test_the_same_round_and_model_again_is_one_join(home: Home) -> None:
    home.join(5)
    home.join(5)
    with home.open() as store:
        assert store.joins(0, "autumn") == 1
        with pytest.raises(PolicyViolationError, match="another model"):
            store.record(0, RULES, 5, OTHER)
        assert store.joins(0, "autumn") == 1


def test_what_admission_would_refuse_cannot_be_recorded_either(store: ParticipationStore) -> None:
    store.record(0, RULES, 5, MODEL)
    with pytest.raises(PolicyViolationError, match="too few rounds"):
        store.record(0, RULES, 6, MODEL)
    with pytest.raises(BudgetExhaustedError):
        store.record(1, replace(RULES, epsilon_max=0.1), 6, MODEL)
    assert (store.joins(0, "autumn"), store.joins(1, "autumn")) == (1, 0)


@pytest.mark.parametrize("digest", ["", "D" * 64, "d" * 63])
def test_a_digest_that_is_none_is_refused(store: ParticipationStore, digest: str) -> None:
    with pytest.raises(ValueError, match="model"):
        store.record(0, RULES, 5, digest)


def test_devices_of_one_file_do_not_touch_each_other(store: ParticipationStore) -> None:
    store.record_many([3, 5], RULES, 1, MODEL)
    refused = store.admit_many([3, 4, 5], RULES, 2)
    assert sorted(refused) == [3, 5]
    assert all(isinstance(error, PolicyViolationError) for error in refused.values())
    assert store.spent(4, 1e-5) == 0.0


def test_a_cohort_is_recorded_whole_or_not_at_all(store: ParticipationStore) -> None:
    store.record(7, RULES, 1, MODEL)
    with pytest.raises(PolicyViolationError):
        store.record_many([5, 6, 7], RULES, 2, MODEL)
    with pytest.raises(ValueError, match="twice"):
        store.record_many([5, 5], RULES, 2, MODEL)
    assert [store.joins(device, "autumn") for device in (5, 6, 7)] == [0, 0, 1]
    store.record_many([5, 7], RULES, 11, MODEL)
    store.record_many([5, 6, 7], RULES, 11, MODEL)  # a part of it is a repeat
    assert [store.joins(device, "autumn") for device in (5, 6, 7)] == [1, 1, 2]


@pytest.mark.parametrize("known", [-1, 0, 1])
def test_pf_42_a_lower_count_from_the_server_is_ignored(home: Home, known: int) -> None:
    home.join(1, 11, 21, 31)
    with home.open() as store:
        with pytest.raises(PolicyViolationError, match="participation cap"):
            store.admit(0, RULES, 41, known_joins=known)
        assert list(store.admit_many([0, 1], RULES, 41, known_joins={0: known})) == [0]


def test_pf_42_a_higher_count_from_the_server_is_obeyed(store: ParticipationStore) -> None:
    store.admit(0, RULES, 1, known_joins=3)
    with pytest.raises(PolicyViolationError, match="participation cap"):
        store.admit(0, RULES, 1, known_joins=4)
    assert list(store.admit_many([0, 1], RULES, 1, known_joins={1: 4})) == [1]


def test_pf_15_cr_34_runs_of_one_life_share_one_ceiling(home: Home) -> None:
    def start_anew_without_end() -> None:
        for number in itertools.count(1):
            home.join(1, 11, rules=replace(RULES, run=f"run {number}", epsilon_max=3.0))

    with pytest.raises(BudgetExhaustedError):
        start_anew_without_end()
    with home.open() as store:
        once_more = gaussian_epsilon(math.hypot(0.25, _mu(store.spent(0, 1e-5))), 1e-5)
        assert store.spent(0, 1e-5) <= 3.0 < once_more


def _mu(epsilon: float) -> float:
    """Invert the closed form by bisection."""
    low, high = 0.0, 10.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_epsilon(middle, 1e-5) < epsilon else (low, middle)
    return low


def test_pf_17_moving_the_clock_changes_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.join(1)
    for years in (-40, 40):
        now = time.time() + years * 365.25 * 86_400
        with monkeypatch.context() as moved:
            moved.setattr(time, "time", partial(float, now))
            moved.setattr(time, "time_ns", partial(int, now * 1e9))
            for file in home.folder.rglob("*"):
                os.utime(file, (now, now))
            with home.open() as store:
                with pytest.raises(PolicyViolationError, match="too few rounds"):
                    store.admit(0, RULES, 10)
                store.admit(0, RULES, 11)
                assert store.joins(0, "autumn") == 1


@pytest.mark.parametrize("module", [participation, participation_store])
def test_pf_17_no_rule_can_read_a_clock(module: object) -> None:
    source = Path(str(getattr(module, "__file__", ""))).read_text("utf-8")
    loaded = {
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }
    assert not loaded & {"time", "datetime", "calendar"}
    words = ("CURRENT_", "datetime(", "strftime(", "julianday(", "unixepoch(")
    assert not any(word in source for word in words)


def test_a_file_that_another_process_keeps_locked_is_not_waited_for_without_end(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.join(1)
    monkeypatch.setattr(participation_store, "_PATIENCE_S", 0.01)
    db = sqlite3.connect(home.path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UsageError, match="keeps it locked"):
        home.open()
    db.close()
    home.join(11)


def test_a_closed_store_answers_nothing(home: Home) -> None:
    store = home.open()
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.admit(0, RULES, 1)


def test_nobody_but_the_owner_may_read_the_file(home: Home) -> None:
    home.join(1)
    assert home.path.stat().st_mode & 0o777 == 0o600


def test_no_refusal_of_the_store_names_a_device(home: Home) -> None:
    errors: list[HomebodyError] = []
    home.join(1, device=987_654)
    with home.open() as store:
        errors += store.admit_many([987_654], RULES, 2).values()
        with pytest.raises(PolicyViolationError) as refused:
            store.record_many([5, 987_654], RULES, 2, MODEL)
        errors.append(refused.value)
    home.path.unlink()
    with pytest.raises(IntegrityError) as deleted:
        home.open()
    errors.append(deleted.value)
    assert len(errors) == 3
    assert not any("987654" in f"{error} {error.fix}" for error in errors)


@settings(max_examples=12)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["join", "join", "join", "restart"]),
            st.integers(0, 1),
            st.sampled_from(["autumn", "winter"]),
            st.integers(1, 60),
        ),
        max_size=14,
    )
)
def test_the_file_keeps_separation_and_cap_over_restarts(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, str, int]]
) -> None:
    home = Home(tmp_path_factory.mktemp("walk"))
    done: dict[tuple[int, str], list[int]] = {}
    store = home.open()
    for what, device, run, number in steps:
        if what == "restart":
            store.close()
            store = home.open()
            continue
        rounds, rules = done.setdefault((device, run), []), replace(RULES, run=run)
        repeat = rounds[-1:] == [number]
        far = all(number - other >= 10 for other in rounds)
        admitted = not store.admit_many([device], rules, number)
        assert admitted == (repeat or (far and len(rounds) < 4))
        if admitted:
            store.record(device, rules, number, MODEL)
            rounds += [] if repeat else [number]
    assert {key: store.joins(*key) for key in done} == {k: len(v) for k, v in done.items()}
    store.close()


def test_five_hundred_devices_are_one_transaction(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(path: Path, *, timeout: float, isolation_level: None) -> sqlite3.Connection:
        db = connect(path, timeout=timeout, isolation_level=isolation_level)
        db.set_trace_callback(statements.append)
        return db

    monkeypatch.setattr(sqlite3, "connect", traced)
    with home.open() as store:
        statements.clear()
        store.record_many(range(500), RULES, 1, MODEL)
        assert sum(text.startswith("INSERT") for text in statements) == 500
        assert sum(text.startswith("COMMIT") for text in statements) == 2  # the rows, the anchor
        assert store.admit_many(range(501), RULES, 11) == {}
        assert sorted(store.admit_many(range(501), RULES, 2)) == list(range(500))
    monkeypatch.undo()
    assert home.book().mark("participation") == Mark(500, _last_head(home.path))


def _last_head(path: Path) -> str:
    db = sqlite3.connect(path)
    (head,) = db.execute("SELECT head FROM joins ORDER BY n DESC LIMIT 1").fetchone()
    db.close()
    return bytes(head).hex()
