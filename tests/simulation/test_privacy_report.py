"""The privacy figures of a report: each is what the ledger comes to, by another way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, MessageType

from homebody_privacy.accounting import epsilon_pld, spent_epsilon
from homebody_privacy.adaptive_clip import AdaptiveClip
from homebody_privacy.charges import Charge, of_part
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.ledger import read_ledger
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec
from homebody_simulation import runtimes
from homebody_simulation.api import simulate
from homebody_simulation.grid import Cohort, app_cohort
from homebody_simulation.simulate import SimulatedRun

DEVICES = 40
DIGIT = 1e-3  # figures are rounded up to it


def charged(run: SimulatedRun) -> tuple[list[Charge], RunSpec]:
    """Return what a run's ledger holds, and the run's constants."""
    asked = json.loads((run.folder / "run.json").read_text("utf-8"))
    return read_ledger(run.folder / "ledger.jsonl")[0].charges(), RunSpec.from_dict(asked["spec"])


def assert_rounded_up(shown: float, exact: float) -> None:
    """Check that a printed figure is the exact one, rounded up, the sampler's error included."""
    assert exact + SAMPLER_EPSILON <= shown <= exact + SAMPLER_EPSILON + DIGIT + 1e-12


@pytest.mark.parametrize("kind", ["small_run", "correlated_run"])
def test_epsilon_and_its_parts_are_what_the_ledger_comes_to(
    kind: str, request: pytest.FixtureRequest
) -> None:
    run: SimulatedRun = request.getfixturevalue(kind)
    charges, spec = charged(run)
    delta = spec.accounted_delta
    user, privacy = run.report["epsilon"]["user"], run.report["privacy"]
    assert_rounded_up(user["spent"], spent_epsilon(charges, delta))
    assert user["spent"] >= epsilon_pld(charges, delta)  # the reference, another way
    expected = {"training", "metrics"} if kind == "correlated_run" else {"training"}
    assert set(user["parts"]) == expected
    for part, value in user["parts"].items():
        assert_rounded_up(value, spent_epsilon(of_part(charges, part), delta))
        assert value <= user["spent"]
    prv = privacy["epsilon_prv"]
    assert user["spent"] - 2 * DIGIT <= prv <= user["spent"] + 0.02 + 2 * DIGIT
    assert user["spent"] <= user["ceiling"] == 4.0


def test_correlated_noise_is_worth_the_same_to_whoever_sees_who_came(
    correlated_run: SimulatedRun,
) -> None:
    charges, spec = charged(correlated_run)
    privacy, user = correlated_run.report["privacy"], correlated_run.report["epsilon"]["user"]
    mu = sum(charge.squared_loss for charge in charges) ** 0.5
    assert_rounded_up(privacy["epsilon_unamplified"], gaussian_epsilon(mu, spec.accounted_delta))
    assert privacy["epsilon_unamplified"] == pytest.approx(user["spent"], abs=2 * DIGIT)
    assert privacy["sampling_rate"] is None
    # The rounds of a run are one release: one alone is worth what training is worth.
    assert privacy["epsilon_release"] == user["parts"]["training"]
    assert "also toward those who see" in correlated_run.report["claim"]["statement"]


def test_one_release_on_secret_coins_is_worth_a_part_of_the_run(small_run: SimulatedRun) -> None:
    charges, spec = charged(small_run)
    privacy, user = small_run.report["privacy"], small_run.report["epsilon"]["user"]
    assert_rounded_up(privacy["epsilon_release"], spent_epsilon(charges[:1], spec.accounted_delta))
    assert privacy["epsilon_release"] < user["spent"]
    mu = sum(charge.squared_loss for charge in charges) ** 0.5
    assert_rounded_up(privacy["epsilon_unamplified"], gaussian_epsilon(mu, spec.accounted_delta))


