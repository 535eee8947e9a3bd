"""Two test reviewers who sign whatever a test is to run, and lift what a waiver can lift."""

import json
import time
from pathlib import Path
from typing import Final

from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.approvals_file import approvals_path, write_approvals
from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.gate import checked, policy_digest
from homebody_privacy.approval.statement import Approval, Waiver, sign
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.policy_floor import PolicyFloor
from tests.privacy.review_world import DAY, DPO, KEYS, SECURITY, keys_text

LOW: Final = PolicyFloor(max_epsilon=1e3, max_delta=0.5, min_report_goal=1, max_joins=10**6)
"""Floor of test devices: their populations are small, and so are their sums."""


def sign_off(
    config: PrivacyConfig,
    *,
    enrolled: int | None = None,
    policy: Path | None = None,
    issued: int | None = None,
    expires: int | None = None,
    app: str | None = None,
) -> list[Envelope]:
    """Return approvals of both reviewers, and their waivers of every rule that fails.

    Args:
        config: What is to run.
        enrolled: Devices there are.
        policy: The firm's policy.
        issued: Unix seconds; a minute ago.
        expires: Unix seconds; in ten days.
        app: Digest of the app; the one that is installed.
    """
    since = int(time.time()) - 60 if issued is None else issued
    until = since + 10 * DAY if expires is None else expires
    found = checked(config, policy=policy, waivers=(), now=since, enrolled=enrolled).findings
    signed: list[Envelope] = []
    for by in (DPO, SECURITY):
        for one in found:
            if one.refuses:
                waiver = Waiver(
                    rule=one.rule,
                    path=one.path,
                    reason="a test with few people",
                    config=config.digest(),
                    by=by,
                    issued=since,
                    expires=until,
                )
                signed.append(sign(waiver, KEYS[by]))
        approval = Approval(
            config=config.digest(),
            app=app or installed_app(),
            by=by,
            revision=config.revision,
            policy_version=config.activity.policy_version,
            policy=policy_digest(policy),
            issued=since,
            expires=until,
        )
        signed.append(sign(approval, KEYS[by]))
    return signed


def approve_file(path: Path, **options: int | Path | str | None) -> None:
    """Let both reviewers sign the config of a file; options as ``sign_off``."""
    config = PrivacyConfig.load(path)
    write_approvals(approvals_path(path), sign_off(config, **options))  # type: ignore[arg-type]


def pin_reviewers(folder: Path, *, floor: PolicyFloor = LOW) -> None:
    """Pin both reviewers' keys, and a low floor, in the folder of a fleet or node."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reviewers.toml").write_text(keys_text(), "utf-8")
    floor.save(folder / "floor.toml")


def approve_fleet(folder: Path) -> None:
    """Pin reviewers and a low floor in a fleet and its nodes, and sign what was assigned."""
    for place in (folder, *(folder / "nodes").glob("*")):
        pin_reviewers(place)
    devices = json.loads((folder / "assignment.json").read_text("utf-8"))["devices"]
    approve_file(folder / "privacy.toml", enrolled=devices)
