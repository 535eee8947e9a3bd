"""The commands of a device in this process, on a profile of the made-up shop."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from click.testing import CliRunner

from homebody_client.demo.shop import Shop, write_shop
from homebody_client.device_cli import app
from homebody_privacy.environment import STATE
from homebody_privacy.errors import HomebodyError

COMMAND: Final = typer.main.get_command(app)
"""``homebody device``, built once."""

SEED: Final = {
    "user_id": "12345",
    "event": "product_view",
    "product_id": "BREAD-01",
    "timestamp": "2026-05-15T10:45:00Z",
    "device": "mobile",
}
"""The event of the seed, of a product of the shop."""


def made_shop(folder: Path) -> Shop:
    """Write the shop's files, as of now: the command line has no clock to be given."""
    return write_shop(folder / "shop", now=int(time.time()) - 60)


def event(product: str = "BREAD-01", **fields: object) -> str:
    """Return the seed's event as JSON, with some fields changed."""
    return json.dumps({**SEED, "product_id": product, **fields})


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands on one profile.

    Attributes:
        profile: Its folder.
    """

    profile: Path

    def text(self, *words: str, stdin: str | bytes | None = None) -> str:
        """Run a command, and return what it printed; a refusal is raised."""
        result = CliRunner().invoke(COMMAND, [*words, "--profile", str(self.profile)], input=stdin)
        if isinstance(result.exception, HomebodyError):
            assert result.stdout == ""  # a refusal leaves no half an answer
            raise result.exception
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: str, stdin: str | bytes | None = None) -> Any:  # noqa: ANN401 any JSON
        """Run a command that prints one object alone on its line, and return it."""
        output = self.text(*words, "--format", "json", stdin=stdin)
        assert output.count("\n") == 1
        return json.loads(output)


def init(*words: str) -> str:
    """Run ``init``, which names its profile otherwise, and return what it printed."""
    result = CliRunner().invoke(COMMAND, ["init", *words])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def begun(shop: Shop, profile: Path, *more: str) -> Commands:
    """Begin a profile with everything the shop has; everything is off."""
    given = {
        "--config": shop.config,
        "--bundle": shop.bundle,
        "--catalog": shop.catalog,
        "--key": shop.key,
    }
    words = [word for name, path in given.items() for word in (name, str(path))]
    init(str(profile), *words, *more)
    return Commands(profile)


@dataclass(frozen=True, slots=True)
class Home:
    """A profile that was begun, to be copied for each test: copying is quicker than beginning.

    Attributes:
        shop: The shop's files.
        folder: Holds ``profile`` and ``state``.
    """

    shop: Shop
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Home":
        """Begin a profile with everything the shop has."""
        shop = made_shop(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(STATE, str(folder / "state"))
            begun(shop, folder / "profile")
        return cls(shop, folder)

    def copied(self, folder: Path, patch: pytest.MonkeyPatch) -> Commands:
        """Return the commands of a copy, with a state folder of its own."""
        for name in ("profile", "state"):
            shutil.copytree(self.folder / name, folder / name)
        patch.setenv(STATE, str(folder / "state"))
        return Commands(folder / "profile")


def allow(commands: Commands, *features: str) -> None:
    """Say yes to suggestions from some feature groups."""
    commands.text("consent", "grant", "recommend", "--features", ",".join(features))
