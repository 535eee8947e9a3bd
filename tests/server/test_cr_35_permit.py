"""CR-35: a fleet starts nothing, and opens no round, that is not approved and protected."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from flwr.app import Context, Message, RecordDict

from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.approvals_file import to_values
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import (
    HomebodyError,
    IntegrityError,
    NotApprovedError,
    PolicyViolationError,
    RoundVoidError,
)
from homebody_privacy.legs import Step
from homebody_privacy.sealing import read_context
from homebody_server.flower_app import RUN_FOLDER, build_server_app
from homebody_server.secure.permit import require_deployable
from tests.approving import sign_off
from tests.privacy.review_world import DAY, DPO, SECURITY, approval, example, keys_text, pinned

from .secure_time import Time
from .secure_world import Fleet, envelope_of_down, nodes_of
from .world import DEVICES, Builder, Work, config_of, entries, ledger_of

OWN: dict[str, Any] = {
    "mechanism": "blt",
    "rounds": 2,
    "min_separation": 2,
    "max_rounds_per_device": 1,
    "metrics": (),
    "runtime": "deploy",
}


@pytest.fixture
def fleet(make_world: Builder) -> Fleet:
    """Return a fleet whose run is approved, and not begun."""
    return nodes_of(make_world("run", secagg=True, **OWN), 4, Time())


def keep(fleet: Fleet, **changed: object) -> None:
    """Change what the run's folder says of its approvals."""
    folder = fleet.world.folder
    folder.write_json("run.json", {**folder.read_json("run.json"), **changed})


def config(fleet: Fleet) -> PrivacyConfig:
    """Return the run's config."""
    return PrivacyConfig.load(fleet.world.folder.config_file)


def unapprove(fleet: Fleet) -> None:
    keep(fleet, approvals=[])


def expire(fleet: Fleet) -> None:
    now = int(time.time())
    signed = sign_off(config(fleet), enrolled=DEVICES, issued=now - DAY, expires=now - 1)
    keep(fleet, approvals=to_values(signed))


def approve_another_app(fleet: Fleet) -> None:
    keep(fleet, approvals=to_values(sign_off(config(fleet), enrolled=DEVICES, app="ab" * 32)))


def lift_nothing(fleet: Fleet) -> None:
    signed = [
        approval(
            by,
            of=config(fleet),
            app=installed_app(),
            issued=int(time.time()) - 60,
            expires=int(time.time()) + DAY,
        )
        for by in (DPO, SECURITY)
    ]
    keep(fleet, approvals=to_values(signed))


def pin_nobody(fleet: Fleet) -> None:
    (fleet.world.folder.aggregator_folder / "reviewers.toml").unlink()


def pin_one(fleet: Fleet) -> None:
    (fleet.world.folder.aggregator_folder / "reviewers.toml").write_text(keys_text([DPO]), "utf-8")


def change_the_config(fleet: Fleet) -> None:
    file = fleet.world.folder.config_file
    file.write_text(file.read_text("utf-8").replace("revision = 3", "revision = 4"), "utf-8")


def add_a_policy(fleet: Fleet) -> None:
    text = tomli_w.dumps({"schema": "policy/1", "name": "A firm's own", "rule": []})
    (fleet.world.folder.path / "policy.toml").write_text(text, "utf-8")


MISSES: list[tuple[Callable[[Fleet], None], type[HomebodyError], str]] = [
    (unapprove, NotApprovedError, "0 of 2 approvals"),
    (expire, NotApprovedError, "expired 0 days ago"),
    (approve_another_app, NotApprovedError, "another app"),
    (lift_nothing, NotApprovedError, "AGG-002"),
    (pin_nobody, NotApprovedError, "no reviewers' keys are pinned"),
    (pin_one, NotApprovedError, "1 of 2 approvals"),
    (change_the_config, IntegrityError, "not the config the run was started with"),
    (add_a_policy, IntegrityError, "policy is not the one"),
]


