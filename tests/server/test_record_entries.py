"""What a run enters besides charges: approvals, rules, the model, the end, what was destroyed."""

from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.approval.statement import Approval, Waiver, sign
from homebody_privacy.checkpoint import (
    CHECKPOINT_NAME,
    LedgerCheckpoint,
    ledger_public,
    read_checkpoint,
    sign_checkpoint,
)
from homebody_privacy.environment import STATE
from homebody_privacy.errors import BudgetExhaustedError, IntegrityError
from homebody_privacy.ledger_entries import ConfigApproved, PolicyChanged, WaiverEntered
from homebody_privacy.ledger_reading import read_lines
from homebody_privacy.signing import SigningKey
from homebody_server import flower_app
from homebody_server.record_entries import enter_end, enter_model, enter_opening
from homebody_server.spending import open_ledger

from .world import Builder, PowerCutError, World, cut_in_round, entries, ledger_of

KEYS = [SigningKey(bytes([i]) * 32) for i in range(3)]
APP, POLICY, OTHER, MODEL = "a" * 64, "b" * 64, "c" * 64, "d" * 64
UNTIL = 1_800_000_000  # 2027-01-15


@pytest.fixture(autouse=True)
def _state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the anchors of each test apart: all worlds hold the same people."""
    monkeypatch.setenv(STATE, str(tmp_path / "state"))


def approval(config: str, key: SigningKey, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - its fields
    """Return a signed approval as ``run.json`` has it."""
    usual: dict[str, Any] = {
        "config": config,
        "app": APP,
        "by": "dpo@example.org",
        "revision": 1,
        "policy_version": 1,
        "policy": POLICY,
        "issued": 1,
        "expires": UNTIL,
    }
    return sign(Approval(**(usual | more)), key).to_json()


def waiver(config: str, key: SigningKey) -> dict[str, Any]:
    """Return a signed waiver as ``run.json`` has it."""
    said = Waiver(
        rule="AGG-002",
        path="aggregation.report_goal",
        reason="Ann asked for a pilot",
        config=config,
        by="dpo@example.org",
        issued=1,
        expires=UNTIL,
    )
    return sign(said, key).to_json()


def told(world: World, **more: object) -> None:
    """Add to what ``run.json`` says."""
    world.folder.write_json("run.json", {**world.folder.read_json("run.json"), **more})


def opened(world: World) -> None:
    """Open the ledger as a run does."""
    with open_ledger(world.folder, world.spec) as ledger:
        enter_opening(ledger, world.folder, world.spec, APP)


def test_approvals_and_waivers_of_the_config_are_entered_once_with_ids_of_keys(
    make_world: Builder,
) -> None:
    world = make_world()
    config = world.spec.config_digest
    envelopes = [
        approval(config, KEYS[0]),
        approval(config, KEYS[1], by="security@example.org"),
        approval(OTHER, KEYS[2]),  # of another config: it says nothing of this run
        approval(config, KEYS[2], app=OTHER),  # of an app that does not run
        waiver(config, KEYS[0]),
    ]
    told(world, approvals=envelopes, policy={"name": "ours", "sha256": POLICY})
    for _ in range(2):  # a resumed run opens it again
        opened(world)
    record = ledger_of(world)
    ids = sorted(key.key_id for key in KEYS[:2])
    assert record.notices == [
        PolicyChanged(policy=POLICY),
        WaiverEntered(
            rule="AGG-002",
            path="aggregation.report_goal",
            config=config,
            keys=[KEYS[0].key_id],
            expires_day="2027-01-15",
        ),
        ConfigApproved(config=config, app=APP, keys=ids, policy=POLICY),
    ]
    content = world.folder.ledger_file.read_text("utf-8")
    assert not any(word in content for word in ("example.org", "Ann", "ours"))  # CR-40


def test_cr_37_a_run_notes_the_app_that_runs_and_enters_no_approval_of_another(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    told(world, approvals=[approval(world.spec.config_digest, KEYS[0])])
    monkeypatch.setattr(flower_app, "installed_app", lambda: OTHER)
    with pytest.raises(PowerCutError):
        world.run(cut_in_round(2, world.honest))
    assert world.folder.read_json("run.json")["app"] == OTHER
    assert ledger_of(world).notices == []
    # Another app goes on: it is the one that is noted, and its approval comes after a charge.
    monkeypatch.setattr(flower_app, "installed_app", lambda: APP)
    world.run()
    assert world.folder.read_json("run.json")["app"] == APP
    kinds = [one["kind"] for one in entries(world)]
    assert kinds.index("config_approved") > kinds.index("intent")


def test_a_run_that_nobody_approved_enters_nothing_of_it(make_world: Builder) -> None:
    world = make_world()
    opened(world)
    assert ledger_of(world).notices == []


@pytest.mark.parametrize("wrong", [["no envelope"], [{"payload": ""}], "none"])
def test_what_is_no_approval_stops_the_run(make_world: Builder, wrong: object) -> None:
    world = make_world()
    told(world, approvals=wrong)
    with pytest.raises(IntegrityError):
        opened(world)
    assert ledger_of(world).notices == []


def test_rules_of_the_firm_are_entered_where_they_change_over_a_lifetime(
    make_world: Builder,
) -> None:
    found = {}
    for name, policy in (("one", POLICY), ("two", POLICY), ("three", OTHER), ("four", None)):
        world = make_world(name, lifetime=True, rounds=1)
        told(world, policy=policy and {"name": "ours", "sha256": policy})
        opened(world)
        found[name] = [one.model_dump() for one in ledger_of(world).notices]
    kind = "policy_changed"
    assert found["one"] == [{"kind": kind, "policy": POLICY}]
    assert found["three"] == [{"kind": kind, "policy": OTHER}]


def test_the_checkpoint_is_signed_at_the_opening_after_rounds_and_at_the_end(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def watched(checkpoint: LedgerCheckpoint, key: SigningKey) -> str:
        sizes.append(checkpoint.size)
        return sign_checkpoint(checkpoint, key)

    monkeypatch.setattr("homebody_privacy.ledger.sign_checkpoint", watched)
    world = make_world(rounds=5, checkpoint_every=2)
    world.run()
    # The header; two rounds of two entries each, twice; the last round when the app ends.
    assert sizes == [1, 5, 9, 11]
    lines, _ = read_lines(world.folder.ledger_file)
    checkpoint, _ = read_checkpoint(
        world.folder.path / CHECKPOINT_NAME, [ledger_public(world.folder.path.parent)]
    )
    assert (checkpoint.size, checkpoint.root) == (11, lines.heads[-1])


def test_cr_39_a_ledger_edited_between_two_starts_stops_the_run(make_world: Builder) -> None:
    world = make_world(rounds=2)
    with pytest.raises(PowerCutError):
        world.run(cut_in_round(2, world.honest))
    file = world.folder.ledger_file
    whole = file.read_bytes()
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))  # one round's release is gone
    with pytest.raises(IntegrityError, match="entries were removed") as refusal:
        world.run()
    assert refusal.value.exit_code == 14
    file.write_bytes(whole)
    assert world.run().next_round == 3


def test_cr_34_a_stop_at_the_budget_is_in_the_ledger_once(make_world: Builder) -> None:
    world = make_world(rounds=3, ceiling=0.5, noise_multiplier=5.0)
    for _ in range(2):
        with pytest.raises(BudgetExhaustedError):
            world.run()
    record = ledger_of(world)
    assert record.stops == (f"round/{record.opened + 1}",)
    assert len(record.charges()) == record.opened < 3


def test_a_published_model_is_entered_by_its_digests(make_world: Builder) -> None:
    world = make_world(rounds=1)
    world.run()
    enter_model(world.folder, world.spec, bundle=OTHER, model=MODEL)
    assert [(one.bundle, one.model) for one in ledger_of(world).models] == [(OTHER, MODEL)]


def ended(world: World) -> None:
    """End a run as a simulation does."""
    told(world, outcome={"ended": "finished"})
    world.folder.destroy_key()
    enter_end(world.folder, world.spec)


@pytest.mark.parametrize(
    ("mechanism", "gone"),
    [
        ("gaussian", ["run-key", "device-records"]),
        ("blt", ["run-key", "noise-state", "device-records"]),
    ],
)
def test_cr_45_what_a_run_no_longer_keeps_is_gone_and_entered(
    make_world: Builder, mechanism: str, gone: list[str]
) -> None:
    world = make_world(mechanism=mechanism, rounds=2)
    world.run()
    assert "run.key" in world.folder.kept()
    assert ("noise" in world.folder.kept()) is (mechanism == "blt")
    for _ in range(2):  # a crash may have come just before
        ended(world)
    assert world.folder.kept() == []
    record = ledger_of(world)
    assert [one.what for one in record.retention_runs] == [gone]
    assert record.ended == "finished"
    checkpoint, _ = read_checkpoint(
        world.folder.checkpoint_file, [ledger_public(world.folder.path.parent)]
    )
    assert checkpoint.size == record.entries


def test_cr_45_what_is_still_there_is_never_said_to_be_gone(make_world: Builder) -> None:
    world = make_world(rounds=1)
    world.run()
    told(world, outcome={"ended": "finished"})
    with pytest.raises(IntegrityError, match=r"run\.key should be destroyed"):
        enter_end(world.folder, world.spec)
    assert ledger_of(world).retention_runs == ()


def test_records_of_a_lifetime_are_kept_and_not_said_to_be_gone(make_world: Builder) -> None:
    world = make_world(rounds=1, lifetime=True)
    world.run()
    ended(world)
    assert [one.what for one in ledger_of(world).retention_runs] == [["run-key"]]


def test_a_reference_without_noise_enters_nothing(make_world: Builder) -> None:
    world = make_world(rounds=1, noise_multiplier=0.0, ceiling=None)
    world.run()
    enter_model(world.folder, world.spec, bundle=OTHER, model=MODEL)
    ended(world)
    assert not world.folder.ledger_file.exists()
    assert not world.folder.checkpoint_file.exists()
