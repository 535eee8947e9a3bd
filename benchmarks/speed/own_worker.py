"""The workload in homebody: a kernel, the lattice and its bound, the noise, the server's step.

The pieces are those of every run: ``Lattice`` and its exact bound, ``GaussianMechanism`` on a
ChaCha20 stream, with several threads drawn ahead as a server does. Only the model's bias is left
out, and the user vector is kept from round to round, as the other systems do.
"""

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
from epoch import clipped, train
from job import Clock, Job, answer, read_job
from trainers import NotAvailableError, Trainer, trainer_of
from world import CLIP_NORM, NOISE_MULTIPLIER, World, cohort, device_keys, round_key

from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.noise_ahead import NoiseAhead

_CHUNK = 20  # devices whose integers are held at a time
_MOST_DIFFERENT = 2.0  # coordinates a device, on the mean, that may differ by one step
_KEY = bytes(32)  # the benchmark's noise protects nobody

Integers = npt.NDArray[np.int64]


def mechanism() -> GaussianMechanism:
    """Return the workload's mechanism on its lattice."""
    return GaussianMechanism(Lattice(CLIP_NORM), NOISE_MULTIPLIER)


def noise_key(number: int) -> bytes:
    """Return the key of a round's noise."""
    return derive_key(_KEY, "benchmark", number)


def one_round(
    world: World,
    table: npt.NDArray[np.float32],
    users: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    number: int,
    trainer: Trainer,
    noise: Callable[[int, int], Integers],
) -> None:
    """Train a cohort; change the table by what is released, and the users' vectors.

    Args:
        world: Whose histories.
        table: Shape ``(items, dim)``, changed in place.
        users: Shape ``(devices, dim)``, changed in place.
        rows: The cohort.
        number: Round, from 0.
        trainer: Trains.
        noise: Returns a round's noise, for its number from 1 and the length of a release.
    """
    lattice = Lattice(CLIP_NORM)
    keys = device_keys(round_key(number), rows)
    total = trainer.train(world, table, users, rows, keys, per_device=False)[0]
    if not lattice.is_within_bound(total, len(rows)):
        raise RuntimeError("the sum is more than so many devices can add")
    total += noise(number + 1, total.size)
    table += (lattice.decode(total) / len(rows)).reshape(table.shape)


def check(job: Job, world: World, trainer: Trainer) -> None:
    """Answer with the sum of round 0, and with how its integers differ from the oracle's."""
    rows = cohort(world, 0, job.cohort)
    keys = device_keys(round_key(0), rows)
    lattice = Lattice(CLIP_NORM)
    before = world.table.astype(np.float64)
    total = np.zeros(before.size, np.int64)
    most, different = 0, 0
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        users = world.users.copy()
        own, each = trainer.train(
            world, world.table, users, rows[part], keys[part], per_device=True
        )
        total += own
        for row, key, found in zip(rows[part].tolist(), keys[part].tolist(), each, strict=True):
            table, user = before.copy(), world.users[row].astype(np.float64)
            train(table, user, world.history(row), key, job.rates)
            wanted = lattice.contribution(clipped(table - before).ravel())
            apart = np.abs(found - wanted)
            most = max(most, int(apart.max()))
            different += int(np.count_nonzero(apart))
            if trainer.keeps_users and not np.allclose(users[row], user, rtol=1e-3, atol=1e-4):
                raise RuntimeError("a user vector differs from the oracle's")
    together = trainer.train(world, world.table, world.users.copy(), rows, keys, per_device=False)[
        0
    ]
    mean = different / len(rows)
    found = {
        "most_steps": most,
        "coordinates_a_device": mean,
        "holds": bool(most <= 1 and mean <= _MOST_DIFFERENT and (together == total).all()),
    }
    sums = lattice.decode(total).reshape(before.shape)
    answer(job, {"lattice": found}, sums, trainer.libraries)


def measure(job: Job, world: World, trainer: Trainer) -> None:
    """Answer with the times of the job's rounds."""
    table, users = np.array(world.table), np.array(world.users)
    drawn = mechanism()

    def inline(number: int, dim: int) -> Integers:
        return drawn.noise(dim, NoiseStream(noise_key(number)))

    with ExitStack() as stack:
        noise = inline
        if job.workers > 1:
            ahead = NoiseAhead(drawn, noise_key, dim=table.size, rounds=job.all_rounds, keep=None)
            noise = stack.enter_context(ahead).noise
        clock = Clock(job.warm)
        clock.start()
        for number in range(job.all_rounds):
            rows = cohort(world, number, job.cohort)
            one_round(world, table, users, rows, number, trainer, noise)
            clock.lap()
    if not np.isfinite(table).all():
        raise RuntimeError("the table is not finite")
    answer(job, clock.found(), libraries=trainer.libraries)


def main() -> None:
    """Run the job."""
    job = read_job()
    try:
        trainer = trainer_of(job.system, job.rates, job.workers)
    except NotAvailableError as error:
        answer(job, {"not_here": str(error)})
        return
    (check if job.check else measure)(job, job.world(), trainer)


if __name__ == "__main__":
    main()
