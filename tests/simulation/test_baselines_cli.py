"""``homebody baselines``: one table, the test opened once, the tasks apart."""

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from homebody import baselines
from homebody_models.baselines.choosing import NAMES
from homebody_models.split import Choice, SealedTest, Task
from homebody_privacy.errors import HomebodyError, InfeasibleError, UsageError
from homebody_simulation.baselines import BaselineTable, baseline_rows
from homebody_simulation.baselines_cli import app
from homebody_simulation.baselines_text import baselines_text
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.datasets.published_negatives import published_negatives

ROOT = Path(__file__).parents[2]
CHEAP = ("popularity", "rules", "ease-windowed")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.fixture(scope="module")
def table() -> BaselineTable:
    """Return the table of a small population; read only."""
    return baselines("synthetic", devices=120, items=60, only=CHEAP)


def test_json_is_the_table(table: BaselineTable) -> None:
    options = ("--data", "synthetic", "--devices", "30", "--only", "rules,popularity")
    found = json.loads(run(*options, "--format", "json").stdout)
    assert set(found) == set(table.to_dict())
    assert [row["name"] for row in found["rows"]] == ["popularity", "rules"]
    assert set(found["rows"][0]) == set(table.to_dict()["rows"][0])


def test_every_field_of_the_json_is_documented(table: BaselineTable) -> None:
    page = (ROOT / "docs/cli.md").read_text("utf-8")
    (section,) = re.findall(r"(?ms)^## homebody baselines\n(.*?)(?=^## )", page)
    fields = {*table.to_dict(), *table.to_dict()["rows"][0], *NAMES}
    assert not {name for name in fields if f"`{name}`" not in section}


def test_text_has_a_line_for_each_row(table: BaselineTable) -> None:
    text = baselines_text(table)
    assert all(re.search(rf"(?m)^{name} +0\.\d{{4}} \(0", text) for name in CHEAP)
    assert "No differential privacy" in text
    assert "sampled" not in text
    assert all(len(line) < 200 for line in text.splitlines() if line[:4] in ("popu", "rule"))


def test_learning_from_others_beats_popularity_on_planted_taste(table: BaselineTable) -> None:
    found = {row.name: row.evaluation.overall.ndcg.mean for row in table.rows}
    assert found["ease-windowed"] > found["popularity"]


def test_again_and_new_stand_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"u{u},i{rng.integers(9)},{t}" for u in range(30) for t in range(12)]
    (tmp_path / "e.csv").write_text("user,item,timestamp\n" + "\n".join(lines) + "\n", "utf-8")
    found = baselines(f"csv:{tmp_path / 'e.csv'}", only=["popularity", "local-only"])
    assert [(row.name, row.kind) for row in found.rows] == [
        ("popularity", "again"),
        ("popularity", "new"),
        ("local-only", "again"),
        ("local-only", "new"),
    ]
    text = baselines_text(found)
    assert text.index("again: next item") < text.index("new: next new item")


def test_the_test_is_opened_once_for_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Choice] = []
    really = SealedTest.open

    def noted(sealed: SealedTest, choice: Choice) -> Task:
        opened.append(choice)
        return really(sealed, choice)

    monkeypatch.setattr(SealedTest, "open", noted)
    baseline_rows(load_dataset("synthetic", devices=30, items=20), CHEAP)
    assert [choice.by for choice in opened] == ["validation"]


@pytest.mark.parametrize("only", ["svd", "", "popularity,svd"])
def test_an_unknown_baseline_ends_with_2(only: str) -> None:
    with pytest.raises(UsageError, match="there are popularity") as refusal:
        run("--data", "synthetic", "--only", only)
    assert refusal.value.exit_code == 2


def test_histories_too_short_for_a_split_end_with_12(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user,item,timestamp\na,x,1\na,y,2\nb,x,1\n", "utf-8")
    with pytest.raises(InfeasibleError, match="three events") as refusal:
        run("--data", f"csv:{tmp_path / 'e.csv'}")
    assert refusal.value.exit_code == 12


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(HomebodyError, match="no data set"):
        run("--data", "movielens-9")


# --- The published lists ---


def _movielens(name: str) -> tuple[Dataset, Path]:
    root = os.environ.get("HOMEBODY_DATA")
    if root is None or not (Path(root) / {"movielens-100k": "ml-100k"}.get(name, "ml-1m")).is_dir():
        pytest.skip(f"data set {name} not found: set HOMEBODY_DATA")
    return load_dataset(name, root=Path(root)), Path(root)


def test_sampled_items_of_movielens_100k_are_the_fixed_ones() -> None:
    data, root = _movielens("movielens-100k")
    negatives = published_negatives(data, root)
    assert negatives is not None
    ids = data.interactions.catalog.ids
    lines = "\n".join("\t".join(ids[item] for item in row) for row in negatives)
    digest = "3a9e5fdf34e6871d5904df3c0608806ea24c9f8edb6e14b5359ab31a0702e2c8"
    assert hashlib.sha256(lines.encode()).hexdigest() == digest


@pytest.mark.slow
def test_sampled_items_of_movielens_1m_avoid_training_and_hold_156_targets() -> None:
    data, root = _movielens("movielens-1m")
    negatives = published_negatives(data, root)
    assert negatives is not None
    inter = data.interactions
    targets = inter.items[inter.ptr[1:] - 1]
    assert (negatives == targets[:, None]).any(axis=1).sum() == 156
    known = np.repeat(np.arange(inter.devices), np.diff(inter.ptr) - 1) * 10_000
    rows = np.delete(inter.items, inter.ptr[1:] - 1)
    asked = np.arange(inter.devices)[:, None] * 10_000 + negatives
    assert not np.isin(asked, known + rows).any()


def test_other_data_has_no_such_list_and_no_figure_for_it(table: BaselineTable) -> None:
    assert published_negatives(load_dataset("synthetic", devices=9, items=20), None) is None
    assert all(row.sampled is None for row in table.rows)
    assert table.to_dict()["rows"][0]["comparison_only"] is None


@pytest.mark.slow
def test_movielens_100k_reproduces_the_reference_figures() -> None:
    data, _ = _movielens("movielens-100k")
    popularity, ease, windowed = baseline_rows(data, ["popularity", "ease", "ease-windowed"])
    assert windowed.evaluation.overall.ndcg.mean > 0.11
    assert popularity.evaluation.overall.ndcg.mean == pytest.approx(0.0423, abs=5e-5)
    assert ease.evaluation.overall.ndcg.mean == pytest.approx(0.0782, abs=5e-4)
    assert ease.sampled is not None
    assert ease.sampled.ndcg.mean == pytest.approx(0.389, abs=2e-3)
    assert ease.to_dict()["comparison_only"]["s99_hit@10"]["mean"] == ease.sampled.hit.mean
