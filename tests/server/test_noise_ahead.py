"""Noise of the next round is drawn while devices train; what comes out is what it always was."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from homebody_privacy.blt import BltParameters, Participation
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import BltMechanism, GaussianMechanism, Mechanism
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.noise_ahead import NoiseAhead
from homebody_server.noise_state import NoiseVault

DIM, ROUNDS = 40, 6
KEY = bytes(range(32))


def key_of(number: int) -> bytes:
    return derive_key(KEY, "noise", number)


def correlated() -> BltMechanism:
    return BltMechanism(
        Lattice(1.0),
        noise_multiplier=3.0,
        parameters=BltParameters(theta=(0.9,), omega=(0.4,)),
        participation=Participation(rounds=ROUNDS, min_separation=2, max_rounds=3),
        dim=DIM,
    )


def mechanisms() -> list[Mechanism]:
    return [GaussianMechanism(Lattice(1.0), 2.0), correlated()]


@pytest.mark.parametrize("which", [0, 1])
def test_the_noise_is_that_of_drawing_each_round_in_its_turn(which: int) -> None:
    alone, again = mechanisms()[which], mechanisms()[which]
    wanted = [alone.noise(DIM, NoiseStream(key_of(number))) for number in range(1, ROUNDS + 1)]
    with NoiseAhead(again, key_of, dim=DIM, rounds=ROUNDS, keep=None) as ahead:
        ahead.begin(1)
        got = [ahead.noise(number, DIM) for number in range(1, ROUNDS + 1)]
    assert all(one.tobytes() == two.tobytes() for one, two in zip(wanted, got, strict=True))
    assert len({one.tobytes() for one in got}) == ROUNDS  # and no two rounds share it


def test_a_rounds_noise_is_given_once_and_in_turn() -> None:
    with NoiseAhead(correlated(), key_of, dim=DIM, rounds=ROUNDS, keep=None) as ahead:
        ahead.noise(1, DIM)
        with pytest.raises(RuntimeError, match="round by round"):
            ahead.noise(1, DIM)
        with pytest.raises(RuntimeError, match="round by round"):
            ahead.noise(3, DIM)
        with pytest.raises(RuntimeError, match="another size"):
            ahead.noise(2, DIM + 1)
    with NoiseAhead(correlated(), key_of, dim=DIM, rounds=1, keep=None) as short:
        short.noise(1, DIM)
        with pytest.raises(RuntimeError, match="no such round"):
            short.noise(2, DIM)


def test_a_state_is_kept_before_its_noise_is_given_out() -> None:
    kept: list[int] = []

    def keep(number: int, state: Mapping[str, npt.NDArray[Any]]) -> None:
        assert int(state["steps"][0]) == number
        kept.append(number)

    with NoiseAhead(correlated(), key_of, dim=DIM, rounds=ROUNDS, keep=keep) as ahead:
        for number in range(1, ROUNDS + 1):
            ahead.noise(number, DIM)
            assert number in kept
    assert kept == list(range(1, ROUNDS + 1))


def test_after_a_crash_in_any_round_the_same_noise_is_drawn_again(tmp_path: Path) -> None:
    wanted = correlated()
    noise = [wanted.noise(DIM, NoiseStream(key_of(number))) for number in range(1, ROUNDS + 1)]
    for crashed in range(2, ROUNDS + 1):
        vault = NoiseVault(tmp_path / str(crashed), "run", bytes(32))
        with NoiseAhead(correlated(), key_of, dim=DIM, rounds=ROUNDS, keep=vault.keep) as ahead:
            for number in range(1, crashed + 1):
                ahead.noise(number, DIM)  # the last one's model never reaches the disk
        resumed = correlated()
        resumed.restore(vault.recall(crashed - 1))
        with NoiseAhead(resumed, key_of, dim=DIM, rounds=ROUNDS, keep=vault.keep) as ahead:
            for number in range(crashed, ROUNDS + 1):
                again = ahead.noise(number, DIM)
                assert np.array_equal(again, noise[number - 1])


def test_what_fails_in_the_thread_fails_the_round() -> None:
    def broken(_number: int, _state: Mapping[str, npt.NDArray[Any]]) -> None:
        raise OSError("the disk is full")

    with (
        NoiseAhead(correlated(), key_of, dim=DIM, rounds=ROUNDS, keep=broken) as ahead,
        pytest.raises(OSError, match="disk is full"),
    ):
        ahead.noise(1, DIM)
