"""Look for numbers that may not lie on disk, in every form they could lie there."""

from pathlib import Path

import numpy as np
import numpy.typing as npt


def forms(total: npt.NDArray[np.int64], step: float) -> list[bytes]:
    """Return the bytes a sum could lie on disk as."""
    values = total * step
    return [
        *(total.astype(kind).tobytes() for kind in ("<i8", "<i4")),
        *((sign * values).astype(kind).tobytes() for kind in ("<f8", "<f4") for sign in (1, -1)),
        *(
            (sign * values / 12).astype(kind).tobytes()
            for kind in ("<f8", "<f4")
            for sign in (1, -1)
        ),
    ]


def holds(folder: Path, needles: list[bytes]) -> bool:
    """Tell whether a file below ``folder`` holds a piece of one of the needles."""
    files = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    return any(needle[:64] in file or needle[-64:] in file for file in files for needle in needles)
