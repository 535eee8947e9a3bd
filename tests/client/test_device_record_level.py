"""DP-SGD on the device: Opacus' engine, our optimizer, one event in one example."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus import PrivacyEngine
from opacus.optimizers import DPOptimizerFastGradientClipping
from scipy import stats

from homebody_client import record_level
from homebody_client.ghost import CHUNK, GhostLatticeOptimizer, TwoTowerModule
from homebody_client.record_level import BLOCK, effective_rate, examples, local_update
from homebody_client.training import contribution
from homebody_models.two_tower import TwoTower
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.lattice_optimizer import LatticeDPOptimizer

from .record_host import CATALOG, DIM, HISTORIES, ITEMS, RECORD, MakeHost, build_host, start, update


@pytest.fixture(scope="session")
def make_host(write_config: Callable[..., Path]) -> MakeHost:
    """Builder of a node with the record level on."""
    return partial(build_host, write_config)


@pytest.mark.parametrize("repeat", [0.0, 20.0])
@pytest.mark.parametrize("content", [False, True])
def test_logits_and_gradients_are_those_of_the_numpy_model(repeat: float, *, content: bool) -> None:
    model = TwoTower(
        ITEMS,
        CATALOG.features,
        content=content,
        dim=DIM,
        history_decay=0.8,
        init_scale=1.0,
        cuts=1,
        repeat=repeat,
    )
    rng = np.random.default_rng(3)
    flat = (model.init(rng) + 0.3 * rng.normal(size=model.layout.size)).astype(np.float32)
    history = np.array([3, 9, 3, 17, 28, 0, 5, 11])
    x = np.zeros((1, ITEMS))
    items, shares = model._window().shares([history[:-1]])  # noqa: SLF001 - the numpy weights
    np.add.at(x[0], items[0], shares[0])
    module = TwoTowerModule(model.layout.views(flat), model.features, repeat)
    logits = module(torch.from_numpy(x))
    assert logits.detach().numpy() == pytest.approx(model.scores(flat, [history[:-1]]), abs=1e-4)

    class Last:
        """Draws the last position."""

        def subset(self, n: int, _k: int) -> npt.NDArray[np.int64]:
            return np.array([n - 1])

    expected = model.local_gradient(flat, history, Last())  # type: ignore[arg-type]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([11]))
    torch.autograd.backward(loss)
    gradient = [module.get_parameter(name).grad for name in model.layout.shapes]
    found = np.concatenate([g.numpy().reshape(-1) for g in gradient if g is not None])
    assert float(loss.detach()) == pytest.approx(expected.loss, rel=1e-5)
    assert found == pytest.approx(expected.vector, abs=1e-5)
    assert np.abs(expected.vector).max() > 1e-2


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=70),
    st.data(),
    st.integers(0, ITEMS - 1),
)
def test_an_event_touches_one_example_only(
    history: list[int], data: st.DataObject, other: int
) -> None:
    model = TwoTower(ITEMS, CATALOG.features, dim=DIM)
    place = data.draw(st.integers(0, len(history) - 1))
    changed = [*history[:place], other, *history[place + 1 :]]
    x, y = examples(np.array(history), model)
    x2, y2 = examples(np.array(changed), model)
    assert len(x) == len(y) == len(history) // BLOCK
    touched = np.flatnonzero((x != x2).any(axis=1) | (y != y2))
    assert set(touched.tolist()) <= {place // BLOCK}


def test_an_example_is_seven_events_and_the_eighth() -> None:
    model = TwoTower(ITEMS, CATALOG.features, dim=DIM, history_decay=0.5)
    x, y = examples(np.arange(20), model)
    assert y.tolist() == [7, 15]
    assert np.flatnonzero(x[1]).tolist() == list(range(8, 15))
    assert x.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert x[0, 6] == pytest.approx(2 * x[0, 5])


def test_opacus_engine_and_our_optimizer_are_in_the_path(
    make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = PrivacyEngine.make_private

    def watching(self: PrivacyEngine, **options: Any) -> Any:  # noqa: ANN401 - opacus' own
        made = real(self, **options)
        seen.append((options, made[1]))
        return made

    monkeypatch.setattr(PrivacyEngine, "make_private", watching)
    update(make_host(norm=0.3, noise=1.7), 4)
    ((options, optimizer),) = seen
    assert (options["max_grad_norm"], options["noise_multiplier"]) == (0.3, 1.7)
    assert options["grad_sample_mode"] == "ghost"
    assert isinstance(optimizer, GhostLatticeOptimizer)
    assert isinstance(optimizer, LatticeDPOptimizer)
    assert isinstance(optimizer, DPOptimizerFastGradientClipping)
    assert optimizer.max_grad_norm == 0.3
    assert optimizer.noise_multiplier == 1.7


@pytest.mark.parametrize("device", [0, 1, 2])
def test_a_device_without_a_complete_block_updates_nothing(
    make_host: MakeHost, device: int
) -> None:
    host = make_host()
    assert not update(host, device).any()
    assert not contribution(host, device, start(host), 1).any()


def test_a_device_of_one_record_trains(make_host: MakeHost) -> None:
    assert update(make_host(), 3).any()


@pytest.mark.parametrize("seed", range(3))
def test_steps_that_draw_no_record_are_noise_like_any_other(make_host: MakeHost, seed: int) -> None:
    host = replace(make_host(rate=0.02, steps=4), record_key=bytes([seed]) * 32)
    assert (update(host, 3) != 0.0).mean() > 0.9  # one record, drawn once in fifty


def test_noise_is_that_of_the_key_and_of_round_and_device(make_host: MakeHost) -> None:
    host = make_host()
    first = update(host, 4).tobytes()
    assert first == update(host, 4).tobytes()
    assert first != update(host, 4, number=2).tobytes()
    assert first != update(replace(host, record_key=bytes(31) + b"1"), 4).tobytes()
    assert (
        update(host, 3).tobytes()
        != local_update(host, host.history(3), start(host), number=1, device=4).tobytes()
    )


def test_noise_without_a_key_is_never_the_same(make_host: MakeHost) -> None:
    host = replace(make_host(), record_key=None)
    assert update(host, 4).tobytes() != update(host, 4).tobytes()


@pytest.mark.parametrize(("norm", "noise"), [(1.0, 1.5), (0.2, 4.0)])
def test_the_noise_on_the_sum_has_its_scale_and_no_other(
    make_host: MakeHost, norm: float, noise: float
) -> None:
    host = make_host(norm=norm, noise=noise)
    other = replace(host, record_key=bytes(31) + b"1")
    # The same records: two draws of noise are left.
    pairs = [update(host, 4, t) - update(other, 4, t) for t in range(1, 6)]
    difference = np.concatenate(pairs)
    records = len(HISTORIES[4]) // BLOCK
    scale = np.sqrt(2.0) * noise * norm / records
    assert stats.kstest(difference / scale, "norm").pvalue > 1e-3
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(difference / (wrong * scale), "norm").pvalue < 1e-9


def test_one_record_moves_the_sum_by_at_most_the_bound(make_host: MakeHost) -> None:
    host = make_host(norm=0.05, noise=0.5)
    history = host.history(4)
    for other in range(6):
        changed = history.copy()
        changed[:BLOCK] = (changed[:BLOCK] + 1 + other) % ITEMS
        moved = update(host, 4) - local_update(host, changed, start(host), number=1, device=4)
        # Replaced, not removed: twice the bound. The same key draws the same noise.
        records = len(HISTORIES[4]) // BLOCK
        assert 0.0 < np.linalg.norm(moved) * records <= 2 * 0.05


def test_a_device_of_more_records_than_one_sum_holds_trains(make_host: MakeHost) -> None:
    host = make_host(norm=0.05, noise=0.5)
    records = 2 * CHUNK + 3
    history = np.random.default_rng(5).integers(0, ITEMS, records * BLOCK)
    moved = []
    for place in (0, CHUNK, records - 1):  # one in each chunk
        changed = history.copy()
        changed[place * BLOCK + 7] = (changed[place * BLOCK + 7] + 1) % ITEMS
        one, two = (
            local_update(host, kept, start(host), number=1, device=4) for kept in (history, changed)
        )
        moved.append(float(np.linalg.norm(one - two)) * records)
    assert all(0.01 < distance <= 2 * 0.05 for distance in moved)


def test_pf_22_every_row_of_every_parameter_is_noised(make_host: MakeHost) -> None:
    host = make_host(norm=0.2, noise=4.0, content=True)
    assert isinstance(host.model, TwoTower)
    history = np.full(8, 3, np.int32)  # one record, of one item
    keys = [bytes([number]) * 32 for number in range(1, 41)]
    updates = np.array(
        [
            local_update(replace(host, record_key=k), history, start(host), number=1, device=3)
            for k in keys
        ]
    )
    noise = (updates - updates.mean(axis=0)) / (0.2 * 4.0)
    for name, rows in host.model.layout.shapes.items():
        found = np.array([host.model.layout.views(update)[name] for update in noise])
        spread = (found.reshape(len(keys), rows[0], -1) ** 2).sum(axis=(0, 2))
        freedom = (len(keys) - 1) * (found[0].size // rows[0])
        chance = stats.chi2.cdf(spread, freedom)
        assert ((chance > 1e-6) & (chance < 1 - 1e-6)).all()
        for wrong in (2 / 3, 3 / 2):
            total = stats.chi2.cdf(spread.sum() / wrong**2, freedom * rows[0])
            assert min(total, 1 - total) < 1e-9


def test_no_record_is_drawn_with_more_than_the_accounted_rate() -> None:
    class Words:
        """Gives out the words next to the limit."""

        def words(self, n: int) -> npt.NDArray[np.uint64]:
            limit = int(2**64 * (1 / 3))
            return np.array([0, limit - 1, limit, 2**64 - 1][:n], np.uint64)

    sampler = record_level._CoinSampler(4, sampling_rate=1 / 3, steps=1, coins=Words())  # type: ignore[arg-type]  # noqa: SLF001
    assert list(sampler) == [[0, 1]]
    everyone = record_level._CoinSampler(4, sampling_rate=1.0, steps=1, coins=Words())  # type: ignore[arg-type]  # noqa: SLF001
    assert list(everyone) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("model", ["matrix-factorization", "popularity"])
def test_other_models_have_no_record_level(make_host: MakeHost, model: str) -> None:
    host = replace(make_host(), model=ModelSpec(model).build(CATALOG))
    with pytest.raises(PolicyViolationError, match="two-tower"):
        contribution(host, 4, host.model.init(np.random.default_rng(0)), 1)


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_the_switch_of_the_config_decides(
    make_host: MakeHost, write_config: Callable[..., Path], enabled: str
) -> None:
    host = make_host()
    more = RECORD.format(norm=1.0, noise=1.0, rate=1.0, steps=1, extra="").replace("true", enabled)
    host = replace(host, config=PrivacyConfig.load(write_config(more=more)))
    off = replace(host, config=PrivacyConfig.load(write_config()))
    plain = contribution(off, 4, start(host), 1).tolist()
    assert (contribution(host, 4, start(host), 1).tolist() == plain) == (enabled == "false")


@given(st.floats(1e-4, 1.0))
def test_records_are_never_drawn_less_often_than_asked(rate: float) -> None:
    real = effective_rate(rate)
    assert real >= rate * (1 - 1e-6)
    assert 1 / real == pytest.approx(round(1 / real))
    assert real <= 2 * rate
