"""No figure comes from a leak: negatives hold held-out items, and nobody chooses on the test."""

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.interactions import Interactions
from homebody_models.metrics import hit, ndcg
from homebody_models.negatives import draw_negatives
from homebody_models.sampled import outside_history, sampled_ranks
from homebody_models.split import Choice, leave_one_out

Make = Callable[..., Interactions]
Sampler = Callable[[Interactions, int, int, np.random.Generator], npt.NDArray[np.int64]]

ROOT = Path(__file__).parents[2]
DEVICES, ITEMS, EVENTS, PER_POSITIVE, ROUNDS = 400, 300, 20, 4, 100


def of_the_project(
    train: Interactions, device: int, count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    return draw_negatives(train.history(device), ITEMS, count, rng)


def memorised(sampler: Sampler, interactions: Make) -> tuple[float, float]:
    """Return hit@10 and ndcg@10 among 100 of a scorer that counts how often items were drawn."""
    rng = np.random.default_rng(2026)
    drawn = [rng.choice(ITEMS, EVENTS, replace=False).tolist() for _ in range(DEVICES)]
    data = interactions(drawn, n_items=ITEMS, repeats=False)
    split = leave_one_out(data)
    task = split.test.open(Choice(what="a memoriser", by="fixed beforehand"))
    times = np.zeros((DEVICES, ITEMS))
    for device in range(DEVICES):
        count = PER_POSITIVE * len(split.refit.history(device))
        every = sampler(split.refit, device, ROUNDS * count, rng)  # each round anew, all at once
        times[device] = np.bincount(every, minlength=ITEMS)
    own = {task.history(i).tobytes(): times[i] for i in range(DEVICES)}
    negatives = outside_history(data, 99, seed=7)
    ranks = sampled_ranks(lambda hs: np.array([-own[h.tobytes()] for h in hs]), task, negatives)
    return float(hit(ranks, 10).mean()), float(ndcg(ranks, 10).mean())


def test_a_scorer_without_a_model_is_at_chance_with_the_projects_sampler(
    interactions: Make,
) -> None:
    found, gain = memorised(of_the_project, interactions)
    assert found <= 0.16
    assert gain <= 0.08


def test_a_scorer_without_a_model_finds_the_target_with_a_leaky_sampler(
    interactions: Make,
) -> None:
    rng = np.random.default_rng(2026)
    whole = [rng.choice(ITEMS, EVENTS, replace=False) for _ in range(DEVICES)]

    def leaky(
        _: Interactions, device: int, count: int, rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        return draw_negatives(whole[device], ITEMS, count, rng)  # it knows the target

    found, gain = memorised(leaky, interactions)
    assert found > 0.9
    assert gain > 0.9


@given(st.data())
def test_negatives_are_the_catalog_without_the_training_items(data: st.DataObject) -> None:
    items = data.draw(st.integers(2, 30))
    training = data.draw(st.lists(st.integers(0, items - 1), max_size=items - 1))
    drawn = draw_negatives(np.array(training, np.int64), items, 2_000, np.random.default_rng(0))
    assert set(drawn.tolist()) == set(range(items)) - set(training)


def test_the_pool_holds_the_validation_and_the_test_item(interactions: Make) -> None:
    split = leave_one_out(interactions([[0, 1, 2, 3, 4]], n_items=6))
    rng = np.random.default_rng(0)
    assert {3, 4} <= set(draw_negatives(split.train.history(0), 6, 500, rng).tolist())
    assert 4 in draw_negatives(split.refit.history(0), 6, 500, rng)


def test_each_negative_is_as_likely_as_another() -> None:
    drawn = draw_negatives(np.array([0, 3, 4, 9]), 10, 60_000, np.random.default_rng(1))
    counts = np.bincount(drawn, minlength=10)[[1, 2, 5, 6, 7, 8]]
    assert (np.abs(counts - 10_000) < 500).all()  # five standard deviations


def test_a_device_that_has_everything_has_no_negative() -> None:
    with pytest.raises(ValueError, match="no item is outside"):
        draw_negatives(np.arange(4), 4, 1, np.random.default_rng(0))


# --- Who may open the test ---

OPENS = {
    "simulation/homebody_simulation/baselines.py": "baseline_rows",
    "simulation/homebody_simulation/utility_report.py": "utility_report",
}
"""The modules whose figures are final, and the function that opens the test."""

SETTLES = ("simulation/homebody_simulation/shipping.py",)
"""The modules that say what was settled, and leave the opening to a report."""


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Return the syntax trees of our files that have anything to do with a split."""
    parts = ("homebody", "client", "models", "privacy", "server", "simulation")
    files = sorted(file for part in parts for file in (ROOT / part).rglob("*.py"))
    texts = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in files}
    assert len(texts) > 100
    return {
        path: ast.parse(text)
        for path, text in texts.items()
        if any(word in text for word in ("homebody_models.split", ".test", "SealedTest"))
    }


def openings(tree: ast.AST) -> list[ast.Call]:
    """Return calls of ``<anything>.test.open(...)`` and of ``open`` with a ``Choice``."""
    found = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        sealed = isinstance(node.func.value, ast.Attribute) and node.func.value.attr == "test"
        told = any(isinstance(a, ast.Call) and _name(a.func) == "Choice" for a in node.args)
        if node.func.attr == "open" and (sealed or told):
            found.append(node)
    return found


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def test_only_final_reports_open_the_test_each_in_one_place(trees: dict[str, ast.Module]) -> None:
    found = {path: openings(tree) for path, tree in trees.items()}
    assert {path for path, calls in found.items() if calls} == set(OPENS)
    assert all(len(found[path]) == 1 for path in OPENS)


@pytest.mark.parametrize("path", OPENS)
def test_the_test_is_opened_in_the_function_that_reports(
    path: str, trees: dict[str, ast.Module]
) -> None:
    (reporting,) = [
        node
        for node in ast.walk(trees[path])
        if isinstance(node, ast.FunctionDef) and node.name == OPENS[path]
    ]
    assert len(openings(reporting)) == 1


def test_nobody_else_imports_what_opens_the_test_or_reaches_into_it(
    trees: dict[str, ast.Module],
) -> None:
    own = "models/homebody_models/split.py"
    for path, tree in trees.items():
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "homebody_models.split"
            for alias in node.names
        }
        assert "SealedTest" not in imported, path
        assert "Choice" not in imported or path in {*OPENS, *SETTLES}, path
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert path == own or "_task" not in attributes, path


def test_an_opening_is_noticed_in_any_spelling() -> None:
    for text in ("split.test.open(choice)", "sealed.open(Choice(what='x', by='validation'))"):
        assert len(openings(ast.parse(text))) == 1
    assert not openings(ast.parse("path.open('w')"))
