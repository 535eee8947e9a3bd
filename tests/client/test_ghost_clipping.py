"""Ghost clipping: the norms are the gradients' norms, and one record never moves a sum too far."""

import inspect
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from opacus import PrivacyEngine
from opacus.accountants import PRVAccountant
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import (
    DPLossFastGradientClipping,
    DPTensorFastGradientClipping,
)

from homebody_client.ghost import (
    CHUNK,
    Factors,
    GhostLatticeOptimizer,
    GhostLoss,
    GhostModule,
    TwoTowerModule,
    record_clip_norm,
)
from homebody_privacy.lattice import Lattice
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream

Array = npt.NDArray[np.float64]
BITS = 20
ITEMS, DIM, FEATURES = 23, 5, 4


class Device:
    """The parts of one step, wired as the engine wires them."""

    def __init__(
        self,
        *,
        seed: int = 0,
        content: bool = True,
        repeat: float = 0.0,
        scale: float = 1.0,
        norm: float = 1.0,
        expected: int = 1,
    ) -> None:
        """Draw a model of root mean square ``scale``."""
        rng = np.random.default_rng(seed)
        tensors = {"V": rng.normal(size=(ITEMS, DIM)), "b": rng.normal(size=ITEMS)}
        if content:
            tensors = {"V": tensors["V"], "W": rng.normal(size=(FEATURES, DIM)), "b": tensors["b"]}
        features = rng.normal(size=(ITEMS, FEATURES)).astype(np.float32)
        drawn = {name: (scale * value).astype(np.float32) for name, value in tensors.items()}
        self.plain = TwoTowerModule(drawn, features, repeat)
        self.module = TwoTowerModule(drawn, features, repeat)
        self.lattice = Lattice(norm, bits=BITS)
        self.size = sum(p.numel() for p in self.module.parameters())
        self.private = GhostModule(
            self.module, max_grad_norm=record_clip_norm(self.lattice, self.size)
        )
        stream = NoiseStream(bytes(32))
        self.optimizer = GhostLatticeOptimizer(
            torch.optim.SGD(self.module.parameters(), lr=1.0),
            lattice=self.lattice,
            noise=lambda n: rounded_gaussian(n, 2.0**BITS, stream),
            noise_multiplier=1.0,
            expected_batch_size=expected,
        )
        self.loss = GhostLoss(self.private, self.optimizer, torch.nn.CrossEntropyLoss())

    def units(self, x: Array, y: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the integers of one chunk, before noise."""
        before = self.optimizer.units
        self.loss(self.private(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        return self.optimizer.units - before

    def factors(self, x: Array, y: npt.NDArray[np.int64]) -> Factors:
        """Return the factors of some records."""
        logits = self.plain(torch.from_numpy(x)).detach().requires_grad_()
        total = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="sum")
        torch.autograd.backward(total)
        assert logits.grad is not None
        return self.plain.factored(torch.from_numpy(x), logits.grad)


def drawn_records(seed: int, n: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return records of seven events, items repeated as chance has it."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, ITEMS))
    weights = 0.8 ** np.arange(7.0)
    np.add.at(x, (np.arange(n)[:, None], rng.integers(0, 6, (n, 7))), weights / weights.sum())
    return x, rng.integers(0, ITEMS, n)


def single_backward_passes(
    device: Device, x: Array, y: npt.NDArray[np.int64]
) -> list[dict[str, Array]]:
    """Return each record's gradient by a backward pass of its own."""
    found = []
    for row, target in zip(x, y, strict=True):
        device.plain.zero_grad()
        logits = device.plain(torch.from_numpy(row[None]))
        torch.autograd.backward(
            torch.nn.functional.cross_entropy(logits, torch.tensor([int(target)]))
        )
        grads = {name: p.grad for name, p in device.plain.named_parameters()}
        found.append({name: g.numpy().copy() for name, g in grads.items() if g is not None})
    return found


CASES = pytest.mark.parametrize(
    ("content", "repeat", "scale"),
    [(True, 0.0, 1.0), (False, 0.0, 1.0), (True, 20.0, 1.0), (False, 20.0, 0.1), (True, 0.0, 30.0)],
)


@CASES
def test_pf_41_norms_and_sums_are_those_of_single_record_backward_passes(
    repeat: float, scale: float, *, content: bool
) -> None:
    device = Device(seed=1, content=content, repeat=repeat, scale=scale)
    x, y = drawn_records(2, 12)
    one_by_one = single_backward_passes(device, x, y)
    factors = device.factors(x, y)
    largest = 0.0
    for name, norms in factors.norms().items():
        expected = np.array([np.linalg.norm(gradient[name]) for gradient in one_by_one])
        largest = max(largest, expected.max())
        assert norms.numpy() == pytest.approx(expected, rel=1e-6, abs=1e-6 * expected.max())
    assert largest > 1e-2
    weights = np.linspace(0.0, 1.0, 12)
    for name, total in factors.weighted_sum(torch.from_numpy(weights)).items():
        by_hand = sum(w * gradient[name] for w, gradient in zip(weights, one_by_one, strict=True))
        assert total.numpy() == pytest.approx(by_hand, rel=1e-9, abs=1e-11 * scale)


def test_pf_41_the_norms_are_those_of_opacus_functorch() -> None:
    device, (x, y) = Device(seed=3), drawn_records(4, 9)
    norms = device.factors(x, y).norms()
    oracle = GradSampleModule(Device(seed=3).plain, force_functorch=True)
    inputs = torch.from_numpy(x).requires_grad_()
    torch.autograd.backward(torch.nn.functional.cross_entropy(oracle(inputs), torch.from_numpy(y)))
    for name, p in oracle._module.named_parameters():  # noqa: SLF001 - opacus names none else
        expected = p.grad_sample.flatten(1).norm(dim=1).numpy()
        assert norms[name].numpy() == pytest.approx(expected, rel=1e-6)


def test_pf_41_the_two_uses_of_the_table_taken_apart_give_another_norm() -> None:
    factors = Device(seed=1).factors(*drawn_records(2, 12))
    (x, e), (a, u) = factors.left["V"], factors.right
    apart = (x.norm(dim=1) * a.norm(dim=1)).hypot(e.norm(dim=1) * u.norm(dim=1))
    ratio = (apart / factors.norms()["V"]).numpy()
    assert (np.abs(ratio - 1.0) > 0.01).any()


def test_pf_41_opacus_refuses_a_tied_table_layer_by_layer() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(4, 4, bias=False)
            self.second = torch.nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.second(self.first(x))
            return y

    with pytest.raises(NotImplementedError, match="tying"):
        GradSampleModuleFastGradientClipping(Tied())(torch.ones(2, 4))


def squared(v: npt.NDArray[np.int64]) -> int:
    """Return the squared norm, exactly."""
    return sum(int(value) ** 2 for value in v)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**20),
    n=st.integers(1, CHUNK),
    scale=st.sampled_from([1e-3, 0.3, 1.0, 5.0, 1e3, 1e18]),
    norm=st.sampled_from([1e-6, 0.05, 1.0, 1e4]),
    repeat=st.sampled_from([0.0, 20.0]),
    content=st.booleans(),
)
def test_one_record_moves_the_integers_by_at_most_the_bound(
    seed: int, n: int, scale: float, norm: float, repeat: float, *, content: bool
) -> None:
    device = Device(seed=seed, content=content, repeat=repeat, scale=scale, norm=norm)
    x, y = drawn_records(seed + 1, n)
    whole = device.units(x, y)
    gone = seed % n
    out = x.copy()
    out[gone] = np.nan  # counts as zero and keeps its place
    assert squared(whole - device.units(out, y)) <= 4**BITS
    if n > 1:  # without its place, too
        kept = np.arange(n) != gone
        assert squared(whole - device.units(x[kept], y[kept])) <= 4**BITS


