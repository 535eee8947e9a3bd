"""CR-39, CR-40: a signed ledger shows every edit, and no entry has room for personal data."""

import json
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from homebody_privacy.charges import GaussianReleases, PoissonRounds
from homebody_privacy.checkpoint import (
    CHECKPOINT_NAME,
    LedgerCheckpoint,
    operator_key,
    origin_of,
    read_checkpoint,
    sign_checkpoint,
)
from homebody_privacy.errors import IntegrityError
from homebody_privacy.ledger import Ledger, read_ledger
from homebody_privacy.ledger_entries import (
    ENTRIES,
    BudgetStop,
    ConfigApproved,
    Header,
    ModelReleased,
    PolicyChanged,
    RetentionRun,
    RunClosed,
    WaiverEntered,
    bucket_of,
    withdrawals,
)
from homebody_privacy.ledger_lines import chain_of, line_of, parse_lines
from homebody_privacy.merkle import leaf_hash, verify_consistency, verify_inclusion
from homebody_privacy.signing import SigningKey

OPERATOR, STRANGER = SigningKey(bytes(32)), SigningKey(b"\1" * 32)
MODEL, DIGEST = "d" * 64, "e" * 64
FIGURE = GaussianReleases(noise_multiplier=9.0)

Charge = Callable[..., PoissonRounds]
Entries = list[dict[str, Any]]


@pytest.fixture
def path(tmp_path: Path, header: Header, charge: Charge) -> Path:
    """A signed ledger of a purchase, two rounds and an end: eight entries."""
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path, header, signer=OPERATOR) as ledger:
        ledger.purchase("metrics/hit_rate/1", FIGURE)
        for number in (1, 2):
            ledger.intend(number, charge(noise_multiplier=float(number)))
            ledger.release(number, MODEL)
        ledger.answer("metrics/hit_rate/1", {"hit_rate": 0.5})
        ledger.enter(RunClosed(ended="finished"))
        ledger.checkpoint()
    return path


def entries_of(path: Path) -> Entries:
    """Return the entries of a ledger's file."""
    return [json.loads(line)["entry"] for line in path.read_bytes().splitlines()]


def rewrite(path: Path, entries: Entries) -> None:
    """Write a ledger anew as its operator could: every root follows."""
    chain = chain_of(Header.model_validate(entries[0]))
    path.write_bytes(b"".join(line_of(entry, chain) for entry in entries))


def sign_anew(path: Path, key: SigningKey = OPERATOR) -> None:
    """Write a checkpoint that fits the ledger as it is."""
    lines = parse_lines(path.read_bytes(), "ledger")
    here = LedgerCheckpoint(origin_of(lines.record.header.run), len(lines.entries), lines.heads[-1])
    path.with_name(CHECKPOINT_NAME).write_text(sign_checkpoint(here, key), "utf-8")


def opened(path: Path) -> None:
    """Open a signed ledger, and read it as the others do."""
    read_ledger(path, keys=[operator_key(OPERATOR)])
    Ledger.open(path, signer=OPERATOR).close()


def test_a_signed_ledger_is_what_its_checkpoint_stands_for(path: Path) -> None:
    opened(path)
    checkpoint, note = read_checkpoint(path.with_name(CHECKPOINT_NAME), [operator_key(OPERATOR)])
    lines = parse_lines(path.read_bytes(), "ledger")
    assert (checkpoint.run, checkpoint.size) == ("autumn", 8)
    assert checkpoint.root == lines.heads[-1]
    assert note.signed_by == ("homebody.ledger",)
    assert lines.tree is not None
    for index, entry in enumerate(lines.entries):
        proof = lines.tree.inclusion_proof(index, 8)
        leaf = leaf_hash(rfc8785.dumps(dict(entry)))
        assert verify_inclusion(leaf, index, 8, proof, checkpoint.root)
    for size in range(1, 9):
        proof = lines.tree.consistency_proof(size, 8)
        assert verify_consistency(size, lines.heads[size - 1], 8, checkpoint.root, proof)


def edit(entries: Entries) -> Entries:
    entries[2]["charge"]["noise_multiplier"] = 9.0  # say that more noise was added
    return entries


def swap(entries: Entries) -> Entries:
    return [entries[0], *entries[2:4], entries[1], *entries[4:]]


def delete(entries: Entries) -> Entries:
    return [entries[0], *entries[2:6], *entries[7:]]  # a figure that was bought and answered


def truncate(entries: Entries) -> Entries:
    return entries[:6]


CHANGES = [edit, swap, delete, truncate]


@pytest.mark.parametrize("change", CHANGES)
def test_cr_39_a_changed_ledger_whose_roots_were_made_to_follow_is_found(
    path: Path, change: Callable[[Entries], Entries]
) -> None:
    rewrite(path, change(entries_of(path)))
    changed = path.read_bytes()
    read_ledger(path)  # by itself it is in order
    why = "entries were removed" if change in {delete, truncate} else "an entry was changed"
    for use in (
        lambda: read_ledger(path, keys=[operator_key(OPERATOR)]),
        lambda: Ledger.open(path, signer=OPERATOR),
    ):
        with pytest.raises(IntegrityError, match=why) as refusal:
            use()
        assert refusal.value.exit_code == 14
    assert path.read_bytes() == changed  # evidence is kept