def test_sampling_is_credited_in_the_amplified_figure_alone(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    config = write_config(rounds=2, cohort_size=8, cohort_cap=40, delta=1e-3)
    run = simulate(
        "synthetic", devices=DEVICES, items=20, config=config, runs=tmp_path, epsilon=1.0
    )
    user, privacy = run.report["epsilon"]["user"], run.report["privacy"]
    assert user["spent"] <= 1.0 < privacy["epsilon_unamplified"]
    assert privacy["sampling_rate"] == 0.2
    page = (run.folder / "report.html").read_text("utf-8")
    assert f"{privacy['epsilon_unamplified']} against anyone who sees who took part" in page


def test_the_count_that_adapts_the_clip_norm_is_a_part_of_the_total(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    plan: dict[str, Any] = {"rounds": 2, "cohort_size": DEVICES, "cohort_cap": 80, "delta": 1e-3}
    config = write_config(**plan, more="adaptive_clip = true\n")
    run = simulate("synthetic", devices=DEVICES, items=20, config=config, runs=tmp_path, name="a")
    charges, spec = charged(run)
    user = run.report["epsilon"]["user"]
    assert set(user["parts"]) == {"training", "clipping"}
    assert_rounded_up(user["spent"], spent_epsilon(charges, spec.accounted_delta))
    assert 4.0 - 5 * DIGIT <= user["spent"] <= 4.0
    assert max(user["parts"].values()) < user["spent"] < sum(user["parts"].values())
    # Two shares were released, and with them alone the clip norm of the next round is known.
    shares = read_ledger(run.folder / "ledger.jsonl")[0].unclipped
    rule = AdaptiveClip.for_cohort(DEVICES)
    norm = spec.clip_norm
    for share in shares:
        assert share is not None
        norm = rule.following(norm, share)
    with np.load(run.folder / "state.npz", allow_pickle=False) as state:
        assert float(state["clip_norm"]) == norm
    assert "then adapted by a charged count" in (run.folder / "report.html").read_text("utf-8")
    assert "and whether it was clipped" in (run.folder / "egress.jsonl").read_text("utf-8")


def test_the_curve_of_a_correlated_run_is_charged_whole_from_its_first_round(
    correlated_run: SimulatedRun,
) -> None:
    spent = [point["epsilon"] for point in correlated_run.report["curve"]]
    assert len(spent) == 6
    parts = correlated_run.report["epsilon"]["user"]["parts"]
    assert set(spent) == {spent[0]}
    assert spent[0] == pytest.approx(parts["training"], abs=2 * DIGIT)


def test_released_figures_are_those_of_the_ledger_beside_their_noise(
    correlated_run: SimulatedRun,
) -> None:
    answers = read_ledger(correlated_run.folder / "ledger.jsonl")[0].answers
    released = correlated_run.report["released"]
    assert {p: {n: v["value"] for n, v in values.items()} for p, values in released.items()} == (
        answers
    )
    deviations = [v["noise_sd"] for values in released.values() for v in values.values()]
    assert deviations == pytest.approx([20.0 * 2**0.5 / DEVICES] * 4)


def losing(number: int) -> Callable[..., Cohort]:
    """Return a way to reach devices that loses every answer to one round."""

    def reach(*arguments: Any, **options: Any) -> Cohort:  # noqa: ANN401 - the real one's
        honest = app_cohort(*arguments, **options)

        def cohort(work: list[tuple[Message, Context]]) -> list[Message | None]:
            metadata = work[0][0].metadata
            lost = metadata.message_type == MessageType.TRAIN and metadata.group_id == str(number)
            replies = honest(work)
            return [None] * len(work) if lost else replies

        return cohort

    return reach


def test_pf_10_void_rounds_are_counted_and_cost_what_they_would_have(
    correlated_config: Path,
    correlated_run: SimulatedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtimes, "app_cohort", losing(2))
    monkeypatch.setattr("homebody_server.gathering._POLL_S", 0.0)
    run = simulate(
        "synthetic", devices=DEVICES, items=20, config=correlated_config, runs=tmp_path, name="blt"
    )
    user = run.report["epsilon"]["user"]
    assert (user["rounds"], user["void_rounds"]) == (6, 1)
    assert user["spent"] == correlated_run.report["epsilon"]["user"]["spent"]
    assert "6 rounds, 1 void" in (run.folder / "report.html").read_text("utf-8")
    assert correlated_run.report["epsilon"]["user"]["void_rounds"] == 0


@pytest.mark.parametrize("kind", ["small_run", "correlated_run"])
def test_the_page_shows_every_part_and_the_cross_check(
    kind: str, request: pytest.FixtureRequest
) -> None:
    run: SimulatedRun = request.getfixturevalue(kind)
    page = (run.folder / "report.html").read_text("utf-8")
    user, privacy = run.report["epsilon"]["user"], run.report["privacy"]
    shown = ", ".join(f"{part} {value}" for part, value in user["parts"].items())
    assert f"{shown}; together {user['spent']}" in page
    assert f"beside it Opacus PRV: {privacy['epsilon_prv']}" in page
    assert f"by FFT: {privacy['epsilon_fft']}" in page
    assert user["spent"] - 2e-3 <= privacy["epsilon_fft"] <= 1.04 * user["spent"] + 0.03


def test_a_run_without_noise_has_no_privacy_figures(reference_run: SimulatedRun) -> None:
    report = reference_run.report
    assert (report["epsilon"], report["privacy"], report["released"]) == (None, None, {})
