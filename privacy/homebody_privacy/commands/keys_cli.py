"""``homebody keys``: a reviewer's key, made where it stays, and the lines others pin."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="keys",
    help="Make a reviewer's key, and show the half that others pin.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The private key.")]
AsOption = Annotated[
    str, typer.Option("--as", metavar="NAME", help="Whose it is, as approval.approvers has you.")
]
WitnessOption = Annotated[bool, typer.Option("--witness", help="The person also cosigns ledgers.")]


@app.callback()
def keys() -> None:
    """Make a reviewer's key, and show the half that others pin."""


@app.command()
def new(file: FileArgument, name: AsOption, witness: WitnessOption = False) -> None:
    """Make a key in a new file of mode 0600, and print what goes into the reviewers' file."""
    from homebody_privacy.errors import UsageError
    from homebody_privacy.signing import SigningKey

    key = SigningKey.generate()
    try:
        key.save(file)
    except FileExistsError as error:
        raise UsageError(
            f"{file}: there is a file already, and a key is never written over another",
            fix="name a new file",
        ) from error
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from error
    _print(name, key.public, witness=witness)


@app.command()
def show(file: FileArgument, name: AsOption, witness: WitnessOption = False) -> None:
    """Print the public half of a key as the reviewers' file has it."""
    from homebody_privacy.signing import SigningKey

    _print(name, SigningKey.load(file).public, witness=witness)


def _print(name: str, public: bytes, *, witness: bool) -> None:
    from homebody_privacy.approval.reviewers import reviewer_lines

    typer.echo(reviewer_lines(name, public, witness=witness), nl=False)