@pytest.mark.parametrize("change", CHANGES)
def test_cr_39_signed_again_by_the_operator_it_fails_whoever_saw_it_before(
    path: Path, change: Callable[[Entries], Entries]
) -> None:
    seen = parse_lines(path.read_bytes(), "ledger")
    rewrite(path, change(entries_of(path)))
    sign_anew(path)
    opened(path)  # here nothing can tell
    now = parse_lines(path.read_bytes(), "ledger")
    assert now.tree is not None
    size = len(now.entries)
    proof = now.tree.consistency_proof(min(8, size), size)
    assert not verify_consistency(8, seen.heads[-1], size, now.heads[-1], proof)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(where=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_cr_39_any_changed_byte_of_a_checkpoint_is_found(path: Path, where: int, flip: int) -> None:
    file = path.with_name(CHECKPOINT_NAME)
    whole = file.read_bytes()
    content = bytearray(whole)
    content[where % len(content)] ^= flip
    file.write_bytes(content)
    with pytest.raises(IntegrityError):
        Ledger.open(path, signer=OPERATOR)
    file.write_bytes(whole)
    opened(path)


def test_a_checkpoint_of_a_stranger_or_of_another_run_is_refused(path: Path) -> None:
    sign_anew(path, STRANGER)
    with pytest.raises(IntegrityError, match="none of the known keys"):
        opened(path)
    entries = entries_of(path)
    entries[0]["run"] = "winter"
    sign_anew(path)
    rewrite(path, entries)
    with pytest.raises(IntegrityError, match="of another run"):
        opened(path)


def test_a_checkpoint_that_is_gone_stops_a_ledger_that_charged_something(
    path: Path, tmp_path: Path, header: Header
) -> None:
    path.with_name(CHECKPOINT_NAME).unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        opened(path)
    young = tmp_path / "young"
    young.mkdir()
    Ledger.create(young / "ledger.jsonl", header).close()  # a crash before its first checkpoint
    opened(young / "ledger.jsonl")
    assert (young / CHECKPOINT_NAME).exists()


def test_an_open_ledger_is_ahead_of_its_checkpoint_after_a_crash_and_goes_on(
    path: Path, header: Header, charge: Charge, tmp_path: Path
) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    cut = folder / "ledger.jsonl"
    with Ledger.create(cut, header, signer=OPERATOR) as ledger:
        ledger.intend(1, charge())
    with cut.open("ab") as file:
        file.write(b'{"entry":{"kind":"rel')
    with Ledger.open(cut, signer=OPERATOR) as ledger:
        assert (ledger.record.opened, ledger.record.closed) == (1, 0)
        ledger.release(1, MODEL)
    read_ledger(cut, keys=[operator_key(OPERATOR)])
    assert read_checkpoint(folder / CHECKPOINT_NAME, [operator_key(OPERATOR)])[0].size == 2
    assert path.exists()


def test_a_closed_run_charges_and_answers_nothing_more(path: Path, charge: Charge) -> None:
    with Ledger.open(path, signer=OPERATOR) as ledger:
        assert ledger.record.ended == "finished"
        with pytest.raises(ValueError, match="the run is closed"):
            ledger.intend(3, charge())
        with pytest.raises(ValueError, match="the run is closed"):
            ledger.purchase("run", charge())
        for late in (BudgetStop(name="round/3"), RunClosed(ended="finished")):
            with pytest.raises(ValueError, match="the run is closed"):
                ledger.enter(late)
        ledger.enter(ModelReleased(bundle=DIGEST, model=MODEL))
        ledger.enter(RetentionRun(what=["run-key"]))
        ledger.enter(withdrawals(3))


def test_what_is_entered_besides_charges_reads_back(path: Path, header: Header) -> None:
    path = path.with_name("other.jsonl")
    notices = (
        PolicyChanged(policy=DIGEST),
        ConfigApproved(config=header.config, app=DIGEST, keys=[MODEL], policy=DIGEST),
        WaiverEntered(
            rule="AGG-002",
            path="aggregation.report_goal",
            config=header.config,
            keys=[MODEL],
            expires_day="2027-01-31",
        ),
        BudgetStop(name="round/3"),
        withdrawals(1_234),
        RunClosed(ended="budget-exhausted"),
    )
    with Ledger.create(path, header) as ledger:
        for notice in notices:
            ledger.enter(notice)
        with pytest.raises(ValueError, match="the run is closed"):
            ledger.enter(PolicyChanged(policy=None))
    record, _ = read_ledger(path)
    assert tuple(record.notices) == notices
    assert record.approvals == notices[1:2]
    assert record.waivers == notices[2:3]
    assert (record.policy, record.ended) == (DIGEST, "budget-exhausted")
    assert (record.stops, record.charges()) == (("round/3",), [])
    assert [one.bucket for one in record.withdrawals] == ["1000-9999"]


def test_what_earlier_runs_spent_is_carried_in_and_kept_apart(
    tmp_path: Path, header: Header, charge: Charge
) -> None:
    carried = header.model_copy(update={"carried": [charge().to_dict(), FIGURE.to_dict()]})
    with Ledger.create(tmp_path / "l.jsonl", carried) as ledger:
        ledger.intend(1, charge())
    record, _ = read_ledger(tmp_path / "l.jsonl")
    assert record.charges() == [charge()]
    assert record.lifetime_charges() == [charge(), FIGURE, charge()]
    for wrong in ([{"kind": "gift"}], [{**charge().to_dict(), "surprise": 1}]):
        with pytest.raises(ValueError, match="a charge has"):
            Ledger.create(tmp_path / "w.jsonl", header.model_copy(update={"carried": wrong}))


@pytest.mark.parametrize(
    ("people", "bucket"),
    [(0, "none"), (1, "1-99"), (99, "1-99"), (100, "100-999"), (1_000, "1000-9999"),
     (10_000, "10000-or-more"), (10**9, "10000-or-more")],
)  # fmt: skip
def test_cr_40_withdrawals_are_entered_as_a_range(people: int, bucket: str) -> None:
    assert bucket_of(people) == bucket
    assert withdrawals(people).model_dump() == {"kind": "withdrawals", "bucket": bucket}


def test_a_number_of_people_below_zero_is_none() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        bucket_of(-1)


# CR-40: no field into which somebody's words, name or address could go.

PERSONAL = {
    "an e-mail": "ann@example.org",
    "an address": "192.168.0.17",
    "a v6 address": "2001:db8::17",
    "a sentence": "Ann took back her yes",
    "a device": "device 17",
    "markup": "<b>17</b>",
    "a line": "two\nlines",
}


DOTTED = {"Header.run", "Header.previous", "WaiverEntered.path"}
"""Names that the operator chose for a run, and a field of the config: a dot is theirs to use."""


CHARGES = {"Header.carried", "Intent.charge", "Purchase.charge"}
"""Objects of numbers and known words; the test below holds them to it."""


def fields() -> Iterator[tuple[str, Any]]:
    """Give every field of every entry with what it may hold, and its metadata."""
    models: list[type[BaseModel]] = list(ENTRIES)
    for model in models:
        for name, info in model.model_fields.items():
            yield f"{model.__name__}.{name}", Annotated[info.annotation, *info.metadata, None]


def texts(kind: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:  # noqa: ANN401 - a type
    """Give every text a field may hold, with what holds it to a pattern."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from texts(arguments[0], (*arguments[1:], *metadata))
    elif origin is Literal or kind in {int, float, types.NoneType, Any}:
        return
    elif origin in {Union, types.UnionType}:
        for one in arguments:
            yield from texts(one, metadata)
    elif origin in {list, dict}:
        for one in arguments:
            yield from texts(one)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        for info in kind.model_fields.values():
            yield from texts(info.annotation, tuple(info.metadata))
    else:
        yield kind, metadata


def pattern_of(metadata: tuple[Any, ...]) -> str | None:
    """Return the pattern a text is held to."""
    found = [one for one in metadata if one is not None]
    for one in found:
        pattern = getattr(one, "pattern", None)
        if pattern is not None:
            return str(pattern)
        for deeper in getattr(one, "metadata", ()):
            if getattr(deeper, "pattern", None) is not None:
                return str(deeper.pattern)
    return None


def test_cr_40_no_field_of_any_entry_takes_free_text() -> None:
    seen = 0
    for name, annotated in fields():
        if name in CHARGES:
            continue
        for kind, metadata in texts(annotated):
            assert kind is str, name
            pattern = pattern_of(metadata)
            assert pattern is not None, f"{name} takes any text"
            seen += 1
            for what, text in PERSONAL.items():
                if what == "an address" and name in DOTTED:
                    continue
                assert re.search(pattern, text) is None, f"{name} takes {what}"
    assert seen >= 20


def test_cr_40_charges_and_figures_take_numbers_and_known_words_alone(
    tmp_path: Path, header: Header, charge: Charge
) -> None:
    with Ledger.create(tmp_path / "l.jsonl", header) as ledger:
        ledger.purchase("metrics/a/1", FIGURE)
        before = ledger.path.read_bytes()
        for wrong in ({"note": "Ann"}, {"part": "Ann"}, {"noise_multiplier": "Ann"}):
            entry = {"kind": "intent", "round": 1, "charge": {**charge().to_dict(), **wrong}}
            with pytest.raises(ValueError, match=r"charge|part"):
                ledger.record.apply(entry)
        for values in ({"ann@example.org": 1.0}, {"Ann": 1.0}, {"a": "Ann"}):
            with pytest.raises(ValidationError):
                ledger.answer("metrics/a/1", values)  # type: ignore[arg-type]
        assert ledger.path.read_bytes() == before
