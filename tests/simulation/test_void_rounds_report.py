"""What a report says of rounds and figures that released nothing, and what it no longer says."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from flwr.app import Message

from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.errors import RoundVoidError
from homebody_privacy.ledger import read_ledger
from homebody_privacy.ledger_record import INTERRUPTED, Header, LedgerRecord
from homebody_privacy.secagg.reasons import VoidReason
from homebody_server import flower_app
from homebody_server.gathering import Plain
from homebody_server.release import Contribution
from homebody_simulation.api import simulate
from homebody_simulation.simulate import SimulatedRun
from homebody_simulation.voids import voids_of

from .conftest import QUALITY

DEVICES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidIn(Plain):
    """A gatherer whose sum of one round, or of one figure, cannot be opened."""

    group: str = ""
    reason: VoidReason = VoidReason.TOO_FEW_VECTORS

    def gather(self, asked: Sequence[Message], length: int) -> Iterable[Contribution]:
        """Gather as in clear, but for one group of messages."""
        if asked and asked[0].metadata.group_id.startswith(self.group):
            raise RoundVoidError(self.reason)
        return Plain.gather(self, asked, length)


@pytest.fixture(scope="module")
def poisson_config(write_config: Callable[..., Path]) -> Path:
    """Return a config of three rounds on secret coins, with a figure after each of two."""
    figure = QUALITY.partition("[aggregation]")[0]
    return write_config(rounds=3, cohort_size=8, cohort_cap=40, delta=1e-3, more=figure)


def run_of(config: Path, runs: Path, name: str = "run") -> SimulatedRun:
    """Run a simulation of forty devices."""
    return simulate(
        "synthetic", devices=DEVICES, items=20, config=config, runs=runs, name=name, epsilon=2.0
    )


def test_pf_10_no_credit_for_secret_coins_is_printed_once_a_round_was_void_for_who_came(
    poisson_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = run_of(poisson_config, tmp_path, "usual").report
    monkeypatch.setattr(flower_app, "Plain", partial(VoidIn, group="2"))
    run = run_of(poisson_config, tmp_path)
    user, privacy = run.report["epsilon"]["user"], run.report["privacy"]
    assert (user["rounds"], user["void_rounds"], user["amplified"]) == (3, 1, False)
    assert usual["epsilon"]["user"]["amplified"]
    assert (
        user["spent"] == privacy["epsilon_unamplified"] == (usual["privacy"]["epsilon_unamplified"])
    )
    assert usual["epsilon"]["user"]["spent"] < user["spent"] / 2
    assert (privacy["epsilon_prv"], privacy["epsilon_fft"]) == (None, None)
    assert privacy["epsilon_release"] > usual["privacy"]["epsilon_release"]
    assert [point["epsilon"] for point in run.report["curve"]] == [None] * 3
    charges = read_ledger(run.folder / "ledger.jsonl")[0].charges()
    page = (run.folder / "report.html").read_text("utf-8")
    written = [page, *(f.read_text("utf-8") for f in run.folder.glob("*.json*"))]
    amplified = spent_epsilon(charges, 1e-3)
    assert not any(f"{amplified:.2f}" in text for text in written)
    assert "cannot see which devices" not in run.report["claim"]["statement"]
    assert f"ε = {user['spent']}" in run.report["claim"]["statement"]
    assert {"what": "round 2", "reason": "too-few-vectors"}.items() <= (
        run.report["voids"][0].items()
    )
    assert "round 2 released nothing: too many nodes left the secure sum" in page


def test_a_figure_that_could_not_be_opened_is_charged_and_said_to_be_missing(
    poisson_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = run_of(poisson_config, tmp_path, "usual").report
    monkeypatch.setattr(flower_app, "Plain", partial(VoidIn, group="2/quality"))
    run = run_of(poisson_config, tmp_path)
    assert run.report["epsilon"]["user"] == usual["epsilon"]["user"]
    assert sorted(run.report["released"]) == ["metrics/quality/3"]
    (void,) = run.report["voids"]
    assert (void["what"], void["reason"]) == ("metrics/quality/2", "too-few-vectors")
    assert "metrics/quality/2 released nothing" in (run.folder / "report.html").read_text("utf-8")


def test_every_reason_a_sum_can_be_void_for_has_words() -> None:
    header = Header(
        run="r", population="a" * 64, devices=9, delta=1e-5, ceiling=1.0, config="a" * 64,
        schema="ledger/4",
    )  # fmt: skip
    for reason in (*map(str, VoidReason), INTERRUPTED, "report-goal"):
        record = LedgerRecord(header)
        record.void_reasons = {1: reason}
        (told,) = voids_of(record)
        assert len(told["words"].split()) > 4
