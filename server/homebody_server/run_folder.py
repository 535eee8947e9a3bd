"""The files of one run, and what a round leaves behind so that the next can go on.

``runs/<name>/`` holds plain files: ``run.json`` (what was asked and how it ended), ``privacy.toml``
(the config in force), ``ledger.jsonl`` (what was charged) and ``checkpoint`` (how far it had come,
signed), ``state.npz`` (the model after the last
release and the optimizer's state, all made of releases), ``run.key`` (the key of coins and noise
while the run is open; mode 0600, destroyed at its end), and for correlated noise ``noise/``, its
sealed state (``noise_state``), destroyed with the key. Where nodes are asked in sealed sessions,
``session`` holds the serial of the last one, and ``aggregator/`` (``secure.home``) and
``replay.sqlite`` go with the key, too. A run with one-shot statistics also has ``features.npy``
(public content of the items), ``statistics.npz`` (``statistic_files``: the released sums) and
``start.npy`` (the model they lead to, before the first round).
"""

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from homebody_models.recommender import model_digest
from homebody_privacy.checkpoint import CHECKPOINT_NAME
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError


@dataclass(frozen=True, slots=True)
class TrainState:
    """Where a run stands after a release. Public: made of releases alone.

    Attributes:
        next_round: Round to run next, from 1.
        parameters: Flat float32 model of shape ``(size,)``.
        optimizer: Arrays of the server optimizer; empty before the first round.
        clip_norm: Clip norm of the next round, where it adapts; None for the config's.
        unclipped: Released share of the last round's updates within the clip norm, where it adapts.
        void: Why the last round ended without a release, as a code; None if it was released.
    """

    next_round: int
    parameters: npt.NDArray[np.float32] = field(repr=False)
    optimizer: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    clip_norm: float | None = None
    unclipped: float | None = None
    void: str | None = None

    def digest(self) -> str:
        """Return the SHA-256 of the model, as hex: equal models have equal digests."""
        return model_digest(self.parameters)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Reads and writes the files of one run.

    Attributes:
        path: The folder; its name is the run's name.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    @property
    def config_file(self) -> Path:
        """The privacy config in force."""
        return self.path / "privacy.toml"

    @property
    def ledger_file(self) -> Path:
        """The write-ahead ledger of the run."""
        return self.path / "ledger.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        """The ledger's last signed checkpoint."""
        return self.path / CHECKPOINT_NAME

    @property
    def egress_file(self) -> Path:
        """What left a device that took part, in words."""
        return self.path / "egress.jsonl"

    @property
    def noise_folder(self) -> Path:
        """Sealed states of correlated noise, while the run is open. Secret."""
        return self.path / "noise"

    @property
    def session_file(self) -> Path:
        """Serial of the last sealed session."""
        return self.path / "session"

    @property
    def replay_file(self) -> Path:
        """Which sealed replies were taken, as keyed hashes, while the run is open."""
        return self.path / "replay.sqlite"

    @property
    def aggregator_folder(self) -> Path:
        """The server app's identity toward simulated nodes, while the run is open. Secret."""
        return self.path / "aggregator"

    @property
    def features_file(self) -> Path:
        """Public content of the items, float32 of shape ``(items, f)``: for statistics alone."""
        return self.path / "features.npy"

    @property
    def statistics_file(self) -> Path:
        """The released sums of one-shot statistics. Public."""
        return self.path / "statistics.npz"

    @property
    def start_file(self) -> Path:
        """The model that statistics led to, flat float32: there once it is made. Public."""
        return self.path / "start.npy"

    @property
    def devices_folder(self) -> Path:
        """The simulated devices' own records, while the run is open. Secret."""
        return self.path / "devices"

    @property
    def bundle(self) -> Path:
        """The signed model bundle."""
        return self.path / "model.hbm"

    @property
    def catalog(self) -> Path:
        """The signed catalog: what a device shows of the items."""
        return self.path / "catalog"

    @property
    def _key_file(self) -> Path:
        return self.path / "run.key"

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the object in ``name``.

        Raises:
            InvalidFileError: If there is no such file or it is not a JSON object.
        """
        file = self.path / name
        try:
            value = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            reason = type(error).__name__
            raise InvalidFileError(
                f"{file} cannot be read ({reason})", fix="name an existing run, or start a new one"
            ) from error
        if not isinstance(value, dict):
            raise InvalidFileError(f"{file} must hold one JSON object")
        return value

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write ``value`` to ``name``, atomically; NaN and infinity are refused."""
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        write_durably(self.path / name, f"{text}\n".encode())

    def write_key(self, key: bytes) -> None:
        """Keep the run's key, readable by its owner alone, until ``destroy_key``."""
        write_durably(self._key_file, key, mode=0o600)

    def read_key(self) -> bytes:
        """Return the run's key. Secret.

        Raises:
            IntegrityError: If the run has no key: it has ended, or the file was removed.
        """
        try:
            return self._key_file.read_bytes()
        except FileNotFoundError as error:
            raise IntegrityError(
                f"run {self.name!r} has no key: it has ended, or run.key was removed",
                fix="start a new run: noise without its key would be noise drawn twice",
            ) from error

    def has_key(self) -> bool:
        """Tell whether the run is open: an ended one has no key."""
        return self._key_file.exists()

    def destroy_key(self) -> None:
        """Remove the key, and what it sealed, once nothing needs it."""
        with contextlib.suppress(FileNotFoundError):
            self._key_file.unlink()
        for folder in (self.noise_folder, self.devices_folder, self.aggregator_folder):
            shutil.rmtree(folder, ignore_errors=True)
        for file in self.path.glob(f"{self.replay_file.name}*"):
            file.unlink()

    def kept(self) -> list[str]:
        """Return the names of what a run keeps while it is open and is still there."""
        secret = (self._key_file, self.noise_folder, self.devices_folder, self.aggregator_folder)
        return sorted(
            [
                *(path.name for path in secret if path.exists()),
                *(path.name for path in self.path.glob(f"{self.replay_file.name}*")),
            ]
        )

    def save_state(self, state: TrainState) -> None:
        """Keep ``state``, atomically."""
        arrays = {f"optimizer.{name}": array for name, array in state.optimizer.items()}
        for name in ("clip_norm", "unclipped"):
            value = getattr(state, name)
            if value is not None:
                arrays[name] = np.array(value, np.float64)
        whole = io.BytesIO()
        np.savez(
            whole,
            next_round=np.int64(state.next_round),
            parameters=state.parameters,
            void=np.str_(state.void or ""),
            allow_pickle=False,
            **arrays,
        )
        write_durably(self.path / "state.npz", whole.getvalue())

    def load_state(self) -> TrainState:
        """Return the last state kept.

        Raises:
            IntegrityError: If there is none or it cannot be read.
        """
        file = self.path / "state.npz"
        prefix = "optimizer."
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
                optimizer = {
                    name.removeprefix(prefix): arrays[name]
                    for name in arrays.files
                    if name.startswith(prefix)
                }
                return TrainState(
                    int(arrays["next_round"]),
                    arrays["parameters"],
                    optimizer,
                    clip_norm=_optional(arrays, "clip_norm"),
                    unclipped=_optional(arrays, "unclipped"),
                    void=_void_reason(arrays["void"]),
                )
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise IntegrityError(f"{file} cannot be read ({type(error).__name__})") from error


def _void_reason(stored: npt.NDArray[Any]) -> str | None:
    if stored.dtype == np.bool_:  # of before there were reasons, when there was one
        return "report-goal" if stored else None
    return str(stored) or None


def _optional(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> float | None:
    return float(arrays[name]) if name in arrays else None
