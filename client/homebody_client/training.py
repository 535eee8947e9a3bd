"""What one device adds to a round: one local step, clipped, on the lattice.

The contribution depends on the device's own history, the broadcast model and nothing else. It is
bounded before anyone else sees it, whatever the history holds.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from homebody_client.host import Host
from homebody_models.draws import Draws
from homebody_privacy.adaptive_clip import vote
from homebody_privacy.errors import BudgetExhaustedError
from homebody_privacy.lattice import Lattice
from homebody_privacy.stream import derive_key


def contribution(
    host: Host,
    device: int,
    parameters: npt.NDArray[np.float32],
    number: int,
    clip_norm: float | None = None,
) -> npt.NDArray[np.int32]:
    """Return one device's contribution to round ``number``, in lattice steps. Secret.

    Args:
        host: The node; ``device`` must be one of its devices.
        device: Device number.
        parameters: Broadcast model, flat, of shape ``(size,)``. Public.
        number: Round, from 1.
        clip_norm: The round's clip norm, where it adapts; None for the config's.

    Returns:
        int32 of shape ``(trained_size,)`` with L2 norm at most ``2**lattice.bits``; zeros where the
        device has too little history or its gradient is not finite. Where the clip norm adapts, one
        entry more: the device's vote.
    """
    update = _update(host, device, parameters, number)
    if clip_norm is None:
        return host.lattice.contribution(update)
    lattice = Lattice(clip_norm, host.lattice.bits)
    own = np.array([vote(update, clip_norm)], dtype=np.int32)
    return np.concatenate((lattice.contribution(update), own))


def shard_contribution(
    host: Host,
    devices: Sequence[int] | npt.NDArray[np.int64],
    parameters: npt.NDArray[np.float32],
    number: int,
    clip_norm: float | None = None,
) -> npt.NDArray[np.int64]:
    """Return the sum of the contributions of ``devices``, int64. Secret."""
    if host.engine is not None:
        host.check_hosted(np.array(devices, np.int64))
        return host.engine.train(np.array(devices, np.int64), parameters, number, clip_norm)
    total = np.zeros(host.model.layout.trained_size + (clip_norm is not None), np.int64)
    for device in np.array(devices, np.int64).tolist():
        total += contribution(host, device, parameters, number, clip_norm)
    return total


def round_key(example_key: bytes, number: int) -> int:
    """Return the 32-bit key of the devices' draws in a round; see ``Draws``."""
    return int.from_bytes(derive_key(example_key, "examples", number)[:4], "little")


def _update(
    host: Host, device: int, parameters: npt.NDArray[np.float32], number: int
) -> npt.NDArray[np.float64]:
    """Return what a device would change, local minus global, not yet bounded. Secret."""
    draws = Draws.of(round_key(host.example_key, number), device)
    history = host.history(device)
    record = host.config.dp.record
    if record is not None and record.enabled:
        # torch and opacus load here alone: a device without the record level does not need them.
        from homebody_client.record_level import local_update  # noqa: PLC0415

        ledger = None if host.records is None else host.records.open(device)
        try:
            update = local_update(
                host, history, parameters, number=number, device=device, ledger=ledger
            )
        except BudgetExhaustedError:  # its records have spent what they may: it adds nothing
            return np.zeros(host.model.layout.trained_size)
        if host.records is not None and ledger is not None:
            host.records.anchor(device, ledger)
        return update
    return -host.model.local_gradient(parameters, history, draws).vector