def test_the_bound_is_nearly_reached_so_that_no_signal_is_given_away() -> None:
    device = Device(norm=1e-3)
    moved = math.sqrt(squared(device.units(*drawn_records(1, 1))))
    assert 0.999 * 2**BITS < moved <= 2**BITS


MAGNITUDES = st.sampled_from([0.0, 1e-170, 1e-9, 1.0, 1e9, 1e140])
UNIT = hnp.arrays(np.float64, 3, elements=st.floats(-1.0, 1.0))


@settings(max_examples=300)
@given(
    x=UNIT,
    e=UNIT,
    a=UNIT,
    u=UNIT,
    sizes=st.tuples(MAGNITUDES, MAGNITUDES),
    cancelling=st.booleans(),
)
@example(  # products of squares that underflow
    x=np.zeros(3),
    e=np.full(3, 9.5e-224),
    a=np.zeros(3),
    u=np.ones(3),
    sizes=(0.0, 1e-170),
    cancelling=False,
)
def test_the_norm_is_never_below_the_exact_one_however_the_parts_cancel(
    x: Array, e: Array, a: Array, u: Array, sizes: tuple[float, float], *, cancelling: bool
) -> None:
    a, u = sizes[0] * a, sizes[1] * u
    if cancelling:  # x^T a + e^T u is near zero although neither part is
        e, u = x * (1.0 + 2.0**-45), -a
    rows = [torch.from_numpy(part[None]) for part in (x, e, a, u)]
    factors = Factors({"V": (rows[0], rows[1])}, (rows[2], rows[3]), rows[1])
    bound = Fraction(float(factors.norms()["V"][0]))
    exact_x, exact_e, exact_a, exact_u = (
        [Fraction(float(value)) for value in part] for part in (x, e, a, u)
    )
    exact = sum(
        (left * right + other * last) ** 2
        for left, other in zip(exact_x, exact_e, strict=True)
        for right, last in zip(exact_a, exact_u, strict=True)
    )
    assert bound**2 >= exact
    # ... and never so small that rounding a sum of such parts could matter.
    parts = (np.linalg.norm(x) * np.linalg.norm(a)) + (np.linalg.norm(e) * np.linalg.norm(u))
    assert float(bound) >= 2.0**-13 * parts * (1.0 - 2.0**-20)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_pf_06_a_record_that_is_not_finite_counts_as_zero(bad: float) -> None:
    device, (x, y) = Device(seed=5), drawn_records(6, 10)
    other = x.copy()
    other[3, 2] = bad
    first, second = device.units(other, y), device.units(np.where(other == bad, np.nan, other), y)
    assert first.tolist() == second.tolist()
    kept = np.arange(10) != 3
    rest = device.units(x[kept], y[kept])
    assert np.abs(first - rest).max() <= 1  # other shapes may round another way
    assert rest.any()


