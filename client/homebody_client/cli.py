"""``homebody recommend``: rank with a bundle on this machine, no network."""

import csv
import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from homebody_client.bundles import open_model, read_public_key, trust_key
from homebody_client.recommend import Recommendations, recommend
from homebody_models.bundle import ModelBundle
from homebody_privacy.errors import UsageError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


class OutputFormat(StrEnum):
    """How a command answers."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def client() -> None:
    """Run the recommender of a device."""


@app.command("recommend")
def recommend_command(
    *,
    bundle: Annotated[Path, typer.Option(help="Folder of the model bundle, model.hbm.")],
    history: Annotated[
        str, typer.Option(help="Product ids, oldest first: a,b,c; quote an id with a comma.")
    ] = "",
    top: Annotated[int, typer.Option(min=1, max=1000, help="Length of the list.")] = 10,
    key: Annotated[
        Path | None,
        typer.Option(help="Publisher's public key; publisher.pub beside the run's folder."),
    ] = None,
    hide_seen: Annotated[bool, typer.Option(help="Leave out what is in the history.")] = False,
    format: Annotated[OutputFormat, typer.Option(help="text or json.")] = OutputFormat.TEXT,  # noqa: A002 the option's name
) -> None:
    """Rank the catalog for one history, on this machine alone."""
    folder = bundle.resolve()
    public = read_public_key(folder.parent.parent / "publisher.pub" if key is None else key)
    model = open_model(folder, trust_key(public), now=int(time.time()))
    answer = recommend(model, parse_history(history), n=top, hide_seen=hide_seen)
    if format is OutputFormat.JSON:
        typer.echo(json.dumps(as_json(model, answer), ensure_ascii=False))
    else:
        _show(model, answer)


def parse_history(text: str) -> list[str]:
    """Return product ids from one line of CSV.

    Raises:
        UsageError: If the quoting is broken or there is more than one line.

    Examples:
        >>> parse_history('BANANAS, "MILK, WHOLE"')
        ['BANANAS', 'MILK, WHOLE']
    """
    try:
        lines = list(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise UsageError(f"--history is no line of CSV: {error}") from error
    return [name.strip() for line in lines for name in line if name.strip()]


def as_json(bundle: ModelBundle, answer: Recommendations) -> dict[str, object]:
    """Return an answer as the local API gives it."""
    facts = bundle.manifest.facts
    return {
        "recommended_products": [item.product_id for item in answer],
        "items": [
            {
                "product_id": item.product_id,
                "score": item.score,
                "reason": {
                    "code": item.reason.code,
                    "text": item.reason.text,
                    "causes": list(item.reason.causes),
                },
            }
            for item in answer
        ],
        "model_version": facts.version,
        "serial": facts.serial,
        "personalised": answer.personalised,
        "fallback_reason": answer.fallback_reason,
        "privacy": facts.privacy,
    }


def _show(bundle: ModelBundle, answer: Recommendations) -> None:
    """Print an answer as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{bundle.manifest.facts.model_id} {bundle.manifest.facts.version}")
    for name, justify in (("", "right"), ("product", "left"), ("score", "right"), ("why", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    for place, item in enumerate(answer, start=1):
        # Text, not markup: an id may hold brackets or control characters
        why = Text(item.reason.text)
        table.add_row(str(place), Text(item.product_id), f"{item.score:.3f}", why)
    console = Console()
    console.print(table)
    if answer.fallback_reason is not None:
        console.print(f"not personal: {answer.fallback_reason}")
