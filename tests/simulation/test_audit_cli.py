"""``homebody audit``: what it prints, writes and ends with; and that no word says too much."""

import ast
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from homebody_privacy.errors import IntegrityError, UsageError
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.stream import NoiseStream
from homebody_simulation import audit as package
from homebody_simulation.audit import power
from homebody_simulation.audit.claim import Claim, independent
from homebody_simulation.audit.conformance import Conformance
from homebody_simulation.audit.estimates import Interval
from homebody_simulation.audit.freshness import Correlation, WorstPair
from homebody_simulation.audit.joins import Joins
from homebody_simulation.audit.membership import Attack, Membership
from homebody_simulation.audit.one_run import Guesses, OneRun
from homebody_simulation.audit.page import audit_section, render, write
from homebody_simulation.audit.report import CLOSING, NOT_REFUTED, REFUTED, AuditReport, Setting
from homebody_simulation.audit.request import TIERS, AuditRequest, parse_tier
from homebody_simulation.audit_cli import app

_ROOT = Path(__file__).parents[2]
_SMALL = (
    *("audit", "--config", str(_ROOT / "privacy.toml"), "--seed", "3", "--rounds", "8"),
    *("--canaries", "200", "--population", "220", "--cohort", "20"),
)

BANNED = (
    *("confirm", "passed", "proven", "proves", "proof", "certif", "verified", "anonym"),
    *("fully private", "guaranteed", "zero risk", "100 % private", "cannot be traced"),
)


def interval(estimate: float, reach: float = 0.01) -> Interval:
    return Interval(estimate=estimate, lower_bound=estimate - reach, upper_bound=estimate + reach)


CONFORMS = Conformance(
    noise=interval(1.0),
    amplitude=interval(0.99, 0.02),
    loudest=interval(1.2, 0.9),
    stray=interval(0.0),
    loudest_stray=interval(0.3, 0.5),
    lags=(Correlation(estimate=0.001, limit=0.05), Correlation(estimate=-0.02, limit=0.06)),
    pair=WorstPair(rounds=(1, 3), correlation=Correlation(estimate=-0.1, limit=0.2)),
    next_rows=Correlation(estimate=0.003, limit=0.05),
    sampling=interval(1.0),
    joins=Joins(closest=1, min_separation=1, most=2, max_rounds=3),
)
BOUND = OneRun(
    lower_bound=0.68,
    lower_bound_pair=0.68,
    lower_bound_curve=None,
    estimate=2.51,
    upper_bound=2.26,
    delta=1e-5,
    guesses=(Guesses(guessed=20, right=15),),
)
ATTACKED = Membership(
    attacks=(
        Attack(name="loss", auroc=0.52, true_positive_rates=(0.0, 0.02)),
        Attack(name="lira", auroc=0.99, true_positive_rates=(0.9, 0.95)),
    ),
    largest_rates=(0.0096, 0.0958),
    members=100,
    others=90,
    shadows=16,
)
REPORT = AuditReport(
    claim=Claim(
        mechanism="gaussian",
        epsilon=2.26,
        delta=1e-5,
        noise_multiplier=8.0,
        coefficients=independent(3),
        sampling_rate=0.2,
        mu=None,
        min_separation=1,
        max_rounds=3,
    ),
    setting=Setting(
        canaries=1000, population=2500, cohort_size=500, config_digest="c" * 64, seeded=False
    ),
    conformance=CONFORMS,
    one_run=BOUND,
    membership=ATTACKED,
)
LESS_NOISE = replace(REPORT, conformance=replace(CONFORMS, noise=interval(0.9)))
EVERY_FAULT = replace(
    REPORT,
    conformance=Conformance(
        noise=interval(0.9),
        amplitude=interval(5.0),
        loudest=interval(5.0),
        stray=interval(1.0),
        loudest_stray=interval(1.0),
        lags=(Correlation(estimate=1.0, limit=0.05),),
        pair=WorstPair(rounds=(1, 2), correlation=Correlation(estimate=1.0, limit=0.2)),
        next_rows=Correlation(estimate=1.0, limit=0.05),
        sampling=interval(2.0),
        joins=Joins(closest=1, min_separation=2, most=4, max_rounds=3),
    ),
    one_run=replace(BOUND, lower_bound=3.0),
)
MORE_NOISE = replace(REPORT, conformance=replace(CONFORMS, noise=interval(1.5)))
CASES = [REPORT, LESS_NOISE, EVERY_FAULT, MORE_NOISE]


def said(report: AuditReport) -> str:
    """Return everything a report says anywhere."""
    return "\n".join([*report.sentences(), json.dumps(report.to_dict()), render(report)])


