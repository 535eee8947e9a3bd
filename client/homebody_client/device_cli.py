"""``homebody device``: everything a device does, from the command line."""

from typing import Final

import typer

from homebody_client.commands import (
    begin_cli,
    consent_cli,
    intake_cli,
    lists_cli,
    receipts_cli,
    rights_cli,
    serve_cli,
)

_PARTS: Final = (begin_cli, intake_cli, lists_cli, rights_cli, receipts_cli, serve_cli)

app = typer.Typer(
    name="device",
    help="Begin, ask, correct, serve and erase one person's device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def device() -> None:
    """Begin, ask, correct, serve and erase one person's device."""


for _part in _PARTS:
    app.registered_commands += _part.app.registered_commands
app.add_typer(consent_cli.app, name="consent")
