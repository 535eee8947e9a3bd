"""CR-38, CN-15: a device takes part in what is approved, above its floor, and charged; else not.

The node is the real one, its ledger is a real one, and every refusal is a code: nothing is trained
and nothing but the code is sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from homebody_client.secure.guard import RoundGuard
from homebody_client.secure.policy import Policy
from homebody_privacy.approval.approvals_file import to_values
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.legs import Announcement, Decline, Enrolment, Opening, Step
from homebody_privacy.policy_floor import PolicyFloor
from homebody_privacy.sealing import read_context
from homebody_privacy.signing import SigningKey
from tests.privacy.review_world import APP, DAY, DPO, KEYS, SECURITY, approval, example, pinned

from .ledger_book import Book, close_books
from .secure_town import Sum, Town
from .secure_vectors import NOW, POLICY

FLOOR = PolicyFloor(min_separation=100, max_joins=5)
WITNESS = (DPO, KEYS[DPO])


def unwitnessed() -> PrivacyConfig:
    """Return the example config, without a witness."""
    terms = example().ledger.model_copy(update={"witness": "none"})
    return example().model_copy(update={"ledger": terms})


@dataclass
class Guarded:
    """A town whose nodes look at approvals and ledger, and its ledger."""

    town: Town
    book: Book
    config: PrivacyConfig
    told: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, config: PrivacyConfig) -> "Guarded":
        """Return a town in which everything is in order."""
        town = Town.of([(0, 1), (2,), (3,), (4, 5)])
        town.config = config.digest()
        witness = WITNESS if config.ledger.witness == "second_key" else None
        book = Book(root, config=config.digest(), app=APP, witness=witness)
        keys = replace(pinned(), witnesses={DPO: KEYS[DPO].public}, ledger=book.key_line)
        guard = RoundGuard(config=config, app=lambda: APP, reviewers=keys, floor=FLOOR)
        own = Policy.of(config)
        for member in town.members:
            member.guard = guard
            member.policy = replace(POLICY, config_sha256=own.config_sha256, statistics=True)
        guarded = cls(town, book, config)
        guarded.told = {
            "app": APP,
            "approvals": guarded.signed(DPO, SECURITY),
            "ledger": book.key_line,
        }
        return guarded

    def signed(self, *people: str, **changes: Any) -> list[Any]:  # noqa: ANN401 - fields
        """Return what people sign of the config."""
        usual = {"issued": NOW - DAY, "expires": NOW + 30 * DAY}
        envelopes = [approval(by, of=self.config, **{**usual, **changes}) for by in people]
        return [dict(one) for one in to_values(envelopes)]

    def announcement(self, **changed: Any) -> Announcement:  # noqa: ANN401 - its fields
        """Return what the server says of the run."""
        return self.town.announcement(**{**self.told, **changed})

    def enrol(self, **changed: Any) -> tuple[str, int]:  # noqa: ANN401 - fields
        """Announce the run to the first node: what it declined with, and what it has pinned."""
        reply = self.town.members[0].node.answer(
            Step.ENROL, self.town.announce(self.announcement(**changed))
        )
        body = self.town.opened(reply, self.town.key)
        if read_context(reply).step is Step.DECLINE:
            return Decline.from_bytes(body).code, 0
        return "", Enrolment.from_bytes(body).pinned

    def ask(self, number: int = 1, *, sizes: tuple[int, ...] = (), **changed: Any) -> str:  # noqa: ANN401
        """Open a session with the first node; return what it declined with, or nothing."""
        sum_, reply = self._opened(number, sizes, changed)
        head = read_context(reply)
        body = self.town.opened(reply, sum_.key)
        return Decline.from_bytes(body).code if head.step is Step.DECLINE else ""

    def _opened(
        self, number: int, sizes: tuple[int, ...], changed: dict[str, Any]
    ) -> tuple[Sum, bytes]:
        sum_ = self.town.sum(round_number=number)
        charge = changed.pop("charge", f"round/{number}")
        told = {"charge": charge, **changed}
        if "ledger" not in told:
            told["ledger"] = self.book.shown(charge, sizes)
        opening: Opening = sum_.opening(**told)
        message = sum_.message(Step.ADVERTISE, 0, opening.to_bytes())
        return sum_, self.town.members[0].node.answer(Step.ADVERTISE, message)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close what a test opened."""
    yield
    close_books()


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    """Return a town in order, without a witness; round 1 is charged."""
    found = Guarded.of(tmp_path, unwitnessed())
    found.book.open(1)
    return found


