"""The vault of correlated noise: sealed for one run and round, whole or refused, two kept."""

import io
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.errors import IntegrityError
from homebody_server.noise_state import NoiseVault

KEY = bytes(range(32))
State = dict[str, npt.NDArray[np.int64]]


def state(seed: int = 0, dim: int = 50) -> State:
    """Return buffers as a mechanism hands them over."""
    rng = np.random.default_rng(seed)
    return {
        "buffers": rng.integers(-(2**45), 2**45, (2, dim)),
        "steps": np.array([seed], np.int64),
    }


def vault(folder: Path, run: str = "autumn", key: bytes = KEY) -> NoiseVault:
    """Return a vault in a folder."""
    return NoiseVault(folder / "noise", run, key)


def names(folder: Path) -> set[str]:
    """Return the names of the files of a vault."""
    return {file.name for file in (folder / "noise").iterdir()}


def test_a_state_comes_back_as_it_was_sealed(tmp_path: Path) -> None:
    kept = state(1)
    vault(tmp_path).keep(1, kept)
    found = vault(tmp_path).recall(1)
    for name, array in kept.items():
        assert found[name].dtype == np.int64
        assert found[name].tolist() == array.tolist()


def test_the_last_three_states_are_kept_and_older_ones_go(tmp_path: Path) -> None:
    for number in range(1, 5):
        vault(tmp_path).keep(number, state(number))
    assert names(tmp_path) == {"2.sealed", "3.sealed", "4.sealed"}
    assert vault(tmp_path).recall(3)["steps"].tolist() == [3]
    vault(tmp_path).keep(4, state(4))  # drawn again after a crash
    assert names(tmp_path) == {"2.sealed", "3.sealed", "4.sealed"}


def test_the_states_are_for_their_owner_alone(tmp_path: Path) -> None:
    vault(tmp_path).keep(1, state())
    assert stat.S_IMODE((tmp_path / "noise").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "noise" / "1.sealed").stat().st_mode) == 0o600


def test_a_vault_shows_no_key() -> None:
    assert KEY.hex() not in repr(vault(Path()))
    assert str(KEY) not in repr(vault(Path()))


def clear_forms(kept: State) -> list[bytes]:
    """Return the bytes a state could lie on disk as, if it were not sealed."""
    plain = io.BytesIO()
    np.savez(plain, allow_pickle=False, **kept)
    rows = kept["buffers"]
    return [*(rows.astype(kind).tobytes()[:16] for kind in ("<i8", ">i8", "<f8")), b"buffers"]


def test_pf_28_no_piece_of_the_buffers_is_in_the_file(tmp_path: Path) -> None:
    kept = state(2)
    vault(tmp_path).keep(1, kept)
    sealed = (tmp_path / "noise" / "1.sealed").read_bytes()
    assert [form for form in clear_forms(kept) if form in sealed] == []
    plain = io.BytesIO()
    np.savez(plain, allow_pickle=False, **kept)
    assert any(form in plain.getvalue() for form in clear_forms(kept))  # the scan sees one in clear


def test_one_state_sealed_twice_is_two_texts_of_one_length(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        vault(tmp_path).keep(1, state(3))
        texts.append((tmp_path / "noise" / "1.sealed").read_bytes())
    assert len(texts[0]) == len(texts[1])
    same = np.frombuffer(texts[0], np.uint8) == np.frombuffer(texts[1], np.uint8)
    assert same.mean() < 0.05  # chance leaves one byte in 256


def test_pf_03_a_state_that_is_not_there_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="noise of round 1 is missing") as refusal:
        vault(tmp_path).recall(1)
    assert refusal.value.exit_code == 14


@settings(max_examples=60)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_pf_03_a_flipped_bit_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("vault")
    vault(folder).keep(1, state(dim=3))
    file = folder / "noise" / "1.sealed"
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= 1 << bit
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="not what was sealed"):
        vault(folder).recall(1)


@pytest.mark.parametrize("length", [0, 5, 12, 20, -1])
def test_pf_03_a_state_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    vault(tmp_path).keep(1, state())
    file = tmp_path / "noise" / "1.sealed"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(IntegrityError, match="not what was sealed"):
        vault(tmp_path).recall(1)


def test_pf_03_a_state_stands_for_no_other_round_run_or_key(tmp_path: Path) -> None:
    vault(tmp_path).keep(1, state(1))
    vault(tmp_path).keep(2, state(2))
    one, two = (tmp_path / "noise" / f"{number}.sealed" for number in (1, 2))
    for other in (vault(tmp_path, run="winter"), vault(tmp_path, key=bytes(32))):
        with pytest.raises(IntegrityError, match="not what was sealed"):
            other.recall(1)
    two.write_bytes(one.read_bytes())
    with pytest.raises(IntegrityError, match="noise of round 2 is not what was sealed"):
        vault(tmp_path).recall(2)
    assert vault(tmp_path).recall(1)["steps"].tolist() == [1]
