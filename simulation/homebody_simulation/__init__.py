"""The laptop: data sets, populations, runtimes and the report of a simulated run."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homebody_simulation.datasets import load_dataset
    from homebody_simulation.sweep_run import sweep

__all__ = ["load_dataset", "sweep"]

_WHERE = {
    "load_dataset": "homebody_simulation.datasets",
    "sweep": "homebody_simulation.sweep_run",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module, at its first use.

    Raises:
        AttributeError: If the name is not public.
    """
    if name not in _WHERE:
        raise AttributeError(f"module 'homebody_simulation' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
