"""homebody: personalisation that stays home.

The face of the package; each name loads its part at first use.
"""

import gc
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homebody_client.device import Device
    from homebody_privacy.config import PrivacyConfig
    from homebody_simulation.api import simulate
    from homebody_simulation.baselines import baselines
    from homebody_simulation.sweep_run import sweep

__all__ = ["Device", "PrivacyConfig", "baselines", "simulate", "sweep"]

_WHERE = {
    "Device": "homebody_client.device",
    "PrivacyConfig": "homebody_privacy.config",
    "baselines": "homebody_simulation.baselines",
    "simulate": "homebody_simulation.api",
    "sweep": "homebody_simulation.sweep_run",
}


def __getattr__(name: str) -> object:
    """Load a public name from its part.

    Raises:
        AttributeError: If the name is not public.
    """
    if name not in _WHERE:
        raise AttributeError(f"module 'homebody' has no attribute {name!r}")
    collecting = gc.isenabled()
    gc.disable()  # modules are made to stay: looking for garbage among them slows a device's start
    try:
        return getattr(import_module(_WHERE[name]), name)
    finally:
        if collecting:
            gc.enable()
