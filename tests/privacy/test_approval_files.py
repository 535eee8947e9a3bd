"""Reviewers' files, files of approvals, and the one digest of the app."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from homebody_privacy.approval.app_digest import PACKAGES, installed_app, tree_app, wheel_app
from homebody_privacy.approval.approvals_file import (
    approvals_path,
    read_approvals,
    write_approvals,
)
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.errors import IntegrityError, InvalidFileError

from .review_world import DPO, KEYS, SECURITY, approval, keys_text, pinned

_ROOT = Path(__file__).parents[2]
_PARTS = ("client", "models", "privacy", "server", "simulation")


def test_a_reviewers_file_says_who_may_approve_and_who_may_witness(tmp_path: Path) -> None:
    file = tmp_path / "reviewers.toml"
    file.write_text(keys_text(), "utf-8")
    keys = ReviewerKeys.load(file)
    assert keys.approvers == pinned().approvers
    assert keys.witnesses == {DPO: KEYS[DPO].public}
    assert keys.digest() != pinned().digest()
    file.write_text(f"# a comment\n{keys_text()}", "utf-8")
    assert ReviewerKeys.load(file).digest() == keys.digest()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("reviewers/1", "reviewers/2", "schema"),
        ('["approve"]', '["decide"]', "reviewer.1.may"),
        ('["approve"]', "[]", "reviewer.1.may"),
        ('key = "', 'key = "x', "reviewer.0.key"),
        ('name = "', 'nam = "', "reviewer.0"),
        (SECURITY, DPO, "twice"),
        ("[[reviewer]]", "[[reviewer", "not TOML"),
    ],
)
def test_a_damaged_reviewers_file_pins_nobody(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    file = tmp_path / "reviewers.toml"
    file.write_text(keys_text().replace(old, new), "utf-8")
    with pytest.raises(InvalidFileError, match=reason):
        ReviewerKeys.load(file)


def test_envelopes_come_back_from_the_file_beside_the_config(tmp_path: Path) -> None:
    path = approvals_path(tmp_path / "privacy.toml")
    assert path.name == "privacy.approvals.json"
    assert read_approvals(path) == ()
    write_approvals(path, [approval(DPO), approval(SECURITY)])
    assert read_approvals(path) == (approval(DPO), approval(SECURITY))


@pytest.mark.parametrize("content", ["", "[]", '{"schema":"approvals/1"}', '{"schema":1,"x":[]}'])
def test_a_damaged_file_of_approvals_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "privacy.approvals.json"
    path.write_text(content, "utf-8")
    with pytest.raises(IntegrityError, match="holds no approvals"):
        read_approvals(path)


def _lay_out(root: Path) -> None:
    for package in PACKAGES:
        (root / package / "__pycache__").mkdir(parents=True)
        (root / package / "__init__.py").write_text(f'"""{package}"""\n', "utf-8")
        (root / package / "__pycache__" / "__init__.pyc").write_bytes(b"compiled")
    (root / "homebody" / "py.typed").touch()


def _pack(root: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, file.relative_to(root).as_posix())
        archive.writestr("homebody-0.1.0.dist-info/RECORD", "homebody/__init__.py,,\n")


def test_a_wheel_and_what_it_installs_have_one_digest(tmp_path: Path) -> None:
    site, wheel = tmp_path / "site", tmp_path / "homebody.whl"
    _lay_out(site)
    _pack(site, wheel)
    before = wheel_app(wheel)
    assert before == tree_app(site)
    (site / "homebody_client" / "extra.py").write_text("x = 1\n", "utf-8")
    assert tree_app(site) != before
    (site / "homebody_client" / "extra.py").unlink()
    (site / "another").mkdir()
    (site / "another" / "module.py").touch()
    assert tree_app(site) == before


def test_what_runs_here_has_the_digest_of_the_packages_of_this_checkout(tmp_path: Path) -> None:
    for package, part in zip(PACKAGES, (".", *_PARTS), strict=True):
        (tmp_path / package).symlink_to(_ROOT / part / package, target_is_directory=True)
    wheel = tmp_path / "homebody.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for package, part in zip(PACKAGES, (".", *_PARTS), strict=True):
            for file in (_ROOT / part / package).rglob("*"):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(_ROOT / part).as_posix())
    assert wheel_app(wheel) == tree_app(tmp_path)
    assert len(installed_app()) == 64


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "homebody.whl"
    file.write_bytes(content)
    with pytest.raises(InvalidFileError, match="no wheel"):
        wheel_app(file)
    with pytest.raises(InvalidFileError, match="cannot be read"):
        wheel_app(tmp_path / "none.whl")


@pytest.mark.slow
def test_a_wheel_that_is_built_has_the_digest_of_this_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    done = subprocess.run([*build, str(_ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    assert wheel_app(wheel) == tree_app(tmp_path / "site") == installed_app()
