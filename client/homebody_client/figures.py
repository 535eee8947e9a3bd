"""What one device adds to a figure about all devices: one short vector of norm at most 1.

For quality the device ranks with what it knew before its latest event, and looks where that came.
"""

import numpy as np
import numpy.typing as npt

from homebody_client.host import Host
from homebody_models.device_metrics import OwnLook, own_figures
from homebody_models.metrics import target_ranks
from homebody_privacy.lattice import FIGURES


def figure_contribution(
    host: Host, device: int, parameters: npt.NDArray[np.float32], metric: str
) -> npt.NDArray[np.int32]:
    """Return a device's part of a figure, in steps of ``FIGURES``. Secret.

    Args:
        host: The node; ``device`` must be one of its devices.
        device: Device number.
        parameters: Broadcast model, flat, of shape ``(size,)``. Public.
        metric: Name of the metric.

    Returns:
        int32 of shape ``(figures,)``, norm at most ``2**16``, whatever the device holds. Figures of
        quality are zeros where it holds no event back or the model's scores are not finite.

    Raises:
        ValueError: If there is no such metric, or the device is not hosted here.
    """
    history, target = host.history(device), host.held_out_item(device)
    rank = np.inf
    if target is not None and len(history):
        scores = host.model.scores(parameters, [history])
        # No history may stop the node: the other devices' parts would go with this one's.
        if np.isfinite(scores).all():
            hidden = None if host.histories.repeats else [history[history != target]]
            rank = float(target_ranks(scores, np.array([target]), hidden)[0])
    events = len(history) + (target is not None)
    return FIGURES.contribution(own_figures(metric, OwnLook(rank=rank, events=events)))
