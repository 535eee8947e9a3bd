"""The refusal of a bundle, which names the step of the verification that failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STEPS: Final = (
    "size and type",
    "signature",
    "JSON",
    "schema",
    "serial",
    "expiry",
    "files",
    "tensors",
    "items",
    "values",
    "golden lists",
)
"""What is verified, in order; steps count from 1."""


class BundleError(ValueError):
    """A bundle that must not be used.

    Attributes:
        step: Step of the verification that failed, from 1.
    """

    def __init__(self, step: int, reason: str) -> None:
        """Say which step failed and why."""
        super().__init__(f"bundle refused at step {step} ({STEPS[step - 1]}): {reason}")
        self.step = step


@contextmanager
def verifying(step: int) -> Iterator[None]:
    """Turn what goes wrong inside into the refusal of one step."""
    try:
        yield
    except OSError as error:
        raise BundleError(step, f"{error.strerror}: {error.filename}") from error
    except ValueError as error:
        raise BundleError(step, str(error)) from error
