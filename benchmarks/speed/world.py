"""The workload every system of the speed benchmark trains: the same data, start, cohort and draws.

    python benchmarks/speed/world.py

Made from seeds alone, so that anyone can make it again: histories as long and as skewed as those of
MovieLens 1M, one item table, one user vector a device. The command prints the facts the world must
have, and says whether this machine made the same. It needs numpy alone: other systems run it too.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

DEVICES: Final = 6_040
"""Devices with a history of their own; a larger population repeats these histories."""

ITEMS: Final = 3_706
DIM: Final = 64
BATCH: Final = 32
NEGATIVES: Final = 4
CLIP_NORM: Final = 0.5
NOISE_MULTIPLIER: Final = 0.6

_SHORTEST, _LONGEST, _MEAN = 20, 2_000, 165.6
_BLOCK = 512  # devices whose items are ordered at once
_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Learning rates of the local epoch, of the item rows and of the user vector."""

    rows: float
    user: float


TIMED: Final = Rates(rows=1.0, user=0.3)
CHECKED: Final = Rates(rows=20.0, user=2.0)
"""Rates large enough that rows chosen twice in a batch, or again in a later one, show."""


@dataclass(frozen=True, slots=True)
class World:
    """A population and what it starts from.

    Attributes:
        ptr: int64 of shape ``(devices + 1,)``; device u owns ``items[ptr[u]:ptr[u + 1]]``.
        items: int32 of shape ``(events,)``, in the order of training.
        table: float32 of shape ``(items, dim)``: the shared item table of round 0.
        users: float32 of shape ``(devices, dim)``: each device's own vector before round 0.
    """

    ptr: npt.NDArray[np.int64] = field(repr=False)
    items: npt.NDArray[np.int32] = field(repr=False)
    table: npt.NDArray[np.float32] = field(repr=False)
    users: npt.NDArray[np.float32] = field(repr=False)

    @property
    def devices(self) -> int:
        """Number of devices."""
        return len(self.users)

    def history(self, device: int) -> npt.NDArray[np.int32]:
        """Return the items of a device."""
        return self.items[self.ptr[device] : self.ptr[device + 1]]


def make_world(devices: int = DEVICES) -> World:
    """Return the world of a population; seconds, and for a million devices about 1 GB.

    Args:
        devices: Size of the population, at least 1. Device u has the history of device
            ``u % DEVICES``, and a user vector of its own.
    """
    if devices < 1:
        raise ValueError(f"devices must be at least 1, got {devices}")
    ptr, items = _histories()
    lengths = np.resize(np.diff(ptr), devices)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    rng = np.random.default_rng(1)
    table = rng.normal(0.0, 0.1, (ITEMS, DIM)).astype(np.float32)
    users = np.empty((devices, DIM), np.float32)
    for start in range(0, devices, 1 << 16):  # the same draws as at once, in less memory
        block = users[start : start + (1 << 16)]
        block[:] = rng.normal(0.0, 0.1, block.shape)
    return World(starts, np.resize(items, starts[-1]), table, users)


def cohort(world: World, number: int, size: int) -> npt.NDArray[np.int64]:
    """Return the devices of round ``number``, from 0: a fixed number, for comparison only."""
    return np.random.default_rng([7, number]).choice(world.devices, size, replace=False)


def round_key(number: int, seed: int = 0) -> int:
    """Return the 32-bit key of the draws of round ``number``, from 0."""
    h = (seed * 0x9E3779B1 + number * 0x85EBCA6B + 0x27D4EB2F) & _WORD
    h ^= h >> 16
    h = h * 0x7FEB352D & _WORD
    return h ^ (h >> 15)


def device_keys(key: int, devices: npt.NDArray[np.integer]) -> npt.NDArray[np.uint32]:
    """Return each device's key in the round of ``key``."""
    h = np.uint32(key) ^ (np.asarray(devices).astype(np.uint32) * np.uint32(0x9E3779B1))
    h ^= h >> np.uint32(16)
    keys: npt.NDArray[np.uint32] = h * np.uint32(0x846CA68B)
    return keys


