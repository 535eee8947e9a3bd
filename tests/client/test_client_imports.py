"""Ranking on a device loads no training library and no network stack of one."""

import pkgutil
import subprocess
import sys

import homebody_client

_TRAINING = {"device_app", "flower_app", "ghost", "record_level"}
_CODE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module("homebody_client." + name)
heavy = {"torch", "opacus", "flwr", "grpc", "ray", "scipy", "dp_accounting"}
print(*sorted(heavy & set(sys.modules)))
"""


def _loaded(*modules: str) -> list[str]:
    command = [sys.executable, "-c", _CODE, *modules]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return result.stdout.split()


def test_all_but_training_modules_load_no_torch_opacus_or_flwr() -> None:
    modules = {module.name for module in pkgutil.iter_modules(homebody_client.__path__)}
    inference = sorted(modules - _TRAINING)
    assert {"bundles", "cli", "device", "explain", "recommend"} <= set(inference)
    assert {"allowance", "figures", "host", "participation_store", "training"} <= set(inference)
    assert _loaded(*inference) == []


def test_the_check_sees_a_training_library() -> None:
    assert "flwr" in _loaded("flower_app")
    assert {"opacus", "scipy", "torch"} <= set(_loaded("ghost"))
