"""One-shot statistics of many devices at once, where there is something to count them with."""

from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from homebody_client.host import Host
from homebody_client.statistic import Pairs, Statistic
from homebody_models.statistics.contribution import popularity_statistic
from homebody_simulation.cohort.kernel import Counter, Work


def statistic_total(
    host: Host,
    statistic: Statistic,
    devices: npt.NDArray[np.int64],
    threads: int,
    counter: Counter | None = None,
) -> npt.NDArray[np.int64]:
    """Return the sum of what hosted devices add to a statistic, as ``Statistic.total``. Secret.

    Args:
        host: What the devices hold.
        statistic: Which statistic, as the host computes it.
        devices: Who adds to it, shape ``(n,)``.
        threads: Threads to use, at least 1; the result does not depend on it.
        counter: What counts; None for numba where it is installed, else one device after another.

    Raises:
        ValueError: If a device is not hosted here.
    """
    if not all(device in host.devices for device in devices.tolist()):
        raise ValueError("the device is not hosted by this node")
    ptr, items = host.histories.ptr, host.histories.items
    if counter is not None:
        work = Work(
            ptr=ptr,
            items=items,
            rows=devices,
            keys=np.zeros(len(devices), np.uint32),  # nothing is drawn
            lattice=statistic.lattice,
            threads=threads,
        )
        if statistic.of is popularity_statistic:
            return counter.popularity(work, statistic.length)
        if isinstance(statistic.of, Pairs):
            return counter.pairs(work, statistic.of.space, statistic.of.window)
    elif find_spec("numba") is not None:
        # They load a compiler: only where it is used.
        if statistic.of is popularity_statistic:
            from homebody_simulation.cohort.on_numba.counts import (  # noqa: PLC0415
                popularity_total,
            )

            return popularity_total(
                ptr,
                items,
                devices,
                length=statistic.length,
                lattice=statistic.lattice,
                threads=threads,
            )
        if isinstance(statistic.of, Pairs):
            from homebody_simulation.cohort.statistics_pairs import pairs_total  # noqa: PLC0415

            return pairs_total(
                ptr,
                items,
                devices,
                space=statistic.of.space,
                window=statistic.of.window,
                lattice=statistic.lattice,
                threads=threads,
            )
    return statistic.total(map(host.history, devices.tolist()))
