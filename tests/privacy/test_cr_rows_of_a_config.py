"""CR-01, CR-26, CR-28: rows of the requirements that a config alone decides."""

from pathlib import Path

import pytest

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.policy.check import check_config
from homebody_privacy.policy.registry import is_waivable

from .config_edits import EXAMPLE, edited
from .review_world import NOW


@pytest.mark.parametrize("purpose", ["recommend", "training", "metrics"])
def test_cr_01_a_purpose_that_starts_switched_on_fails_con_010(purpose: str) -> None:
    result = check_config(edited({f"purposes.{purpose}.default": "on"}), now=NOW, fast=True)
    failed = [(one.rule, one.path) for one in result.findings if one.level == "fail"]
    assert failed == [("CON-010", f"purposes.{purpose}.default")]
    assert result.exit_code == 10
    assert not is_waivable("CON-010")


def test_cr_26_unlearning_fails_only_beside_secure_sums() -> None:
    unlearn = {"rights.trained_model": "unlearn"}
    for secagg, fails in ((True, True), (False, False)):
        result = check_config(edited({**unlearn, "aggregation.secagg": secagg}), now=NOW, fast=True)
        assert ("RGT-001" in {one.rule for one in result.findings}) is fails
    assert not is_waivable("RGT-001")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_cr_28_line_ends_and_folders_of_any_system_change_no_digest(
    tmp_path: Path, end: bytes
) -> None:
    file = tmp_path / "Ein Ordner" / "privacy.toml"
    file.parent.mkdir()
    file.write_bytes(EXAMPLE.read_bytes().replace(b"\n", end))
    assert PrivacyConfig.read(file).digest() == PrivacyConfig.read(EXAMPLE).digest()
