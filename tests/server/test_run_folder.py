"""Files of a run: whole or absent, the key for its owner's eyes, damage told from absence."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from homebody_models.recommender import model_digest
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_server.run_folder import RunFolder, TrainState


def state(number: int = 3) -> TrainState:
    """Return a state with an optimizer's arrays."""
    return TrainState(
        number,
        np.arange(5, dtype=np.float32),
        {"0.step": np.array(2.0, np.float32), "0.exp_avg": np.ones((2, 2), np.float32)},
    )


def test_a_state_reads_back_as_it_was_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state(state())
    again = folder.load_state()
    assert again.next_round == 3
    assert again.digest() == state().digest()
    assert set(again.optimizer) == set(state().optimizer)
    for name, array in again.optimizer.items():
        assert array.shape == state().optimizer[name].shape
        assert (array == state().optimizer[name]).all()


def test_saving_leaves_one_file_and_no_scraps(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for number in range(1, 4):
        folder.save_state(state(number))
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.json"
    write_durably(file, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(file, b"new")
    assert file.read_bytes() == b"old"


def test_the_key_is_for_its_owner_alone_and_can_be_destroyed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert not folder.has_key()
    folder.write_key(bytes(range(32)))
    assert stat.S_IMODE((tmp_path / "run.key").stat().st_mode) == 0o600
    assert folder.read_key() == bytes(range(32))
    folder.destroy_key()
    folder.destroy_key()
    assert not folder.has_key()
    with pytest.raises(IntegrityError, match=r"run\.key"):
        folder.read_key()


def test_a_missing_state_is_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"state\.npz"):
        RunFolder(tmp_path).load_state()


@pytest.mark.parametrize(("stored", "reason"), [(True, "report-goal"), (False, None)])
def test_a_state_of_before_there_were_reasons_is_read(
    tmp_path: Path, reason: str | None, *, stored: bool
) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state(state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        kept = dict(arrays)
    np.savez(tmp_path / "state.npz", **(kept | {"void": np.bool_(stored)}), allow_pickle=False)
    assert folder.load_state().void == reason


def test_a_state_says_why_its_round_was_void(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state(replace(state(), void="too-few-vectors"))
    assert folder.load_state().void == "too-few-vectors"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_state_cut_short_is_an_integrity_error(tmp_path: Path, share: float) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state(state())
    file = folder.path / "state.npz"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(IntegrityError, match=r"state\.npz"):
        folder.load_state()


def test_a_flipped_bit_of_the_model_is_an_integrity_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state(state())
    file = tmp_path / "state.npz"
    content = bytearray(file.read_bytes())
    place = content.index(state().parameters.tobytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"state\.npz"):
        folder.load_state()


def test_pickles_are_never_read(tmp_path: Path) -> None:
    with (tmp_path / "state.npz").open("wb") as file:
        np.savez(file, next_round=np.int64(1), parameters=np.array([{}], dtype=object))
    with pytest.raises(IntegrityError, match="cannot be read"):
        RunFolder(tmp_path).load_state()


def test_objects_read_back_as_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json("run.json", {"a": [1, 2.5, None, "ä"]})
    assert folder.read_json("run.json") == {"a": [1, 2.5, None, "ä"]}


@pytest.mark.parametrize("text", ["", "[1]", "{", "3"])
def test_a_file_that_holds_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InvalidFileError, match=r"run\.json"):
        RunFolder(tmp_path).read_json("run.json")


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"run\.json"):
        RunFolder(tmp_path).read_json("run.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_no_json_has_are_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        RunFolder(tmp_path).write_json("x.json", {"a": value})
    assert not (tmp_path / "x.json").exists()


def test_equal_models_have_equal_digests_and_others_do_not() -> None:
    model = np.arange(4, dtype=np.float32)
    assert model_digest(model) == model_digest(model.copy())
    assert model_digest(model) != model_digest(np.nextafter(model, np.float32(9)))


def test_names_of_the_files_are_those_of_the_docs(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "autumn")
    names = [folder.name, folder.config_file.name, folder.ledger_file.name, folder.bundle.name]
    assert names == ["autumn", "privacy.toml", "ledger.jsonl", "model.hbm"]
