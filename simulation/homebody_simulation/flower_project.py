"""The Flower app of a run: configuration, and no code; server and nodes run what is installed."""

import json
from collections.abc import Mapping
from pathlib import Path

_PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "homebody-run"
version = "1.0.0"
description = "A run of homebody: configuration, no code."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "homebody"
fab-include = ["README.md"]

[tool.flwr.app.components]
serverapp = "homebody_server.flower_app:app"
clientapp = "{client}"

[tool.flwr.app.config]
{settings}
"""


def write_project(
    folder: Path,
    settings: Mapping[str, str | int | float | bool],
    client: str = "homebody_client.flower_app:app",
) -> Path:
    """Write the app to a folder that is made, and return it.

    Args:
        folder: Not there yet.
        settings: The run config. Whoever starts a run writes it: no node may take a rule from it.
        client: Which of the installed ClientApps the nodes run.
    """
    folder.mkdir()
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (folder / "README.md").write_text("A homebody run.\n", "utf-8")
    (folder / "pyproject.toml").write_text(
        _PROJECT.format(settings="\n".join(lines), client=client), encoding="utf-8"
    )
    return folder
