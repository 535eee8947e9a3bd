"""Failures that leave the code running and the claim false; one test per pitfall.

Others are beside the module they concern: PF-01 of a run in ``test_noise_path``, PF-03 and PF-02 of
correlated noise in ``test_mechanisms``, PF-26 in ``test_adaptive_clip``, PF-14 and PF-15 with the
ledger and the budget, PF-10, PF-11, PF-18, PF-20 and PF-31 with the config, PF-12 and PF-13 with
the accountants.
"""

import ast
import importlib.util
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import homebody_privacy
from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.blt import BltParameters, Participation
from homebody_privacy.charges import PoissonRounds
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import BltMechanism, GaussianMechanism
from homebody_privacy.stream import NoiseStream, derive_key, fresh_key

LATTICE = Lattice(0.5)
MECHANISM = GaussianMechanism(LATTICE, 1.0)
NOISE_PATH: Final = (
    *(f"homebody_privacy.{name}" for name in ("noise", "stream", "mechanisms", "adaptive_clip")),
    *(f"homebody_privacy.{name}" for name in ("correlated_noise", "lattice_optimizer")),
    *(f"homebody_server.{name}" for name in ("release", "flower_app", "figures", "selection")),
    *(f"homebody_server.{name}" for name in ("clipping_state", "noise_state")),
)
ALLOWED: Final = {
    "homebody_models.bootstrap": "names the type of an argument: intervals of figures on test data",
    "homebody_models.metrics": "names the type of an argument: intervals of figures on test data",
    "homebody_models.recommender": "names the type of an argument: start and local training",
}
"""Modules that are reached through types and figures, with what they use a generator for."""

BANNED: Final = {"random", "secrets", "torch.normal", "torch.randn", "torch.rand"} | {
    "torch.manual_seed",
    "torch.bernoulli",
    "torch.poisson",
    "torch.multinomial",
    "torch.randint",
    "torch.randperm",
}
IN_PLACE: Final = ("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "log_normal_")
UPDATES = hnp.arrays(np.float64, 6, elements=st.floats(width=64))


def dotted(node: ast.AST) -> str:
    """Spell an attribute chain, ``np.random.normal``; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def generators_used(source: str) -> list[str]:
    """Name every banned generator that a module imports or calls."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [dotted(node)] if isinstance(node, ast.Attribute) else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module or ""]
        for name in names:
            plain = name.replace("numpy.", "np.", 1)
            begins = plain.startswith(("np.random", "random.", "torch.Generator", "torch.random"))
            in_place = plain.rpartition(".")[2] in IN_PLACE and "." in plain
            if plain in BANNED or begins or in_place:
                found.append(name)
    return found


def source_of(module: str) -> Path | None:
    """Return the file of a module of ours; None for any other name."""
    if not module.startswith("homebody"):
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a name inside a module
        return None
    return Path(spec.origin) if spec and spec.origin else None


def imported(module: str, file: Path) -> set[str]:
    """Return the modules of ours that a module imports, anywhere in its code."""
    found: set[str] = set()
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if source_of(name)}


def reached(roots: tuple[str, ...]) -> dict[str, Path]:
    """Return every module of ours that the roots import, themselves included."""
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        file = source_of(module)
        assert file is not None, f"{module} is no module of ours"
        if module not in found:
            found[module] = file
            waiting += imported(module, file)
    return found


def test_pf_01_no_module_that_the_noise_path_imports_uses_a_generator() -> None:
    modules = reached(NOISE_PATH)
    assert len(modules) > 30
    assert "homebody_privacy.lattice" in modules  # by a relative import
    assert "homebody_server.tensor_adam" in modules  # by an absolute one
    used = {name: generators_used(file.read_text("utf-8")) for name, file in modules.items()}
    assert {name for name, found in used.items() if found} <= set(ALLOWED)
    # What is allowed is to name the type of an argument, never to make or seed a generator.
    named = {use for name in ALLOWED for use in used.get(name, [])}
    assert named <= {"np.random", "np.random.Generator"}


def test_pf_01_no_module_of_the_privacy_part_uses_a_generator() -> None:
    modules = sorted(Path(homebody_privacy.__file__).parent.rglob("*.py"))
    assert len(modules) > 25
    used = {file.name: generators_used(file.read_text("utf-8")) for file in modules}
    assert {name: found for name, found in used.items() if found} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from random import gauss",
        "import numpy as np\nx = np.random.default_rng(0)",
        "from numpy import random",
        "import numpy.random",
        "from numpy.random import default_rng",
        "import torch\ntorch.normal(0, 1)",
        "from torch import normal",
        "from torch.random import manual_seed",
        "t.normal_()",
        "def f():\n    import random",
        "g = torch.Generator()",
    ],
)
def test_pf_01_the_ban_finds_every_way_to_such_a_generator(source: str) -> None:
    assert generators_used(source)


