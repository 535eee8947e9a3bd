"""CR-38 with a real SuperLink and real SuperNodes: what is not approved trains nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from homebody_server.fleet import Fleet
from tests.approving import approve_fleet, pin_reviewers
from tests.privacy.review_world import keys_text

from .conftest import Cli
from .fleet_world import nothing_left
from .test_cr_38_fleet import joins

pytestmark = pytest.mark.slow

DEVICES, NODES = 40, 4


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, cli: Cli, tiny_config: Path) -> Iterator[Fleet]:
    """Return a fleet that is up, whose nodes know what to train, and nobody approved it."""
    folder = tmp_path_factory.mktemp("unapproved") / "fleet"
    keys = folder.parent / "reviewers.toml"
    keys.write_text(keys_text(), "utf-8")
    plan: list[str | Path] = ["--data", "synthetic", "--devices", str(DEVICES), "-c", tiny_config]
    for words in (
        ["fleet", "init", folder, "--nodes", str(NODES), "--port", "0"],
        ["fleet", "assign", folder, *plan, "--reviewers", keys],
    ):
        done = cli(*words, cwd=folder.parent)
        assert done.returncode == 0, done.stderr
    made = Fleet.open(folder)
    try:
        made.up(timeout_s=240.0)
        yield made
    finally:
        made.down()
    nothing_left(made)


def test_cr_38_an_unapproved_run_does_not_begin_and_preflight_says_so(
    fleet: Fleet, cli: Cli, tmp_path: Path
) -> None:
    looked = cli("fleet", "preflight", fleet.paths.path, cwd=tmp_path)
    assert looked.returncode == 10
    assert "FAIL approvals" in looked.stdout
    done = cli("train", "--fleet", fleet.paths.path, "--runs", tmp_path / "runs", cwd=tmp_path)
    assert done.returncode == 10
    assert "0 of 2 approvals" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_cr_38_nodes_that_pinned_nobody_train_nothing_and_the_run_says_why(
    fleet: Fleet, cli: Cli, tmp_path: Path
) -> None:
    approve_fleet(fleet.paths.path)
    for node in fleet.nodes().values():
        (node.path / "reviewers.toml").unlink()
    words: list[str | Path] = ["train", "--fleet", fleet.paths.path, "--runs", tmp_path / "runs"]
    done = cli(*words, "--name", "one", "--deadline", "300", cwd=tmp_path)
    assert done.returncode == 15, done.stderr
    assert "not-approved" in done.stderr
    assert joins(fleet) == 0
    for node in fleet.nodes().values():
        pin_reviewers(node.path)
    done = cli("train", "--fleet", fleet.paths.path, "--runs", tmp_path / "runs", "--resume", "one",
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert joins(fleet) > 0
