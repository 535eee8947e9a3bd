"""Failures that leave the code running and the claim false; one test per pitfall.

PF-11, PF-13, PF-12, PF-14, PF-15 and PF-31 are beside the module they concern.
"""

import ast
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import homebody_privacy
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.stream import NoiseStream, derive_key, fresh_key

LATTICE = Lattice(0.5)
MECHANISM = GaussianMechanism(LATTICE, 1.0)
BANNED = {"random", "secrets", "torch.normal", "torch.randn", "torch.rand", "torch.manual_seed"}
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
            begins = plain.startswith(("np.random", "random.", "torch.Generator"))
            if plain in BANNED or begins or plain.endswith((".normal_", ".uniform_", ".random_")):
                found.append(name)
    return found


def test_pf_01_no_module_uses_a_generator_that_can_be_seeded() -> None:
    modules = sorted(Path(homebody_privacy.__file__).parent.rglob("*.py"))
    assert len(modules) > 10
    assert {m.name: generators_used(m.read_text(encoding="utf-8")) for m in modules} == {
        m.name: [] for m in modules
    }


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from random import gauss",
        "import numpy as np\nx = np.random.default_rng(0)",
        "from numpy import random",
        "import numpy.random",
        "import torch\ntorch.normal(0, 1)",
        "from torch import normal",
        "t.normal_()",
        "g = torch.Generator()",
    ],
)
def test_pf_01_the_ban_finds_every_way_to_such_a_generator(source: str) -> None:
    assert generators_used(source)


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