def negatives(device_key: int | np.uint32, positions: int, start: int = 0) -> npt.NDArray[np.int64]:
    """Return the negatives of some positions of a device: shape ``(positions, NEGATIVES)``.

    Args:
        device_key: The device's key in the round.
        positions: How many positions of the history.
        start: The first of them.
    """
    first = NEGATIVES * start
    index = np.arange(first, first + NEGATIVES * positions).astype(np.uint32)
    h = np.full(len(index), device_key, np.uint32) + index * np.uint32(0x9E3779B1)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)
    chosen = (h.astype(np.uint64) * np.uint64(ITEMS)) >> np.uint64(32)
    return chosen.astype(np.int64).reshape(positions, NEGATIVES)


def facts(world: World) -> dict[str, Any]:
    """Return what tells one world from another; see ``KNOWN``."""
    lengths = np.diff(world.ptr)
    counts = np.sort(np.bincount(world.items, minlength=ITEMS))[::-1]
    key = round_key(0)
    own = int(device_keys(key, np.array([0]))[0])
    return {
        "events": len(world.items),
        "shortest, mean, median, longest history": (
            int(lengths.min()),
            round(float(lengths.mean()), 1),
            int(np.median(lengths)),
            int(lengths.max()),
        ),
        "mean squared length": round(float((lengths.astype(np.float64) ** 2).mean())),
        "share of events in a tenth of the items": round(
            float(counts[: ITEMS // 10].sum() / counts.sum()), 2
        ),
        "ptr": world.ptr[:4].tolist(),
        "items": world.items[:6].tolist(),
        "key of round 0": key,
        "negatives of device 0": negatives(own, 2).tolist(),
        "cohort of round 0": cohort(world, 0, 500)[:5].tolist(),
    }


KNOWN: Final[dict[str, Any]] = {
    "events": 1_000_199,
    "shortest, mean, median, longest history": (20, 165.6, 94, 2_000),
    "mean squared length": 72_799,
    "share of events in a tenth of the items": 0.38,
    "ptr": [0, 110, 194, 382],
    "items": [1313, 2618, 512, 3114, 2720, 501],
    "key of round 0": 3_191_964_574,
    "negatives of device 0": [[2855, 2510, 626, 688], [473, 1379, 194, 3633]],
    "cohort of round 0": [3392, 3396, 610, 2704, 515],
}
"""The facts of the world of ``DEVICES`` devices."""

DIGESTS: Final = ("3c81e67e", "6322ac9c")
"""How the SHA-256 of its items and of its ``ptr`` begin; another BLAS may swap neighbours."""


def differences(world: World) -> dict[str, tuple[Any, Any]]:
    """Return the facts that are not as known: what was found and what should have been."""
    found = facts(world)
    return {name: (found[name], known) for name, known in KNOWN.items() if found[name] != known}


def digests(world: World) -> tuple[str, str]:
    """Return how the SHA-256 of items and of ``ptr`` begin."""
    arrays = (world.items.astype("<i4"), world.ptr.astype("<i8"))
    items, ptr = (hashlib.sha256(array.tobytes()).hexdigest()[:8] for array in arrays)
    return items, ptr


def _histories() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return ``ptr`` and ``items`` of the devices with a history of their own."""
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(np.log(96), 1.05, DEVICES)), _SHORTEST, _LONGEST)
    for _ in range(30):  # the bounds move the mean
        lengths = np.clip(lengths * _MEAN / lengths.mean(), _SHORTEST, _LONGEST)
    counts = np.round(lengths).astype(np.int64)
    popularity = rng.permutation(-1.05 * np.log(np.arange(1, ITEMS + 1) + 25))
    tastes = rng.normal(size=(DEVICES, 8)).astype(np.float32)
    kinds = rng.normal(size=(ITEMS, 8)).astype(np.float32)
    chosen = []
    for start in range(0, DEVICES, _BLOCK):
        block = tastes[start : start + _BLOCK]
        score = 0.55 * (block @ kinds.T) + popularity + rng.gumbel(size=(len(block), ITEMS))
        order = np.argsort(-score, axis=1)
        for row, n in zip(order, counts[start : start + _BLOCK], strict=True):
            chosen.append(rng.permutation(row[:n].astype(np.int32)))
    return np.concatenate(([0], np.cumsum(counts))), np.concatenate(chosen)


def main() -> None:
    """Print the facts, and how they differ from those known."""
    world = make_world()
    for name, found in facts(world).items():
        print(f"{name}: {found}")
    print(f"SHA-256 of items and ptr: {digests(world)}, known {DIGESTS}")
    print(f"differs from what is known: {differences(world) or 'nothing'}")


if __name__ == "__main__":
    main()