def test_pf_01_the_walk_follows_every_form_of_import(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "from .lattice import Lattice\nfrom . import stream\nfrom homebody_privacy import noise\n"
        "import homebody_privacy.blt\ndef f():\n    from .budget import Budget\n",
        "utf-8",
    )
    names = ("lattice", "stream", "noise", "blt", "budget")
    found = imported("homebody_privacy.module", file)
    assert found == {"homebody_privacy", *(f"homebody_privacy.{name}" for name in names)}


def test_pf_01_equal_seeds_of_numpy_and_torch_give_different_noise() -> None:
    noises = []
    for _ in range(2):
        np.random.seed(7)  # noqa: NPY002 - the legacy state is what must not matter
        torch.manual_seed(7)
        noises.append(MECHANISM.noise(200, NoiseStream(fresh_key())))
    assert (noises[0] == noises[1]).mean() < 0.05


def test_pf_02_noise_of_different_rounds_is_uncorrelated() -> None:
    master, n = bytes(32), 40_000
    rounds = [
        MECHANISM.noise(n, NoiseStream(derive_key(master, "homebody/noise/v1", "run", t)))
        / MECHANISM.tau
        for t in range(1, 5)
    ]
    for i, a in enumerate(rounds):
        for b in rounds[:i]:
            assert abs(float((a * b).mean())) < 4 / np.sqrt(n)
        assert abs(float((a[1:] * a[:-1]).mean())) < 4 / np.sqrt(n)
    assert abs(float((rounds[0] * rounds[0]).mean())) > 4 / np.sqrt(n)  # reused noise is seen


@settings(max_examples=30)
@given(st.lists(UPDATES, max_size=4))
def test_pf_04_every_released_value_is_a_multiple_of_the_lattice_step(
    updates: list[npt.NDArray[np.float64]],
) -> None:
    total = np.zeros(6, dtype=np.int64)
    for update in updates:
        total += LATTICE.contribution(update)
    released = LATTICE.decode(total + MECHANISM.noise(6, NoiseStream(bytes(32))))
    units = released / LATTICE.step
    assert (units == np.rint(units)).all()
    assert (LATTICE.decode(np.rint(units).astype(np.int64)) == released).all()


@given(UPDATES, st.floats(1.0, 1e6))
def test_pf_05_one_device_scaled_up_moves_the_sum_by_at_most_the_clip_norm(
    update: npt.NDArray[np.float64], scale: float
) -> None:
    others = LATTICE.contribution(np.linspace(-1.0, 1.0, 6)).astype(np.int64)
    with np.errstate(over="ignore"):
        moved = others + LATTICE.contribution(update * scale) - others
    assert sum(int(v) ** 2 for v in moved) <= (2**16) ** 2
    assert np.linalg.norm(LATTICE.decode(moved)) <= LATTICE.clip_norm


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pf_06_a_non_finite_update_adds_the_same_bytes_as_absence(bad: float) -> None:
    others = LATTICE.contribution([0.1, -0.2, 0.3]).astype(np.int64)
    added = others + LATTICE.contribution([0.1, bad, 0.0])
    assert added.tobytes() == others.tobytes()
    assert np.isfinite(LATTICE.decode(added)).all()


def test_pf_07_a_zero_update_is_a_contribution_like_any_other() -> None:
    assert LATTICE.contribution([0.0, -0.0, 0.0]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bits", range(16, 21))
def test_pf_36_the_largest_possible_sum_fits_a_word(bits: int) -> None:
    lattice = Lattice(1.0, bits)
    largest = lattice.max_devices * int(lattice.contribution([1e9])[0])
    assert lattice.max_devices * 2**bits < 2**31 <= (lattice.max_devices + 1) * 2**bits
    assert np.array([largest], dtype=np.int64).astype(np.int32)[0] == largest


@settings(max_examples=20)
@given(st.integers(1, 8), st.integers(1, 3), st.integers(1, 8))
def test_pf_17_more_or_closer_joins_cost_more(separation: int, more: int, joins: int) -> None:
    def epsilon(min_separation: int, max_rounds: int) -> float:
        part = Participation(rounds=24, min_separation=min_separation, max_rounds=max_rounds)
        return BltMechanism(
            LATTICE,
            noise_multiplier=3.0,
            parameters=BltParameters(theta=(0.9,), omega=(0.4,)),
            participation=part,
            dim=10,
        ).epsilon(1e-5)

    promised = epsilon(separation, joins)
    assert epsilon(separation, joins + more) >= promised
    if separation > 1 and joins > 1:
        assert epsilon(separation - 1, joins) > promised * (1 - 1e-9)


def test_pf_16_fewer_eligible_devices_cost_more() -> None:
    def spent(population: int) -> float:
        return spent_epsilon(
            [
                PoissonRounds(
                    population=population,
                    cohort_size=100,
                    cohort_cap=150,
                    noise_multiplier=3.0,
                    rounds=5,
                )
            ],
            1e-5,
        )

    assert spent(3020) > 1.5 * spent(6040)  # half of the devices withdrew
