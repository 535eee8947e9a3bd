"""The released sums of one-shot statistics on disk, each before the ledger says that it was made.

``statistics.npz`` holds, by name of the statistic, the released entries, and for a statistic that
was sent something to compute with also that (``<name>.sent``): a run that goes on after a crash
sends the same bytes again. It is written anew with each release, atomically, and is public.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_server.run_folder import RunFolder

Array = npt.NDArray[np.float32]

_SENT = ".sent"


@dataclass(frozen=True, slots=True)
class StatisticFiles:
    """Reads and writes what statistics leave behind in a run's folder.

    Attributes:
        folder: The run.
    """

    folder: RunFolder

    def released(self) -> dict[str, Array]:
        """Return the released sums by name; none before the first release. Public.

        Raises:
            IntegrityError: If the file cannot be read.
        """
        arrays = self._load()
        return {name: array for name, array in arrays.items() if not name.endswith(_SENT)}

    def sent(self, name: str) -> Array | None:
        """Return what devices were sent to compute a statistic with; None if it is not yet made.

        Raises:
            IntegrityError: As ``released``.
        """
        return self._load().get(name + _SENT)

    def keep(self, *, released: Mapping[str, Array], sent: Mapping[str, Array]) -> None:
        """Add to what is kept, in one step; on disk when the call returns.

        Args:
            released: Sums with noise, by name.
            sent: What devices are sent for a later statistic, by its name.
        """
        arrays = {**self._load(), **released, **{n + _SENT: array for n, array in sent.items()}}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_durably(self.folder.statistics_file, content.getvalue())

    def features(self) -> Array:
        """Return the public content of the items, of shape ``(items, f)``.

        Raises:
            InvalidFileError: If it is missing or is no such array.
        """
        file = self.folder.features_file
        try:
            features: Array = np.load(file, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            reason = type(error).__name__
            raise InvalidFileError(
                f"{file} cannot be read ({reason})", fix="start a new run"
            ) from error
        if features.dtype != np.float32 or features.ndim != 2:  # noqa: PLR2004 a matrix
            raise InvalidFileError(f"{file} is no matrix of float32", fix="start a new run")
        return features

    def start(self) -> Array | None:
        """Return the model that the statistics led to, flat; None if it is not yet made.

        Raises:
            IntegrityError: If the file cannot be read.
        """
        file = self.folder.start_file
        try:
            start: Array = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError) as error:
            raise IntegrityError(f"{file} cannot be read ({type(error).__name__})") from error
        return start

    def keep_start(self, start: Array) -> None:
        """Keep the model that the statistics led to; on disk when the call returns."""
        content = io.BytesIO()
        np.save(content, start, allow_pickle=False)
        write_durably(self.folder.start_file, content.getvalue())

    def _load(self) -> dict[str, Array]:
        file = self.folder.statistics_file
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except FileNotFoundError:
            return {}
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise IntegrityError(f"{file} cannot be read ({type(error).__name__})") from error
