"""``homebody device`` in front of a shelf: a list, its reasons, what the person says to it."""

from enum import StrEnum
from typing import Annotated

import typer

from homebody_privacy.errors import UsageError

from .session_cli import (
    HERE,
    Format,
    FormatOption,
    PassphraseOption,
    ProfileOption,
    answer,
    columns,
    meant,
    opened,
    opened_rows,
    shown,
)

app = typer.Typer()


class Reaction(StrEnum):
    """What a person says to a product."""

    LIKE = "like"
    DISLIKE = "dislike"
    DISMISS = "dismiss"


@app.command("recommend")
def recommend(
    *,
    surface: Annotated[str, typer.Option(help="Place the list is for: home, product or cart.")] = (
        "home"
    ),
    top: Annotated[int, typer.Option(min=1, max=1000, help="Length of the list.")] = 10,
    product: Annotated[
        str | None, typer.Option(help="What is shown beside it, on the surface product.")
    ] = None,
    cart: Annotated[
        list[str] | None,
        typer.Option(help="A product in the cart, on the surface cart; may be repeated."),
    ] = None,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Make a list on this device; where nothing may be read for it, the list for all."""
    if (surface == "product") != (product is not None) or (cart and surface != "cart"):
        raise UsageError(
            "the surface and its products do not go together",
            fix="give --product with --surface product only, --cart with --surface cart only",
        )
    with opened(profile, passphrase_file) as device:
        from homebody_client.api.answers import list_json

        found = device.recommend(top, surface=surface, product_id=product, cart=tuple(cart or ()))
        rows = [
            (place, item.product_id, device.title(item.product_id), item.reason.text)
            for place, item in enumerate(found, start=1)
        ]
    lines = [columns(rows)] if rows else ["there is nothing to list: no model and no catalog"]
    if found.fallback_reason is not None:
        lines.append(f"not personal: {found.fallback_reason}")
    answer(output, list_json(found), "\n".join(lines))


@app.command("why")
def why(
    product: Annotated[str, typer.Argument(help="A product of the catalog.")],
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say why a product would be in the list, and what it rests on."""
    with opened(profile, passphrase_file) as device:
        from homebody_client.api.answers import reason_json

        reason = device.why(product)
    lines = [shown(reason.text), *(f"  because of {shown(cause)}" for cause in reason.causes)]
    answer(output, {"product_id": product, **reason_json(reason)}, "\n".join(lines))


@app.command("react")
def react(
    product: Annotated[str, typer.Argument(help="A product.")],
    reaction: Annotated[Reaction, typer.Argument(help="like, dislike or dismiss.")],
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say what you think of a product; kept where a switch is open for it."""
    from .reasons_cli import why_not

    with opened_rows(profile, passphrase_file) as device:
        kept = device.react(product, reaction.value)
        codes = [] if kept else why_not(device, {reaction.value})
    lines = [f"kept: {'yes' if kept else 'no'}", *(f"  {one}" for one in codes)]
    answer(output, {"kept": kept, "why": [one.to_json() for one in codes]}, "\n".join(lines))


@app.command("strength")
def strength(
    value: Annotated[
        int | None, typer.Argument(help="0: the same list for all; 100: fully personal.")
    ] = None,
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show or set how personal lists are."""
    if value is None:
        with opened(profile, passphrase_file) as device:
            now = device.strength
    else:
        with opened_rows(profile, passphrase_file) as device:
            with meant("give a number from 0 to 100"):
                device.strength = value
            now = device.strength
    answer(output, {"strength": now}, str(now))