@contextmanager
def silent(guarded: Guarded) -> Iterator[None]:
    """Claim that nothing is let out while the block lasts."""
    worker = guarded.town.members[0].worker
    before = (list(worker.out), list(worker.trained))
    yield
    assert (worker.out, worker.trained) == before


def test_cr_38_an_approved_run_is_joined_and_its_ledger_pinned(guarded: Guarded) -> None:
    assert guarded.enrol() == ("", 0)
    assert guarded.ask(1) == ""
    size = guarded.book.ledger.record.entries
    assert guarded.enrol() == ("", size)


UNAPPROVED: dict[str, dict[str, Any]] = {
    "nobody": {},
    "one of two": {"people": (DPO,)},
    "another app": {"people": (DPO, SECURITY), "app": "cd" * 32},
    "another config": {"people": (DPO, SECURITY), "config": "cd" * 32},
    "expired": {"people": (DPO, SECURITY), "expires": NOW},
    "one person twice": {"people": (DPO, DPO)},
}


@pytest.mark.parametrize("case", UNAPPROVED)
def test_cr_38_what_is_not_approved_is_not_joined(guarded: Guarded, case: str) -> None:
    changes = dict(UNAPPROVED[case])
    signed = guarded.signed(*changes.pop("people", ()), **changes)
    with silent(guarded):
        assert guarded.enrol(approvals=signed)[0] == "not-approved"


def test_cr_38_people_whose_keys_are_not_pinned_approve_nothing(guarded: Guarded) -> None:
    member = guarded.town.members[0]
    assert member.guard is not None
    member.guard = replace(member.guard, reviewers=pinned([SECURITY]))
    with silent(guarded):
        assert guarded.enrol()[0] == "not-approved"


def test_cr_38_a_config_that_asks_for_one_approval_does_not_approve_itself(tmp_path: Path) -> None:
    terms = unwitnessed().approval.model_copy(update={"required": 1})
    lax = Guarded.of(tmp_path, unwitnessed().model_copy(update={"approval": terms}))
    with silent(lax):
        assert lax.enrol(approvals=lax.signed(DPO))[0] == "not-approved"
    assert lax.enrol()[0] == ""


def test_cr_38_a_forged_approval_is_refused_as_such(guarded: Guarded) -> None:
    forged = guarded.signed(SECURITY, key=SigningKey(b"\x09" * 32))
    with silent(guarded):
        both = [*guarded.signed(DPO), *forged]
        assert guarded.enrol(approvals=both)[0] == "integrity-failure"
        assert guarded.enrol(approvals=[{"x": 1}])[0] == "integrity-failure"


def test_cr_38_another_app_than_the_devices_is_refused(guarded: Guarded) -> None:
    with silent(guarded):
        assert guarded.enrol(app="cd" * 32)[0] == "not-approved"
        assert guarded.enrol(app="")[0] == "not-approved"


def test_cr_38_an_approval_that_expires_in_a_run_ends_it_on_the_device(guarded: Guarded) -> None:
    assert guarded.enrol(approvals=guarded.signed(DPO, SECURITY, expires=NOW + 60))[0] == ""
    assert guarded.ask(1) == ""
    guarded.book.open(2)
    member = guarded.town.members[0]
    member.clock = lambda: NOW + 61
    with silent(guarded):
        assert guarded.ask(2, sizes=(4,)) == "not-approved"


