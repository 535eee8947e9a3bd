"""docs/reviewers-guide.md: its sample is what it says, and its commands do what it shows."""

import hashlib
import re
import shutil
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from homebody.cli import run
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.explaining.promise import promise
from homebody_privacy.planned import planned_loss
from homebody_privacy.policy.check import check_config
from homebody_privacy.policy.policy_file import PolicyRules
from homebody_privacy.withdrawal_words import banned_words

from .docs_blocks import ROOT, page

SAMPLE = ROOT / "docs" / "examples" / "compliance"
GUIDE = page("reviewers-guide.md")
NOW = 1_795_000_000


def demo() -> ModuleType:
    """Load the program of ``make demo-compliance``."""
    spec = spec_from_file_location("demo_compliance", SAMPLE / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


def values(name: str) -> dict[str, Any]:
    return tomllib.loads((SAMPLE / name).read_text("utf-8"))


def leaves(table: dict[str, Any], path: str = "") -> dict[str, object]:
    """Return every value of a file by its dotted path."""
    found: dict[str, object] = {}
    for name, value in table.items():
        deeper = isinstance(value, dict)
        found |= leaves(value, f"{path}{name}.") if deeper else {f"{path}{name}": value}
    return found


def changed(name: str) -> set[str]:
    """Return the fields in which a file differs from the sample's config."""
    one, other = leaves(values("privacy.toml")), leaves(values(name))
    assert set(one) == set(other)
    return {path for path in one if one[path] != other[path]}


def test_the_sample_passes_every_rule_with_its_policy_and_every_profile() -> None:
    config = PrivacyConfig.load(SAMPLE / "privacy.toml")
    result = check_config(
        config,
        policy=PolicyRules.load(SAMPLE / "policy.toml"),
        profiles=("gdpr", "ccpa"),
        folder=SAMPLE,
        now=NOW,
    )
    assert (result.exit_code, result.failed, result.warned) == (0, 0, 0)


def test_the_notice_ends_with_the_words_that_are_computed() -> None:
    config = PrivacyConfig.load(SAMPLE / "privacy.toml")
    notice = config.consent.notices["en"]
    words = (SAMPLE / notice.file).read_bytes()
    assert hashlib.sha256(words).hexdigest() == notice.sha256
    computed = promise(config, planned_loss(config)).after
    assert computed is not None
    assert " ".join(words.decode().split()).endswith(computed)
    assert banned_words(words.decode()) == []


def test_what_was_proposed_breaks_five_rules_by_six_fields() -> None:
    assert changed("proposed.toml") == {
        "purposes.recommend.default",
        "dp.mechanism",
        "dp.epsilon_max",
        "dp.delta",
        "dp.record.enabled",
        "aggregation.secagg",
    }


def test_what_is_wanted_next_raises_its_revision_alone() -> None:
    assert changed("next.toml") == {
        "revision",
        "features.tastes.allow",
        "features.tastes.ttl_days",
        "dp.noise_multiplier",
        "aggregation.report_goal",
    }


def blocks() -> list[tuple[str, str]]:
    """Return commands and output of each console block of the guide."""
    return re.findall(demo().BLOCK, GUIDE)


@pytest.mark.parametrize("number", range(4))
def test_what_judges_explains_and_compares_says_what_the_page_shows(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    commands, shown = blocks()[number]
    (step,) = demo().steps(commands)
    assert run(step.command.split()[1:]) == step.expected
    assert capsys.readouterr().out == shown


def test_the_guide_goes_from_a_bad_config_to_a_changed_byte() -> None:
    found = [step for commands, _ in blocks() for step in demo().steps(commands)]
    verbs = [step.command.split()[1] for step in found if step.command.startswith("homebody")]
    path = ["check", "explain", "diff", "keys", "approve", "simulate", "cosign", "verify", "report"]
    assert list(dict.fromkeys(verbs)) == path
    codes = [step.expected for step in found if step.command.startswith("homebody verify")]
    assert codes == [0, 0, 14, 14]
    assert found[0].expected == 10
    assert GUIDE.count("WRONG") >= 2


def shape(text: str) -> list[str]:
    """Return the lines of a page without what differs from run to run."""
    text = re.sub(r"\b[0-9a-f]{12,64}\b|[A-Za-z0-9+/]{40,}=*", "#", text)
    text = re.sub(r"\d+ (files|entries|lines)", r"# \1", text)  # the record may learn a new one
    return re.sub(r"(loss|ndcg@10|eps_user)=[\d.]+", r"\1=#", text).splitlines()


@pytest.mark.slow
def test_every_command_of_the_guide_ends_and_speaks_as_the_page_says(tmp_path: Path) -> None:
    assert shape(demo().play(GUIDE, tmp_path)) == shape(GUIDE)
