"""``homebody diff``: what a new config changes for people, and whether it may follow the old."""

import json
from pathlib import Path
from typing import Annotated

import typer

from homebody_privacy.commands.explain_cli import Format

app = typer.Typer(help="Compare two configs.", no_args_is_help=True)


@app.command("diff")
def diff(
    old: Annotated[Path, typer.Argument(help="Config people agreed to.")],
    new: Annotated[Path, typer.Argument(help="Config that is to follow it.")],
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """Say what is weaker, stronger or other; exit 10 if people would not be asked again."""
    from homebody_privacy.comparing.difference import difference, difference_text
    from homebody_privacy.config import PrivacyConfig
    from homebody_privacy.planned import planned_loss

    before, after = PrivacyConfig.read(old), PrivacyConfig.read(new)
    told = difference(before, after, loss=planned_loss)
    if output is Format.JSON:
        typer.echo(json.dumps(told.to_dict(), ensure_ascii=False, indent=2))
    else:
        typer.echo(difference_text(told), nl=False)
    if told.exit_code:
        raise typer.Exit(told.exit_code)
