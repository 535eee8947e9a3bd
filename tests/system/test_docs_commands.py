"""Every command and option is in docs/cli.md, and every command line in the docs is one."""

import re
import shlex
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click
import pytest
import typer

from homebody.cli import build
from homebody_privacy import environment

_ROOT = Path(__file__).parents[2]
_PAGES = [*sorted((_ROOT / "docs").glob("*.md")), *sorted(_ROOT.glob("*.md"))]
_CLI = (_ROOT / "docs" / "cli.md").read_text("utf-8")


def commands(command: click.Command, path: str = "homebody") -> Iterator[tuple[str, click.Command]]:
    """Return the root and every command that is no group, by what one types."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    if path == "homebody":
        yield path, command
    for name, child in command.commands.items():
        yield from commands(child, f"{path} {name}")


def root() -> click.Command:
    return typer.main.get_command(build())


def options(command: click.Command) -> set[str]:
    """Return every spelling of every option."""
    spellings = ([*p.opts, *p.secondary_opts] for p in command.params)
    return {word for word in chain.from_iterable(spellings) if word.startswith("--")}


def documented(path: str) -> set[str]:
    """Return the options of the tables in a command's section of docs/cli.md."""
    (section,) = re.findall(rf"(?ms)^## {path}\n(.*?)(?=^## |\Z)", _CLI)
    return set(re.findall(r"(?m)^\| `(--[\w-]+)` \|", section))


def lines(page: str) -> list[str]:
    """Return the ``homebody`` command lines of a page: of its consoles and in its sentences."""
    consoles = re.findall(r"(?ms)^```console\n(.*?)^```", page)
    typed = re.findall(r"(?m)^\$ (homebody .*)$", "\n".join(consoles))
    inline = re.findall(r"(?<!`)`(homebody [^`]+)`", re.sub(r"(?ms)^```.*?^```", "", page))
    named = (" ".join(line.split()) for line in inline)
    # A command that a sentence only names is looked up: --help asks for no required option.
    return [*typed, *(line if "--" in line else f"{line} --help" for line in named)]


def parse(line: str) -> None:
    """Parse a command line as ``homebody`` would, and run nothing.

    Raises:
        click.UsageError: If there is no such command, option or value.
    """
    name, *words = shlex.split(line, comments=True)
    command, context = root(), None
    while True:
        try:
            context = command.make_context(name, words, parent=context)
        except click.exceptions.Exit:
            return  # --help
        words = [*context._protected_args, *context.args]  # noqa: SLF001 click has no other way
        if not isinstance(command, click.Group) or not words:
            return
        _, child, words = command.resolve_command(context, words)
        assert child is not None
        command, name = child, child.name or ""


@pytest.mark.parametrize("path", [path for path, _ in commands(root())])
def test_every_option_is_documented_and_no_unknown_one_is(path: str) -> None:
    command = dict(commands(root()))[path]
    assert documented(path) - {"--help"} == options(command) - {"--help"}


def test_every_section_is_a_command() -> None:
    sections = set(re.findall(r"(?m)^## (homebody.*)$", _CLI))
    assert sections == {path for path, _ in commands(root())}


def test_every_environment_variable_is_documented() -> None:
    known = {environment.DATA, environment.STATE, *environment.QUIET}
    assert known <= set(re.findall(r"(?m)^\| `([A-Z_]+)` \|", _CLI))


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_command_line_of_a_page_parses(page: Path) -> None:
    for line in lines(page.read_text("utf-8")):
        parse(line)


def test_the_pages_hold_command_lines() -> None:
    found = [line for page in _PAGES for line in lines(page.read_text("utf-8"))]
    assert len(found) > 20
    assert {line.split()[1] for line in found} >= {
        *("simulate", "plan", "audit", "data", "recommend", "doctor"),
    }


@pytest.mark.parametrize(
    "line",
    [
        "homebody simulate --epsilom 4",
        "homebody train",
        "homebody data --format json",
        "homebody recommend --top 0 --bundle model.hbm",
        "homebody recommend --top 3",
        "homebody --frobnicate",
    ],
)
def test_a_command_line_that_is_none_is_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_make_target_of_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (_ROOT / "Makefile").read_text("utf-8")))
    named = set(re.findall(r"(?m)(?:^\$ |`)make ([a-z-]+)", page.read_text("utf-8")))
    assert named <= targets
