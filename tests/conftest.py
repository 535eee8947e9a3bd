"""What all tests share: no deadlines, a state folder, and the repository's config, changed."""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
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


_PREMISES: dict[str, dict[str, Any]] = {
    "gaussian": {"sampling": "poisson", "amplification": True, "min_separation": 1},
    "blt": {"sampling": "none", "amplification": False},
}


@pytest.fixture(scope="session")
def write_config(tmp_path_factory: pytest.TempPathFactory) -> WriteConfig:
    """Writer of a ``privacy.toml``: fields of ``dp`` by name, ``more`` is put at its end.

    The repository's file without its metrics; ``gaussian`` unless another mechanism is named, with
    the premises of the mechanism filled in.
    """

    def write(*, more: str = "", mechanism: str = "gaussian", **fields: Any) -> Path:  # noqa: ANN401 - TOML values
        values = tomllib.loads((_ROOT / "privacy.toml").read_text("utf-8"))
        del values["metrics"], values["statistics"], values["aggregation"]["report_goal"]
        own = {"mechanism": mechanism, **_PREMISES[mechanism], **fields}
        if mechanism == "gaussian":
            own = {"max_rounds_per_device": fields.get("rounds", 20), **own}
        elif "rounds" in own or "min_separation" in own:  # no cap beyond what fits
            rounds, apart = own.get("rounds", 20), own.get("min_separation", 5)
            own = {"max_rounds_per_device": min(4, -(-rounds // apart)), **own}
        assert own.keys() <= values["dp"].keys(), f"privacy.toml lacks {own.keys()}"
        values["dp"] |= own
        values["release"]["min_k"] = 1  # test populations are small
        _merge(values, tomllib.loads(f"[dp]\n{more}"))
        _say_the_rest(values)
        file = tmp_path_factory.mktemp("config") / "privacy.toml"
        file.write_text(tomli_w.dumps(values), "utf-8")
        return file

    return write


def _merge(values: dict[str, Any], more: dict[str, Any]) -> None:
    """Put fields into tables that are there, and add tables that are not."""
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            _merge(values[name], value)
        else:
            values[name] = value


def _say_the_rest(values: dict[str, Any]) -> None:
    """Fill in what every table must say and a test has no reason to."""
    for purpose in values["purposes"].values():
        purpose.setdefault("fides_use", "analytics.reporting")
        purpose.setdefault("dpv_purpose", "dpv:ServiceOptimisation")
    for group in values["features"].values():
        group.setdefault("fides_category", "user.behavior")
        group.setdefault("dpv_category", "pd:Preference")
        group.setdefault("sensitivity", "ordinary")
        group.setdefault("max_rows", 1000)
    if "record" in values["dp"]:
        values["dp"]["record"].setdefault("enabled", False)
