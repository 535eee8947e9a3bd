"""What all tests share: no deadlines, a state folder, and the repository's config, changed."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from homebody_privacy.environment import STATE

# A deadline measures the machine, not the code: a busy one would fail at random.
settings.register_profile("homebody", deadline=None)
settings.load_profile("homebody")

_ROOT = Path(__file__).resolve().parents[1]

WriteConfig = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep anchors out of the home folder, those of child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE, str(tmp_path_factory.mktemp("state")))
        yield


_PREMISES: dict[str, dict[str, object]] = {
    "gaussian": {"sampling": "poisson", "amplification": "true", "min_separation": 1},
    "blt": {"sampling": "none", "amplification": "false"},
}


@pytest.fixture(scope="session")
def write_config(tmp_path_factory: pytest.TempPathFactory) -> WriteConfig:
    """Writer of a ``privacy.toml``: fields of ``dp`` by name, ``more`` is put at its end.

    The repository's file without its metrics; ``gaussian`` unless another mechanism is named, with
    the premises of the mechanism filled in.
    """

    def write(*, more: str = "", mechanism: str = "gaussian", **fields: object) -> Path:
        text, _, _ = (_ROOT / "privacy.toml").read_text("utf-8").partition("\n[metrics.")
        values = {"mechanism": mechanism, **_PREMISES[mechanism], **fields}
        if mechanism == "gaussian":
            values = {"max_rounds_per_device": fields.get("rounds", 20), **values}
        for name, value in values.items():
            words = name in ("mechanism", "sampling", "budget_scope", "tuning_data")
            shown = f'"{value}"' if words else str(value)
            text, times = re.subn(rf"(?m)^{name} = [^#\n]*", f"{name} = {shown}  ", text)
            assert times == 1, f"privacy.toml has no field {name}"
        file = tmp_path_factory.mktemp("config") / "privacy.toml"
        file.write_text(f"{text}\n{more}", "utf-8")
        return file

    return write
