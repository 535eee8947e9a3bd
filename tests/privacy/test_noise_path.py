"""PF-01: no torch, numpy or standard generator anywhere on the noise path.

The source is read in ``test_privacy_pitfalls``. Here is the run: real rounds, from the coins to the
released model, go through while every entry point of such generators raises, and while torch is
watched below its functions, where each operation that draws from a generator carries a tag. After
them all global generators stand where they stood.
"""

import random
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
import torch
from opacus.optimizers import DPOptimizer
from torch.utils._python_dispatch import TorchDispatchMode

from homebody_privacy.adaptive_clip import AdaptiveClip, vote
from homebody_privacy.blt import BltParameters, Participation
from homebody_privacy.lattice import Lattice
from homebody_privacy.lattice_optimizer import BLTDPOptimizer, LatticeDPOptimizer
from homebody_privacy.mechanisms import BltMechanism, GaussianMechanism, Mechanism
from homebody_privacy.stream import NoiseStream, derive_key, fresh_key
from homebody_server.clipping_state import Clipping
from homebody_server.figures import FigureRound
from homebody_server.hosts import Hosts
from homebody_server.release import Contribution, Releaser
from homebody_server.run_spec import MetricPlan
from homebody_server.selection import SeparatedDraw, poisson_cohort

IN_PLACE: Final = ("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "log_normal_")
DRAWS: Final = (
    *("normal", "rand", "randn", "randint", "randperm", "bernoulli", "poisson", "multinomial"),
    *("rand_like", "randn_like", "randint_like", "Generator", "manual_seed", "seed", "dropout"),
)
LATTICE: Final = Lattice(0.5)
SHAPES: Final = [(3, 2), (3,)]
SIZE: Final = 9


class PoisonError(Exception):
    """A generator was asked for something."""


def poisoned(*_: object, **__: object) -> None:
    """Stand where a generator stood."""
    raise PoisonError


def entry_points() -> list[tuple[ModuleType | type, str]]:
    """Return every name under which a generator can be had: numpy, torch, the standard library."""
    found: list[tuple[ModuleType | type, str]] = []
    for module in (np.random, random, torch.random):
        public = [n for n in dir(module) if not n.startswith("_")]
        found += [(module, n) for n in public if callable(getattr(module, n))]
    found += [(torch, name) for name in DRAWS]
    methods = [n for n in dir(torch.Tensor) if n in (*DRAWS, *IN_PLACE, "cauchy_", "geometric_")]
    return found + [(torch.Tensor, name) for name in methods]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every entry point of every generator raise."""
    with WATCH:
        rounds(gaussian(), bytes(32))  # torch imports parts of itself at the first use
    for owner, name in entry_points():
        monkeypatch.setattr(owner, name, poisoned)


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch ships it untyped
    """Raises at any operation of torch that draws from a generator, however it was called."""

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - an operator
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operator returns
        """Run the operation if it is not random."""
        del types
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise PoisonError(str(func))
        return func(*args, **(kwargs or {}))


WATCH: Final = Watch()  # type: ignore[no-untyped-call]


class Keyed:
    """Noise of a round, as the server keys it."""

    def __init__(self, mechanism: Mechanism, key: bytes) -> None:
        """Keep the mechanism and the round's key."""
        self._mechanism, self._key = mechanism, key

    def noise(self, dim: int) -> npt.NDArray[np.int64]:
        """Draw."""
        return self._mechanism.noise(dim, NoiseStream(self._key))


def gaussian() -> Mechanism:
    """Return independent noise."""
    return GaussianMechanism(LATTICE, 1.5)


def correlated() -> Mechanism:
    """Return correlated noise."""
    return BltMechanism(
        LATTICE,
        noise_multiplier=3.0,
        parameters=BltParameters(theta=(0.9,), omega=(0.4,)),
        participation=Participation(rounds=8, min_separation=2, max_rounds=4),
        dim=SIZE,
    )


def updates(devices: npt.NDArray[np.int64], number: int) -> list[npt.NDArray[np.float64]]:
    """Return made-up updates, one of them not finite."""
    found = [np.sin(np.arange(SIZE) * (1.0 + device) + number) for device in devices]
    return [*found, np.full(SIZE, np.nan)]


def rounds(mechanism: Mechanism, master: bytes, number_of_rounds: int = 3) -> npt.NDArray[Any]:
    """Run rounds of a server, from the coins to the model, and return the last model."""
    blt = isinstance(mechanism, BltMechanism)
    releaser = Releaser(
        SHAPES,
        np.linspace(-1, 1, SIZE).astype(np.float32),
        learning_rate=0.1,
        lattice=LATTICE,
        noise_multiplier=1.5,
        expected_cohort=5,
        fine_bits=mechanism.fine_bits if blt else None,
    )
    clipping = Clipping(rule=AdaptiveClip.for_cohort(5), clip_norm=0.5, bits=16)
    registered = np.arange(20, dtype=np.int64)
    draw = SeparatedDraw(
        registered,
        cohort_size=5,
        participation=Participation(rounds=8, min_separation=2, max_rounds=4),
        lots=lambda number: NoiseStream(derive_key(master, "coins", number)),
    )
    for number in range(1, number_of_rounds + 1):
        coins = NoiseStream(derive_key(master, "coins", number))
        cohort = draw.cohort(number) if blt else poisson_cohort(registered, 0.25, 17, coins)
        sent = updates(cohort, number)
        lattice = LATTICE if blt else clipping.lattice
        releaser.use_lattice(lattice)
        releaser.release(
            [Contribution(lattice.contribution(u).astype(np.int64), 1) for u in sent],
            Keyed(mechanism, derive_key(master, "noise", number)),
        )
        votes = sum(vote(u, clipping.clip_norm) for u in sent)
        clipping = clipping.after(votes, NoiseStream(derive_key(master, "counts", number)))
    return releaser.parameters()


def statistic(master: bytes) -> npt.NDArray[Any]:
    """Release a one-shot sum, and return it."""
    lattice = Lattice(1.0)
    releaser = Releaser(
        [(SIZE,)],
        np.zeros(SIZE, np.float32),
        learning_rate=1.0,
        lattice=lattice,
        noise_multiplier=2.0,
        expected_cohort=1,
        server_optimizer="sgd",
    )
    total = sum(lattice.contribution(u).astype(np.int64) for u in updates(np.arange(3), 1))
    noise = Keyed(GaussianMechanism(lattice, 2.0), derive_key(master, "statistics", "gram"))
    return releaser.release([Contribution(np.asarray(total), 3)], noise)


def figures(master: bytes) -> dict[str, float]:
    """Release a figure about one device that has nothing to add."""
    asked = FigureRound(
        run="r",
        number=1,
        plan=MetricPlan(name="hit_rate", noise_multiplier=5.0, releases=1),
        config_digest="c" * 64,
        hosts=Hosts.of({0: 1}),
        deadline_s=1.0,
    )
    nothing = Contribution(np.zeros(1, np.int64), 1)
    released = asked.release_sum([nothing], NoiseStream(derive_key(master, "figures", "hit_rate")))
    assert released is not None
    return released


@pytest.mark.parametrize("make", [gaussian, correlated])
@pytest.mark.usefixtures("poison")
def test_pf_01_rounds_and_figures_are_released_while_every_generator_raises(
    make: Callable[[], Mechanism],
) -> None:
    with WATCH:
        models = [rounds(make(), bytes(32)) for _ in range(2)]
        assert figures(bytes(32)) == figures(bytes(32))
        assert statistic(bytes(32)).tobytes() == statistic(bytes(32)).tobytes()
    assert (statistic(bytes([1]) * 32) != statistic(bytes(32))).all()
    assert models[0].tobytes() == models[1].tobytes()  # the key alone decides
    assert np.isfinite(models[0]).all()
    assert rounds(make(), bytes([1]) * 32).tobytes() != models[0].tobytes()


@pytest.mark.parametrize("make", [gaussian, correlated])
def test_pf_01_no_global_generator_moves_while_rounds_are_released(
    make: Callable[[], Mechanism],
) -> None:
    def standing() -> list[Any]:
        name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - it must not move
        return [name, list(keys), rest, random.getstate(), torch.get_rng_state().tolist()]

    before = standing()
    rounds(make(), fresh_key())
    figures(fresh_key())
    statistic(fresh_key())
    assert standing() == before
    torch.rand(1)
    assert standing() != before  # a move would be seen


@pytest.mark.parametrize("make", [gaussian, correlated])
def test_pf_01_equal_seeds_of_every_generator_give_different_models(
    make: Callable[[], Mechanism],
) -> None:
    models = []
    for _ in range(2):
        np.random.seed(7)  # noqa: NPY002 - the legacy state is what must not matter
        torch.manual_seed(7)
        random.seed(7)
        models.append(rounds(make(), fresh_key()))
    assert models[0].tobytes() != models[1].tobytes()


def stepped(optimizer: Callable[..., DPOptimizer], **options: Any) -> torch.Tensor:  # noqa: ANN401
    """Take one step of an optimizer on one sample and return the parameter."""
    param = torch.nn.Parameter(torch.zeros(4))
    wrapped = optimizer(
        torch.optim.SGD([param], lr=1.0),
        noise_multiplier=1.0,
        expected_batch_size=2,
        **options,
    )
    param.grad_sample = torch.ones((1, 4))  # type: ignore[attr-defined]
    wrapped.step()
    return param.detach()


@pytest.mark.parametrize(
    ("optimizer", "more"), [(LatticeDPOptimizer, {}), (BLTDPOptimizer, {"fine_bits": 4})]
)
@pytest.mark.usefixtures("poison")
def test_pf_01_steps_of_our_optimizers_need_no_generator(
    optimizer: Callable[..., DPOptimizer], more: dict[str, int]
) -> None:
    mechanism = gaussian()
    with WATCH:
        moved = stepped(
            optimizer,
            lattice=LATTICE,
            noise=lambda dim: mechanism.noise(dim, NoiseStream(bytes(32))),
            **more,
        )
    assert moved.any()


@pytest.mark.usefixtures("poison")
def test_pf_01_the_poison_catches_the_noise_of_opacus_own_optimizer() -> None:
    with pytest.raises(PoisonError):
        stepped(DPOptimizer, max_grad_norm=1.0)


def test_pf_01_the_watch_alone_catches_the_noise_of_opacus_own_optimizer() -> None:
    assert stepped(DPOptimizer, max_grad_norm=1.0).any()
    with WATCH, pytest.raises(PoisonError, match="normal"):
        stepped(DPOptimizer, max_grad_norm=1.0)
    with WATCH, pytest.raises(PoisonError, match="rand"):
        torch._C._VariableFunctions.randn(3)  # noqa: SLF001


@pytest.mark.parametrize(
    ("owner", "name", "arguments"),
    [
        (np.random, "normal", ()),
        (np.random, "seed", (1,)),
        (np.random, "default_rng", ()),
        (np.random, "Generator", (np.random.PCG64(),)),
        (np.random, "RandomState", ()),
        (random, "gauss", (0.0, 1.0)),
        (random, "Random", (1,)),
        (torch, "normal", (0.0, 1.0, (3,))),
        (torch, "Generator", ()),
        (torch, "manual_seed", (1,)),
        (torch.random, "seed", ()),
        (torch.zeros(3), "normal_", ()),
        (torch.zeros(3), "bernoulli", ()),
        (torch.nn.init, "normal_", (torch.zeros(3),)),
    ],
)
@pytest.mark.usefixtures("poison")
def test_pf_01_the_poison_catches_every_generator(
    owner: object, name: str, arguments: tuple[object, ...]
) -> None:
    with pytest.raises(PoisonError):
        getattr(owner, name)(*arguments)
