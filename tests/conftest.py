"""What all tests share: no deadlines, and the repository's privacy config with figures changed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline measures the machine, not the code: a busy one would fail at random.
settings.register_profile("homebody", deadline=None)
settings.load_profile("homebody")

_ROOT = Path(__file__).resolve().parents[1]

WriteConfig = Callable[..., Path]


@pytest.fixture(scope="session")
def write_config(tmp_path_factory: pytest.TempPathFactory) -> WriteConfig:
    """Writer of a ``privacy.toml``: fields of ``dp`` by name, ``more`` is put at its end."""

    def write(*, more: str = "", **fields: object) -> Path:
        text = (_ROOT / "privacy.toml").read_text("utf-8")
        for name, value in fields.items():
            shown = f'"{value}"' if isinstance(value, str) else str(value)
            text, times = re.subn(rf"(?m)^{name} = [^#\n]*", f"{name} = {shown} ", text)
            assert times == 1, f"privacy.toml has no field {name}"
        file = tmp_path_factory.mktemp("config") / "privacy.toml"
        file.write_text(text + more, "utf-8")
        return file

    return write