def test_the_words_of_an_audit_are_those_that_may_be_said() -> None:
    lines = list(REPORT.sentences())
    assert lines[2] == (
        "Noise std is between 0.9900 and 1.0100 of the stated value; amplitude between 0.9700 and "
        "1.0100 (99.9 % confidence)."
    )
    assert (
        "With 95 % confidence epsilon is at least 0.680 at user level, delta 1e-05; the claim "
        in ("\n".join(lines))
    )
    assert lines[-2:] == [NOT_REFUTED, CLOSING]
    assert list(LESS_NOISE.sentences())[-3:] == [
        "Noise std is at most 0.9100 of the stated value: at least 9.0% of it is missing.",
        REFUTED,
        CLOSING,
    ]


@pytest.mark.parametrize("report", CASES)
def test_every_block_ends_with_what_an_audit_cannot_do(report: AuditReport) -> None:
    assert list(report.sentences())[-1] == CLOSING
    assert report.to_dict()["sentences"][-1] == CLOSING
    assert audit_section(report)["closing"] == CLOSING
    assert render(report).split("<p>")[-1].startswith(CLOSING)


@pytest.mark.parametrize("report", CASES)
def test_no_text_of_an_audit_claims_too_much(report: AuditReport) -> None:
    text = said(report).lower().replace(CLOSING.lower(), "")
    assert [words for words in BANNED if words in text] == []