def test_pf_06_a_model_that_is_not_finite_adds_noise_alone() -> None:
    device, (x, y) = Device(seed=5), drawn_records(6, 10)
    with torch.no_grad():
        device.module.V[4, 1] = torch.inf
    assert not device.units(x, y).any()


def test_a_record_changes_the_factors_of_no_other() -> None:
    device, (x, y) = Device(seed=7), drawn_records(8, 40)
    before = device.factors(x, y)
    changed, targets = x.copy(), y.copy()
    changed[11], targets[11] = np.roll(x[11], 5), (y[11] + 1) % ITEMS
    after = device.factors(changed, targets)
    rest = np.arange(40) != 11
    pairs = [
        (before.bias, after.bias),
        *zip(before.right, after.right, strict=True),
        *zip(before.left["V"], after.left["V"], strict=True),
        *zip(before.left["W"], after.left["W"], strict=True),
    ]
    for one, two in pairs:
        assert one.numpy()[rest].tobytes() == two.numpy()[rest].tobytes()
    assert before.bias.numpy()[11].tobytes() != after.bias.numpy()[11].tobytes()


def test_pf_22_a_step_noises_every_row_the_sum_left_empty() -> None:
    device = Device(seed=9)
    before = {name: p.detach().clone() for name, p in device.module.named_parameters()}
    device.optimizer.step()  # no record at all: an empty draw
    for name, p in device.module.named_parameters():
        moved = (p.detach() - before[name]).numpy()
        assert (moved != 0.0).all()
        assert 0.5 < moved.std() < 1.5


