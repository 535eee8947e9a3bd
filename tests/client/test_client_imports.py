"""Ranking on a device loads no training library and no network stack of one."""

import pkgutil
import subprocess
import sys

import homebody_client

_TRAINING = {"training", "flower_app", "record_level"}
_CODE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module("homebody_client." + name)
print(*sorted({"torch", "opacus", "flwr", "grpc", "ray"} & set(sys.modules)))
"""


def _loaded(*modules: str) -> list[str]:
    command = [sys.executable, "-c", _CODE, *modules]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return result.stdout.split()


def test_inference_modules_load_no_torch_opacus_or_flwr() -> None:
    modules = {module.name for module in pkgutil.iter_modules(homebody_client.__path__)}
    inference = sorted(modules - _TRAINING)
    assert {"bundles", "cli", "device", "explain", "recommend"} <= set(inference)
    assert _loaded(*inference) == []


def test_the_check_sees_a_training_library() -> None:
    assert "flwr" in _loaded("flower_app")