@pytest.mark.parametrize(
    "floor",
    [
        {"max_epsilon": 2.4},
        {"max_delta": 1e-8},
        {"min_report_goal": 301},
        {"min_separation": 101},
        {"max_joins": 4},
    ],
    ids=str,
)
def test_cr_38_a_config_below_the_floor_is_refused_whoever_approved_it(
    guarded: Guarded, floor: dict[str, Any]
) -> None:
    member = guarded.town.members[0]
    assert member.guard is not None
    member.guard = replace(member.guard, floor=replace(FLOOR, **floor))
    with silent(guarded):
        assert guarded.enrol()[0] == "below-floor"


def test_cr_35_a_device_joins_no_sum_that_is_no_secret(tmp_path: Path) -> None:
    sums = unwitnessed().aggregation.model_copy(update={"secagg": False})
    open_ = Guarded.of(tmp_path, unwitnessed().model_copy(update={"aggregation": sums}))
    with silent(open_):
        assert open_.enrol()[0] == "below-floor"


def test_cn_15_cr_38_a_lower_revision_is_refused_though_it_was_approved(
    guarded: Guarded, tmp_path: Path
) -> None:
    assert guarded.enrol()[0] == ""
    older = Guarded.of(tmp_path / "older", unwitnessed().model_copy(update={"revision": 11}))
    known = guarded.town.members[0]
    # The node is the same, with what it keeps; operator and reviewers go back.
    guarded.town.config, guarded.config = older.config.digest(), older.config
    known.guard, known.policy = older.town.members[0].guard, older.town.members[0].policy
    with silent(guarded):
        signed = older.signed(DPO, SECURITY)
        code, _ = guarded.enrol(approvals=signed, ledger=older.book.key_line, run="winter")
        assert code == "config-rolled-back"


def test_cr_38_a_round_that_is_not_charged_is_refused(guarded: Guarded) -> None:
    guarded.enrol()
    with silent(guarded):
        assert guarded.ask(2, ledger=guarded.book.shown("round/1")) == "ledger-refused"
        assert guarded.ask(2) == "ledger-refused"
        assert guarded.ask(1, charge="round/2") == "ledger-refused"
        assert guarded.ask(1, charge="") == "ledger-refused"
        assert guarded.ask(1, ledger={}) == "ledger-refused"
    assert guarded.ask(1) == ""


def test_cr_38_a_ledger_without_the_approval_is_refused(tmp_path: Path, guarded: Guarded) -> None:
    guarded.enrol()
    for config, app in (("cd" * 32, APP), (guarded.config.digest(), "cd" * 32)):
        other = Book(tmp_path / config[:4] / app[:4], config=config, app=app)
        other.open(1)
        keys = replace(pinned(), ledger=other.key_line)
        member = guarded.town.members[0]
        assert member.guard is not None
        member.guard = replace(member.guard, reviewers=keys)
        guarded.enrol(ledger=other.key_line)
        with silent(guarded):
            assert guarded.ask(1, ledger=other.shown("round/1")) == "ledger-refused"


def test_cr_38_a_ledger_signed_with_another_key_is_refused(
    tmp_path: Path, guarded: Guarded
) -> None:
    other = Book(tmp_path / "other", config=guarded.config.digest(), app=APP)
    other.open(1)
    guarded.enrol()
    with silent(guarded):
        assert guarded.ask(1, ledger=other.shown("round/1")) == "ledger-refused"
        # A pinned key is not exchanged by an announcement.
        assert guarded.enrol(ledger=other.key_line)[0] == "ledger-refused"
        assert guarded.ask(1, ledger=other.shown("round/1")) == "ledger-refused"