def test_pf_04_a_step_moves_the_model_by_whole_lattice_steps() -> None:
    device, (x, y) = Device(seed=9, norm=0.7), drawn_records(1, 5)
    device.units(x, y)
    device.optimizer.step()
    for p in device.module.parameters():
        assert p.grad is not None
        units = p.grad.numpy() / device.lattice.step
        assert np.abs(units - np.rint(units)).max() < 1e-9 * np.abs(units).max()


def test_chunks_add_up_and_a_skipped_step_keeps_them() -> None:
    device, (x, y) = Device(seed=11), drawn_records(12, 20)
    first, second = device.units(x[:8], y[:8]), device.units(x[8:], y[8:])
    assert device.optimizer.units.tolist() == (first + second).tolist()
    device.optimizer.signal_skip_step(do_skip=True)
    before = device.module.V.detach().clone()
    device.optimizer.step()
    assert torch.equal(before, device.module.V)
    assert device.optimizer.units.tolist() == (first + second).tolist()
    device.optimizer.signal_skip_step(do_skip=False)
    device.optimizer.step()
    assert not device.optimizer.units.any()


def test_the_denominator_is_the_expected_batch_and_not_the_drawn() -> None:
    moved = []
    for expected in (1, 4):
        device = Device(seed=13, expected=expected)
        before = device.module.V.detach().clone()
        device.units(*drawn_records(14, 9))
        device.optimizer.step()
        moved.append((device.module.V.detach() - before).numpy())
    assert moved[0] == pytest.approx(4 * moved[1])


@pytest.mark.parametrize("n", [0, CHUNK + 1])
def test_a_sum_of_more_records_than_the_bound_is_for_is_refused(n: int) -> None:
    device, (x, y) = Device(), drawn_records(1, n)
    with pytest.raises(ValueError, match="64 records"):
        device.loss(device.plain(torch.from_numpy(x)), torch.from_numpy(y))


@pytest.mark.parametrize(("norm", "size"), [(1e-150, 9), (1.0, 0), (1.0, 1 << 25)])
def test_a_clip_norm_that_keeps_no_bound_is_refused(norm: float, size: int) -> None:
    with pytest.raises(ValueError, match=r"clip norm|parameters"):
        record_clip_norm(Lattice(norm, bits=BITS), size)


_RELIED_UPON: list[tuple[Callable[..., Any], set[str]]] = [
    (PrivacyEngine._prepare_model, {"module"}),  # noqa: SLF001
    (
        PrivacyEngine._prepare_optimizer,  # noqa: SLF001
        {"optimizer", "noise_multiplier", "expected_batch_size"},
    ),
    (PrivacyEngine._prepare_data_loader, {"data_loader"}),  # noqa: SLF001
    (PrivacyEngine._prepare_criterion, {"module", "optimizer", "criterion"}),  # noqa: SLF001
    (GradSampleModuleFastGradientClipping.get_clipping_coef, set()),
    (GradSampleModuleFastGradientClipping.get_norm_sample, set()),
    (DPOptimizerFastGradientClipping.accumulate, set()),
    (DPOptimizerFastGradientClipping.pre_step, set()),
    (DPOptimizerFastGradientClipping._check_skip_next_step, set()),  # noqa: SLF001
    (DPTensorFastGradientClipping.backward, set()),
    (DPLossFastGradientClipping.__init__, {"module", "optimizer", "criterion"}),
    (PRVAccountant.load_state_dict, {"state_dict"}),
]


@pytest.mark.parametrize(("name", "arguments"), _RELIED_UPON)
def test_the_names_inside_opacus_we_rely_on_are_there(
    name: Callable[..., Any], arguments: set[str]
) -> None:
    assert arguments <= set(inspect.signature(name).parameters)


def test_opacus_asks_our_overrides_in_a_step() -> None:
    asked = inspect.getsource(PrivacyEngine.make_private)
    for name in ("model", "optimizer", "data_loader", "criterion"):
        assert f"self._prepare_{name}(" in asked
    step = inspect.getsource(DPOptimizerFastGradientClipping.pre_step)
    order = ["self.accumulate()", "self.add_noise()", "self.scale_grad()", "self.step_hook(self)"]
    places = [step.index(call) for call in order]
    assert places == sorted(places)
