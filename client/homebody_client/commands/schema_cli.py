"""``homebody export``: what other programs need to know of homebody, as files of their kind."""

import json
from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer(
    name="export",
    help="Print what other programs need to know of homebody.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
schema = typer.Typer(
    help="Print a JSON Schema.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(schema, name="schema")


class Mode(StrEnum):
    """How unknown fields of an event are taken."""

    STRICT = "strict"
    LAX = "lax"


@app.callback()
def export() -> None:
    """Print what other programs need to know of homebody."""


@schema.callback()
def schemas() -> None:
    """Print a JSON Schema."""


@schema.command("events")
def events(
    *,
    mode: Annotated[Mode, typer.Option(help="strict refuses unknown fields, lax lets them be.")] = (
        Mode.STRICT
    ),
) -> None:
    """Print the JSON Schema (2020-12) of every event a device takes."""
    from homebody_client.events.schema import event_schema

    typer.echo(json.dumps(event_schema(mode.value), ensure_ascii=False, indent=2))


@schema.command("consent-record")
def consent_record() -> None:
    """Print the JSON Schema (2020-12) of the records homebody device receipts prints as dpv."""
    from homebody_privacy.consent_record import record_schema

    typer.echo(json.dumps(record_schema(), ensure_ascii=False, indent=2))


@schema.command("device-export")
def device_export() -> None:
    """Print the JSON Schema (2020-12) of what homebody device export writes."""
    from homebody_client.export_schema import export_schema

    typer.echo(json.dumps(export_schema(), ensure_ascii=False, indent=2))


@schema.command("privacy")
def privacy() -> None:
    """Print the JSON Schema (2020-12) of privacy.toml, for editors."""
    from homebody_privacy.policy.config_schema import config_schema

    typer.echo(json.dumps(config_schema(), ensure_ascii=False, indent=2))
