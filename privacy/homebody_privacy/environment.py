"""Every environment variable homebody reads or sets, in one place.

``HOMEBODY_*`` variables are read. The others belong to dependencies and are set by the launcher
before the dependency is imported, so that nothing reports home.
"""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

DATA: Final = "HOMEBODY_DATA"
"""Folder of data sets that may not be redistributed (MovieLens and others)."""

STATE: Final = "HOMEBODY_STATE"
"""Folder of what must outlive every run: the anchors of lifetime budgets. It belongs outside of
backups of the runs it protects."""

FLEET: Final = "HOMEBODY_FLEET"
"""Folder of the fleet or node a process belongs to; set for every process of a fleet, so that none
of them is lost."""

NODE: Final = "HOMEBODY_NODE"
"""Folder of the node a process answers for; set for the processes of a node."""

QUIET: Final = MappingProxyType(
    {
        "FLWR_TELEMETRY_ENABLED": "0",  # read by flwr at import
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # else `uv sync` per run
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)
"""Telemetry, update checks and run-time installation of dependencies: off."""


def silence(environ: MutableMapping[str, str] = os.environ) -> None:
    """Switch off what dependencies would send or fetch; call before importing them.

    Args:
        environ: Environment to change in place; the process's own by default.
    """
    environ.update(QUIET)


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what must outlive every run; it may not exist yet.

    ``HOMEBODY_STATE``, else ``homebody`` in ``XDG_STATE_HOME`` or in ``~/.local/state``
    (https://specifications.freedesktop.org/basedir-spec/latest/).
    """
    own = environ.get(STATE)
    if own:
        return Path(own)
    shared = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(shared) / "homebody"
