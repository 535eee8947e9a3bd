"""Preflight of what was assigned: whether enough people approved it, and no rule fails."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Final

from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.approvals_file import approvals_path, read_approvals
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import HomebodyError, IntegrityError
from homebody_server.secure.permit import POLICY, pinned_reviewers, require_deployable

from .finding import Finding, fine, policy
from .layout import FleetPaths

APPROVALS: Final = "approvals"
"""Name of the check: nothing trains while it fails; the fleet may be up all the same."""


def approvals(paths: FleetPaths, now: dt.datetime) -> Iterator[Finding]:
    """Look whether what the nodes were assigned may run."""
    file = paths.path / "assignment.json"
    if not file.exists():
        return
    config_file, own = paths.path / "privacy.toml", paths.path / POLICY
    try:
        state, _ = require_deployable(
            PrivacyConfig.load(config_file),
            read_approvals(approvals_path(config_file)),
            pinned_reviewers(paths.path),
            policy=own if own.exists() else None,
            enrolled=_devices(file.read_text("utf-8")),
            now=int(now.timestamp()),
            app=installed_app(),
        )
    except HomebodyError as error:
        yield policy(
            APPROVALS, str(error), why="no run starts, and no node takes part", fix=error.fix
        )
        return
    yield fine(APPROVALS, f"{config_file.name}: {state}")


def _devices(text: str) -> int:
    try:
        return int(json.loads(text)["devices"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("assignment.json is no assignment") from error
