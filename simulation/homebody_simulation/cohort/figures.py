"""Figures about themselves of many devices at once; integer for integer those of each device.

Each device is scored as if it were alone (``scorer_of(..., apart=True)``): a product of matrices
rounds a row otherwise than the product of that row does, and a rank that hangs on the last bit
would then be another than the device finds. Few ranks differ in what they add, so the vectors that
the lattice truncates are few too, however many devices there are.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from homebody_client.host import Host
from homebody_models.columns import release
from homebody_models.device_metrics import figure_names, figures_of_many, needs_held_out
from homebody_models.full_ranking import ranks_of, visible_scores
from homebody_models.history_columns import Histories
from homebody_models.metrics import block_of
from homebody_models.recommender import Scores, scorer_of
from homebody_privacy.lattice import FIGURES

_BLOCK = 65_536  # devices of a metric that scores nothing


def figure_total(
    host: Host,
    devices: npt.NDArray[np.int64],
    parameters: npt.NDArray[np.float32],
    metric: str,
    threads: int = 1,
) -> npt.NDArray[np.int64]:
    """Return the sum of ``figure_contribution`` over hosted devices. Secret.

    Args:
        host: What the devices hold.
        devices: Who is asked, shape ``(n,)``.
        parameters: Broadcast model, flat, of shape ``(size,)``. Public.
        metric: Name of the metric.
        threads: Threads to use, at least 1; the result does not depend on it.

    Returns:
        int64 of shape ``(figures,)``.

    Raises:
        ValueError: If there is no such metric, or a device is not hosted here.
    """
    total = np.zeros(len(figure_names(metric)), np.int64)
    if not all(device in host.devices for device in devices.tolist()):
        raise ValueError("the device is not hosted by this node")
    scores, block = None, _BLOCK
    if needs_held_out(metric):
        scores = scorer_of(host.model, parameters, apart=True)
        block = block_of(len(host.histories.catalog))
    parts = (devices[start : start + block] for start in range(0, len(devices), block))
    work = partial(_added, host, metric, scores)
    if threads == 1:
        return sum(map(work, parts), total)
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, parts), total)


def _added(
    host: Host, metric: str, scores: Scores | None, devices: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return what some devices add together."""
    histories = Histories.rows(host.histories.ptr, host.histories.items, devices)
    targets = np.full(len(devices), -1, np.int64)
    if host.held_out is not None:
        targets[:] = host.held_out[devices]
    ranks = np.full(len(devices), np.inf)
    able = np.flatnonzero((targets >= 0) & (histories.lengths > 0))
    if scores is not None and len(able):
        ranks[able] = _ranks(host, scores, histories[able], targets[able])
    events = histories.lengths + (targets >= 0)
    total = np.zeros(len(figure_names(metric)), np.int64)
    for vector, times in figures_of_many(metric, ranks, events):
        total += times * FIGURES.contribution(vector).astype(np.int64)
    release(host.histories.items)
    return total


def _ranks(
    host: Host, scores: Scores, histories: Histories, targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the rank of each target; infinity where a device's scores are not finite."""
    found = scores(histories)
    ranks = np.full(len(targets), np.inf)
    finite = np.flatnonzero(np.isfinite(found).all(axis=1))
    if len(finite) < len(targets):
        found, histories, targets = found[finite], histories[finite], targets[finite]
    hidden = None if host.histories.repeats else histories.without(targets)
    ranks[finite] = ranks_of(visible_scores(found, targets, hidden, overwrite=True), targets)
    return ranks
