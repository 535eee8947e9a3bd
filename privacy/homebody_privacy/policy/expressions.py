"""A firm's own rules in CEL, the Common Expression Language (https://cel.dev).

An expression sees the config's tables by name. Whatever is not plainly true is a failure: an
exception, a missing field, a value of another type. CEL itself stops at the first ``||`` that
holds, so that a misspelt field behind it would never be noticed: fields are looked up beforehand.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_TEXT: Final = re.compile(r"""(?s)"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")
_HAS: Final = re.compile(r"\bhas\s*\([^()]*\)")
_NAME: Final = re.compile(r"(?<![\w.\])])[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*(?!\w)(\s*\()?")


def judged(expression: str, values: Mapping[str, Any]) -> str | None:
    """Evaluate a rule on a config.

    Args:
        expression: CEL; what must hold.
        values: The config's JSON values.

    Returns:
        None where it holds; otherwise why it does not, in few words.

    Raises:
        ModuleNotFoundError: If CEL is not installed: a rule nobody can judge is no rule that holds.
    """
    import cel  # noqa: PLC0415 - a firm's own rules alone need it

    missing = next(_missing(expression, values), None)
    if missing is not None:
        return f"names {missing}, which the file does not have"
    try:
        found = cel.evaluate(expression, dict(values))
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return f"cannot be judged: {_in_line(error)}"
    if found is True:
        return None
    return "does not hold" if found is False else "is no condition: it gives neither true nor false"


def _missing(expression: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Find fields of the config's tables that it does not have, outside ``has(...)``."""
    bare = _HAS.sub(" ", _TEXT.sub(" ''", expression))
    for match in _NAME.finditer(bare):
        names = re.sub(r"\s", "", match.group(0).rstrip("(")).split(".")
        if match.group(1):
            names.pop()  # the last one is a function of what comes before
        if names and names[0] in values and not _has(values, names):
            yield ".".join(names)


def _has(values: Any, names: list[str]) -> bool:  # noqa: ANN401 - JSON values
    for name in names:
        if not isinstance(values, Mapping) or name not in values:
            return False
        values = values[name]
    return True


def _in_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
