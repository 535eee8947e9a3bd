"""docs/browser.md names what the module takes, and its size and policy are those of the files."""

import re

from homebody_models.bundle_error import STEPS

from .docs_blocks import ROOT, blocks, first_column, page

PAGE = page("browser.md")
MODULE = (ROOT / "client/homebody_client/browser/homebody.js").read_text("utf-8")
EXAMPLE = ROOT / "docs" / "examples" / "browser"


def names(pattern: str) -> set[str]:
    """Return the names a list of JavaScript parameters binds."""
    (found,) = re.findall(pattern, MODULE)
    return {name.split("=")[0].strip() for name in found.split(",")}


def test_everything_given_to_open_bundle_is_told() -> None:
    given = names(r"function openBundle\(get, \{ (.*?) \}\)")
    assert set(first_column(PAGE, "given to `openBundle`")) == {"get", *given}


def test_every_option_of_a_list_is_told() -> None:
    options = names(r"function recommend\(history, \{ (.*?) \} = \{\}\)")
    (told,) = re.findall(r"(?s)`recommend` takes (.*?), numbers", PAGE)
    assert set(re.findall(r"`(\w+)`", told)) == options


def test_the_snippet_calls_what_there_is() -> None:
    (code,) = blocks(PAGE, "js")
    imported = re.findall(r"import \{ (.*?) \}", code)[0].split(", ")
    called = re.findall(r"model\.(\w+)\(", code)
    assert set(imported) == set(re.findall(r"(?m)^export (?:async )?\w+ (\w+)", MODULE))
    assert [re.findall(rf"function {name}\(", MODULE) for name in called] == [
        [f"function {name}("] for name in called
    ]
    app = (EXAMPLE / "app.js").read_text("utf-8")
    assert next(line for line in code.splitlines() if "fetch(" in line) in app


def test_size_steps_and_policy_are_those_of_the_files() -> None:
    assert "at most 12 KiB" in " ".join(PAGE.split())
    assert len(MODULE.encode()) <= 12 * 1024
    assert "The eleven steps" in PAGE
    assert len(STEPS) == 11
    shell = (EXAMPLE / "index.html").read_text("utf-8")
    assert "content=\"default-src 'self'\"" in shell
