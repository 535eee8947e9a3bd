"""Keep the state of correlated noise over a crash: sealed, synced before the release it belongs to.

The buffers of DP-FTRL are noise that later sums will carry: who knows them subtracts it. So they
are encrypted (AES-256-GCM, https://csrc.nist.gov/pubs/sp/800/38/d/final) under a key made of the
run's own, with run and round bound as associated data: a state cannot stand for another round's.

The state after round t is on disk before round t's model is, and may be before its replies came:
noise is drawn one round ahead. So three states are kept: a round that was cut short is drawn again
from the one before it, with the same key, and gets the same noise; noise is never drawn afresh for
a sum, nor used for two sums that are released.
"""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError

_NONCE_BYTES: Final = 12
_KEPT: Final = 3


@dataclass(frozen=True, slots=True)
class NoiseVault:
    """The sealed states of one run.

    Attributes:
        folder: Where they are kept.
        run: Name of the run; bound into each state.
        key: 32 bytes for this use alone. Secret; not shown by ``repr``.
    """

    folder: Path
    run: str
    key: bytes = field(repr=False)

    def keep(self, number: int, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Seal the state after a round, on disk when the call returns; older ones but two go.

        Args:
            number: Round, from 1.
            state: What the mechanism returned. Secret.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        plain = io.BytesIO()
        np.savez(plain, allow_pickle=False, **state)
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self.key).encrypt(nonce, plain.getvalue(), self._context(number))
        write_durably(self._file(number), nonce + sealed, mode=0o600)
        for old in self.folder.glob("*.sealed"):
            if int(old.stem) <= number - _KEPT:
                old.unlink()

    def recall(self, number: int) -> dict[str, npt.NDArray[Any]]:
        """Return the state after a round. Secret.

        Raises:
            IntegrityError: If it is missing or not what was sealed: the run cannot go on, for
                noise that starts anew would no longer hide what earlier rounds released.
        """
        fix = "start a new run; what this one charged stays charged"
        try:
            stored = self._file(number).read_bytes()
        except OSError as error:
            raise IntegrityError(
                f"{self._file(number)}: the noise of round {number} is missing", fix=fix
            ) from error
        nonce, sealed = stored[:_NONCE_BYTES], stored[_NONCE_BYTES:]
        try:
            plain = AESGCM(self.key).decrypt(nonce, sealed, self._context(number))
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(
                f"{self._file(number)}: the noise of round {number} is not what was sealed", fix=fix
            ) from error
        with np.load(io.BytesIO(plain), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}.sealed"

    def _context(self, number: int) -> bytes:
        return f"homebody/noise-state/v1\0{self.run}\0{number}".encode()
