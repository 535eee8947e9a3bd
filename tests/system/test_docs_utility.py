"""The published figures are those of the cards; a slow test measures one of them anew."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from homebody import simulate
from homebody_privacy.environment import DATA

from .test_docs_commands import parse

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "benchmarks" / "utility"
CARDS = sorted((BENCHMARK / "cards").glob("*.json"))
FIELDS = {
    *(
        "schema",
        "card",
        "kind",
        "data",
        "seeds",
        "chosen",
        "source",
        "target",
        "command",
        "epsilon",
    ),
    *("devices", "date", "versions", "commit", "met"),
}
FIGURE = {"delta", "unit", "recipe", "refit", "ndcg@10", "hit@10", "upload_bytes", "task"}


def asked(*words: str) -> str:
    """Return what the benchmark prints."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *words], capture_output=True, text=True, check=True
    )
    return done.stdout


def card(file: Path) -> dict[str, Any]:
    """Return a kept card."""
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def test_the_page_shows_the_tables_of_the_kept_cards() -> None:
    assert asked("--table").strip() in (ROOT / "docs/utility.md").read_text("utf-8")


@pytest.mark.parametrize("file", CARDS, ids=lambda file: file.stem)
def test_a_card_says_everything_that_a_figure_needs(file: Path) -> None:
    kept = card(file)
    assert kept["card"] == file.stem
    assert FIELDS - set(kept) == set()
    if kept["kind"] in ("run", "csv", "cold"):
        assert FIGURE - set(kept) == set()
        assert len(kept["ndcg@10"]["seeds"]) == len(kept["seeds"])
        assert kept["ndcg@10"]["low"] <= kept["ndcg@10"]["mean"] <= kept["ndcg@10"]["high"]
        assert len(kept["seeds"]) >= (1 if kept["epsilon"] is None else 3)
    if kept["kind"] in ("run", "csv") and kept["epsilon"] is not None:
        assert kept["spent"] <= kept["epsilon"]
        assert 0.0 < kept["delta"] < 1.0 / kept["devices"]


def test_every_command_of_a_card_is_one() -> None:
    commands = [line.partition(": ")[2] for line in asked("--list").splitlines()]
    assert len(commands) > 20
    for command in commands:
        if command.startswith("homebody"):
            parse(command)
        else:
            assert shlex.split(command)[:2] == ["python", "benchmarks/utility"]


def test_every_target_is_told_to_be_met_or_missed() -> None:
    page = (ROOT / "docs/utility.md").read_text("utf-8")
    cards = [card(file) for file in CARDS]
    judged = [found["met"] for found in cards if found["met"] is not None and not found["gains"]]
    judged += [gain["kept"] for found in cards for gain in found.get("gains", ())]
    assert page.count(": met |") + page.count(": missed |") == len(judged)


@pytest.mark.slow
def test_complete_journey_at_epsilon_4_is_above_popularity(tmp_path: Path) -> None:
    run = simulate(config=ROOT / "privacy.toml", epsilon=4.0, runs=tmp_path)
    assert run.epsilon is not None
    assert run.epsilon["user"]["spent"] <= 4.0
    lower_end = run.report["utility"]["model"]["ndcg@10"]["low"]
    assert lower_end > run.baselines["popularity"]["ndcg@10"]


@pytest.mark.slow
def test_a_card_is_measured_again_to_the_digit(tmp_path: Path) -> None:
    if not os.environ.get(DATA):
        pytest.skip(f"data set movielens-100k not found: set {DATA}")
    kept = card(BENCHMARK / "cards" / "movielens-100k-eps8.json")
    run = simulate(
        "movielens-100k",
        config=BENCHMARK / "configs/movielens-100k.toml",
        epsilon=8.0,
        recipe="statistics",
        refit=True,
        seed=kept["seeds"][0],
        runs=tmp_path,
    )
    # Another processor may round the last bits of the fit elsewhere.
    assert run.metrics["ndcg@10"] == pytest.approx(kept["ndcg@10"]["seeds"][0], abs=2e-3)
