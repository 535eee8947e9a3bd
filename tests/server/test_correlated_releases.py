"""What an observer sees of a ``blt`` run: white noise of the charged scale, once L is undone."""

import numpy as np
import numpy.typing as npt
from flwr.app import Message
from scipy import stats

from homebody_privacy.stream import NoiseStream, derive_key

from .disk_scan import forms, holds
from .world import STRATEGY, Builder, Work, World, is_training, ledger_of, noises, sent_by, watched

SCALE = 3.0
Matrix = npt.NDArray[np.float64]


def released_noise(make_world: Builder) -> tuple[World, Matrix]:
    """Return a world of eight rounds and the noise of each over the clip norm, ``(8, dim)``."""
    world = make_world(mechanism="blt", rounds=8, noise_multiplier=SCALE)
    return world, np.array([*noises(world, world.mute()).values()])


def whitened(raw: Matrix) -> Matrix:
    """Multiply by L, whose first column the config says."""
    c = STRATEGY.coefficients(len(raw))
    return np.array([c[t::-1] @ raw[: t + 1] for t in range(len(raw))])


def lag_1(rounds: Matrix) -> float:
    """Return the correlation of each round with the next."""
    return float(np.corrcoef(rounds[:-1].reshape(-1), rounds[1:].reshape(-1))[0, 1])


def test_the_whitened_noise_of_a_run_has_the_scale_that_is_charged_and_no_other(
    make_world: Builder,
) -> None:
    world, raw = released_noise(make_world)
    charges = [charge.to_dict()["noise_multiplier"] for charge in ledger_of(world).charges()]
    assert charges == [SCALE]
    white = whitened(raw)
    assert stats.kstest(white.reshape(-1) / SCALE, "norm").pvalue > 1e-3
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(white.reshape(-1) / (SCALE * wrong), "norm").pvalue < 1e-6
    for round_of_noise in white:  # each round by itself, not on average alone
        chance = stats.chi2.cdf(np.sum((round_of_noise / SCALE) ** 2), round_of_noise.size)
        assert 1e-4 < chance < 1 - 1e-4


def test_pf_02_rounds_cancel_each_other_and_are_independent_once_whitened(
    make_world: Builder,
) -> None:
    _, raw = released_noise(make_world)
    rounds, dim = raw.shape
    bound = 5 / np.sqrt((rounds - 1) * dim)
    white = whitened(raw)
    assert lag_1(raw) < -2 * bound  # each round takes back a part of the ones before
    assert abs(lag_1(white)) < bound
    together = np.asarray(np.corrcoef(white))[np.triu_indices(rounds, 1)]
    assert np.abs(together).max() < 5 / np.sqrt(dim)


def test_running_sums_carry_less_noise_than_independent_rounds_would(make_world: Builder) -> None:
    world, raw = released_noise(make_world)
    # Independent noise of the same loss: mu is sqrt(joins) / scale there, sensitivity / SCALE here.
    independent = SCALE * np.sqrt(world.spec.participation.joins) / world.spec.sensitivity
    assert raw.sum(axis=0).var() < 0.5 * len(raw) * independent**2


def buffers_by_round(world: World) -> list[npt.NDArray[np.int64]]:
    """Return the buffers after each round, drawn again from the run's key."""
    size = world.host.model.layout.size
    mechanism, key = world.spec.mechanism_for(size), world.folder.read_key()
    found = []
    for number in range(1, world.spec.rounds + 1):
        mechanism.noise(size, NoiseStream(derive_key(key, "noise", number)))
        found.append(np.asarray(mechanism.state()["buffers"]))
    return found


def needles_of(buffers: list[npt.NDArray[np.int64]]) -> list[bytes]:
    """Return the bytes buffers could lie on disk as."""
    kinds = ("<i8", ">i8", "<f8", "<f4")
    return [row.astype(kind).tobytes() for rows in buffers for row in rows for kind in kinds]


def test_pf_28_neither_buffers_nor_un_noised_sums_are_ever_on_disk_in_clear(
    make_world: Builder,
) -> None:
    world = make_world(mechanism="blt")
    secret = needles_of(buffers_by_round(world))
    sums: list[bytes] = []
    scans = 0

    def see(work: Work, replies: list[Message | None]) -> None:
        nonlocal scans
        if not is_training(work):
            return
        assert not holds(world.folder.path, [*secret, *sums])
        scans += 1
        total = np.asarray(np.sum([*sent_by(replies).values()], axis=0, dtype=np.int64))
        assert total.any()
        sums.extend(forms(total, world.spec.lattice.step))

    world.run(watched(world.honest, see))
    assert scans == world.spec.rounds
    assert not holds(world.folder.path, [*secret, *sums])
    sealed = sorted(file.name for file in world.folder.noise_folder.iterdir())
    assert sealed == ["2.sealed", "3.sealed", "4.sealed"]


def test_the_scan_would_see_buffers_in_clear(make_world: Builder) -> None:
    world = make_world(mechanism="blt")
    buffers = buffers_by_round(world)
    np.savez(world.folder.path / "dump.npz", buffers=buffers[-1])
    assert holds(world.folder.path, needles_of(buffers))


def test_noise_and_the_devices_records_go_with_the_key(make_world: Builder) -> None:
    world = make_world(mechanism="blt")
    world.run()
    assert world.folder.noise_folder.is_dir()
    assert world.folder.devices_folder.is_dir()
    world.folder.destroy_key()
    names = {file.name for file in world.folder.path.iterdir()}
    assert names == {"checkpoint", "ledger.jsonl", "run.json", "state.npz"}