@pytest.mark.parametrize(("miss", "error", "says"), MISSES, ids=[row[0].__name__ for row in MISSES])
def test_cr_35_the_server_app_starts_nothing_that_may_not_run(
    fleet: Fleet, miss: Callable[[Fleet], None], error: type[HomebodyError], says: str
) -> None:
    miss(fleet)
    with pytest.raises(error, match=says):
        fleet.run()
    assert not fleet.world.folder.ledger_file.exists()
    assert all(node.run is None for node in fleet.nodes.values())
    context = Context(1, 0, {}, RecordDict(), {RUN_FOLDER: str(fleet.world.folder.path)})
    build_server_app()(grid=fleet.grid(), context=context)
    outcome = fleet.world.folder.read_json("outcome.json")
    assert (outcome["ended"], outcome["exit_code"]) == (error.code, error.exit_code)


def test_cr_35_approvals_that_go_in_the_middle_of_a_run_end_it_before_the_next_round(
    fleet: Fleet,
) -> None:
    def cohort(work: Work) -> list[Message | None]:
        replies = fleet.honest(work)
        if read_context(envelope_of_down(work[0][0])).step is Step.UNMASK:
            expire(fleet)
        return replies

    with pytest.raises(NotApprovedError, match="expired"):
        fleet.run(cohort)
    record = ledger_of(fleet.world)
    assert (record.opened, record.released) == (1, 1)
    kinds = [entry["kind"] for entry in entries(fleet.world)]
    assert kinds.count("intent") == 1
    keep(fleet, approvals=to_values(sign_off(config(fleet), enrolled=DEVICES)))
    fleet.run()
    assert ledger_of(fleet.world).released == 2


def test_the_ledger_holds_who_approved_what_before_it_holds_a_charge(fleet: Fleet) -> None:
    fleet.run()
    found = entries(fleet.world)
    kinds = [entry["kind"] for entry in found]
    assert kinds.index("config_approved") < kinds.index("purchase")
    approved = found[kinds.index("config_approved")]
    assert approved["config"] == fleet.world.spec.config_digest
    assert approved["app"] == installed_app()
    assert DPO not in json.dumps(found)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("aggregation", {"secagg": False}),
        ("transport", {"tls_min": "1.2"}),
        ("ledger", {"witness": "public_log"}),
    ],
)
def test_cr_35_without_secret_sums_or_tls_nothing_may_be_deployed_whoever_approved(
    table: str, change: dict[str, Any]
) -> None:
    part = getattr(example(), table).model_copy(update=change)
    weak = example().model_copy(update={table: part})
    signed = tuple(sign_off(weak))
    with pytest.raises(PolicyViolationError, match=next(iter(change))):
        require_deployable(
            weak, signed, pinned(), policy=None, enrolled=200_000, now=int(time.time()),
            app=installed_app(),
        )  # fmt: skip


def test_a_config_that_passes_and_is_approved_may_be_deployed() -> None:
    state, _ = require_deployable(
        example(), tuple(sign_off(example())), pinned(), policy=None, enrolled=200_000,
        now=int(time.time()), app=installed_app(),
    )  # fmt: skip
    assert state.enough


def test_cr_35_a_round_under_its_goal_is_void_and_the_model_the_same(make_world: Builder) -> None:
    own = {**OWN, "report_goal": DEVICES, "cohort_size": DEVICES, "min_separation": 1}
    for rounds in (1, 2):
        own |= {"rounds": rounds, "max_rounds_per_device": rounds}
        few = nodes_of(make_world(f"few-{rounds}", secagg=True, **own), 4, Time())
        before = few.world.folder.load_state()
        state = few.run(few.without(Step.UPDATE, 1, number=1))
        kinds = [(e["kind"], e.get("round")) for e in entries(few.world)]
        assert ("void", 1) in kinds
        assert ("release", 1) not in kinds
        assert ledger_of(few.world).void_reasons == {1: "report-goal"}
        assert (state.digest() == before.digest()) is (rounds == 1)  # a second round is released
        assert state.next_round == rounds + 1
    assert RoundVoidError.exit_code == 15


def test_a_worlds_config_is_that_of_its_spec(fleet: Fleet, base_config: PrivacyConfig) -> None:
    digest = config_of(base_config, fleet.world.spec).digest()
    assert config(fleet).digest() == fleet.world.spec.config_digest == digest


def test_folders_of_runs_are_left_as_they_were_by_a_refusal(fleet: Fleet, tmp_path: Path) -> None:
    unapprove(fleet)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(NotApprovedError):
        fleet.run()
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
