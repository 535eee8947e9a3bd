"""Deaths of a device: raised before, after or in the middle of a durable step."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from homebody_client.consent import receipt_file
from homebody_client.store import Store
from homebody_client.vault import Vault

DURABLE: Final = (
    (Vault, "change"),
    (receipt_file.ReceiptFile, "append"),
    (receipt_file.ReceiptFile, "set_aside"),
    (Store, "set_wraps"),
    (Store, "drop_feature"),
    (Store, "drop_derived"),
    (Store, "dequeue"),
    (Store, "delete"),
    (Store, "clear"),
)


class Killed(BaseException):
    """The process died here."""


@dataclass
class Fault:
    """Kills at a moment of the durable steps to come; None never does."""

    moment: int | None = None
    passed: int = 0

    def pass_moment(self) -> None:
        """Count one moment, and die if it is the one."""
        self.passed += 1
        if self.moment is not None and self.passed >= self.moment:
            raise Killed


@contextmanager
def faults() -> Iterator[Fault]:
    """Put a possible death before and after every durable step, and inside an append."""
    fault = Fault()

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the step it stands for
            fault.pass_moment()
            result = real(*args, **kwargs)
            fault.pass_moment()
            return result

        return step

    with mock.patch.object(os, "write", _torn_write(fault)):
        patches = [
            mock.patch.object(kind, name, guarded(getattr(kind, name))) for kind, name in DURABLE
        ]
        for patch in patches:
            patch.start()
        try:
            yield fault
        finally:
            for patch in patches:
                patch.stop()


def _torn_write(fault: Fault) -> Callable[[int, memoryview], int]:
    real = os.write

    def write(descriptor: int, content: memoryview) -> int:
        if fault.moment is not None and fault.passed + 1 >= fault.moment:
            real(descriptor, content[: len(content) // 2])
        fault.pass_moment()
        return real(descriptor, content)

    return write
