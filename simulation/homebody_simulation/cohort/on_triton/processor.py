"""Where Triton runs: on a CUDA device, or in its interpreter, which checks programs without one."""

from typing import Final

import torch

from homebody_privacy.errors import MissingExtraError, UsageError

_INTERPRETED: Final = (
    2  # programs; one after another, so few, but enough that one takes two devices
)

_SIXTEEN: Final = 16

FUSED: Final = True
"""Whether a compiled program may fuse a product and a sum: they then round once."""


def processor() -> torch.device:
    """Return the CUDA device, or the CPU where Triton interprets its programs.

    Raises:
        MissingExtraError: If triton is not installed.
        UsageError: If there is no CUDA device and the interpreter is off.
    """
    if is_interpreted():
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UsageError(
            "--engine triton needs a CUDA device, and there is none",
            fix="leave --engine out, or ask for numba",
        )
    return torch.device("cuda", torch.cuda.current_device())


def is_interpreted() -> bool:
    """Tell whether Triton interprets programs (``TRITON_INTERPRET=1``) or compiles them.

    Raises:
        MissingExtraError: If triton is not installed.
    """
    try:
        import triton  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "--engine triton needs triton", fix="pip install 'homebody[gpu]'"
        ) from error
    return bool(triton.knobs.runtime.interpret)


def program_count(where: torch.device, each: int) -> int:
    """Return how many programs keep a processor busy, at ``each`` a multiprocessor."""
    if where.type != "cuda":
        return _INTERPRETED
    return each * int(torch.cuda.get_device_properties(where).multi_processor_count)


def power_of_two(least: int) -> int:
    """Return the least power of two that is at least ``least``, which is at least 1."""
    return 1 << (least - 1).bit_length()


def in_sixteens(length: int) -> int:
    """Return the next multiple of sixteen: what Triton asks of an address to load vectors."""
    return -(-length // _SIXTEEN) * _SIXTEEN