def strings(file: Path) -> list[str]:
    """Return the strings of a module that are no docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if not any(node is statement for statement in statements)
    ]


def test_no_string_of_the_package_or_its_page_claims_too_much() -> None:
    folder = Path(package.__file__).parent
    files = [*folder.glob("*.py"), folder.parent / "audit_cli.py"]
    assert len(files) > 15
    text = "\n".join(words for file in files for words in strings(file))
    text += (_ROOT / "docs" / "audit.md").read_text("utf-8")
    assert [words for words in BANNED if words in text.lower()] == []


def test_every_kind_of_finding_has_its_sentence() -> None:
    starts = (
        *(
            "Noise std is at most 0.91",
            "A device adds at least 4.99",
            "A device adds at least 0.99",
        ),
        *("Noise of next rounds", "Noise of rounds 1 and 2", "Noise of neighbouring rows"),
        *("A device is drawn", "A device joined again after 1", "A device joined 4 rounds"),
        "User-level epsilon is at least 3.000 with 95 % confidence",
    )
    assert len(EVERY_FAULT.findings) == len(starts)
    for finding, start in zip(EVERY_FAULT.findings, starts, strict=True):
        assert finding.startswith(start)
    assert "Noise is larger than stated" in said(MORE_NOISE)
    assert MORE_NOISE.findings == ()


def test_pf_43_estimates_and_bounds_have_keys_of_their_own() -> None:
    values = REPORT.to_dict()
    assert values["one_run"]["epsilon"] == {
        "estimate": 2.51,
        "lower_bound": 0.68,
        "upper_bound": 2.26,
    }
    assert values["claim"]["epsilon"] == {"upper_bound": 2.26}
    assert set(values["conformance"]["noise"]) == {"estimate", "lower_bound", "upper_bound"}
    for attack in values["membership"]["attacks"]:
        assert set(attack) == {"attack", "estimate"}
        assert "lower_bound" not in attack["estimate"]
    sentences = [words for words in values["sentences"] if "2.51" in words or "AUROC" in words]
    assert len(sentences) == 3
    assert all(words.startswith("Estimate") for words in sentences)


def test_pf_43_no_estimate_refutes() -> None:
    # Both lie beyond the claim: epsilon 2.51 of 2.26, and 95 % where 9.6 % is the most.
    assert BOUND.estimate > BOUND.upper_bound
    assert ATTACKED.attacks[1].true_positive_rates[1] > ATTACKED.largest_rates[1]
    assert not REPORT.is_refuted


class Checked(HTMLParser):
    """Counts tags, and refuses one that is closed out of order."""

    def __init__(self) -> None:
        """Start with nothing open."""
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count the tag; nothing may be loaded from elsewhere."""
        self.seen.append(tag)
        assert not any(name in ("src", "href") for name, _ in attrs)
        if tag not in ("meta", "line", "rect", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count the tag."""
        del attrs
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the tag opened last."""
        assert self.open.pop() == tag


@pytest.mark.parametrize("report", CASES)
def test_the_page_is_one_file_without_script_and_its_figures_have_words(
    report: AuditReport,
) -> None:
    page = Checked()
    page.feed(render(report))
    assert page.open == []
    assert "script" not in page.seen
    assert page.seen.count("svg") == 2
    assert page.seen.count("rect") == 5  # a bar for each interval
    for row in audit_section(report)["rows"]:
        assert f"<td>{row['label']}</td><td>{row['words']}</td>" in render(report)


def test_a_refutation_stands_on_the_page_and_in_the_files(tmp_path: Path) -> None:
    write(LESS_NOISE, tmp_path / "out")
    values = json.loads((tmp_path / "out" / "audit.json").read_text("utf-8"))
    assert values["refuted"] is True
    assert values["findings"] == list(LESS_NOISE.findings)
    page = (tmp_path / "out" / "audit.html").read_text("utf-8")
    assert f'<p class="verdict">{REFUTED}</p>' in page
    assert LESS_NOISE.findings[0] in page
    assert (tmp_path / "out" / "audit.svg").read_text("utf-8").startswith("<svg xmlns=")


def test_tiers_that_were_not_asked_for_are_not_there() -> None:
    bare = replace(REPORT, conformance=None, one_run=None)
    assert bare.findings == ()
    assert bare.to_dict()["conformance"] is None
    assert audit_section(bare)["figures"] == []
    assert "Noise std" not in "\n".join(bare.sentences())
    short = replace(CONFORMS, lags=(), pair=None, stray=None, loudest_stray=None, sampling=None)
    assert len(audit_section(replace(REPORT, conformance=short))["figures"]) == 1


def invoke(*arguments: str) -> Any:  # noqa: ANN401 of click, which has many kinds
    return CliRunner().invoke(app, [*_SMALL, *arguments])


def test_a_correct_pipeline_ends_with_0_and_prints_what_was_measured(tmp_path: Path) -> None:
    options = ("--mechanism", "blt", "--tier", "one-run", "--format", "json")
    result = invoke("--out", str(tmp_path), *options)
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    assert values["refuted"] is False
    assert values["conformance"] is None
    epsilon = values["one_run"]["epsilon"]
    assert epsilon["lower_bound"] <= epsilon["upper_bound"]
    assert epsilon["upper_bound"] == values["claim"]["epsilon"]["upper_bound"] <= 4.0
    assert values["setting"]["canaries"] == 200
    assert json.loads((tmp_path / "audit.json").read_text("utf-8")) == values
    assert not (tmp_path / "audit.svg").exists()


def test_cr_44_a_refuted_claim_ends_with_14_and_says_by_how_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = GaussianMechanism.noise

    def noise(self: GaussianMechanism, dim: int, stream: NoiseStream) -> npt.NDArray[np.int64]:
        return honest(self, dim, stream) // 2

    monkeypatch.setattr(GaussianMechanism, "noise", noise)
    result = invoke("--mechanism", "gaussian")
    error = result.exception
    assert isinstance(error, IntegrityError)
    assert error.exit_code == 14
    assert "Noise std is at most 0.5" in str(error)
    assert result.stdout.splitlines()[-2:] == [REFUTED, CLOSING]


@pytest.mark.slow
def test_all_tiers_run_on_both_mechanisms() -> None:
    for mechanism in ("gaussian", "blt"):
        result = invoke("--tier", "all", "--mechanism", mechanism, "--shadows", "2")
        assert result.exit_code == 0, result.exception
        assert "offline LiRA" in result.stdout
        assert f"; {mechanism}, noise multiplier" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--format", "xml"), "--format"),
        (("--tier", "two"), "--tier"),
        (("--canaries", "3"), "--canaries"),
        (("--canaries", "220"), "--population"),
        (("--shadows", "1"), "--shadows"),
        (("--mechanism", "laplace"), "--mechanism"),
    ],
)
def test_options_that_cannot_be_meant_are_named(arguments: tuple[str, ...], named: str) -> None:
    error = invoke(*arguments).exception
    assert isinstance(error, UsageError)
    assert named in str(error)


def test_all_is_every_tier() -> None:
    assert parse_tier("all") == TIERS
    assert AuditRequest().tiers == ("conformance",)
    with pytest.raises(UsageError, match="--tier"):
        AuditRequest(tiers=())


@pytest.mark.slow
def test_the_tables_of_the_page_are_those_of_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    power.main()
    page = (_ROOT / "docs" / "audit.md").read_text("utf-8")
    for table in capsys.readouterr().out.strip().split("\n\n"):
        assert table in page


def test_the_power_that_is_published_falls_with_the_fault_and_is_small_without_one() -> None:
    shares = [
        power.share_refuted(
            power.Run(canaries=200, rounds=20, sampling_rate=0.1, noise=1.0 - deficit), 60
        )
        for deficit in power.DEFICITS
    ]
    assert shares == sorted(shares)
    assert shares[0] <= 0.05
    assert shares[-1] == 1.0
