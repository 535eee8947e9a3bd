"""``homebody explain``: a config in plain words, for people who answer for it or are in it."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Say what a config means.", no_args_is_help=True)


class Format(StrEnum):
    """How the answer is printed."""

    TEXT = "text"
    JSON = "json"


@app.command("explain")
def explain(
    config: Annotated[Path, typer.Argument(help="Config to explain.")] = Path("privacy.toml"),
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """Say what a config asks, promises and leaves out, in words, with figures computed from it."""
    from homebody_privacy.config import PrivacyConfig
    from homebody_privacy.explaining.explanation import explain as explained
    from homebody_privacy.explaining.explanation import explanation_text
    from homebody_privacy.explaining.promise import no_figure
    from homebody_privacy.planned import planned_loss

    read = PrivacyConfig.read(config)
    told = explained(read, None if no_figure(read) else planned_loss(read))
    if output is Format.JSON:
        typer.echo(json.dumps(told.to_dict(), ensure_ascii=False, indent=2))
    else:
        typer.echo(explanation_text(told), nl=False)
