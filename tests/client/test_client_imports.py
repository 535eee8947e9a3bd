"""Ranking on a device loads no training library and no network stack of one."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import homebody_client
import homebody_client.secure

from .device_shop import NOW, DemoShop, event, open_device

_TRAINING = {"device_app", "flower_app", "ghost", "node_app", "record_level"}
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


def test_a_node_answers_the_legs_of_a_secure_sum_without_a_training_library() -> None:
    # Every leg is a process of its own: three of five train nothing, and must not wait for torch.
    sealed = {f"secure.{one.name}" for one in pkgutil.iter_modules(homebody_client.secure.__path__)}
    assert {"secure.node", "secure.leg_store", "secure.person", "secure.shard"} <= sealed
    assert _loaded(*sorted(sealed)) == []
    assert not {"torch", "opacus"} & set(_loaded("flower_app", "device_app"))


def test_the_check_sees_a_training_library() -> None:
    assert "flwr" in _loaded("flower_app")
    assert {"opacus", "scipy", "torch"} <= set(_loaded("ghost"))


_LIST = """
import sys
from homebody import Device
profile, config, key, now = sys.argv[1:]
with Device.open(profile, config=config, trusted_key=key, now=lambda: float(now)) as device:
    found = device.recommend()
compiled = {
    value.__qualname__
    for name, module in tuple(sys.modules.items())
    if name.startswith("homebody_client")
    for value in vars(module).values()
    if getattr(value, "__module__", None) == name and hasattr(value, "__dataclass_params__")
    if value.__dataclass_params__.repr  # a light one shares its methods
}
print(found.fallback_reason, *sys.modules)
print(*sorted(compiled))
"""
_SLOW = {
    *("asyncio", "flwr", "http.server", "jinja2", "keyring", "opacus", "pydantic", "rfc8785"),
    *("random", "rich", "secrets", "shutil", "ssl", "tempfile", "tomllib", "torch", "typer"),
    *("numpy.ma", "numpy.random"),  # numpy loads them at the first use of some functions
    *("homebody_client.events.vocabulary", "homebody_client.features.spec"),
    *("homebody_client.check_in", "homebody_client.rights", "homebody_client.api.device_like"),
    *("homebody_client.consent.matrix", "homebody_client.consent.wire"),
    *("homebody_client.participation", "homebody_models.recommender"),
}
_COMPILED = {"Config", "EgressEntry"}  # dataclasses of a start that may not be light


def test_a_known_profile_makes_its_first_list_without_anything_slow_to_load(
    shop: DemoShop, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    with open_device(shop, profile) as device:
        device.consent.grant("recommend", features=["purchases"])
        device.record(event("TEA-01"))
    command = [sys.executable, "-c", _LIST, *map(str, (profile, shop.config, shop.key, NOW))]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    (reason, *loaded), compiled = (line.split() for line in ended.stdout.splitlines())
    assert reason == "None"  # it is personal: rows were read and ranked
    assert sorted(_SLOW & set(loaded)) == []
    assert sorted(set(compiled) - _COMPILED) == []