def test_cr_38_a_forked_or_cut_ledger_is_refused_once_more_was_seen(
    tmp_path: Path, guarded: Guarded
) -> None:
    guarded.enrol()
    before = guarded.book.shown("round/1")
    assert guarded.ask(1) == ""
    size = guarded.book.ledger.record.entries
    guarded.book.open(2)
    assert guarded.ask(2, sizes=(size,)) == ""
    fork = Book(tmp_path / "fork", config=guarded.config.digest(), app=APP)
    fork.open(1)
    fork.buy("tuning")
    fork.open(2)
    fork.open(3)
    key_file = tmp_path / "ledger.key"
    assert key_file.exists()
    forked = replace(fork.window, signer=guarded.book.window.signer)
    with silent(guarded):
        assert guarded.ask(1, ledger=before) == "ledger-refused"  # older than what was seen
        seen = guarded.book.ledger.record.entries
        shown = forked.show("round/3").to((size, seen))
        assert guarded.ask(3, ledger=shown) == "ledger-refused"  # another story
        guarded.book.open(3)
        assert guarded.ask(3, sizes=(size,)) == "ledger-refused"  # no proof from what was seen
    assert guarded.ask(3, sizes=(size, seen)) == ""


def test_cr_38_no_part_of_a_proof_can_be_changed(guarded: Guarded) -> None:
    guarded.enrol()
    assert guarded.ask(1) == ""
    size = guarded.book.ledger.record.entries
    guarded.book.open(2)
    good = guarded.book.shown("round/2", (size,))
    bad: list[dict[str, Any]] = [{**good, "checkpoint": good["checkpoint"].replace("\n", "\n ", 1)}]
    entries = good["inclusions"]
    for at, one in enumerate(entries):
        changes: tuple[dict[str, Any], ...] = (
            {"index": one["index"] + 1},
            {"entry": one["entry"] + " "},
            {"proof": []},
        )
        bad += [
            {**good, "inclusions": [*entries[:at], {**one, **change}, *entries[at + 1 :]]}
            for change in changes
        ]
        bad.append({**good, "inclusions": [*entries[:at], *entries[at + 1 :]]})
    steps = good["consistency"][str(size)]
    bad.append({**good, "consistency": {str(size): steps[::-1]}})
    bad.append({**good, "consistency": {str(size): ["00" * 32, *steps[1:]]}})
    bad.append({name: value for name, value in good.items() if name != "since"})
    with silent(guarded):
        for shown in bad:
            if shown != good:
                assert guarded.ask(2, ledger=shown) == "ledger-refused", shown
    assert guarded.ask(2, ledger=good) == ""


def test_cr_38_a_witness_must_have_seen_the_opening_of_the_run(tmp_path: Path) -> None:
    town = Guarded.of(tmp_path, example())
    assert town.book.window.opening_is_witnessed()
    town.book.open(1)
    town.enrol()
    assert town.ask(1) == ""
    size = town.book.ledger.record.entries
    town.book.open(2)
    with silent(town):
        shown = dict(town.book.shown("round/2", (size,)))
        assert town.ask(2, ledger={**shown, "witnessed": ""}) == "ledger-refused"
        stranger = Book(
            tmp_path / "s", config=town.config.digest(), app=APP, witness=(SECURITY, KEYS[SECURITY])
        )
        stranger.open(1)
        other = stranger.shown("round/1")["witnessed"]
        assert town.ask(2, ledger={**shown, "witnessed": other}) == "ledger-refused"
    assert town.ask(2, ledger=shown) == ""


def test_cr_38_what_is_asked_must_be_what_was_charged(guarded: Guarded) -> None:
    guarded.book.ledger.void(1, "too-few-devices")
    guarded.book.buy("statistics/gram")
    guarded.enrol()
    assert guarded.ask(0, charge="statistics/gram") == ""
    with silent(guarded):
        assert guarded.ask(0, charge="statistics/popularity", sizes=(99,)) == "ledger-refused"
        assert guarded.ask(0, charge="run", sizes=(6,)) == "ledger-refused"


def test_a_simulated_node_has_no_guard_and_needs_none() -> None:
    town = Town.of([(0, 1), (2,), (3,), (4, 5)])
    assert [one.pinned for one in town.enrol()] == [0, 0, 0, 0]
    assert set(town.sum().leg(Step.ADVERTISE).values()) == {""}
