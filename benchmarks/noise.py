"""How long the noise of one release takes: the lattice's CSPRNG beside numpy's float generator.

    python benchmarks/noise.py

Prints seconds for 250,000 coordinates (best of 7) and the ratio, on one core.
"""

import json
import time
from collections.abc import Callable

import numpy as np

from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream, fresh_key

_COORDINATES = 250_000
_TAU = 65_536.0


def best(work: Callable[[], object], repeats: int = 7) -> float:
    """Return the least seconds of some repeats."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> None:
    """Measure and print one JSON object."""
    stream = NoiseStream(fresh_key())
    floats = np.random.default_rng()
    ours = best(lambda: rounded_gaussian(_COORDINATES, _TAU, stream))
    numpy = best(lambda: floats.normal(0.0, _TAU, _COORDINATES))
    result = {
        "coordinates": _COORDINATES,
        "lattice_noise_s": round(ours, 4),
        "numpy_float_s": round(numpy, 4),
        "ratio": round(ours / numpy, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
