"""Where in a TOML file a field stands: a reader of headings and keys, for editors and reviews.

``tomllib`` keeps no positions. What is written in an unusual way (a key with escapes in it) is not
found; then the line of the table it is in is told, or none.
"""

import re
from collections.abc import Mapping
from typing import Final

_HEADING: Final = re.compile(r"^\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY: Final = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*=""")
_INNER: Final = re.compile(r"""[{,]\s*([\w-]+|"[^"]*")\s*=""")
_LONG: Final = ('"""', "'''")
_SHORT: Final = re.compile(r"""(?s)"(?:\\.|[^"\\])*"|'[^']*'""")


def line_numbers(text: str) -> Mapping[str, int]:
    r"""Return the line, from 1, of every table and key that is found, by dotted path.

    Args:
        text: A TOML file.

    Examples:
        >>> line_numbers("[dp]\nblt = { theta = [0.5] }\n")
        {'dp': 1, 'dp.blt': 2, 'dp.blt.theta': 2}
    """
    found: dict[str, int] = {}
    table, depth, inside = "", 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if inside:  # a text of several lines
            inside = "" if inside in line else inside
            continue
        bare = _SHORT.sub('""', line).partition("#")[0]
        heading = _HEADING.match(line) if depth == 0 else None
        key = _KEY.match(line) if depth == 0 else None
        if heading is not None:
            table = _plain(heading.group(1))
            found.setdefault(table, number)
        elif key is not None:
            path = f"{table}.{_plain(key.group(1))}".lstrip(".")
            found.setdefault(path, number)
            for inner in _INNER.findall(line[key.end() :]):
                found.setdefault(f"{path}.{_plain(inner)}", number)
        inside = next((quotes for quotes in _LONG if line.count(quotes) % 2), "")
        if heading is None:
            depth = max(0, depth + sum(map(bare.count, "[{")) - sum(map(bare.count, "]}")))
    return found


def line_of(path: str, numbers: Mapping[str, int]) -> int | None:
    """Return the line of a field, or of the nearest table around it; None where none is found."""
    names = path.split(".")
    for length in range(len(names), 0, -1):
        number = numbers.get(".".join(names[:length]))
        if number is not None:
            return number
    return None


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
