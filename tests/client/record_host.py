"""A node with the record level on, for tests of what it trains and what it spends."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from homebody_client.host import Host
from homebody_client.record_level import local_update
from homebody_models.interactions import Catalog, Interactions
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import Lattice

ITEMS, DIM = 30, 8
RECORD = """
[dp.record]
enabled = true
max_grad_norm = {norm}
noise_multiplier = {noise}
sampling_rate = {rate}
steps = {steps}
delta = 1e-4
{extra}
"""
_rng = np.random.default_rng(1)
CATALOG = Catalog(
    ids=tuple(map(str, range(ITEMS))),
    titles=tuple(map(str, range(ITEMS))),
    categories=("",) * ITEMS,
    features=_rng.normal(size=(ITEMS, 3)).astype(np.float32),
    feature_names=("x", "y", "z"),
)
HISTORIES = [[], [4], list(range(7)), list(range(8)), [i * 7 % ITEMS for i in range(83)]]
MakeHost = Callable[..., Host]


def build_host(
    write_config: Callable[..., Path],
    *,
    norm: float = 1.0,
    noise: float = 1.0,
    rate: float = 1.0,
    steps: int = 1,
    extra: str = "",
    **options: float,
) -> Host:
    """Return a node with the record level on; ``options`` are the model's."""
    more = RECORD.format(norm=norm, noise=noise, rate=rate, steps=steps, extra=extra)
    items = np.array([item for history in HISTORIES for item in history], np.int32)
    config = PrivacyConfig.load(write_config(more=more))
    return Host(
        config=config,
        model=ModelSpec("two-tower", {"dim": DIM, "init_scale": 1.0, **options}).build(CATALOG),
        histories=Interactions(
            ptr=np.cumsum([0, *map(len, HISTORIES)]).astype(np.int64),
            items=items,
            times=np.arange(len(items), dtype=np.int64),
            values=np.ones(len(items), np.float32),
            repeats=True,
            catalog=CATALOG,
        ),
        devices=frozenset(range(len(HISTORIES))),
        example_key=bytes(32),
        record_key=bytes(32),
        lattice=Lattice(0.5),
    )


def start(host: Host) -> npt.NDArray[np.float32]:
    """Return a model to train."""
    return host.model.init(np.random.default_rng(0))


def update(host: Host, device: int, number: int = 1) -> npt.NDArray[np.float64]:
    """Return the local update of a device."""
    return local_update(host, host.history(device), start(host), number=number, device=device)
