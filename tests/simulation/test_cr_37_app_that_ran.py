"""What was approved is the app that ran, not an app that somebody approved."""

import json
import time
from pathlib import Path

import pytest

from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_server import flower_app
from homebody_server.evidence.verify import verify_run
from homebody_simulation import compliance
from homebody_simulation.request import Request
from homebody_simulation.setup import prepare
from homebody_simulation.simulate import simulate
from tests.approving import approve_file
from tests.privacy.review_world import keys_text

from .conftest import DEVICES

OTHER = "cd" * 32


def asked(config: Path, runs: Path, reviewers: Path | None = None) -> Request:
    """Return a request for a run of two rounds."""
    options = {"devices": DEVICES, "items": 20}
    own = {"config_file": config, "runs": runs, "reviewers": reviewers, "rounds": 2}
    return Request(data="synthetic", options=options, name="one", cohort=DEVICES, **own)  # type: ignore[arg-type]


@pytest.mark.parametrize("app", ["approved", "another"])
def test_cr_37_a_run_by_another_app_than_was_approved_is_not_verified(
    app: str, small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(asked(small_config, tmp_path / "first"))  # fills in what is left open
    config = tmp_path / "privacy.toml"
    text = first.folder.config_file.read_text("utf-8")
    text = text.replace('witness = "second_key"', 'witness = "none"')
    config.write_text(text.replace("population = 2469", f"population = {DEVICES}"), "utf-8")
    approve_file(config, enrolled=DEVICES)
    keys = tmp_path / "reviewers.toml"
    keys.write_text(keys_text(), "utf-8")
    if app == "another":  # the tree was changed after it was approved
        for module in (flower_app, compliance):
            monkeypatch.setattr(module, "installed_app", lambda: OTHER)
    done = simulate(asked(config, tmp_path / "runs", keys))
    run = json.loads((done.folder / "run.json").read_text("utf-8"))
    found = verify_run(done.folder, ReviewerKeys.load(keys), int(time.time()))
    wrong = {one.text: one.code for one in found.lines if one.mark == "WRONG"}
    said = f"approved for another app, {installed_app()[:12]}, than ran, {OTHER[:12]}"
    if app == "approved":
        assert run["app"] == installed_app()
        assert run["check"]["approvals"] == "2 of 2 approvals: may run"
        assert (found.exit_code, wrong) == (0, {})
        return
    assert run["app"] == OTHER
    assert "approved for another app than runs" in run["check"]["approvals"]
    assert "another app" in done.report["policy"]["line"]
    assert wrong[said] == 10
    assert found.exit_code == 10
    without = verify_run(done.folder, None, int(time.time()))  # told without anybody's key, too
    assert said in [one.text for one in without.lines if one.mark == "WRONG"]
